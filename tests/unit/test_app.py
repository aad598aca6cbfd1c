"""An app: what it takes as a task, from whom, and what it sends by names."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskGroup, TaskQ
from taskq.errors import BadName, ConfigurationError, DuplicateTask
from tests.unit.wire import WiredApp, answers


def noop() -> None: ...


def make_noop() -> Any:
    def noop() -> None: ...

    return noop


class Holder:
    @staticmethod
    def noop() -> None: ...

    def __call__(self) -> None: ...


class TestNames:
    def test_a_task_is_named_after_app_module_and_function(self) -> None:
        app = TaskQ("shop")
        assert app.task(noop).name == f"shop.{__name__}.noop"
        assert app.task(Holder.noop).name == f"shop.{__name__}.Holder.noop"
        assert list(app.tasks) == [f"shop.{__name__}.noop", f"shop.{__name__}.Holder.noop"]

    def test_a_function_inside_another_is_named_without_brackets(self) -> None:
        assert TaskQ("shop").task(make_noop()).name == f"shop.{__name__}.make_noop.noop"

    def test_partials_and_objects_have_names(self) -> None:
        app = TaskQ("shop")
        assert app.task(functools.partial(noop)).name == f"shop.{__name__}.noop"
        assert app.task(Holder()).name == f"shop.{__name__}.Holder"

    def test_a_name_that_is_given_is_the_name(self) -> None:
        assert TaskQ("shop").task(noop, name="mail.send:v2").name == "mail.send:v2"

    def test_a_lambda_needs_a_name(self) -> None:
        app = TaskQ("shop")
        with pytest.raises(ConfigurationError, match="name="):
            app.task(lambda: 1)
        assert app.task(lambda: 1, name="one")() == 1

    @pytest.mark.parametrize("name", ["", "a b", "a|b", "a" * 65])
    def test_an_app_is_named_as_names_are(self, name: str) -> None:
        with pytest.raises(BadName):
            TaskQ(name)


class TestDeclaring:
    def test_two_functions_of_one_name_are_an_error_that_names_both_places(self) -> None:
        app = TaskQ("shop")
        app.task(noop, name="same")
        with pytest.raises(DuplicateTask) as caught:
            app.task(make_noop(), name="same")
        places = [function.__code__.co_firstlineno for function in (noop, make_noop())]
        for line in places:
            assert f"test_app.py:{line}" in str(caught.value)
        assert app.tasks["same"].function is noop

    def test_a_function_that_is_made_twice_is_two_functions(self) -> None:
        app = TaskQ("shop")
        app.task(make_noop())
        with pytest.raises(DuplicateTask):
            app.task(make_noop())

    def test_a_task_is_refused(self) -> None:
        app = TaskQ("shop")
        task = app.task(lambda: None, name="shop.one")

        with pytest.raises(ConfigurationError, match="is a task already"):
            app.task(task)

    def test_generators_are_refused(self) -> None:
        def generator() -> Iterator[int]:
            yield 1

        with pytest.raises(ConfigurationError, match="generator"):
            TaskQ("shop").task(generator)

    def test_what_cannot_be_called_is_refused(self) -> None:
        app: Any = TaskQ("shop")
        with pytest.raises(ConfigurationError, match="'mail'"):
            app.task("mail")


class TestGroups:
    def test_an_app_takes_over_the_tasks_of_a_group(self) -> None:
        group = TaskGroup("library.mail", queue="mail")
        send = group.task(noop)
        other = group.task(make_noop(), name="own", queue="other")
        app = WiredApp()
        app.include(group)

        send.enqueue()
        other.enqueue()

        assert app.tasks == {"library.mail.noop": send, "own": other}
        assert [(sent.message.task, sent.list) for sent in app.wire.sent] == [
            ("library.mail.noop", "mail:5"),
            ("own", "other:5"),
        ]
        assert send.app is app

    def test_what_is_declared_later_is_taken_over_too(self) -> None:
        group, app = TaskGroup("library"), WiredApp()
        app.include(group)
        task = group.task(noop)
        task.enqueue()
        assert app.tasks == {"library.noop": task}

    def test_options_that_were_given_before_keep_working(self) -> None:
        group, app = TaskGroup("library"), WiredApp()
        urgent = group.task(noop).using(priority=9)
        app.include(group)
        urgent.enqueue()
        assert app.wire.sent[0].list == "default:9"

    def test_without_an_app_a_task_can_be_called_only(self) -> None:
        task = TaskGroup("library").task(noop)
        task()
        with pytest.raises(ConfigurationError, match=r"library.*include"):
            task.enqueue()

    def test_a_group_has_one_app(self) -> None:
        group, app = TaskGroup("library"), TaskQ("shop")
        app.include(group)
        app.include(group)
        with pytest.raises(ConfigurationError, match=r"library.*shop"):
            TaskQ("other").include(group)

    def test_a_name_that_the_app_has_is_an_error(self) -> None:
        group, app = TaskGroup("library"), TaskQ("shop")
        app.task(make_noop(), name="library.noop")
        group.task(noop)
        with pytest.raises(DuplicateTask):
            app.include(group)

    def test_queues_and_prefixes_are_checked(self) -> None:
        with pytest.raises(BadName):
            TaskGroup("a b")
        with pytest.raises(BadName):
            TaskGroup("a", queue="a b")


class TestInclude:
    def test_freeze_imports_the_modules_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "included_once", raising=False)
        (tmp_path / "included_once.py").write_text("raise SystemError('imported')\n")
        app = TaskQ("shop", include=["included_once"])
        with pytest.raises(SystemError):
            app.freeze()
        (tmp_path / "included_once.py").write_text("")
        app.freeze()
        (tmp_path / "included_once.py").unlink()
        del sys.modules["included_once"]
        app.freeze()

    def test_a_module_that_does_not_exist_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="no_such_module"):
            TaskQ("shop", include=["no_such_module.tasks"]).freeze()

    def test_what_a_module_fails_to_import_is_its_own_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "needs_another.py").write_text("import no_such_dependency\n")
        with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
            TaskQ("shop", include=["needs_another"]).freeze()

    def test_a_name_is_no_list(self) -> None:
        with pytest.raises(ConfigurationError, match="list"):
            TaskQ("shop", include="shop.tasks")

    def test_after_it_a_collision_is_still_an_error(self) -> None:
        app = TaskQ("shop")
        app.freeze()
        app.task(noop)
        with pytest.raises(DuplicateTask):
            app.task(make_noop(), name=f"shop.{__name__}.noop")


class TestByName:
    def test_a_call_needs_no_code(self) -> None:
        app = WiredApp()
        handle = app.enqueue("mail.send", "a@b.c", subject="hello", queue="mail")
        [sent] = app.wire.sent
        assert (handle.id, sent.message.task, sent.list) == (sent.id, "mail.send", "mail:5")

    def test_the_queue_is_the_one_that_workers_registered_for_a_minute(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = WiredApp()
        app.wire.replies["HGET"] = answers({"mail.send": b"mail|1764000000000"})
        now = [1000.0]
        monkeypatch.setattr("taskq.app.time.monotonic", lambda: now[0])

        def looked_up() -> int:
            return [command.name for command in app.wire.commands].count("HGET")

        app.enqueue("mail.send")
        now[0] += 59
        asyncio.run(app.aenqueue("mail.send"))
        assert looked_up() == 1
        now[0] += 2
        app.enqueue("mail.send")
        assert looked_up() == 2
        assert {sent.list for sent in app.wire.sent} == {"mail:5"}

    def test_a_task_that_nobody_registered_waits_in_default(self) -> None:
        app = WiredApp()
        app.enqueue("mail.send")
        assert app.wire.sent[0].list == "default:5"

    def test_a_task_that_is_declared_here_is_itself(self) -> None:
        app = WiredApp()
        task = app.task(noop, name="noop", queue="own", priority=7)
        app.enqueue("noop")
        app.enqueue("noop", queue="other")
        assert [sent.list for sent in app.wire.sent] == ["own:7", "other:7"]
        assert app.named("noop") is task
        with pytest.raises(TypeError):
            app.enqueue("noop", 1)

    def test_options_are_given_as_elsewhere(self) -> None:
        app = WiredApp()
        app.named("mail.send", "mail").using(delay=5, priority=9).enqueue(1)
        assert (app.wire.sent[0].list, app.wire.sent[0].options) == ("mail:9", "+5000||||")

    def test_names_are_checked(self) -> None:
        with pytest.raises(BadName):
            WiredApp().enqueue("a b")
        with pytest.raises(BadName):
            WiredApp().enqueue("a", queue="a b")
