"""The model: what each command promises to do, in plain Python, and what must then stand in the server.

It follows the words of the scripts' headers and of docs/guarantees.md. Time is its own: `now` is what scripts
take for Redis's clock; TTLs are counted in whole minutes, in `minutes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskq.broker.commands.working import Batch, Kind, parse_rest
from tests.chaos.model.ground import Ground
from tests.chaos.model.things import AT_ONCE, MINUTE, TOMBSTONE_MS, Hold, Message, Settled, Task
from tests.engine import body

_BACK = frozenset({Kind.RELEASED, Kind.CRASHED, Kind.SUSPECT})


class World(Ground):
    """A method a command: it gives the reply that is expected, and does what the command promises."""

    # -- what programs send

    def enqueue(self, not_after: int, messages: Sequence[Message]) -> list[int | str | tuple[int, int]]:
        """Give for each: 1 stored, 0 known, -1 too late, the id that holds its key, or how full its queue is."""
        late = 0 < not_after < self.now
        answers: list[int | str | tuple[int, int]] = []
        groups: dict[tuple[str, bool], list[str]] = {}
        for message in messages:
            holder = self._holder(message.key)
            if message.id in self.tasks:
                answers.append(0)
            elif late and not message.own_id:
                answers.append(-1)
            elif holder:
                answers.append(holder)
            elif full := self._full(message.list, groups):
                answers.append(full)
            else:
                answers.append(1)
                task = self._store(message)
                if task.state == "q":
                    groups.setdefault((task.list, message.front), []).append(task.id)
        for (where, front), ids in groups.items():
            ready = self.lists.setdefault(where, [])
            ready[:] = [*ids, *ready] if front else [*ready, *ids]
        return answers

    def _full(self, where: str, groups: Mapping[tuple[str, bool], Sequence[str]]) -> tuple[int, int] | None:
        queue = where.partition(":")[0]
        most = self.most(queue)
        ready = self.length(queue) + sum(
            len(ids) for (at, _), ids in groups.items() if at.startswith(f"{queue}:")
        )
        return (ready, most) if 0 < most <= ready else None

    def _holder(self, key: str) -> str | None:
        holder, until = self.keys.get(key, ("", None))
        alive = holder in self.tasks and self.tasks[holder].alive
        return holder if holder and (until is not None or alive) else None

    def _store(self, message: Message) -> Task:
        def instant(relative: int | None, absolute: int | None) -> int | None:
            return absolute if relative is None else self.now + relative

        due = instant(message.delay_ms, message.eta_ms) or 0
        expires = instant(message.expires_in_ms, message.expires_ms)
        flags = frozenset("x" * (expires is not None) + "k" * bool(message.key))
        task = Task(message.id, message.list, flags=flags, expires=expires, key=message.key)
        if due > self.now:
            task.state, task.due = "w", due
        task.recorded = bool(flags) or task.state == "w"
        if message.key:
            task.kept = message.keep_ms is not None
            until = None if message.keep_ms is None else self.minutes + message.keep_ms
            self.keys[message.key] = (message.id, until)
        self.tasks[message.id] = task
        self.queues.setdefault(task.queue, "on")
        self.accepted += 1
        return task

    def cancel(self, id: str, ttl: int) -> str:
        task = self.tasks.get(id)
        if task is None:
            return ""
        if task.state == "r":
            task.flags |= {"a"}
            owner = self.process(task.owner)
            owner.asked[id] = task.g
            owner.asked_until = self.minutes + MINUTE
        elif task.alive:
            self._unplace(task)
            self._end(task, "C", None if task.state == "q" else self.minutes + ttl)
        return task.state

    def wait(self, client: str, ids: Sequence[str]) -> list[str]:
        """Give for each id its letter if it has ended, `…` if the client will be told, nothing if it is unknown."""
        answers: list[str] = []
        for id in ids:
            task = self.tasks.get(id)
            answers.append("" if task is None else "…" if task.alive else task.state)
            if task is not None and task.alive and client not in self.waits.setdefault(id, []):
                self.waits[id].append(client)
        return answers

    # -- what workers send

    def hello(self, process: str, lease: int, queues: Sequence[str]) -> None:
        known = self.process(process)
        known.lease, known.beats, known.info_until = self.now + lease, 0, self.minutes + 4 * lease
        for queue in queues:
            self.serves.setdefault(queue, set()).add(process)
            self.queues.setdefault(queue, "on")

    def register(self, process: str, task: str, queue: str) -> int:
        self.registered[task] = f"{queue}|{self.now}"
        knows = self.knows.setdefault(task, set())
        self.knows[task] = {one for one in knows if self.process(one).lease is not None} | {process}
        for id in sorted(self.parked.pop(task, ())):
            self.tasks[id].state, self.tasks[id].owner = "q", ""
            self.lists.setdefault(self.tasks[id].list, []).append(id)
        return 0

    def beat(self, lease: int, processes: Sequence[str]) -> list[dict[str, int] | None]:
        """Give for each process what is to be cancelled, None if it was reaped."""
        answers: list[dict[str, int] | None] = []
        for name in processes:
            process = self.process(name)
            if process.lease is None:
                answers.append(None)
                continue
            process.lease = self.now + lease
            process.beats = (process.beats or 0) + 1
            if process.info_until > self.minutes:
                process.info_until = self.minutes + 4 * lease
            answers.append(dict(process.asked))
        return answers

    def claim_refused(self, name: str, seq: int) -> str:
        """Say why a claim is refused; empty if it is not."""
        process = self.process(name)
        if process.lease is None or process.lease <= self.now:
            return "refused"
        return "stale" if seq < (process.seq or 0) else ""

    def claim_again(self, name: str, seq: int) -> list[str] | None:
        """Give what the repeat of a claim gives: what still runs of its batch. None if it is no repeat."""
        process = self.process(name)
        if seq != (process.seq or 0):
            return None
        batch = [(hold.index, id) for id, hold in process.held.items() if hold.seq == seq]
        return [id for _, id in sorted(batch)]

    def file_due(self) -> int | None:
        """Do what fell due, as much as a claim does; give the ms to what falls due next, None without it."""
        agenda = sorted((due, entry) for entry, due in self.agenda().items())
        for due, entry in agenda[:AT_ONCE]:
            task = self.tasks[entry[2:]]
            if due > self.now or not task.alive:
                continue
            if entry.startswith("t:"):
                task.state = "q"
                self.lists.setdefault(task.list, []).append(task.id)
            else:
                listed = task.state == "q"
                self._unplace(task)
                self._end(task, "E", None if listed else self.minutes + TOMBSTONE_MS)
        left = self.agenda().values()
        return min(86_400_000, max(0, min(left) - self.now)) if left else None

    def claim(self, name: str, seq: int, limit: int, queues: Sequence[str], batch: Batch) -> None:
        """Judge what a claim gave, and give it: which of the ready tasks, is the server's to say within bounds."""
        process, given = self.process(name), list(batch.tasks)
        assert len(given) <= limit
        left = given
        more = False
        for queue in queues:
            order = self.ready(queue)
            some = [task for task in left if self.tasks[task.id].queue == queue]
            assert [task.id for task in left[: len(some)]] == [task.id for task in some], (
                "queues out of their order"
            )
            assert [task.id for task in some] == order[: len(some)], f"gave {some} of {order}"
            left = left[len(some) :]
            share = -(-self.length(queue) // (2 * max(1, len(self.serves.get(queue, ())))))
            assert len(some) <= max(1, share), f"gave {len(some)} where the share is {share}"
            if len(some) < len(order):
                assert not left, f"gave {left} of a later queue than {queue}, which has more"
                assert some or limit == 0 or given, f"gave nothing of {order}"
                more = True
                break
        assert not left, f"gave {left} of other queues, or what is not ready"
        assert batch.more or not more, "said that nothing is ready any more"
        for index, claimed in enumerate(given, 1):
            task = self.tasks[claimed.id]
            self.g += 1
            assert claimed.g == self.g
            assert claimed.message == body(task.id)
            rest = parse_rest(claimed.rest)
            said = (rest.failures, rest.crashes, frozenset(rest.flags), f"{rest.queue}:{rest.priority}")
            assert said == (task.failures, task.crashes, task.flags, task.list)
            assert rest.expires_ms == (task.expires or 0)
            assert not rest.careful or len(given) == 1, "a careful task was given beside others"
            task.state, task.g, task.owner, task.recorded = "r", self.g, name, True
            process.held[task.id] = Hold(seq, index, self.g)
        if given or limit == 0:
            process.seq = seq

    def passed(self, lists: Mapping[str, list[str]]) -> None:
        """Take from the server how far a claim has read its lists: past all that it gave, and no ready task besides."""
        for where, ids in self.lists.items():
            left = lists.get(where, [])
            gone = ids[: len(ids) - len(left)]
            assert [*gone, *left] == ids, f"{where} is {left}, and was {ids}"
            for id in gone:
                assert self.tasks[id].state != "q", f"{id} is ready, and left its list"
                if not self.tasks[id].alive:
                    self.tasks[id].until = self.minutes + TOMBSTONE_MS
            ids[:] = left

    def settle(self, name: str, outcomes: Sequence[Settled]) -> list[str]:
        process = self.process(name)
        answers: list[str] = []
        todo: list[tuple[Task, Settled]] = []
        for settled in outcomes:
            task = self.tasks.get(settled.id)
            if task is None or not task.recorded:
                answers.append("g")
            elif (task.g, task.owner) != (settled.g, name):
                answers.append("l")
            elif task.state != "r" or any(settled.id == other.id for _, other in todo):
                answers.append("a")
            else:
                answers.append("c")
                assert (task.id, task.g) not in self.commits, "a second outcome of one generation"
                todo.append((task, settled))
                del process.held[task.id]
        for task, settled in reversed(todo):
            self._commit(task, settled)
        return answers

    def _commit(self, task: Task, settled: Settled) -> None:
        kind, state = settled.kind, str(settled.kind.value)
        if kind in _BACK:
            task.crashes += kind is Kind.CRASHED
            if kind is Kind.SUSPECT:
                task.flags |= {"c"}
            self._give_back(task, task.owner)
        elif kind is Kind.RETRY and "a" not in task.flags:
            task.state, task.failures, task.due = "w", task.failures + 1, self.now + settled.ms
        else:
            state, ms = ("C", TOMBSTONE_MS) if kind is Kind.RETRY else (state, settled.ms)
            if kind is Kind.UNREADABLE:
                state = "F"
                self.unreadable.append(task.id)
            task.outcome = settled.outcome
            self._end(task, state, self.minutes + ms, owner=task.owner, named="job")
            task.has_message = state == "F" or settled.letter.islower()
            if state == "F":
                self._bury(task, ms)
        self.commits.add((settled.id, settled.g))
        self._count(f"job|{state}")

    def start(self, process: str, id: str, g: int) -> bool:
        hold = self.process(process).held.get(id)
        if hold is None or hold.g != g:
            return False
        hold.started = True
        return True

    def park(self, process: str, id: str, g: int, name: str) -> str:
        task = self.tasks.get(id)
        if task is None or not task.recorded or task.g != g:
            return "l"
        if task.state == "p" and task.owner == name:
            return "p"
        if task.state == "w" and task.owner == "":
            return "a"
        if task.state != "r" or task.owner != process:
            return "l"
        del self.process(process).held[id]
        if "a" in task.flags:
            self._end(task, "C", self.minutes + TOMBSTONE_MS, owner=process)
            return "c"
        task.owner = ""
        for other in self.knows.get(name, set()) - {process}:
            lease = self.process(other).lease
            if lease is not None and lease > self.now and other in self.serves.get(task.queue, ()):
                task.state, task.due = "w", self.now + 1_000
                return "a"
        task.state, task.owner = "p", name
        self.parked.setdefault(name, set()).add(id)
        return "p"

    def reap(self, name: str, beats: int | None) -> int:
        process = self.process(name)
        if beats is not None and process.beats is not None and beats != process.beats:
            return -1
        process.lease = None
        some = list(process.held.items())[:AT_ONCE]
        for id, hold in sorted(some, key=lambda one: (one[1].seq, one[1].index), reverse=True):
            task = self.tasks[id]
            if beats is not None:
                task.crashes += hold.started
                task.flags |= {"c"}
            del process.held[id]
            self._give_back(task, "")
        if process.held:
            return len(process.held)
        self.processes.pop(name)
        for processes in self.serves.values():
            processes.discard(name)
        return 0

    # -- what people send

    def pause(self, queue: str) -> None:
        self.queues[queue] = "paused"

    def resume(self, queue: str) -> None:
        self.queues[queue] = "on"

    def bound(self, queue: str, by: str, most: int | None) -> int:
        self.queues.setdefault(queue, "on")
        self.bounds.setdefault(queue, {})[by] = "" if most is None else str(most)
        return self.most(queue)

    def purge(self, where: str, ttl: int) -> tuple[int, int]:
        ids = self.lists.get(where, [])
        cancelled = 0
        for id in ids[:AT_ONCE]:
            task = self.tasks[id]
            if task.alive:
                cancelled += 1
                self._end(task, "C", self.minutes + ttl)
            task.until = self.minutes + ttl
        del ids[:AT_ONCE]
        return cancelled, len(ids)

    def requeue(self, old: str, queue: str, ttl: int, new: str, where: str) -> int:
        if new in self.tasks:
            return 0
        task = self.tasks.get(old)
        if task is None or task.state != "F" or old not in self.dead.get(queue, {}):
            return -1
        del self.dead[queue][old]
        task.has_message, task.until = False, self.minutes + ttl
        # A full queue takes it too: it was accepted long ago.
        self.lists.setdefault(where, []).append(self._store(Message(new, where)).id)
        return 1

    def discard(self, queue: str, ids: Sequence[str]) -> tuple[int, int]:
        dead = self.dead.get(queue, {})
        some = [id for id in ids or self._oldest(queue)[:AT_ONCE] if id in dead]
        for id in dict.fromkeys(some):
            del dead[id]
            if id in self.tasks and self.tasks[id].state == "F":
                del self.tasks[id]
        return len(set(some)), len(dead)
