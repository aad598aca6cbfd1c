"""What the model holds, how time changes it, what several commands do to it, and the keys that it makes expect."""

from __future__ import annotations

from collections import Counter

from tests.chaos.model.things import (
    MINUTE,
    MOST_DEAD,
    STATS_MS,
    TOMBSTONE_MS,
    Hold,
    Process,
    Task,
)
from tests.engine import body

Place = tuple[object, int | None]
"""What stands in a key, and at which of the minutes it goes, None for never."""


class Ground:
    """The state of one namespace. `now` is what scripts take for Redis's clock; a TTL is over at one of `minutes`."""

    def __init__(self, now: int, g: int) -> None:
        self.now, self.minutes, self.g = now, 0, g
        self.tasks: dict[str, Task] = {}
        self.lists: dict[str, list[str]] = {}
        self.keys: dict[str, tuple[str, int | None]] = {}
        self.processes: dict[str, Process] = {}
        self.serves: dict[str, set[str]] = {}
        self.queues: dict[str, str] = {}
        self.bounds: dict[str, dict[str, str]] = {}
        self.registered: dict[str, str] = {}
        self.knows: dict[str, set[str]] = {}
        self.parked: dict[str, set[str]] = {}
        self.dead: dict[str, dict[str, int]] = {}
        self.dead_until: dict[str, int] = {}
        self.waits: dict[str, list[str]] = {}
        self.inbox: dict[str, list[str]] = {}
        self.inbox_until: dict[str, int] = {}
        self.recent: list[str] = []
        self.stats: dict[int, Counter[str]] = {}
        self.stats_until: dict[int, int] = {}
        self.unreadable: list[str] = []
        self.accepted = 0
        self.commits: set[tuple[str, int]] = set()

    # -- time

    def pass_time(self, ms: int) -> None:
        """Move the clock; a TTL only sees whole minutes pass."""
        self.now += ms
        if ms % MINUTE:
            return
        self.minutes += ms
        over = self.minutes
        self.tasks = {id: task for id, task in self.tasks.items() if task.until is None or task.until > over}
        self.keys = {key: held for key, held in self.keys.items() if held[1] is None or held[1] > over}
        self.inbox = {client: ids for client, ids in self.inbox.items() if self.inbox_until[client] > over}
        self.dead = {queue: ids for queue, ids in self.dead.items() if self.dead_until[queue] > over}
        self.stats = {at: counts for at, counts in self.stats.items() if self.stats_until[at] > over}
        for process in self.processes.values():
            if process.asked_until <= over:
                process.asked = {}

    # -- what several do

    def process(self, name: str) -> Process:
        """What is known of a process: nothing, unless it was registered."""
        return self.processes.setdefault(name, Process())

    def holds_of(self, name: str) -> dict[str, Hold]:
        return self.process(name).held

    def _unplace(self, task: Task) -> None:
        if task.state == "p":
            self.parked[task.owner].discard(task.id)

    def _give_back(self, task: Task, owner: str) -> None:
        if "a" in task.flags:
            self._end(task, "C", self.minutes + TOMBSTONE_MS, owner=owner)
        else:
            task.state, task.owner = "q", owner
            self.lists.setdefault(task.list, []).insert(0, task.id)

    def _end(self, task: Task, state: str, until: int | None, owner: str = "", named: str = "-") -> None:
        """End a task; `until` is None while its id stands in a list."""
        task.state, task.owner, task.until = state, owner, until
        task.recorded, task.has_message = True, False
        if task.key and not task.kept:
            del self.keys[task.key]
        for client in self.waits.pop(task.id, []):
            self.inbox.setdefault(client, []).append(task.id)
            self.inbox_until[client] = self.minutes + MINUTE
        self.recent.append(f"{state} {task.id} {named}")
        if named == "-":
            self._count(f"-|{state}")

    def _count(self, label: str) -> None:
        minute = self.now // MINUTE
        self.stats.setdefault(minute, Counter())[label] += 1
        self.stats_until[minute] = self.minutes + STATS_MS

    def _oldest(self, queue: str) -> list[str]:
        return [id for _, id in sorted((at, id) for id, at in self.dead.get(queue, {}).items())]

    def _bury(self, task: Task, ms: int) -> None:
        """Enter a dead letter; those past the cap go, with all they have."""
        dead = self.dead.setdefault(task.queue, {})
        until = self.dead_until.get(task.queue, 0) if dead else 0
        dead[task.id] = self.now
        self.dead_until[task.queue] = max(until, self.minutes + ms)
        over = len(dead) - MOST_DEAD
        old = [id for id in self._oldest(task.queue) if dead[id] <= self.now - ms]
        for id in self._oldest(task.queue)[:over] if over > 0 else old:
            still = id in self.tasks and self.tasks[id].state == "F"
            if over > 0 and still:
                del self.tasks[id]
            if over > 0 or not still:
                del dead[id]

    # -- what must stand in the server

    def agenda(self) -> dict[str, int]:
        due = {f"t:{task.id}": task.due for task in self.tasks.values() if task.state == "w"}
        waiting = [task for task in self.tasks.values() if task.state in ("w", "q", "p")]
        return due | {f"x:{task.id}": task.expires for task in waiting if task.expires is not None}

    def ready(self, queue: str) -> list[str]:
        """The ready tasks of a queue in the order in which they are due; none while it is paused."""
        lists = [self.lists.get(f"{queue}:{priority}", []) for priority in range(9, -1, -1)]
        ids = [id for some in lists for id in some if self.tasks[id].state == "q"]
        return ids if self.queues.get(queue) != "paused" else []

    def most(self, queue: str) -> int:
        """How many may be ready in a queue, 0 for any number: what people have set before what was declared."""
        bounds = self.bounds.get(queue, {})
        return int(bounds.get("set") or bounds.get("declared") or 0)

    def length(self, queue: str) -> int:
        """How long the lists of a queue are, tombstones included."""
        return sum(len(ids) for where, ids in self.lists.items() if where.startswith(f"{queue}:"))

    def expected(self) -> dict[str, Place]:
        """Tail → place, of each key that should be there. An empty one is none."""
        found = self._of_tasks() | self._of_processes() | self._of_queues()
        found["tasks"] = (self.registered, None)
        found["waits"] = ({id: " ".join(clients) for id, clients in self.waits.items()}, None)
        found["recent"] = (Counter(self.recent), None)
        found["quarantine"] = ([("message", id) for id in self.unreadable], None)
        for client, told in self.inbox.items():
            found[f"inbox:{client}"] = (told, self.inbox_until[client])
        for minute, counts in self.stats.items():
            told_counts = {label: str(n) for label, n in counts.items()}
            found[f"stats:{minute}"] = (told_counts, self.stats_until[minute])
        return {tail: place for tail, place in found.items() if place[0]}

    def _of_tasks(self) -> dict[str, Place]:
        found: dict[str, Place] = {"agenda": (self.agenda(), None)}
        for task in self.tasks.values():
            found[f"t:{task.id}"] = (task.record() if task.recorded else None, task.until)
            found[f"b:{task.id}"] = (task.has_message and body(task.id).decode(), task.until)
            extra = {} if task.expires is None else {"expires": str(task.expires)}
            if task.key:
                extra |= {"key": task.key, **({"keep": "1"} if task.kept else {})}
            found[f"x:{task.id}"] = (task.alive and extra, None)
        for key, (holder, until) in self.keys.items():
            found[f"u:{key}"] = (holder, until)
        return found

    def _of_processes(self) -> dict[str, Place]:
        all = self.processes.items()
        found: dict[str, Place] = {
            "procs": ({name: one.lease for name, one in all if one.lease is not None}, None),
            "beats": ({name: str(one.beats) for name, one in all if one.beats is not None}, None),
        }
        for name, one in all:
            held = {id: f"{hold.seq}:{hold.index}:{hold.g}:{hold.started:d}" for id, hold in one.held.items()}
            found[f"held:{name}"] = (held | ({} if one.seq is None else {"#": str(one.seq)}), None)
            found[f"control:{name}"] = ({id: str(g) for id, g in one.asked.items()}, one.asked_until)
            found[f"info:{name}"] = (one.info_until > self.minutes and "info", one.info_until)
        return found

    def _of_queues(self) -> dict[str, Place]:
        entries = dict(self.queues)
        for queue, bounds in self.bounds.items():
            said = [bounds.get(by, "") for by in ("declared", "set")]
            entries[queue] = "|".join([entries[queue], *said] if any(said) else [entries[queue]])
        found: dict[str, Place] = {"queues": (entries, None)}
        for start, sets in (("serves", self.serves), ("knows", self.knows), ("parked", self.parked)):
            found |= {f"{start}:{name}": (members, None) for name, members in sets.items()}
        found |= {f"q:{where}": (ids, None) for where, ids in self.lists.items()}
        found |= {f"dead:{queue}": (dead, self.dead_until[queue]) for queue, dead in self.dead.items()}
        return found

    def living(self) -> list[Task]:
        """The tasks that have not ended."""
        return [task for task in self.tasks.values() if task.alive]
