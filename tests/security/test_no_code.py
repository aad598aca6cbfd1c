"""No code comes from the server: what names, errors and values refer to is neither imported, nor opened, nor run."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.msgpack import Ext

from taskq import TaskHandle
from taskq.broker.commands.producing import Envelope
from taskq.codec import CallCodec
from taskq.message import Message, encode_message
from taskq.names import new_task_id
from taskq.record import Outcome, RemoteError, encode_outcome
from tests.workers import ROOT, Yard

CANARY = "canary_of_taskq"
TAKE = "tests.tests.apps.audited.take"
LAZY = "tests.apps.lazy"


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setenv("TASKQ_TESTS_AUDIT", str(tmp_path))
    (tmp_path / f"{CANARY}.py").write_text(
        f"open({str(tmp_path / 'touched')!r}, 'w').close()\nclass Boom(Exception): ...\ndef run(*args): ...\n"
    )
    # A `tzdata` of our own: what it has not is not imported from it.
    (tmp_path / "tzdata" / "zoneinfo").mkdir(parents=True)
    for folder in (tmp_path / "tzdata", tmp_path / "tzdata" / "zoneinfo"):
        (folder / "__init__.py").touch()
    (tmp_path / "tzdata" / "zones").write_text("Of/Nowhere\n")
    with Yard(tmp_path) as yard:
        yield yard
        assert not (tmp_path / "touched").exists()


def store(yard: Yard, data: bytes) -> TaskHandle[Any]:
    broker = yard.app.broker
    [stored] = broker.run(broker.store([Envelope(new_task_id(), "default:5", data)]))
    return yard.app.handle(stored.id)


def call(name: str, *args: Any) -> bytes:
    return encode_message(Message(name, args=CallCodec(None).encode_call(args, {})[0]))


class Canary:
    def __reduce__(self) -> Any:
        return exec, (f"import {CANARY}",)


def zone(key: str) -> bytes:
    value = Ext(6, msgspec.msgpack.encode(("2024-01-02T00:00:00", 0, key, 0)))
    return encode_message(Message(TAKE, args=b"\x01" + msgspec.msgpack.encode([value])))


PICKLED = b"\x02" + bytes(sys.version_info[:2]) + pickle.dumps(((Canary(),), {}))
NOTHING = CallCodec(None).encode_call((), {})


def hostile() -> Iterator[bytes]:
    """Messages that name the canary wherever a name may stand."""
    for name in (
        f"{CANARY}:run",
        f"{CANARY}.run",
        f"tests.{CANARY}.run",
        "os:system",
        "builtins.eval",
        f"{CANARY}.Boom",
    ):
        yield call(name, CANARY)
    for caller in ("tests.taskq.call", "tests.taskq.acall"):
        yield call(caller, CANARY, "run", *NOTHING)
        yield call(caller, LAZY, CANARY, *NOTHING)
        yield call(caller, LAZY, "__getattr__", *CallCodec(None).encode_call((CANARY,), {}))
        yield call(caller, LAZY, "importlib", *NOTHING)
        yield call(caller, "os", "system", *CallCodec(None).encode_call((f"touch {CANARY}",), {}))
    for runner in ("tests.taskq.run", TAKE):
        yield encode_message(Message(runner, args=PICKLED))
        yield encode_message(Message(runner, args=b"", kwargs=PICKLED))
    for key in (CANARY, f"{CANARY}/run", f"Europe/{CANARY}", f"tzdata/{CANARY}", f"../{CANARY}"):
        yield zone(key)
    yield encode_message(
        Message(TAKE, headers={"import": CANARY}, tags=[CANARY], origin=CANARY, secrets=[f"~{CANARY}"])
    )
    yield b"\x02\x00" + CANARY.encode()
    yield PICKLED


def test_a_worker_does_nothing_for_a_name(yard: Yard, tmp_path: Path) -> None:
    worker = yard.worker("audited")
    good = [yard.app.enqueue("tests.taskq.call", LAZY, "double", *CallCodec(None).encode_call((21,), {}))]
    assert good[0].result(timeout=10) == 42
    sent = [store(yard, data) for data in hostile()]
    good += [yard.send("audited.take", number) for number in range(3)]
    assert yard.wait_ended(good) == {"succeeded": 4}
    yard.ledger.wait("end", count=3)
    assert worker.stop() == 0
    states = yard.states(sent)
    assert states["succeeded"] <= 6  # zones that are none, and headers, harm nobody
    assert states["failed"] + states["parked"] + states["succeeded"] == len(sent)

    notes = (tmp_path / "notes").read_text().splitlines()
    assert any(line.startswith("import ") for line in notes)
    told = [line for line in notes if CANARY in line and not line.startswith(("os.listdir", "os.scandir"))]
    assert told == []
    assert [
        line for line in notes if line.startswith(("pickle.", "subprocess.", "os.system", "os.exec"))
    ] == []


READ = """
import sys
from taskq import TaskQ

notes = []
def note(event, args):
    if event.startswith(("import", "exec", "compile", "open", "subprocess.", "os.system", "pickle.")):
        notes.append(f"{event} {args[:2]!r}")

url, namespace, *ids = sys.argv[1:]
app = TaskQ("reader", redis_url=url, namespace=namespace)
app.handle(ids[0]).status()
sys.addaudithook(note)
for id in ids:
    try:
        print(type(app.handle(id).result(timeout=5)).__name__)
    except Exception as error:
        print(type(error).__name__)
    app.handle(id).info()
print([line for line in notes if sys.argv[0] in line or "canary" in line or line.startswith("pickle")])
"""


def test_a_program_does_nothing_for_the_name_of_an_error_or_for_a_result(yard: Yard, tmp_path: Path) -> None:
    worker = yard.worker("audited")
    handles = [yard.send("audited.take", number) for number in range(3)]
    assert yard.wait_ended(handles) == {"succeeded": 3}
    keys = yard.app.broker.keys[0]
    ends = {
        "F": Outcome(error=RemoteError(f"{CANARY}.Boom", CANARY, f'File "{CANARY}.py", line 1')),
        "S": Outcome(result=b"\x02" + bytes(sys.version_info[:2]) + pickle.dumps(Canary())),
        "E": Outcome(error=RemoteError("os.system", f"touch {CANARY}"), task=f"{CANARY}:run", process=CANARY),
    }
    for handle, (letter, outcome) in zip(handles, ends.items(), strict=True):
        yard.server.call("SET", keys.record(handle.id), f"{letter}|7|p|".encode() + encode_outcome(outcome))
    done = subprocess.run(
        [sys.executable, "-c", READ, yard.server.url, yard.namespace, *(handle.id for handle in handles)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.stdout.splitlines() == ["TaskFailed", "BadMessage", "TaskExpired", "[]"], done.stderr
    assert worker.stop() == 0


def high_water(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux tells it")


def test_a_bomb_unfolds_to_nothing(yard: Yard) -> None:
    worker = yard.worker("quick", concurrency=2)
    [child] = worker.children()
    assert yard.wait_ended(yard.send_many("quick.tick", [()] * 50)) == {"succeeded": 50}
    packed = zlib.compress(bytes(100_000_000), 9)
    assert 97_000 < len(packed) < 98_000
    before = high_water(child)
    sizes = (100_000_000, (1 << 32) - 1, 1_000, 0)
    bombs = [store(yard, b"\x01\x02" + size.to_bytes(4, "big") + packed) for size in sizes]
    bombs += [store(yard, b"\x01\x02" + (4_000).to_bytes(4, "big") + packed) for _ in range(20)]

    assert yard.wait_ended(bombs) == {"failed": len(bombs)}
    assert high_water(child) - before < 20 << 20
    assert worker.children() == [child]
    assert worker.stop() == 0
