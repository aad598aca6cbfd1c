"""A queue that is bounded takes nothing new while it is full, and never more than it may; what was accepted stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from taskq import Middleware, TaskQ
from taskq.broker.client import Broker
from taskq.broker.commands import operating
from taskq.broker.commands.producing import Envelope, Full, Stored
from taskq.broker.commands.working import Kind
from taskq.errors import QueueFull
from taskq.names import new_task_id
from taskq.worker.life import Life
from tests.engine import HOUR_MS, Lab, envelope, ids
from tests.player import Player, run
from tests.proxy import Fate, Proxy, nth
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import Yard

contract = pytest.mark.contract


def bound(lab: Lab, most: int | None, queue: str = "default", by: Literal["declared", "set"] = "set") -> int:
    counts: int = lab.call(operating.bound(lab.keys, queue, by, most))
    return counts


def entry(lab: Lab, queue: str = "default") -> Any:
    return lab.redis("HGET", lab.keys.queues, queue)


def refused(id: str, ready: int, most: int, queue: str = "default") -> Stored:
    return Stored(id, False, full=Full(queue, ready, most))


@contract
class TestWhatIsRefused:
    @pytest.mark.parametrize("company", [0, 1], ids=["alone", "in company"])
    def test_what_comes_to_a_full_queue_is_refused_and_nothing_is_stored(
        self, lab: Lab, company: int
    ) -> None:
        bound(lab, 2)
        beside = [Envelope(f"beside-{n}", "other:5", b"") for n in range(company)]

        def send(id: str) -> Stored:
            return lab.store([envelope(id), *[Envelope(id + one.id, one.list, b"") for one in beside]])[0]

        assert [send("a"), send("b")] == [Stored("a", True), Stored("b", True)]
        before = lab.snapshot()
        if not company:
            assert send("c") == refused("c", 2, 2)
            assert lab.snapshot() == before
        assert send("d") == refused("d", 2, 2)
        assert lab.ready() == ["a", "b"]
        assert lab.redis("EXISTS", lab.keys.message("d")) == 0

    def test_all_priorities_of_a_queue_count_together_and_no_other_queue(self, lab: Lab) -> None:
        bound(lab, 3)
        lab.enqueue("a", list="default:9")
        lab.enqueue("b", list="default:0")
        lab.enqueue("c", "d", "e", list="mail:5")

        assert lab.enqueue("f", "g", list="default:5") == [Stored("f", True), refused("g", 3, 3)]
        assert lab.enqueue("urgent", list="default:9", front=True) == [refused("urgent", 3, 3)]

    def test_a_batch_is_refused_from_where_it_does_not_fit(self, lab: Lab) -> None:
        bound(lab, 3)
        stored = lab.store([
            Envelope("a", "default:5", b""),
            Envelope("m", "mail:5", b""),
            Envelope("b", "default:9", b"", "|+60000|||job:b"),
            Envelope("c", "default:5", b"", "|||f|"),
            Envelope("d", "default:5", b"", "||||job:d"),
            Envelope("n", "mail:5", b""),
            Envelope("e", "default:1", b""),
        ])  # fmt: skip

        assert [one.created for one in stored] == [True, True, True, True, False, True, False]
        assert [stored[4], stored[6]] == [refused("d", 3, 3), refused("e", 3, 3)]
        assert (lab.ready(), lab.ready("default:9"), lab.ready("mail:5")) == (["c", "a"], ["b"], ["m", "n"])
        assert lab.names("*:d") == []  # neither a message nor the key that it would have held

    def test_it_says_of_which_queue_and_what_to_do(self, lab: Lab) -> None:
        bound(lab, 1, "mail")
        lab.enqueue("a", list="mail:5")
        [full] = lab.enqueue("b", list="mail:5")

        with pytest.raises(
            QueueFull, match=r"task b is not stored: queue 'mail' is full.*max-length mail N"
        ) as caught:
            full.check()
        error = caught.value
        assert (error.id, error.queue, error.length, error.max_length) == ("b", "mail", 1, 1)

    def test_what_is_known_is_known_though_the_queue_is_full(self, lab: Lab) -> None:
        bound(lab, 2)
        lab.enqueue("a")
        lab.enqueue("keyed", key="job:k")

        assert lab.enqueue("a") == [Stored("a", False)]
        assert lab.enqueue("a", "keyed") == [Stored("a", False), Stored("keyed", False)]
        assert lab.enqueue("twin", key="job:k") == [Stored("keyed", False)]
        late = lab.enqueue("late", not_after_ms=lab.now_ms() - 1_000)
        assert late == [Stored("late", False, too_late=True)]

    def test_what_runs_and_what_is_scheduled_takes_no_room(self, lab: Lab) -> None:
        lab.hello("p")
        bound(lab, 1)
        lab.enqueue("runs")
        lab.claim("p")
        assert lab.enqueue("later", "much-later", delay_ms=HOUR_MS) == [
            Stored("later", True),
            Stored("much-later", True),
        ]
        assert lab.enqueue("ready", "refused") == [Stored("ready", True), refused("refused", 1, 1)]

    def test_a_full_queue_takes_nothing_for_later_either(self, lab: Lab) -> None:
        bound(lab, 1)
        lab.enqueue("a")
        assert lab.enqueue("later", delay_ms=HOUR_MS) == [refused("later", 1, 1)]
        assert lab.agenda() == {}


class TestWhatWasAccepted:
    @contract
    def test_what_comes_back_or_falls_due_is_never_refused(self, lab: Lab, jumping_clock: None) -> None:
        lab.jump(0)
        lab.hello("p")
        lab.enqueue("due", delay_ms=1_000)
        lab.enqueue("released", "retried", "failed", "unknown", "reaped")
        released, retried, failed, unknown, _ = lab.take("p", 5)
        lab.enqueue("a")
        bound(lab, 1)

        lab.settle("p", [released], Kind.RELEASED)
        lab.settle("p", [retried], Kind.RETRY, 1_000)
        lab.settle("p", [failed], Kind.FAILED)
        lab.park("p", unknown, "app.job")
        lab.call(operating.requeue(lab.keys, "failed", "default", 60_000, "requeued", "default:5", b"m"))
        lab.reap("p")
        lab.hello("q")
        lab.register("q", **{"app.job": "default"})
        lab.pass_time(2_000)
        lab.claim("q", 0)  # files what is due

        assert sorted(lab.ready()) == ["a", "due", "reaped", "released", "requeued", "retried", "unknown"]
        assert lab.enqueue("new") == [refused("new", 7, 1)]

    @contract
    def test_there_is_room_again_once_a_task_is_claimed(self, lab: Lab) -> None:
        lab.hello("p")
        bound(lab, 1)
        lab.enqueue("a")
        assert not lab.enqueue("b")[0].created
        lab.claim("p")
        assert lab.enqueue("b") == [Stored("b", True)]

    @contract
    def test_purging_makes_room_at_once_and_cancelling_once_a_claim_has_passed(self, lab: Lab) -> None:
        lab.hello("p")
        bound(lab, 1)
        lab.enqueue("a")
        lab.cancel("a")
        assert lab.enqueue("b") == [refused("b", 1, 1)]
        lab.claim("p")
        assert lab.enqueue("b") == [Stored("b", True)]
        lab.call(operating.purge(lab.keys, "default", 5, 60_000))
        assert lab.enqueue("c") == [Stored("c", True)]

    def test_a_repeat_after_a_lost_reply_is_told_that_it_was_accepted(
        self, lab: Lab, proxy: Proxy, distant: Broker
    ) -> None:
        bound(lab, 3)
        lab.enqueue("before")
        distant.run(distant.namespace.meet(0))
        proxy.judge = nth("enqueue", 1, Fate.LOSE_REPLY)
        mine = [envelope("a"), envelope("b"), envelope("c")]

        stored = distant.run(distant.store(mine))

        assert proxy.lost[Fate.LOSE_REPLY] == 1
        # "Known" to an id made here is "created": see `Parcel.confirm`.
        assert stored == [Stored("a", False), Stored("b", False), refused("c", 3, 3)]
        assert lab.ready() == ["before", "a", "b"]

    def test_producers_at_once_never_exceed_the_bound(self, lab: Lab, server: RedisServer) -> None:
        bound(lab, 500)
        namespace = lab.broker.namespace.name

        def produce(number: int) -> list[Stored]:
            broker = Broker(server.url, namespace)
            try:
                some: list[Stored] = []
                for size in (1, 7, 1, 60, 1, 100):
                    some += broker.run(broker.store([envelope(new_task_id()) for _ in range(size)]))
                return some
            finally:
                broker.close()

        with ThreadPoolExecutor(8) as threads:
            stored = [one for some in threads.map(produce, range(8)) for one in some]

        accepted = {one.id for one in stored if one.created}
        assert len(accepted) == 500
        assert set(lab.ready()) == accepted
        assert all(one.full == Full("default", 500, 500) for one in stored if not one.created)


@contract
class TestTheBound:
    def test_it_can_be_moved_and_removed_under_load(self, lab: Lab) -> None:
        assert bound(lab, 2) == 2
        lab.enqueue("a", "b", "c")
        assert bound(lab, 1) == 1
        assert lab.enqueue("d") == [refused("d", 2, 1)]
        assert bound(lab, 4) == 4
        assert [one.created for one in lab.enqueue("d", "e", "f")] == [True, True, False]
        assert bound(lab, 0) == 0
        assert lab.enqueue("f") == [Stored("f", True)]

    def test_what_people_set_counts_more_than_what_the_code_declares(self, lab: Lab) -> None:
        assert bound(lab, 10, by="declared") == 10
        assert bound(lab, 5) == 5
        assert bound(lab, 20, by="declared") == 5
        assert entry(lab) == b"on|20|5"
        assert bound(lab, 0) == 0
        assert bound(lab, None) == 20
        assert bound(lab, None, by="declared") == 0
        assert entry(lab) == b"on"

    def test_it_outlives_a_pause_and_a_resume(self, lab: Lab) -> None:
        lab.hello("p")
        bound(lab, 1)
        lab.enqueue("a")
        lab.forget_tokens()
        lab.call(operating.pause(lab.keys, "default"))
        assert entry(lab) == b"paused||1"
        assert lab.claim("p").tasks == []
        lab.claim("p", 0)
        assert lab.tokens() == 0
        assert not lab.enqueue("b")[0].created
        assert bound(lab, 2) == 2
        assert entry(lab) == b"paused||2"
        assert lab.enqueue("b")[0].created
        assert lab.tokens() == 0

        lab.call(operating.resume(lab.keys, "default"))
        assert entry(lab) == b"on||2"
        assert lab.tokens() == 1
        assert ids(lab.take("p")) == ["a", "b"]

    def test_a_queue_can_be_bounded_before_it_is_used(self, lab: Lab) -> None:
        assert bound(lab, 1, "mail") == 1
        assert [one.created for one in lab.enqueue("a", "b", list="mail:5")] == [True, False]
        lab.hello("p", queues=["mail"])
        assert entry(lab, "mail") == b"on||1"

    @pytest.mark.parametrize(
        "junk",
        [b"", b"|", b"||", b"on|", b"on|5", b"on|x|1", b"on||-1", b"on||1|", b"on||1.0", b"on||1\n", b"on||00",
         b"on||" + b"9" * 400, b"on|1|" + b"9" * 400, b"junk", b"\xff|1|1", b"on||" + b"1" * 1_000_000],
    )  # fmt: skip
    def test_bytes_that_are_no_entry_bound_nothing_and_stop_nobody(self, lab: Lab, junk: bytes) -> None:
        lab.hello("p")
        lab.enqueue("first")
        lab.redis("HSET", lab.keys.queues, "default", junk)

        assert operating.parse_entry(junk) == operating.QueueEntry(False, None)
        assert all(one.created for one in lab.enqueue("a", "b"))
        assert lab.enqueue("c") == [Stored("c", True)]
        assert ids(lab.take("p")) == ["first", "a", "b", "c"]
        assert bound(lab, None, by="declared") == 0
        assert bound(lab, 1) == 1
        lab.call(operating.resume(lab.keys, "default"))
        assert entry(lab).endswith(b"|1")

    def test_a_pause_among_bytes_that_are_no_entry_is_one(self, lab: Lab) -> None:
        lab.hello("p")
        lab.enqueue("a")
        lab.redis("HSET", lab.keys.queues, "default", b"paused|junk")
        assert lab.claim("p").tasks == []
        lab.call(operating.resume(lab.keys, "default"))
        assert ids(lab.claim("p")) == ["a"]

    def test_lists_of_a_wrong_type_count_as_empty(self, lab: Lab) -> None:
        bound(lab, 2)
        lab.redis("SET", lab.keys.ready("default", 9), "junk")
        assert [one.created for one in lab.enqueue("a", "b", "c")] == [True, True, False]
        assert lab.enqueue("d", list="default:9") == [refused("d", 2, 2)]
        lab.redis("DEL", lab.keys.ready("default", 9))

    def test_a_queues_hash_of_a_wrong_type_bounds_nothing(self, lab: Lab) -> None:
        bound(lab, 1)
        lab.redis("DEL", lab.keys.queues)
        lab.redis("SET", lab.keys.queues, "junk")
        assert [one.created for one in lab.enqueue("a", "b")] == [True, True]
        assert lab.enqueue("c")[0].created
        lab.redis("DEL", lab.keys.queues)
        lab.hello("p")


class TestWhatCodeDeclares:
    @contract
    def test_a_life_says_it_and_says_it_again_once_the_server_lost_its_data(self, lab: Lab) -> None:
        def begin(**bounds: int | None) -> None:
            life = Life(
                lab.keys, lease_ms=60_000, queues=["default"], weights=(), tasks={}, info=b"", bounds=bounds
            )
            lab.broker.run(life.begin())

        begin(default=1, mail=2)
        assert (entry(lab), entry(lab, "mail")) == (b"on|1|", b"on|2|")
        begin()
        assert (entry(lab), entry(lab, "mail")) == (b"on|1|", b"on|2|")
        begin(mail=None)
        assert (entry(lab), entry(lab, "mail")) == (b"on|1|", b"on")
        lab.redis("DEL", lab.keys.queues)
        begin(default=1)
        assert entry(lab) == b"on|1|"

    def test_a_worker_says_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TASKQ_MAX_LENGTH", "full=1")
        with Yard(tmp_path) as yard:
            yard.worker("quick", queues=("default",))
            yard.send("quick.tick", queue="full")
            with pytest.raises(QueueFull):
                yard.send("quick.tick", queue="full")
            yard.worker("quick", queues=("full",))
            wait_until(lambda: _is_taken(lambda: yard.send("quick.tick", queue="full")))

    def test_a_test_sees_it(self) -> None:
        app = TaskQ("shop", max_length={"default": 2})
        add = app.task(name="add")(_add)
        with app.testing() as t:
            assert [one.created for one in add.enqueue_many([(1,), (2,), (3,)])] == [True, True, False]
            with pytest.raises(QueueFull):
                add.enqueue(4)
            assert len(t.enqueued()) == 2
            t.run()
            assert add.enqueue(5).created
            t.run()


def _is_taken(enqueue: Callable[[], object]) -> bool:
    try:
        enqueue()
    except QueueFull:
        return False
    return True


def _add(number: int) -> int:
    return number


class TestManyCalls:
    @contract
    def test_each_call_has_its_own_outcome(self, app: TaskQ, task: Any, lab: Lab, worker: Player) -> None:
        bound(lab, 2)
        told: list[str] = []
        app.middleware.append(_Told(told))

        outcomes = app.enqueue_many(
            [task.call(1), task.call(2), task.call(3), task.using(queue="other").call(4)]
        )

        assert [one.created for one in outcomes] == [True, True, False, True]
        full = outcomes[2].error
        assert isinstance(full, QueueFull)
        assert told == [one.get().id for one in outcomes if one.handle]
        assert worker.run_all() == 3

    @contract
    def test_what_travels_together_is_refused_one_by_one(
        self, app: TaskQ, task: Any, lab: Lab, worker: Player
    ) -> None:
        bound(lab, 3)

        async def main() -> list[Any]:
            return await asyncio.gather(*(task.aenqueue(n) for n in range(5)), return_exceptions=True)

        told = run(app, main())
        assert [isinstance(one, QueueFull) for one in told] == [False] * 3 + [True] * 2
        assert worker.run_all() == 3


class _Told(Middleware):
    def __init__(self, told: list[str]) -> None:
        self._told = told

    def after_enqueue(self, id: str, message: Any, created: bool) -> None:
        self._told.append(id)
