"""Which names tasks have by default, wherever their file was started from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskq.origin import main_module


class TestScripts:
    """A file that runs as a script has to give its tasks the names by which a worker imports them."""

    SOURCE = """
from taskq import TaskQ
app = TaskQ("shop")

@app.task
def send() -> None: ...

if __name__ == "__main__":
    print(send.name)
"""

    def name_of(self, *command: str, cwd: Path, path: str = "") -> str:
        root = str(Path(__file__).parents[2])
        ran = subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            env={"PYTHONPATH": ":".join(filter(None, [path, root]))},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return ran.stdout.strip()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        script = tmp_path / "examples" / "orders.py"
        script.parent.mkdir()
        script.write_text(self.SOURCE)
        return tmp_path

    def test_below_the_current_directory_the_path_is_the_name(self, folder: Path) -> None:
        assert self.name_of("examples/orders.py", cwd=folder) == "shop.examples.orders.send"
        assert self.name_of("orders.py", cwd=folder / "examples") == "shop.orders.send"

    def test_an_entry_of_the_path_counts_more(self, folder: Path) -> None:
        path = str(folder / "examples")
        assert self.name_of("examples/orders.py", cwd=folder, path=path) == "shop.orders.send"

    def test_elsewhere_the_file_is_the_name(
        self, folder: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        script = str(folder / "examples" / "orders.py")
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        assert self.name_of(script, cwd=elsewhere) == "shop.orders.send"

    def test_what_no_module_can_be_called_is_left_out(self, folder: Path) -> None:
        (folder / "examples").rename(folder / "my-examples")
        assert self.name_of("my-examples/orders.py", cwd=folder) == "shop.orders.send"

    def test_a_module_is_named_as_it_was_started(self, folder: Path) -> None:
        assert self.name_of("-m", "examples.orders", cwd=folder) == "shop.examples.orders.send"

    def test_a_prompt_has_no_name(self, folder: Path) -> None:
        assert self.name_of("-c", self.SOURCE, cwd=folder) == "shop.__main__.send"

    def test_a_script_that_is_imported_as_well_declares_its_tasks_once(self, folder: Path) -> None:
        (folder / "shop_app.py").write_text(
            'from taskq import TaskQ\napp = TaskQ("shop", include=["shop_tasks"])\n'
        )
        (folder / "shop_tasks.py").write_text(
            "from shop_app import app\n"
            "@app.task\n"
            "def send() -> None: ...\n"
            "if __name__ == '__main__':\n"
            "    app.freeze()\n"
            "    print(*app.tasks)\n"
        )
        names = self.name_of("shop_tasks.py", cwd=folder).split()
        assert [name for name in names if ".taskq." not in name] == ["shop.shop_tasks.send"]

    def test_this_process_has_one(self) -> None:
        assert main_module() not in ("", "__main__")
