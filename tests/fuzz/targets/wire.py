"""Frames, messages, records with their outcomes, offloaded payloads: by every reader that there is."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from taskq import TaskQ
from taskq.broker.commands.producing import told
from taskq.broker.commands.working import Claimed, Kind
from taskq.codec import CallCodec
from taskq.context import TaskContext
from taskq.errors import ArgumentMismatch, BadMessage, PayloadError, TaskqError
from taskq.frame import NO_KEYS, FrameCodec, split, unchecked
from taskq.handle import TaskHandle
from taskq.info import describe
from taskq.inspector.listing import row_of
from taskq.inspector.places import Sighting
from taskq.message import Message, bring_back, decode_message, message_signature, open_message
from taskq.payloads import Payloads, Reference
from taskq.record import Outcome, State, decode_outcome, parse_record
from taskq.signing import KeyRing
from taskq.worker.intake import Intake
from taskq.worker.job import Job
from taskq.worker.testimony import Testimony
from taskq.worker.timeouts import KILL_AFTER_S, kill_at_ms
from taskq.worker.verdict import judge_of
from tests.fuzz.engine import CORPUS

ID = "0-01h2xcejqtf2nbrexx3vqjhp41"
G = 1_764_000_000_000_001
MOST = 1 << 20
RING = KeyRing({"k1": "one" * 11, "k2": "two" * 11})
LONGEST_MS = 100 * 365 * 86_400_000
"""No duration that is sent to Redis may be longer: it refuses some, half-way through a script."""

PLAIN = FrameCodec("fuzz", max_payload=MOST)
SIGNED = FrameCodec("fuzz", keys=RING, max_payload=MOST)
LENIENT = FrameCodec("fuzz", keys=RING, max_payload=MOST, accept_unsigned=True)
ELSEWHERE = FrameCodec("other", keys=RING, max_payload=MOST)
FRAMES = (PLAIN, SIGNED, LENIENT, ELSEWHERE)
SAID = {None, "valid", "invalid", "missing", "unknown key", "not checked"}

app = TaskQ("fuzz", redis_url="redis://nowhere.invalid", namespace="fuzz", max_payload=MOST)


@app.task(name="send", soft_timeout="1m")
def send(to: str, times: int = 1, **more: Any) -> int:
    raise NotImplementedError


@app.task(name="early", ack="early", keep_message=True)
async def early(what: Any = None) -> None: ...


GENUINE = {
    what: frozenset(path.read_bytes() for path in (CORPUS / what).glob("signed*"))
    for what in ("frame", "message", "record")
}
"""The inputs of the corpus that a key of ours has signed: nothing else may ever be taken for such."""

SIGNED_ENDS = {(data[:1], G, data.split(b"|", 3)[3]) for data in GENUINE["record"]}
"""State, claim and outcome; who owned it is not signed."""

TESTIMONY = Testimony(1)


def frame(data: bytes) -> None:
    with suppress(BadMessage):
        split(data)
    for frames in FRAMES:
        for what, fits in (("message", ""), ("outcome", "7 S")):
            with suppress(BadMessage):
                body, verified = frames.open(data, what, ID, fits)
                assert len(body) <= MOST
                assert not verified or (frames is not ELSEWHERE and data in GENUINE["frame"])
            assert frames.signature(data, what, ID, fits) in SAID
    with suppress(BadMessage):
        unchecked(data)


def message(data: bytes) -> None:
    for frames in FRAMES:
        with suppress(BadMessage):
            _, verified = open_message(data, ID, "default", frames)
            assert not verified or (frames is not ELSEWHERE and data in GENUINE["message"])
        assert message_signature(data, ID, "default", frames) in SAID
        row_of(Sighting(ID, State.QUEUED, "default", 5), None, data, frames)
        describe(ID, None, data, send.codec, frames)
    with suppress(BadMessage):
        assert type(decode_message(data)) is Message
    _take_in(data)


def _take_in(data: bytes) -> None:
    take_in(Claimed(ID, 7, b"0|1|x|default:5|9", data))


def take_in(claimed: Claimed) -> None:
    """As a worker does: what it makes of a claimed message before, while and after a task runs."""
    judge = judge_of(app)
    taken = Intake(app.tasks, judge).take([claimed], "p", 0, 1.0)
    for job in taken.jobs:
        _run(job, TESTIMONY)
        for error in (ValueError("no"), TimeoutError()):
            _check(judge.raised(job, error, 0, 0.1).words(job))
        _check(judge.succeeded(job, b"\x01\xc0", 0, 0.1).words(job))
        _check(judge.ended(job, Kind.EXPIRED).words(job))
    for job, verdict in taken.verdicts:
        _check(verdict.words(job))
    for words in taken.unreadable:
        _check(words)
    for _, name in taken.unknown:
        assert name.isascii()
        assert len(name) <= 200


def _run(job: Job, testimony: Testimony) -> None:
    job.started = 5.0
    at = testimony.word_of(0)
    testimony.words[at], testimony.words[at + 1] = job.g, kill_at_ms(job)
    assert testimony.words[at + 1] == 0 or testimony.words[at + 1] >= (5 + KILL_AFTER_S) * 1_000
    assert all(seconds > 0 for seconds in job.timeouts())
    context = TaskContext(job.id, job.g, 0, 0, job.message, job.task, None, None)  # type: ignore[arg-type]
    repr((context, context.name, context.queue, context.attempt, context.headers, context.tags))
    context.log.process("x", {})
    with suppress(ArgumentMismatch, BadMessage):
        job.task.codec.decode_call(job.message.args, job.message.kwargs, job.signed)
    job.veil().over("what the task says")


def _check(words: tuple[Any, ...]) -> None:
    """Hold an outcome against what `settle.lua` can do with it."""
    _, g, kind, ms, task, took_ms, outcome = words
    assert type(g) is int
    assert kind in "SFCERQsce"
    assert 0 <= ms <= LONGEST_MS, f"settle is told {ms} ms"
    assert "\n" not in task
    assert took_ms >= 0
    assert len(outcome) <= MOST + 100


def record(data: bytes) -> None:
    with suppress(BadMessage):
        parsed = parse_record(data)
        for frames in FRAMES:
            assert parsed.signature(ID, frames) in SAID
            describe(ID, parsed, None, send.codec, frames, due_ms=None)
            with suppress(BadMessage):
                outcome, verified = parsed.open(ID, frames)
                assert type(outcome) is Outcome
                signed = data[:1], parsed.g, parsed.ending
                assert not verified or (frames is not ELSEWHERE and signed in SIGNED_ENDS)
        for state in State:
            row_of(Sighting(ID, state, "default", 5), data, b"\x01\x00\x81\xa1t\xa1x", NO_KEYS)
    for codec in (send.codec, CallCodec(None)):
        handle: TaskHandle[Any] = TaskHandle(app, ID, codec)
        with suppress(TaskqError):
            handle.end = parse_record(data)
            handle.result()
    _, end = told(ID.encode() + b" " + data)
    assert end is None or end.state.ended
    with suppress(BadMessage):
        decode_outcome(data)


class _Shelf:
    """A store that has one object, whatever is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def get(self, name: str, most: int) -> bytes:
        return self.content[: most + 1]


def payload(data: bytes) -> None:
    """What stands in the store is `data`; the reference to it is right, or compressed by its own word."""
    from hashlib import sha256

    for compressed in (False, True):
        reference = Reference(f"{ID}~mff", len(data), sha256(data).digest(), compressed)
        asked = Message("send", payload=reference)
        with suppress(PayloadError):
            bring_back(asked, ID, Payloads(_Shelf(data), MOST))  # type: ignore[arg-type]
            assert type(asked.args) is type(asked.kwargs) is bytes
            with suppress(ArgumentMismatch, BadMessage):
                send.codec.decode_call(asked.args, asked.kwargs)
    with suppress(BadMessage):
        outcome = decode_outcome(data)
        if outcome.payload is not None:
            with suppress(PayloadError):
                Payloads(_Shelf(data), MOST).get(outcome.payload, ID)  # type: ignore[arg-type]


def seeds() -> dict[str, dict[str, bytes]]:
    """Real encodings, made by the product itself, for the targets of this file."""
    from taskq.message import encode_message, seal_message, set_aside
    from taskq.record import RemoteError, encode_outcome, seal_outcome

    args, kwargs = send.codec.encode_call(
        ("ann@example.org",), {"times": 3, "when": datetime(2024, 1, 2, tzinfo=UTC)}
    )
    full = Message(
        "send",
        "default",
        5,
        args,
        kwargs,
        1_764_000_000_000,
        3,
        60_000,
        600_000,
        {"trace": "1"},
        ["a", "b"],
        [0, "~*iban*"],
        ID,
    )
    aside, stored = set_aside(full, ID, Payloads(None, MOST), 10)
    large = Message("early", args=b"\x01\x91\xda\x04\x00" + b"x" * 1_024)
    messages = {
        "plain": encode_message(full),
        "least": encode_message(Message("early")),
        "signed": seal_message(full, ID, SIGNED),
        "signed-packed": seal_message(large, ID, SIGNED, 100),
        "packed": seal_message(large, ID, PLAIN, 100),
        "offloaded": seal_message(aside, ID, PLAIN),
        "foreign-key": seal_message(full, ID, FrameCodec("fuzz", keys=KeyRing({"k9": "x" * 32}))),
        "later": b"\x01\x40" + encode_message(full)[2:],
    }
    good = Outcome(1_764_000_000_000, 12.5, 2, b"\x01\xa2ok", None, "send", "p1p1p1p1p1p1", ["~*iban*"])
    bad = Outcome(
        1_764_000_000_000, 1, 1, None, RemoteError("builtins.ValueError", "no", "Traceback"), "send", "p1"
    )
    records = {
        "running": f"r|{G}|p1p1p1p1p1p1|default:5|0|1|ck".encode(),
        "parked": f"p|{G}|taskq.key:k9|default:5|0|0|".encode(),
        "succeeded": f"S|{G}|p1p1p1p1p1p1|".encode() + encode_outcome(good),
        "failed": f"F|{G}|p1p1p1p1p1p1|".encode() + encode_outcome(bad),
        "cancelled": f"C|{G}||".encode(),
        "signed": f"S|{G}|p1|".encode() + seal_outcome(good, ID, G, "S", SIGNED),
        "packed": f"S|{G}|p1|".encode()
        + seal_outcome(Outcome(result=b"\x01\xda\x04\x00" + b"x" * 1_024), ID, G, "S", PLAIN, 99),
        "offloaded": f"S|{G}|p1|".encode() + seal_outcome(Outcome(payload=aside.payload), ID, G, "S", PLAIN),
    }
    outcome = seal_outcome(good, ID, 7, "S", SIGNED)
    return {
        "frame": {**messages, "signed-outcome": outcome},
        "message": messages,
        "record": records,
        "payload": {"packed": stored.content, "plain": set_aside(full, ID, Payloads(None, MOST))[1].content},
    }
