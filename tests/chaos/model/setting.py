"""The setting of the machine: a clock that the test moves, and bounds that a few tasks reach."""

from __future__ import annotations

from taskq.broker.command import text
from taskq.broker.commands import producing
from tests.chaos.model.things import AT_ONCE, MINUTE, MOST_DEAD
from tests.engine import Lab

START_MS = 1_800_000_000_000 // MINUTE * MINUTE

Change = tuple[str, str, str]
"""Name of a script, what stands in it, what to put there."""

SETTING: tuple[Change, ...] = (
    ("prelude", "time[1] * 1000 + math.floor(time[2] / 1000)", "tonumber(redis.call('GET', 'clock'))"),
    ("claim", "'LIMIT', 0, 64", f"'LIMIT', 0, {AT_ONCE}"),
    ("reap", "#fields < 500", f"#fields < {AT_ONCE}"),
    ("purge", "0, 499", f"0, {AT_ONCE - 1}"),
    ("discard", "0, 499", f"0, {AT_ONCE - 1}"),
    ("settle", "- 10000", f"- {MOST_DEAD}"),
)

# Whole minutes, for meanwhile a little of the server's own time has passed.
_AGE = """
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local ttl = redis.call('PTTL', key)
  if ttl > 0 then
    local left = math.floor((ttl - ARGV[2]) / 60000 + 0.5) * 60000
    if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end
  end
end
"""


def begin(lab: Lab) -> int:
    """Empty the server, make the namespace; gives the generation that it begins at."""
    lab.redis("FLUSHALL")
    lab.call(producing.init(lab.keys, 1))
    set_clock(lab, START_MS)
    return int(text(lab.redis("HGET", lab.keys.meta, "g")))


def set_clock(lab: Lab, now_ms: int) -> None:
    """Set what scripts take for the server's clock."""
    lab.redis("SET", "clock", now_ms)


def age(lab: Lab, ms: int) -> None:
    """Let every TTL be `ms` shorter."""
    lab.redis("EVAL", _AGE, 0, lab.keys.prefix, ms)
