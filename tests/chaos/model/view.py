"""All that a namespace holds at one moment, read in one script, and what of it contradicts the rest.

Nothing here knows what was done: `contradictions` holds for every namespace at every moment, whoever wrote it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskq.broker.keys import Keys
from taskq.record import Record, parse_record
from tests.engine import Lab
from tests.leaks import leaks

_ALL = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'hash' then value = redis.call('HGETALL', key)
  else value = redis.call('XRANGE', key, '-', '+') end
  found[#found + 1] = { string.sub(key, #ARGV[1] + 1), kind, redis.call('PTTL', key), value }
end
return found
"""


LIFE, ENDS = tuple("wqrp"), tuple("SFCE")
"""The letters of states."""


@dataclass(frozen=True, slots=True)
class Held:
    """One entry of what a process holds."""

    process: str
    seq: int
    index: int
    g: int
    started: bool


class View:
    """What stands in one shard. Every key is by its tail, without the prefix; `ttls` has -1 for what stays."""

    def __init__(self, lab: Lab) -> None:
        self.values: dict[str, Any] = {}
        self.ttls: dict[str, int] = {}
        for tail, kind, ttl, value in lab.redis("EVAL", _ALL, 0, lab.keys.prefix):
            name = tail.decode()
            self.values[name] = _READ[kind.decode()](value)
            self.ttls[name] = ttl
        self.records: dict[str, Record] = {
            id: parse_record(value.encode("latin-1")) for id, value in self.each("t:")
        }

    def each(self, start: str) -> Iterator[tuple[str, Any]]:
        """Give (rest of the tail, value) of each key whose tail begins so."""
        for tail, value in self.values.items():
            if tail.startswith(start):
                yield tail[len(start) :], value

    def get(self, tail: str, default: Any) -> Any:
        return self.values.get(tail, default)

    @property
    def messages(self) -> dict[str, str]:
        return dict(self.each("b:"))

    @property
    def lists(self) -> dict[str, list[str]]:
        """`queue:priority` → ids."""
        return dict(self.each("q:"))

    @property
    def holds(self) -> dict[str, list[Held]]:
        """Id → who holds it."""
        found: dict[str, list[Held]] = {}
        for process, fields in self.each("held:"):
            for id, hold in fields.items():
                if id != "#":
                    seq, index, g, started = map(int, hold.split(":"))
                    found.setdefault(id, []).append(Held(process, seq, index, g, started == 1))
        return found

    @property
    def fence(self) -> int:
        """The last generation that was given."""
        return int(self.values["meta"]["g"])

    def letter(self, id: str) -> str:
        """The state of a task: that of its record; `q` with a message alone; empty without anything."""
        if id in self.records:
            return str(self.values[f"t:{id}"])[0]
        return "q" if f"b:{id}" in self.values else ""

    def living(self) -> set[str]:
        """The ids of what has not ended."""
        return {id for id in {*self.records, *self.messages} if self.letter(id) in LIFE}

    def contradictions(self) -> list[str]:
        """Say what cannot be true at once. Empty, if nothing is lost, leaked, or twice."""
        found = [*self._lists(), *self._places(), *self._holdings(), *self._extras(), *self._others()]
        return sorted(found)

    def _lists(self) -> Iterator[str]:
        """What is ready stands in its list, once, and nothing else does, but for tombstones that stay as long."""
        listed = Counter((id, where) for where, ids in self.lists.items() for id in ids)
        for id in self.living():
            where = [at for (one, at), n in listed.items() if one == id for _ in range(n)]
            record = self.records.get(id)
            if self.letter(id) != "q":
                if where:
                    yield f"{id} is {self.letter(id)}, and in {where}"
            elif len(where) != 1 or (record and where != [f"{record.queue}:{record.priority}"]):
                yield f"{id} is ready in {record or 'any list'}, and in {where}"
        for (id, at), n in listed.items():
            if self.letter(id) in ENDS and (n > 1 or self.ttls[f"t:{id}"] != -1):
                yield f"{id} has ended, is {n} times in {at}, and its tombstone goes"
            if not self.letter(id):
                yield f"{id} is in {at}, and nothing is known of it"

    def _places(self) -> Iterator[str]:
        """What is not ready stands where it waits; what has ended is awaited by no one."""
        agenda = self.get("agenda", {})
        parked = {(id, task) for task, ids in self.each("parked:") for id in ids}
        for id in self.living():
            letter, record = self.letter(id), self.records.get(id)
            if (letter == "w") != (f"t:{id}" in agenda):
                yield f"{id} is {letter}, and {'' if f't:{id}' in agenda else 'not '}in the agenda"
            if record and (letter == "p") != ((id, record.owner) in parked):
                yield f"{id} is {letter}, and {'' if (id, record.owner) in parked else 'not '}parked"
            if f"b:{id}" not in self.values:
                yield f"{id} is {letter}, without its message"
        for entry in agenda:
            if not self.letter(entry[2:]):
                yield f"{entry} is in the agenda, and nothing is known of it"
        for id in self.get("waits", {}):
            if self.letter(id) not in LIFE:
                yield f"somebody waits for {id}, which is {self.letter(id) or 'unknown'}"

    def _holdings(self) -> Iterator[str]:
        """No hold without a running record, and no running record without its hold."""
        holds = self.holds
        for id, record in self.records.items():
            if self.letter(id) == "r":
                mine = [(hold.process, hold.g) for hold in holds.get(id, [])]
                if mine != [(record.owner, record.g)]:
                    yield f"{id} runs in {record.owner} as {record.g}, and is held by {mine}"
            if record.g > self.fence:
                yield f"{id} has generation {record.g}, past the counter, {self.fence}"
        for id, some in holds.items():
            if self.letter(id) != "r":
                yield f"{id} is {self.letter(id) or 'unknown'}, and held by {[hold.process for hold in some]}"

    def _extras(self) -> Iterator[str]:
        """Keys and expiries are those of the living."""
        agenda = self.get("agenda", {})
        extras: dict[str, Mapping[str, str]] = dict(self.each("x:"))
        for id, record in self.records.items():
            alive = self.letter(id) in LIFE
            flags, extra = record.flags, extras.get(id, {})
            if (alive and any(flag in flags for flag in "xk")) != bool(extra):
                yield f"{id} is {self.letter(id)} with the flags {flags!r}, and has {dict(extra)}"
            due = alive and "x" in flags and self.letter(id) != "r"
            if due != (f"x:{id}" in agenda):
                yield f"{id} is {self.letter(id)} with the flags {flags!r}, and its expiry is wrong"
            key = extra.get("key")
            if key and "keep" not in extra and self.get(f"u:{key}", None) != id:
                yield f"{id} holds the key {key}, which is held by {self.get(f'u:{key}', None)}"
        for key, id in self.each("u:"):
            if self.ttls[f"u:{key}"] == -1 and extras.get(id, {}).get("key") != key:
                yield f"the key {key} is held by {id}, which does not live, or knows nothing of it"

    def _others(self) -> Iterator[str]:
        if self.get("limbo", None):
            yield f"in limbo: {self.get('limbo', None)}"
        for tail, _ in self.each("wrong:"):
            yield f"{tail} had a wrong type"
        for tail, ttl in self.ttls.items():
            letter = self.letter(tail[2:]) if tail[:2] in {"t:", "b:", "x:"} else ""
            if letter in ENDS and ttl == -1 and tail[0] != "t":
                yield f"{tail} stays, and {tail[2:]} has ended"
            if letter in LIFE and ttl != -1:
                yield f"{tail} goes, and {tail[2:]} lives"
        for key in leaks(
            {Keys("any").prefix + tail: ttl for tail, ttl in self.ttls.items()}, leaves_work=True
        ):
            yield f"{key} never goes"

    def residue(self) -> list[str]:
        """Give what should not be there once all work has ended, every process has left, and all TTLs are over."""
        bounded = ("meta", "queues", "tasks", "recent", "quarantine", "wake:", "knows:")
        return sorted(
            f"{tail}: {value}" for tail, value in self.values.items() if not tail.startswith(bounded)
        )


def _words(value: list[bytes]) -> list[str]:
    return [word.decode("latin-1") for word in value]


def _pairs(value: list[bytes]) -> dict[str, str]:
    words = _words(value)
    return dict(zip(words[::2], words[1::2], strict=True))


_READ: dict[str, Any] = {
    "string": lambda value: value.decode("latin-1"),
    "list": _words,
    "set": lambda value: {*_words(value)},
    "zset": lambda value: {member: int(float(score)) for member, score in _pairs(value).items()},
    "hash": _pairs,
    "stream": lambda value: [_pairs(fields) for _, fields in value],
}
