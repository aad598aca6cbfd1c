"""`taskq enqueue`, `result`, `cancel`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import click
import msgspec

from taskq.cli.exits import Exit
from taskq.cli.loading import app_options
from taskq.cli.output import compact, line, show
from taskq.cli.server_options import Server, app_and_server, json_option, url_options, with_server
from taskq.cli.values import duration_ms, json_of
from taskq.codec.call import CallCodec
from taskq.errors import BadSignature, ResultTimeout
from taskq.inspector import operations
from taskq.inspector.detail import Detail, detail, offloaded_result
from taskq.inspector.processes import registered
from taskq.record import State

_ENDED = {state.value for state in State if state.ended}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a task has come to; `error` is `type: message`."""

    id: str
    state: str
    has_result: bool
    result: Any
    error: str | None
    took_ms: int | None


wait_options = (
    click.option("--wait", is_flag=True, help="Wait for its end, for ever unless --timeout is given."),
    click.option(
        "--timeout",
        metavar="DURATION",
        callback=duration_ms,
        help="Wait this long at most: 30, 500ms, 10m. Implies --wait.",
    ),
)


@click.command
@click.argument("name")
@click.option(
    "--args",
    metavar="JSON",
    callback=json_of(list, "'[1, \"two\"]'"),
    help="Positional arguments, a JSON list.",
)
@click.option(
    "--kwargs",
    metavar="JSON",
    callback=json_of(dict, "'{\"to\": 1}'"),
    help="Named arguments, a JSON object.",
)
@click.option("--queue", metavar="NAME", help="Where it waits; by default where the task is declared.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9, 9 is served first.")
@click.option(
    "--delay", metavar="DURATION", callback=duration_ms, help="Not before this long from now: 30, 10m, 2h."
)
@click.option("--key", metavar="TEXT", help="While a task of this key lives, nothing is enqueued.")
@click.option("--id", "task_id", metavar="ID", help="The task's id, in place of a made one.")
@wait_options[0]
@wait_options[1]
@app_options
@url_options
@json_option
def enqueue(
    name: str,
    args: list[Any] | None,
    kwargs: dict[str, Any] | None,
    queue: str | None,
    wait: bool,
    timeout: int | None,
    app: str | None,
    app_dir: str,
    url: str | None,
    namespace: str,
    as_json: bool,
    **given: Any,
) -> int | None:
    """Enqueue the task NAME, and print its id.

    With -A the app's code checks the arguments. Without, the task must be one that workers have registered;
    with --queue it may be any.
    """
    application, server = app_and_server(app, app_dir, url, namespace)
    try:
        task = application.tasks.get(name)
        if task is None:
            _check_registered(server, name, queue, list(application.tasks))
        else:
            _check_arguments(task.codec, args or [], kwargs or {})
            _ = server.shards  # a server that is away is told at once; an app's own client is patient
        sender = application.named(name, queue).using(**_options(given))
        handle = sender.enqueue(*(args or []), **(kwargs or {}))
        if not (wait or timeout is not None):
            told = {"id": handle.id, "created": handle.created}
            show(as_json, told, lambda _: _tell(handle.id, handle.created))
            return None
        if not as_json:
            line(f"taskq: waiting for {handle.id}", error=True)
        return _finish(_await_end(server, handle.id, timeout), as_json, server)
    finally:
        application.close()
        server.broker.close()


def _options(given: dict[str, Any]) -> dict[str, Any]:
    delay_ms = given.pop("delay")
    given["id"] = given.pop("task_id")
    given["delay"] = None if delay_ms is None else delay_ms / 1_000
    return {name: value for name, value in given.items() if value is not None}


def _check_registered(server: Server, name: str, queue: str | None, declared: list[str]) -> None:
    if queue:
        return
    known = [task.name for task in server.run(registered(server.shards))]
    if name in known:
        return
    near = get_close_matches(name, known + declared, 1)
    meant = f"; do you mean {near[0]!r}?" if near else "; `taskq registered` lists them."
    by = "neither the app nor any worker knows" if declared else "no worker has registered"
    raise click.UsageError(f"{by} a task {name!r}{meant} With --queue it is enqueued all the same.")


def _check_arguments(codec: CallCodec, args: list[Any], kwargs: dict[str, Any]) -> None:
    # Programs are spared this, for type checkers look at them; what people type is read as a worker would read it.
    if not codec.pickles:
        codec.decode_call(*codec.encode_call(tuple(args), kwargs))


def _tell(task_id: str, created: bool) -> None:
    line(task_id)
    if not created:
        line("taskq: nothing was enqueued: this task was there already", error=True)


@click.command
@click.argument("id")
@wait_options[0]
@wait_options[1]
@with_server
def result(server: Server, id: str, wait: bool, timeout: int | None, as_json: bool) -> int:
    """Print the result of the task ID as JSON.

    Exit code 1 if it ended without one, 4 if it has not ended yet.
    """
    if wait or timeout is not None:
        return _finish(_await_end(server, id, timeout), as_json, server)
    found = server.run(detail(server.keys_of(id), id, server.frames, server.redaction))
    return _finish(found, as_json, server)


def _await_end(server: Server, id: str, timeout_ms: int | None) -> Detail:
    keys = server.keys_of(id)
    found = server.run(
        detail(keys, id, server.frames, server.redaction)
    )  # says what is wrong with an id of which nothing is known
    if found.state in _ENDED:
        return found
    future = server.broker.inbox_of(id).watch([id])[id]
    try:
        future.result(None if timeout_ms is None else timeout_ms / 1_000)
    except TimeoutError:
        raise ResultTimeout(f"task {id} has not ended within {timeout_ms} ms: it is {found.state}") from None
    return server.run(detail(keys, id, server.frames, server.redaction))


def _finish(found: Detail, as_json: bool, server: Server) -> int:
    frames = server.frames
    refused = {"invalid", "unknown key"} if frames.accepts_unsigned else {"invalid", "unknown key", "missing"}
    if found.signature in refused:
        raise BadSignature(
            f"what is said of task {found.id} is not to be trusted: signature {found.signature}"
        )
    error = f"{found.error.type}: {found.error.message}" if found.error else None
    if found.result_offloaded is not None:
        result = server.run(
            offloaded_result(
                server.keys_of(found.id), found.id, server.frames, server.payloads, server.redaction
            )
        )
        found = msgspec.structs.replace(found, has_result=True, result=result)
    outcome = Outcome(
        id=found.id,
        state=found.state,
        has_result=found.has_result,
        result=found.result,
        error=error,
        took_ms=found.took_ms,
    )
    show(as_json, outcome, _show_outcome)
    if found.state == State.SUCCEEDED.value:
        return Exit.OK
    return Exit.NO if found.state in _ENDED or found.unreadable else Exit.WAITING


def _show_outcome(outcome: Outcome) -> None:
    if outcome.has_result:
        line(compact(outcome.result, 1 << 30))
    elif outcome.state == State.SUCCEEDED.value:
        line(f"taskq: task {outcome.id} succeeded; its result was not kept", error=True)
    elif outcome.error and outcome.state == State.FAILED.value:
        more = f"(`taskq task {outcome.id}` shows the traceback)"
        line(f"taskq: task {outcome.id} failed: {outcome.error} {more}", error=True)
    else:
        line(f"taskq: task {outcome.id} is {outcome.state}", error=True)


_SAID = {
    State.CANCELLED: "is cancelled and will not run",
    State.RUNNING: "runs; its process was asked to stop it",
}


@click.command
@click.argument("id")
@with_server
def cancel(server: Server, id: str, as_json: bool) -> int:
    """Cancel the task ID: one that waits never starts, one that runs is asked to stop.

    Exit code 1 if it had ended before.
    """
    state = server.run(operations.cancel(server.keys_of(id), id, server.keep_ms))
    said = _SAID.get(state, f"had ended before: it {state.value}")
    show(as_json, {"id": id, "state": state.value}, lambda _: line(f"task {id} {said}"))
    return Exit.OK if state in _SAID else Exit.NO
