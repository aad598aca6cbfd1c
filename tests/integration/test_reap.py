"""reap: what a silent process held goes back once, in its order, charging those who can be blamed."""

from __future__ import annotations

import time

import pytest

from taskq.broker.commands.working import Answer, Claimed, Kind, parse_rest
from taskq.record import State
from taskq.worker.sweeper import Sweeper
from tests.engine import HOUR_MS, LEASE_MS, Lab, ids, refused

pytestmark = pytest.mark.contract


def counters(lab: Lab, id: str) -> tuple[int, int, str]:
    record = lab.record(id)
    assert record is not None
    return record.failures, record.crashes, record.flags


def test_a_batch_stands_in_its_order_at_the_head_again(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*(f"a{n:02}" for n in range(30)))
    lab.enqueue("x", "y", list="mail:9")
    before = lab.ready()
    lab.take("p", 9)
    lab.take("p", 4)
    lab.take("p", 2, queues=("mail",))

    assert lab.reap("p") == 0

    assert lab.ready() == before
    assert lab.ready("mail:9") == ["x", "y"]
    assert (lab.tokens(), lab.tokens("mail")) != (0, 0)


def test_nothing_is_left_of_the_process(lab: Lab) -> None:
    lab.hello("p", queues=("default", "mail"))
    lab.enqueue("a")
    lab.claim("p")
    lab.cancel("a")
    lab.reap_all("p")
    assert [name for name in lab.names() if ":p" in name] == []
    assert all(b"p" not in lab.redis("SMEMBERS", lab.keys.serves(queue)) for queue in ("default", "mail"))
    assert lab.redis("HEXISTS", lab.keys.beats, "p") == 0
    assert lab.redis("ZSCORE", lab.keys.processes, "p") is None


def test_a_process_that_has_beaten_meanwhile_is_left_alone(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    tasks = lab.claim("p").tasks
    lab.beat("p")
    before = lab.snapshot()
    assert lab.reap("p", 0) == -1
    assert lab.snapshot() == before
    assert lab.settle("p", tasks) == [Answer.COMMITTED]
    assert lab.reap("p", 1) == 0


def test_a_reaped_process_is_told_wherever_it_turns(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    a, b = lab.take("p")
    lab.reap("p")
    assert refused(lab, "p")
    assert refused(lab, "p", seq=1)
    assert [beat.alive for beat in lab.beat("p")] == [False]
    assert lab.start("p", a) is False
    assert lab.park("p", b, "app.job") == "l"
    assert lab.settle("p", [a, b]) == [Answer.LOST, Answer.LOST]


@pytest.mark.parametrize("beats", [0, None])
def test_a_repeat_of_reap_finds_nothing(lab: Lab, beats: int | None) -> None:
    lab.hello("p", "q")
    lab.enqueue("a", "b", "c")
    lab.take("p")
    lab.reap("p", beats)
    before = lab.snapshot()
    assert lab.reap("p", beats) == 0
    assert lab.snapshot() == before
    taken = lab.take("q")
    assert lab.reap("p", beats) == 0
    assert lab.settle("q", taken) == [Answer.COMMITTED] * 3


def test_without_testimony_nobody_is_charged_and_all_are_careful(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue("a", "b")
    lab.take("p")
    lab.reap("p")
    assert [counters(lab, id) for id in "ab"] == [(0, 0, "c"), (0, 0, "c")]
    assert lab.stats() == {}
    first = lab.claim("q").tasks
    assert ids(first) == ["a"]
    assert parse_rest(first[0].rest).careful


def test_what_never_started_is_not_even_careful_where_a_supervisor_testifies(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("ran", "waited")
    ran, _ = lab.take("p")
    lab.settle("p", [ran], Kind.CRASHED)
    lab.reap("p", None)
    assert counters(lab, "ran") == (0, 1, "")
    assert counters(lab, "waited") == (0, 0, "")


def careful(lab: Lab, process: str, id: str) -> Claimed:
    (task,) = lab.claim(process).tasks
    assert (task.id, parse_rest(task.rest).careful) == (id, True)
    return task


def test_a_careful_task_that_noted_its_start_is_charged_with_the_next_loss(lab: Lab) -> None:
    lab.hello("p", "q", "r", "s")
    lab.enqueue("a")
    lab.claim("p")
    lab.reap("p")
    assert counters(lab, "a") == (0, 0, "c")

    assert lab.start("q", careful(lab, "q", "a")) is True
    lab.reap("q")
    assert counters(lab, "a") == (0, 1, "c")

    careful(lab, "r", "a")  # lost before it noted a start
    lab.reap("r")
    assert counters(lab, "a") == (0, 1, "c")

    task = careful(lab, "s", "a")
    assert [lab.start("s", task), lab.start("s", task)] == [True, True]
    assert lab.settle("s", [task]) == [Answer.COMMITTED]


def test_a_start_is_not_charged_where_the_supervisor_testifies_that_it_did_not_run(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks, Kind.SUSPECT)
    lab.start("q", careful(lab, "q", "a"))
    lab.reap("q", None)
    assert counters(lab, "a") == (0, 0, "c")


def test_start_is_fenced(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue("a")
    task = lab.claim("p").tasks[0]
    assert lab.start("q", task) is False
    assert lab.start("p", Claimed("a", task.g - 1, b"", b"")) is False
    assert lab.start("p", Claimed("ghost", task.g, b"", b"")) is False
    lab.settle("p", [task])
    assert lab.start("p", task) is False
    assert lab.held("p") == {}


def test_a_noted_start_survives_a_repeated_claim(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks, Kind.SUSPECT)
    task = lab.claim("p", seq=5).tasks[0]
    lab.start("p", task)
    assert lab.claim("p", seq=5).tasks == [task]
    assert lab.held("p")["a"].started


def test_reap_takes_500_a_call_and_the_first_ends_the_lease(lab: Lab) -> None:
    lab.hello("p")
    names = [f"a{n:03}" for n in range(620)]
    for start in range(0, 620, 250):
        lab.enqueue(*names[start : start + 250])
    lab.take("p", 620)

    assert lab.reap("p") == 120
    assert refused(lab, "p")
    assert len(lab.ready()) == 500
    assert lab.reap("p") == 0
    assert sorted(lab.ready()) == names


def test_what_a_process_settles_before_it_is_taken_back_counts_and_what_comes_later_is_lost(lab: Lab) -> None:
    lab.hello("p")
    for start in range(0, 600, 200):
        lab.enqueue(*(f"a{start + n:03}" for n in range(200)))
    taken = lab.take("p", 600)

    assert lab.reap("p") == 100
    kept = lab.held("p")
    [still] = [task for task in taken if task.id in kept][:1]
    [gone] = [task for task in taken if task.id not in kept][:1]

    assert lab.settle("p", [still, gone]) == [Answer.COMMITTED, Answer.LOST]
    assert lab.reap("p") == 0
    assert len(lab.ready()) == 599


def test_what_was_settled_or_reclaimed_is_not_given_back(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue("done", "again", "held")
    done, again, _ = lab.take("p")
    lab.settle("p", [done])
    lab.settle("p", [again], Kind.RELEASED)
    lab.take("q")
    lab.redis("HSET", lab.keys.held("p"), "done", f"1:1:{done.g}:0", "again", f"1:2:{again.g}:0")

    lab.reap("p")

    assert lab.ready() == ["held"]
    assert (lab.state("done"), lab.state("again")) == (State.SUCCEEDED, State.RUNNING)


class Watch:
    """A sweeper whose clock the test turns, in steps that no pause of its own explains."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.now = lab, time.monotonic()
        self.sweeper = Sweeper(lab.broker, LEASE_MS, ("default",))

    def over(self, seconds: float, alive: tuple[str, ...] = ()) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += self.sweeper.every_s
            if alive:
                self.lab.beat(*alive)
            self.sweeper.sweep((), self.now)


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
def test_a_clock_jump_reaps_no_one_alive_and_hides_no_one_dead(
    lab: Lab, jumping_clock: None, jump_ms: int
) -> None:
    lab.hello("alive", "dead")
    lab.enqueue("a", "b", "c", "d")
    kept, given_back = lab.claim("alive", 1).tasks, lab.claim("dead", 1).tasks
    watch = Watch(lab)
    watch.over(10, alive=("alive", "dead"))

    lab.jump(jump_ms)
    assert refused(lab, "alive", limit=0) is (jump_ms > 0)  # until the next beat
    watch.over(LEASE_MS / 1_000 - 10, alive=("alive",))
    assert ids(lab.claim("alive", 1)) == ["c"]
    assert lab.state(given_back[0].id) is State.RUNNING
    watch.over(20, alive=("alive",))

    assert lab.state(given_back[0].id) is State.QUEUED
    assert refused(lab, "dead")
    assert lab.settle("alive", kept) == [Answer.COMMITTED]


def test_a_process_that_never_beat_is_reaped_too(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.claim("p")
    lab.redis("DEL", lab.keys.beats)
    Watch(lab).over(LEASE_MS / 1_000 + 10)
    assert lab.state("a") is State.QUEUED
    assert refused(lab, "p")


def test_a_beat_revives_a_lease_that_ran_out_unless_it_was_reaped(lab: Lab, jumping_clock: None) -> None:
    lab.hello("p", "q")
    lab.reap("q")
    lab.jump(2 * LEASE_MS)
    assert [beat.alive for beat in lab.beat("p", "q")] == [True, False]
    lease_ms = float(lab.redis("ZSCORE", lab.keys.processes, "p")) - lab.now_ms()
    assert LEASE_MS - 5_000 < lease_ms <= LEASE_MS
    assert lab.redis("HGET", lab.keys.beats, "p") == b"1"
    assert refused(lab, "q")
