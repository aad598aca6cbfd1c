"""A worker process that a test moves by hand: it claims and settles, and runs nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from taskq.broker.client import Broker
from taskq.broker.commands import working
from taskq.broker.commands.producing import Envelope, options
from taskq.broker.commands.working import Answer, Claimed, Kind
from taskq.codec.values import encode_value
from taskq.message import Message, decode_message, encode_message
from taskq.names import new_process_id, new_task_id
from taskq.record import Outcome, RemoteError, encode_outcome

FAILED_FOR_MS = 1_209_600_000


def put(
    broker: Broker,
    task: str = "shop.add",
    *args: Any,
    id: str | None = None,
    delay_ms: int | None = None,
    **said: Any,
) -> str:
    """Enqueue one message, and give its id. `said` are fields of the message."""
    now_ms = broker.now_ms() or time.time_ns() // 1_000_000
    message = Message(task=task, args=encode_value([*args]) if args else b"", created_ms=now_ms, **said)
    envelope = Envelope(
        id or new_task_id(),
        f"{message.queue}:{message.priority}",
        encode_message(message),
        options(delay_ms=delay_ms, own_id=id is not None),
    )
    [stored] = broker.run(broker.store([envelope]))
    return stored.id


class Hand:
    """One life of one worker process."""

    def __init__(
        self,
        broker: Broker,
        *queues: str,
        tasks: Mapping[str, str] | None = None,
        info: bytes | None = None,
        lease_ms: int = 60_000,
    ) -> None:
        self.process = new_process_id()
        self._broker, self._queues, self._seq = broker, queues or ("default",), 0
        said = msgspec.msgpack.encode({"host": "box", "pid": 7, "app": "shop", "queues": self._queues})
        self.keys = broker.keys[0]
        broker.call(working.hello(self.keys, self.process, lease_ms, info or said, self._queues))
        if tasks:
            broker.call(working.register(self.keys, self.process, tasks))

    def take(self, limit: int = 100) -> list[Claimed]:
        """Claim what is ready; one claim gives a fair share only, so it takes several."""
        words = working.claim_words(self.keys, self._queues)
        taken: list[Claimed] = []
        while len(taken) < limit:
            self._seq += 1
            command = working.claim(self.keys, self.process, self._seq, limit - len(taken), words)
            some = self._broker.call(command).tasks
            if not some:
                break
            taken += some
        return taken

    def take_one(self) -> Claimed:
        [claimed] = self.take(1)
        return claimed

    def succeed(self, claimed: Claimed, result: Any = None, *, keep: bool = False) -> None:
        outcome = Outcome(started_ms=self._broker.now_ms(), took_ms=12.0, result=encode_value(result))
        self.settle(claimed, Kind.SUCCEEDED, outcome, 600_000, keep=keep)

    def fail(self, claimed: Claimed, text: str = "boom", *, attempt: int = 1) -> None:
        error = RemoteError(
            "ValueError", text, f"Traceback (most recent call last):\n  …\nValueError: {text}\n"
        )
        self.settle(claimed, Kind.FAILED, Outcome(took_ms=12.0, attempt=attempt, error=error), FAILED_FOR_MS)

    def settle(self, claimed: Claimed, kind: Kind, outcome: Outcome, ms: int, *, keep: bool = False) -> None:
        task = decode_message(claimed.message).task
        letter = kind.value.lower() if keep else kind.value
        settled = (claimed.id, claimed.g, letter, ms, task, 12, encode_outcome(outcome))
        assert self._broker.call(working.settle(self.keys, self.process, [settled])) == [Answer.COMMITTED]

    def park(self, claimed: Claimed) -> None:
        task = decode_message(claimed.message).task
        assert self._broker.call(working.park(self.keys, self.process, claimed.id, claimed.g, task)) == "p"

    def leave(self) -> None:
        """End this life; what it held goes back."""
        assert self._broker.call(working.reap(self.keys, self.process, None)) == 0
