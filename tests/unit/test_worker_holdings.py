"""The books of what a process has claimed: who starts, what is given back, what is settled."""

from __future__ import annotations

import time

import pytest

from taskq.broker.commands.working import Answer, Kind
from taskq.worker.holdings import NUDGE_S, PATIENCE_S, Holdings
from taskq.worker.job import Job
from taskq.worker.ledger import Ledger
from taskq.worker.prefetch import Prefetch
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Verdict
from tests.jobs import FakeRunner, gauge, job

NOW = 1_000.0


class Books:
    """Holdings between two fake runners."""

    def __init__(self, concurrency: int = 4) -> None:
        self.threads, self.loop = FakeRunner(), FakeRunner()
        self.holdings = Holdings(Prefetch(concurrency), Ledger(log_tasks=False))
        self.told: list[tuple[Job, Verdict]] = []
        self.holdings.attach(
            self.threads,
            self.loop,
            Timeouts(self.threads, self.loop),
            lambda one, verdict: self.told.append((one, verdict)),
        )

    def sent(self, process: str = "p") -> list[tuple[Job, Kind]]:
        """What goes to the server in the next turn."""
        self.holdings.collect(process)
        return [(one, verdict.kind) for one, verdict in self.holdings.sent]

    def answer(self, answer: Answer = Answer.COMMITTED) -> None:
        self.holdings.settled([answer] * len(self.holdings.sent))

    def ends(self, one: Job, kind: Kind = Kind.SUCCEEDED) -> None:
        runner = self.loop if one.task.is_async else self.threads
        runner.end(one, lambda: self.holdings.submit(one, Verdict(kind)))

    def take_early(self, *jobs: Job) -> None:
        """As the intake hands over tasks with ack="early"."""
        for one in jobs:
            one.outcome_given = True
        self.holdings.judge([(one, Verdict(Kind.SUCCEEDED, still_runs=True)) for one in jobs])
        self.holdings.take(jobs)


@pytest.fixture
def books() -> Books:
    return Books()


def jobs(count: int, received: float = NOW) -> list[Job]:
    of = gauge(0.001)
    return [job(of, received=received) for _ in range(count)]


def test_jobs_go_to_the_runner_of_their_kind_in_their_order(books: Books) -> None:
    sync, on_loop = jobs(3), [job(gauge(is_async=True)) for _ in range(2)]
    books.holdings.take([sync[0], on_loop[0], sync[1], on_loop[1], sync[2]])
    assert list(books.threads.waiting) == sync
    assert list(books.loop.waiting) == on_loop
    assert len(books.holdings) == 5


def test_a_job_with_a_process_of_its_own_goes_to_the_runner_for_those(books: Books) -> None:
    apart = FakeRunner()
    timeouts = Timeouts(books.threads, books.loop, apart)
    books.holdings.attach(books.threads, books.loop, timeouts, lambda *_: None, apart)
    isolated = [job(gauge(isolate="process")), job(gauge(isolate="process", is_async=True))]
    [plain] = jobs(1)
    books.holdings.take([isolated[0], plain, isolated[1]])

    assert (list(apart.waiting), list(books.threads.waiting), list(books.loop.waiting)) == (
        isolated,
        [plain],
        [],
    )
    assert books.holdings.jobs_wait
    running = apart.begin()
    books.threads.begin()
    books.holdings.cancel({one.id: one.g for one in isolated})
    assert [one for one, _ in apart.interrupts] == [running]
    books.holdings.release_unstarted(NOW)
    assert books.sent() == [(isolated[1], Kind.RELEASED)]


def test_without_such_a_runner_it_runs_as_any(books: Books) -> None:
    one, other = job(gauge(isolate="process")), job(gauge(isolate="process", is_async=True))
    books.holdings.take([one, other])

    assert (list(books.threads.waiting), list(books.loop.waiting)) == ([one], [other])


def test_an_outcome_is_sent_until_it_is_answered(books: Books) -> None:
    [one] = jobs(1)
    books.holdings.take([one])
    books.ends(books.threads.begin())
    assert books.sent() == [(one, Kind.SUCCEEDED)]
    assert books.sent() == [(one, Kind.SUCCEEDED)]
    assert not books.holdings.empty
    books.answer()
    assert books.holdings.empty


def test_an_outcome_wakes_the_engine_unless_many_jobs_wait_behind(books: Books) -> None:
    books.holdings.take(jobs(10))
    pressing = []
    while books.threads.waiting:
        books.ends(books.threads.begin())
        pressing.append(books.holdings.outcomes_press)
    assert pressing == [False] * 3 + [True] * 7
    books.sent()
    assert books.holdings.outcomes_press, "with nothing that waits, whatever comes next presses"


def test_an_outcome_of_an_earlier_life_is_not_sent(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    [one] = jobs(1)
    books.holdings.take([one])
    books.ends(books.threads.begin())
    assert books.sent(process="reborn") == []
    assert "was lost" in caplog.text
    assert books.holdings.empty


@pytest.mark.parametrize("answer", [Answer.LOST, Answer.GONE])
def test_a_loss_is_said_once_and_forgotten(
    books: Books, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    [one] = jobs(1)
    books.holdings.take([one])
    books.ends(books.threads.begin())
    books.sent()
    books.answer(answer)
    assert caplog.text.count("was lost") == 1
    assert books.holdings.empty


def test_what_waits_for_long_is_given_back_oldest_first_and_the_rest_stays(books: Books) -> None:
    old, young = jobs(3, NOW - PATIENCE_S - 0.01), jobs(2, NOW)
    books.holdings.take([*old, *young])
    books.holdings.release_late(NOW)
    assert books.sent() == [(one, Kind.RELEASED) for one in old]
    assert list(books.threads.waiting) == young


def test_what_waits_for_a_while_has_a_thread_woken_for_it(books: Books) -> None:
    books.holdings.take(jobs(1, NOW - NUDGE_S - 0.001))
    books.holdings.release_late(NOW)
    assert books.threads.nudges == 1
    assert books.sent() == []


def test_after_a_release_only_free_slots_are_filled(books: Books) -> None:
    books.holdings.take(jobs(6, NOW - 1))
    running = [books.threads.begin() for _ in range(4)]
    books.holdings.release_late(NOW)
    books.sent()
    assert books.holdings.room() == 0
    books.ends(running[0])
    books.sent()
    assert books.holdings.room() > 0


def test_an_early_job_starts_once_its_settle_is_answered(books: Books) -> None:
    [one] = jobs(1)
    books.take_early(one)
    assert not books.threads.waiting
    assert books.sent() == [(one, Kind.SUCCEEDED)]
    books.answer()
    assert list(books.threads.waiting) == [one]
    books.ends(books.threads.begin(), Kind.RETRY)
    assert books.sent() == []
    assert books.holdings.empty


@pytest.mark.parametrize("answer", [Answer.LOST, Answer.GONE])
def test_an_early_job_that_is_anothers_does_not_start(books: Books, answer: Answer) -> None:
    books.take_early(*jobs(1))
    books.sent()
    books.answer(answer)
    assert not books.threads.waiting
    assert books.holdings.empty


def test_an_early_job_starts_after_a_repeated_settle_too(books: Books) -> None:
    books.take_early(*jobs(1))
    books.sent()
    books.answer(Answer.ALREADY)
    assert len(books.threads.waiting) == 1


def test_an_early_job_is_never_given_back_once_it_is_settled(books: Books) -> None:
    early, late = jobs(2, NOW - 1), jobs(2, NOW - 1)
    books.take_early(*early)
    books.sent()
    books.answer()
    books.holdings.take(late)
    books.holdings.release_late(NOW)
    assert books.sent() == [(one, Kind.RELEASED) for one in late]
    books.answer()
    books.holdings.release_unstarted(NOW)
    books.holdings.return_unstarted("a gap")
    books.holdings.forget_unstarted("reborn")
    assert books.sent() == []
    assert list(books.threads.waiting) == early


def test_a_careful_job_starts_when_nothing_else_is_held_and_nothing_is_claimed_meanwhile(
    books: Books,
) -> None:
    [other], careful = jobs(1), job(careful=True, received=NOW)
    books.holdings.take([other])
    books.holdings.take([careful])
    assert books.holdings.careful_turn() is None
    assert books.holdings.room() == 0
    books.ends(books.threads.begin())
    books.sent()
    assert books.holdings.careful_turn() is careful
    books.holdings.begin_careful(careful, mine=True)
    assert books.holdings.careful_turn() is None
    assert books.holdings.room() == 0
    books.ends(books.threads.begin())
    books.sent()
    assert books.holdings.room() == 4


def test_a_careful_job_that_is_anothers_is_dropped(books: Books) -> None:
    careful = job(careful=True)
    books.holdings.take([careful])
    books.holdings.begin_careful(careful, mine=False)
    assert books.holdings.empty
    assert books.holdings.room() == 4


def test_a_careful_job_behind_a_long_one_is_given_back_and_not_claimed_again_at_once(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    [long], careful = jobs(1), job(careful=True, received=NOW)
    books.holdings.take([long])
    books.threads.begin()
    books.holdings.take([careful])
    books.holdings.release_late(NOW + PATIENCE_S / 2)
    assert books.sent() == []
    assert books.holdings.jobs_wait
    books.holdings.release_late(NOW + 2 * PATIENCE_S)
    assert books.sent() == [(careful, Kind.RELEASED)]
    monkeypatch.setattr(time, "monotonic", lambda: NOW + 0.5)
    assert books.holdings.room() == 0
    monkeypatch.setattr(time, "monotonic", lambda: NOW + 2.0)
    assert books.holdings.room() == 3


@pytest.mark.parametrize("way", ["return_unstarted", "forget_unstarted"])
def test_what_has_not_started_is_barred_and_what_runs_goes_on(books: Books, way: str) -> None:
    running, waiting = jobs(1), jobs(3)
    books.holdings.take([*running, *waiting])
    begun = books.threads.begin()
    before = books.holdings.epoch
    getattr(books.holdings, way)("why")
    assert books.holdings.epoch == before + 1
    expected = [(one, Kind.RELEASED) for one in waiting] if way == "return_unstarted" else []
    assert books.sent() == expected
    assert len(books.holdings) == 1
    books.answer()
    books.ends(begun)
    assert books.sent() == [(begun, Kind.SUCCEEDED)]


def test_a_careful_job_that_runs_stays_alone_through_a_pause(books: Books) -> None:
    careful = job(careful=True)
    books.holdings.take([careful])
    books.holdings.begin_careful(careful, mine=True)
    books.threads.begin()
    books.holdings.return_unstarted("a gap")
    assert books.sent() == []
    assert books.holdings.room() == 0


def test_a_careful_job_that_waits_is_returned(books: Books) -> None:
    careful = job(careful=True)
    books.holdings.take([careful])
    books.holdings.return_unstarted("a gap")
    assert books.sent() == [(careful, Kind.RELEASED)]
    books.answer()
    assert books.holdings.room() == 4


def test_what_was_given_back_and_ended_nevertheless_is_sent_once(books: Books) -> None:
    [one] = jobs(1)
    books.holdings.take([one])
    begun = books.threads.begin()
    assert books.holdings.release_all() == 1
    books.ends(begun)
    assert books.sent() == [(one, Kind.RELEASED)]


def test_a_batch_has_a_bound(books: Books) -> None:
    many = jobs(300)
    books.holdings.take(many)
    for _ in many:
        books.ends(books.threads.begin())
    assert len(books.sent()) == 256
    books.answer()
    assert len(books.sent()) == 44


def test_a_cancel_is_for_one_claim_and_is_passed_on_once(books: Books) -> None:
    one, other = jobs(2)
    books.holdings.take([one, other])
    books.threads.begin()
    books.holdings.cancel({one.id: one.g + 1, "unknown": 1})
    assert not one.cancelled
    books.holdings.cancel({one.id: one.g, other.id: other.g})
    books.holdings.cancel({one.id: one.g, other.id: other.g})
    assert [interrupted for interrupted, _ in books.threads.interrupts] == [one]
    assert other.cancelled
