"""Runs a page of the documentation as its reader would: files are written, programs and commands are run.

- A `python` block that begins with `# examples/….py` shows that file, which has to have just this text; tests of its
  own run it.
- A `python` block that begins with `# name.py` is that file: it is written and imported, and its names join the
  page's. If its first line has a command, as in `# use.py: URL=… python use.py`, that is run and nothing imported.
  `# name.py, continued` is put at the file's end; `# name.py, changed` stands in place of the functions of its names.
- All other `python` blocks run in one namespace; they may await. Lines `#> text` are what the block prints.
- In a `console` block, `$ taskq …`, `$ python …` and `$ export NAME=VALUE` are run, and have to end with exit
  code 0, or with that of a comment such as `# exit code 4`. After an `export`, programs run in a fresh Python.
  `taskq worker` and `taskq dev` are stopped when the same command comes again, or at the page's end, unless they end
  by themselves. Of what stands below a command, the first line has to be printed, but for its spaces.
- `redis://localhost:6379/0` in an `export` is the server that the test has started for the page.
- Whatever cannot be run is a `text` block.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from tests.support import wait_until

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+)\.py(?::.*?((?:[A-Z_]+=\S+ )*python \1\.py)|, (continued|changed))?$")
_SHOWN = re.compile(r"# (examples/\S+\.py)\n")
_EXIT_CODE = re.compile(r"#.*\bexit code (\d+)")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_STANDARD_SERVER = "redis://localhost:6379/0"
_OF_CI = "python3 -m venv .venv "
"""README's two commands from a fresh clone: .ci/run runs them."""

_SESSION = """
import ast, asyncio, contextlib, importlib, inspect, io, json, os, sys, traceback

names = {"__name__": "page"}
asking, telling = sys.stdin, sys.stdout

def run(module, code, line, page):
    if module:
        importlib.invalidate_caches()
        known = sys.modules.get(module)
        found = importlib.reload(known) if known else importlib.import_module(module)
        names.update(vars(found), __name__="page")
        return
    code = compile("\\n" * line + code, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        async def main(): await eval(code, names)
        runner.run(main())
    else:
        exec(code, names)

with asyncio.Runner() as runner:
    for told in map(json.loads, asking):
        os.environ.update(told.pop("environ"))
        printed, error = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                run(**told)
            except BaseException:
                error = traceback.format_exc()
        print(json.dumps([printed.getvalue(), error]), file=telling, flush=True)
"""


class Block(NamedTuple):
    """A fenced block: its info string, its text, the line of the page that it begins at."""

    kind: str
    text: str
    line: int


class Untrue(AssertionError):
    """Raised when a page says what is not so."""


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        yield Block(found[1].strip(), found[2], text.count("\n", 0, found.start()) + 1)


def commands(block: Block) -> list[tuple[str, str]]:
    """Give the commands of a block, each with the first line that stands below it."""
    lines = [*block.text.splitlines(), ""]
    return [
        (line[2:], "" if below.startswith("$ ") else below)
        for line, below in itertools.pairwise(lines)
        if line.startswith("$ ")
    ]


class Reader:
    """Reads one page in a folder of its own. `environ` is what the reader's terminal has, `server` the reader's own."""

    def __init__(self, page: Path, folder: Path, environ: Mapping[str, str], server: str = "") -> None:
        self._page = page
        self._folder = folder
        self._server = server
        self._environ = {
            **environ,
            "PATH": f"{_tools(folder)}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        self._session: _Session | None = None
        self._services: list[_Service] = []

    def read(self) -> None:
        """Follow the page to its end.

        Raises:
            Untrue: it says what is not so.
        """
        try:
            for block in blocks(self._page):
                self._follow(block)
            for service in self._services:
                service.stop()
        except Untrue as error:
            logs = "".join(f"\n--- {service.command}\n{service.log()}" for service in self._services)
            raise Untrue(f"{error}{logs}") from None
        finally:
            for service in self._services:
                service.end()
            if self._session is not None:
                self._session.end()

    def _follow(self, block: Block) -> None:
        if block.kind == "python":
            self._program(block)
        elif block.kind == "console":
            for command, below in commands(block):
                if not command.startswith(_OF_CI):
                    self._run(command, block.line, below)

    def _program(self, block: Block) -> None:
        if shown := _SHOWN.match(block.text):
            if block.text[shown.end() :] != (ROOT / shown[1]).read_text("utf-8"):
                raise Untrue(f"{self._page.name}:{block.line}: {shown[1]} has another text")
            return
        heading = _FILE.match(block.text.partition("\n")[0])
        if heading is not None:
            self._write(self._folder / f"{heading[1]}.py", block.text, heading[3])
            if heading[2]:
                self._run(heading[2], block.line)
                return
        if self._session is None:
            self._session = _Session(self._folder, self._environ)
        told = {"module": heading[1] if heading else "", "code": block.text, "line": block.line}
        printed, error = self._session.ask({**told, "page": str(self._page), "environ": self._environ})
        if error:
            raise Untrue(f"{self._page.name}:{block.line}: {error}")
        wanted = [line.strip()[3:] for line in block.text.splitlines() if line.strip().startswith("#> ")]
        if wanted and printed.splitlines() != wanted:
            raise Untrue(f"{self._page.name}:{block.line}: it prints {printed.splitlines()}, not {wanted}")

    def _write(self, file: Path, text: str, how: str | None) -> None:
        if how == "continued":
            text = "\n\n\n".join((file.read_text().rstrip(), text.partition("\n")[2].lstrip()))
        elif how == "changed":
            text = _replace(file.read_text(), text)
        file.write_text(text)

    def _run(self, command: str, line: int, below: str = "") -> None:
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._environ[name] = value.replace(_STANDARD_SERVER, self._server or _STANDARD_SERVER)
            if self._session is not None:
                self._session.end()
                self._session = None
            return
        program = next(word for word in words if not _ASSIGNMENT.match(word))
        if program not in ("taskq", "python"):
            raise Untrue(f"{self._page.name}:{line}: what `{program}` does is not known: mark it ```text")
        code = _EXIT_CODE.search(command)
        wanted = int(code[1]) if code else 0
        if words[:2] in (["taskq", "dev"], ["taskq", "worker"]) and "--burst" not in words and not wanted:
            for service in self._services:
                if service.command == command:
                    service.stop()
            self._services.append(_Service(command, self._folder, self._environ, len(self._services)))
            return
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != wanted:
            ended = f"ended with exit code {done.returncode}, not {wanted}"
            raise Untrue(f"{self._page.name}:{line}: `{command}` {ended}:\n{done.stdout}{done.stderr}")
        if below and below.split() not in [printed.split() for printed in done.stdout.splitlines()]:
            raise Untrue(
                f"{self._page.name}:{line}: `{command}` prints no {below!r}:\n{done.stdout}{done.stderr}"
            )


def _replace(old: str, new: str) -> str:
    """Put the functions of `new` in place of those of the same names in `old`.

    Raises:
        Untrue: `old` has no such function.
    """
    lines, there = old.splitlines(), _functions(old)
    for name, (begin, end) in _functions(new).items():
        if name not in there:
            raise Untrue(f"there is no function {name} to be changed")
        lines[slice(*there[name])] = new.splitlines()[begin:end]
        there = _functions("\n".join(lines))
    return "\n".join((*lines, ""))


def _functions(text: str) -> dict[str, tuple[int, int]]:
    """Give the lines of each function at the top of a module, decorators and all."""
    return {
        node.name: (
            min((node.lineno, *(one.lineno for one in node.decorator_list))) - 1,
            node.end_lineno or 0,
        )
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


def _tools(folder: Path) -> Path:
    """Make `taskq` and `python` what runs here, installed or not."""
    tools = folder / "bin"
    tools.mkdir()
    for name, module in (("taskq", "-m taskq"), ("python", "")):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
        tool.chmod(0o755)
    return tools


class _Session:
    """The Python in which the programs of a page run; warnings are errors there."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _SESSION],
            cwd=folder,
            env={**environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, told: Mapping[str, object]) -> tuple[str, str]:
        """Run one block; gives what it prints, and the traceback of what it raises."""
        asking, telling = self._pipes()
        asking.write(json.dumps(told) + "\n")
        asking.flush()
        printed, error = json.loads(telling.readline())
        return printed, error

    def end(self) -> None:
        asking, telling = self._pipes()
        asking.close()
        self._process.wait(10)
        telling.close()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


class _Service:
    """A worker that the reader has started in another terminal."""

    def __init__(self, command: str, folder: Path, environ: Mapping[str, str], number: int) -> None:
        self.command = command
        self._path = folder / f"service-{number}.log"
        with self._path.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._is_ready, 30, lambda: f"`{command}` to be ready:\n{self.log()}")

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise Untrue(f"`{self.command}` has ended by itself:\n{self.log()}")
        return "taskq.worker: tasks " in self.log()

    def log(self) -> str:
        return self._path.read_text("utf-8", "replace")

    def stop(self) -> None:
        """Stop it by Ctrl-C; one that has been stopped stays so.

        Raises:
            Untrue: it does not end with exit code 0.
        """
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(30)
        if code != 0:
            raise Untrue(f"`{self.command}` ended with exit code {code}")

    def end(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
