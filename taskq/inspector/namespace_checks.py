"""The checks of the namespace: what waits for nobody, what nobody owns, what fits nowhere."""

from __future__ import annotations

from taskq.broker.command import Steps, text
from taskq.broker.commands.reading import read
from taskq.inspector.doctor import Check, Found, Patient, many, ok, problem, warning
from taskq.inspector.listing import queue_names
from taskq.inspector.orphans import find_orphans, mend
from taskq.inspector.places import score_ms
from taskq.inspector.queues import queues
from taskq.inspector.scan import Budget, hash_pairs, redis_now_ms, tails, tolerant

_NAMED = 5


def waiting(patient: Patient) -> Steps[list[Found]]:
    """Ready work that no worker serves waits for ever."""
    found: list[Found] = []
    looked = yield from queues(patient.shards, Budget(looks=1))
    for queue in looked.queues:
        if queue.ready and queue.paused:
            says = f"queue {queue.name!r} is paused with {many(queue.ready, 'ready task')}"
            found.append(warning(f"{says}: `taskq resume {queue.name}`"))
        elif queue.ready and not queue.processes:
            says = f"queue {queue.name!r} has {many(queue.ready, 'ready task')}, and no worker serves it"
            found.append(problem(f"{says}: start one with -Q {queue.name}"))
        if queue.full:
            says = f"queue {queue.name!r} is full ({queue.ready:,} ready, max_length {queue.max_length:,})"
            found.append(
                warning(
                    f"{says} and refuses new tasks: run more workers, or `taskq max-length {queue.name} N`"
                )
            )
    return found or [ok("each queue with ready tasks is served")]


def processes(patient: Patient) -> Steps[list[Found]]:
    """A process that is silent keeps what it holds until a worker that lives takes it back."""
    silent: set[str] = set()
    alive: set[str] = set()
    budget = Budget()
    for keys in patient.shards:
        now_ms = yield from redis_now_ms(keys)
        flat = yield from tolerant(read(keys, "ZRANGE", keys.processes, 0, 9_999, "WITHSCORES"), [])
        leases = {text(name): score_ms(score) or 0 for name, score in zip(flat[::2], flat[1::2], strict=True)}
        beaten = {text(name) for name, _ in (yield from hash_pairs(keys, keys.beats, Budget()))}
        holding = set((yield from tails(keys, "held:", "hash", budget)))
        alive |= {name for name, ends_ms in leases.items() if ends_ms > now_ms}
        silent |= (set(leases) | beaten | holding) - alive
    if not silent:
        return [ok(f"{many(len(alive), 'worker process', 'es')}, all with a lease{_partial(budget)}")]
    says = f"{many(len(silent), 'process', 'es')} without a lease ({_some(silent)})"
    if alive:
        return [warning(f"{says}: a worker takes back what they hold within a lease; look again then")]
    return [problem(f"{says}, and no worker lives to take back what they hold: start one")]


def orphans(patient: Patient) -> Steps[list[Found]]:
    """Records that nothing points to: their tasks would never run again."""
    ids: list[str] = []
    looked, partial = 0, False
    for keys in patient.shards:
        here = yield from find_orphans(keys, Budget(seconds=5.0 / len(patient.shards)))
        ids += here.ids
        looked += here.looked
        partial = partial or here.partial
    more = " (partial: there are more than could be looked at in 5 s)" if partial else ""
    if not ids:
        return [ok(f"none among {many(looked, 'record')}{more}")]
    says = f"nothing points to {len(ids):,} of {many(looked, 'record')} ({_some(set(ids))})"
    return [problem(f"{says}: their tasks never run; `taskq doctor --fix` gives them back{more}")]


def mend_orphans(patient: Patient) -> Steps[int]:
    """Give back the tasks that `orphans` finds; gives how many."""
    mended = 0
    for keys in patient.shards:
        found = yield from find_orphans(keys, Budget(seconds=60.0))
        mended += yield from mend(keys, found.ids)
    return mended


def limbo(patient: Patient) -> Steps[list[Found]]:
    """Ids that stood in a list without a record or a message: keys were evicted, or deleted by hand."""
    lost = 0
    for keys in patient.shards:
        lost += yield from tolerant(read(keys, "SCARD", keys.limbo), 0)
    if not lost:
        return [ok("no task has lost its record")]
    says = f"{many(lost, 'task')} without record and message: these were evicted, or deleted by hand"
    return [warning(f"{says}; end that, then delete {patient.keys.limbo}")]


def quarantine(patient: Patient) -> Steps[list[Found]]:
    """Bytes that are not taskq's: someone else writes to these keys, or another release did."""
    bad = 0
    for keys in patient.shards:
        bad += yield from tolerant(read(keys, "XLEN", keys.quarantine), 0)
    if not bad:
        return [ok("nothing was unreadable")]
    says = f"{many(bad, 'unreadable record or message', '')}: find out who else writes to this namespace"
    return [warning(f"{says}; then delete {patient.keys.quarantine}")]


def parked(patient: Patient) -> Steps[list[Found]]:
    """Tasks that no worker knows."""
    waiting_for: dict[str, int] = {}
    budget = Budget()
    for keys in patient.shards:
        for task in (yield from tails(keys, "parked:", "set", budget)):
            size = yield from tolerant(read(keys, "SCARD", keys.parked(task)), 0)
            waiting_for[task] = waiting_for.get(task, 0) + size
    if not waiting_for:
        return [ok(f"no task waits for code{_partial(budget)}")]
    number = sum(waiting_for.values())
    says = f"{many(number, 'task')} of which no worker has the code ({_some(set(waiting_for))})"
    return [warning(f"{says}: deploy it, or cancel them")]


def dead(patient: Patient) -> Steps[list[Found]]:
    """Tasks that failed for good, and that nobody has decided on."""
    letters = 0
    for keys in patient.shards:
        for queue in (yield from queue_names(keys, Budget())):
            letters += yield from tolerant(read(keys, "ZCARD", keys.dead(queue)), 0)
    if not letters:
        return [ok("no dead letters")]
    return [warning(f"{many(letters, 'dead letter')}: see `taskq dead list`, then requeue or purge")]


def _partial(budget: Budget) -> str:
    return " (partial: there are more keys than could be looked at in time)" if budget.late else ""


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(name[:80] for name in shown[:_NAMED]) + (", …" if shown[_NAMED:] else "")


NAMESPACE_CHECKS: tuple[tuple[str, Check], ...] = (
    ("waiting", waiting),
    ("processes", processes),
    ("orphans", orphans),
    ("limbo", limbo),
    ("quarantine", quarantine),
    ("parked", parked),
    ("dead letters", dead),
)
