"""Enqueueing with the outcome written down: what a caller was told, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from taskq import EnqueueUnknown, TaskqError
from taskq.sending import Sender
from tests.chaos import ledger


def send(sender: Sender[..., Any], *args: Any, delay_s: float = 0.0, patience_s: float = 20.0) -> str | None:
    """Enqueue one call, and repeat it while its outcome is unknown; gives its id, None if it was refused."""
    due = f"{time.monotonic_ns() + round(delay_s * 1e9)}" if delay_s else "-"
    if delay_s:
        sender = sender.using(delay=delay_s)
    give_up = time.monotonic() + patience_s
    attempt = sender.enqueue
    try:
        while True:
            try:
                handle = attempt(*args)
            except EnqueueUnknown as error:
                ledger.write("unknown", error.id)
                attempt, args = error.retry, ()
                if time.monotonic() > give_up:
                    return None
            else:
                ledger.write("accept", handle.id, word=due)
                return str(handle.id)
    except TaskqError as error:
        ledger.write("reject", "-", word=type(error).__name__)
        return None


def send_many(sender: Sender[..., Any], calls: Iterable[tuple[Any, ...]], due: str = "-") -> list[str]:
    """Enqueue many calls at once, repeating none; gives the ids of those that were accepted."""
    ids: list[str] = []
    for one in sender.enqueue_many(calls):
        if one.handle is not None:
            ids.append(one.handle.id)
            ledger.write("accept", one.handle.id, word=due)
        elif isinstance(one.error, EnqueueUnknown):
            ledger.write("unknown", one.error.id)
        else:
            ledger.write("reject", "-", word=type(one.error).__name__)
    return ids
