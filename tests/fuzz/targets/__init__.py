"""What is fed: each target reads bytes in every way in which the product reads them."""

from __future__ import annotations

from tests.fuzz.engine import Target
from tests.fuzz.targets import calls, server, wire, words

TARGETS = {
    target.name: target
    for target in (
        Target("frame", wire.frame),
        Target("message", wire.message),
        Target("record", wire.record),
        Target("payload", wire.payload),
        Target("value", calls.value),
        Target("call", calls.call),
        Target("secrets", calls.secrets),
        Target("reply", server.reply),
        Target("listing", server.listing),
        Target("words", words.words),
    )
}
