from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq import errors
from taskq.cli import run
from taskq.cli.exits import Exit, code_of
from taskq.cli.output import cut, instant, printable, show, span, table
from taskq.cli.root import COMMANDS, root
from taskq.cli.values import duration_ms, json_of
from tests.commandline import MAIN, ROOT, environment, settle_in


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settle_in(monkeypatch, tmp_path)
    monkeypatch.setattr("taskq.cli.server_options._PATIENCE_S", 0.0)


def started(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAIN, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def one_line(text: str) -> str:
    [line] = text.splitlines()
    assert line.startswith("taskq: ")
    return line


def test_the_help_names_each_command_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == Exit.OK
    out = capsys.readouterr().out
    there = root.list_commands(click.Context(root))

    assert {"queues", "tasks", "enqueue", "doctor", "worker", "server"} <= set(there)
    assert [name for name in there if f"\n  {name} " not in out] == []
    assert "Exit codes:" in out


def test_the_help_loads_no_command_and_no_driver() -> None:
    code = "import sys; from taskq.cli import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    loaded = set(done.stderr.split())
    commands = {entry.module for section in COMMANDS.values() for entry in section.values()}

    assert "taskq.cli.root" in loaded
    assert loaded & (commands | {"redis", "rich", "taskq.worker", "taskq.broker.client"}) == set()


def test_each_command_that_is_there_has_a_help() -> None:
    context = click.Context(root)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        assert command.help, name


def test_a_command_whose_module_is_not_there_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = COMMANDS["Look"]["queues"]
    monkeypatch.setitem(COMMANDS["Look"], "queues", entry._replace(module="taskq.cli.nowhere"))
    monkeypatch.setattr("taskq.cli.root._ALL", {"queues": COMMANDS["Look"]["queues"]})

    assert run(["queues"]) == Exit.USAGE
    assert "No such command 'queues'" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nope"], Exit.USAGE, "No such command 'nope'. See `taskq --help`."),
        (["dve"], Exit.USAGE, "No such command 'dve'. Did you mean 'dev'? See `taskq --help`."),
        (["worker", "--proceses", "2"], Exit.USAGE, "? See `taskq worker --help`."),
        (["queues"], Exit.BROKER, "set TASKQ_REDIS_URL"),
        (["queues", "--url", "localhost"], Exit.USAGE, "no scheme"),
        (["queues", "--url", "http://localhost"], Exit.USAGE, "scheme is unknown"),
        (["queues", "--url", "redis://127.0.0.1:1/0"], Exit.BROKER, "is it running"),
        (["queues", "--url", "redis://127.0.0.1:1/0", "--namespace", "a b"], Exit.USAGE, "namespace 'a b'"),
        (["tasks", "--limit", "many"], Exit.USAGE, "--limit"),
        (["tasks", "--state", "lost"], Exit.USAGE, "--state"),
        (["task"], Exit.USAGE, "Missing argument 'ID'"),
        (["enqueue", "x", "--args", "[1"], Exit.USAGE, "no JSON"),
        (["enqueue", "x", "--args", "{}"], Exit.USAGE, "wrong kind of JSON"),
        (["enqueue", "x", "--args", "[NaN]"], Exit.USAGE, "NaN"),
        (["enqueue", "x", "--kwargs", "[]"], Exit.USAGE, "wrong kind of JSON"),
        (["enqueue", "x", "--delay", "soon"], Exit.USAGE, "'soon'"),
        (["enqueue", "x", "--priority", "10"], Exit.USAGE, "--priority"),
        (["enqueue", "x", "-A", "../shop"], Exit.USAGE, "MODULE:APP"),
        (["enqueue", "x", "-A", "nowhere:app"], Exit.USAGE, "no module 'nowhere'"),
        (["result", "x", "--timeout", "-1"], Exit.USAGE, "--timeout"),
        (["dead", "nope"], Exit.USAGE, "No such command 'nope'"),
        (["completion", "tcsh"], Exit.USAGE, "tcsh"),
    ],
)
def test_bad_input_gets_one_line_that_says_what_to_do(
    arguments: list[str], code: Exit, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert said in one_line(captured.err)
    assert captured.out == ""


def test_a_password_is_in_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("redis://:hunter2@127.0.0.1:1/0", "redis://me:hunter2@/x y", "nope://:hunter2@host"):
        assert run(["queues", "--url", url]) != Exit.OK

    assert "hunter2" not in capsys.readouterr().err


def test_a_traceback_is_shown_only_where_it_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["queues"]) == Exit.BROKER
    assert "Traceback" not in capsys.readouterr().err

    monkeypatch.setenv("TASKQ_DEBUG", "1")
    assert run(["queues"]) == Exit.BROKER
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_told_as_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("taskq.cli.server_options.find_url", broken)

    assert run(["queues"]) == Exit.BUG
    assert "this is a bug of taskq" in capsys.readouterr().err


def test_each_error_ends_a_command_with_a_code_that_is_documented() -> None:
    def below(kind: type[errors.TaskqError]) -> list[type[errors.TaskqError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    codes = {kind.__name__: code_of(kind.__new__(kind)) for kind in below(errors.TaskqError)}

    assert set(codes.values()) == {Exit.NO, Exit.USAGE, Exit.BROKER, Exit.WAITING}
    assert (
        codes["BrokerNotConfigured"] == codes["BrokerUnavailable"] == codes["EnqueueUnknown"] == Exit.BROKER
    )
    assert codes["ConfigurationError"] == codes["BadName"] == codes["ArgumentMismatch"] == Exit.USAGE
    assert codes["TaskNotFound"] == codes["TaskFailed"] == Exit.NO
    assert codes["ResultTimeout"] == Exit.WAITING


def test_who_closes_the_pipe_hears_nothing() -> None:
    process = subprocess.Popen(
        [*MAIN, "version"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (Exit.PIPE, b"")


def test_the_versions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == Exit.OK
    versions = json.loads(capsys.readouterr().out)
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["redis"]

    assert run(["--version"]) == Exit.OK
    assert capsys.readouterr().out.startswith("taskq ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == Exit.OK
    assert "_TASKQ_COMPLETE" in capsys.readouterr().out


def test_the_shell_completes_commands_and_options() -> None:
    commands = started(_TASKQ_COMPLETE="bash_complete", COMP_WORDS="taskq que", COMP_CWORD="1")
    options = started(_TASKQ_COMPLETE="bash_complete", COMP_WORDS="taskq queues --names", COMP_CWORD="2")

    assert commands.stdout.split() == ["plain,queues"]
    assert options.stdout.split() == ["plain,--namespace"]


@given(st.text())
def test_no_control_character_is_printed_to_people(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_a_terminal_escape_is_shown_as_one() -> None:
    assert printable("\x1b[31mred\x9b\u202e\n") == "\\x1b[31mred\\x9b\\u202e\\n"


@given(st.dictionaries(st.text(), st.text()))
def test_json_is_ascii_and_whole(value: dict[str, str]) -> None:
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        show(True, value, lambda _: None)

    assert caught.getvalue().isascii()
    assert caught.getvalue().replace("\n", " ").isprintable()
    assert json.loads(caught.getvalue()) == value


def test_a_table_is_aligned_with_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    table(("NAME", "READY", "NOTE"), [("mail", 12_345, None), ("a\tb", 7, "[red]x[/red]")])

    assert capsys.readouterr().out == (
        "NAME   READY  NOTE\n"  #
        "mail  12,345\n"
        "a\\tb       7  [red]x[/red]\n"
    )


def test_a_narrow_terminal_cuts_the_long_columns_and_leaves_none_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("taskq.cli.output.is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    table(("ID", "NAME", "QUEUES", "LAST"), [("i" * 20, "n" * 40, "q" * 40, "0.1.0.dev0")])

    heading, row = map(str.split, capsys.readouterr().out.splitlines())
    assert heading == ["ID", "NAME", "QUEUES", "LAST"]
    assert (row[0], row[3]) == ("i" * 20, "0.1.0.dev0")
    assert row[1].endswith("…")
    assert row[2].endswith("…")


def test_a_table_without_rows_is_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    table(("NAME", "READY"), [])

    assert capsys.readouterr().out == "NAME  READY\n"


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(None, None), (0, "0 ms"), (999, "999 ms"), (3_400, "3.4 s"), (119_900, "119.9 s"), (120_000, "2 m"),
     (7_200_000, "2 h"), (200_000_000, "2 d")],
)  # fmt: skip
def test_a_duration_is_shown_in_the_unit_that_suits(ms: int | None, shown: str | None) -> None:
    assert span(ms) == shown


@given(st.none() | st.integers())
def test_any_instant_is_shown(ms: int | None) -> None:
    assert (instant(ms) is None) == (ms is None)


def test_text_is_cut_to_a_width() -> None:
    assert (cut("abcdef", 6), cut("abcdef", 4)) == ("abcdef", "abc…")


def test_a_duration_is_seconds_or_has_a_unit() -> None:
    context, option = click.Context(root), click.Option(["--delay"])

    def read(text: str | None) -> int | None:
        return duration_ms(context, option, text)

    assert [read("30"), read("0.5"), read("500ms"), read("1h30m")] == [30_000, 500, 500, 5_400_000]
    assert read(None) is None


def test_json_of_the_wrong_kind_is_refused_with_an_example() -> None:
    context, option = click.Context(root), click.Option(["--args"])
    read: Callable[..., Any] = json_of(list, "'[1]'")

    assert read(context, option, "[1, {}]") == [1, {}]
    with pytest.raises(click.BadParameter, match=r"'\[1\]'"):
        read(context, option, "[" * 100_000)
