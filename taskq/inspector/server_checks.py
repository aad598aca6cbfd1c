"""The checks of the server: what it is, how it keeps data, how it answers."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Mapping

from taskq.broker.command import Steps, text
from taskq.broker.commands.reading import read
from taskq.durability import Durability, needs_of
from taskq.errors import BrokerRefused, ConfigurationError
from taskq.inspector.doctor import Check, Found, Patient, many, not_checked, ok, problem, warning

_OLDEST = {"Redis": (7, 0), "Valkey": (7, 2)}
_NEARLY_FULL = 0.9
_SKEWED_S, _BADLY_SKEWED_S = 1.0, 30.0
_SLOW_MS, _TOO_SLOW_MS = 5.0, 50.0
_PINGS = 25
_SPIN_S = 0.05
_PAUSE_MS = 20.0


def version(patient: Patient) -> Steps[list[Found]]:
    """Old servers lack commands that scripts use."""
    info = yield from patient.info()
    name = "Valkey" if "valkey_version" in info else "Redis"
    told = info.get("valkey_version") or info.get("redis_version", "")
    numbers = re.match(r"(\d+)\.(\d+)", told)
    if numbers is None:
        return [not_checked("the server does not tell its version")]
    major, minor = _OLDEST[name]
    if (int(numbers[1]), int(numbers[2])) < (major, minor):
        return [problem(f"{name} {told} is too old: upgrade to {major}.{minor} or newer")]
    return [ok(f"{name} {told}")]


def eviction(info: Mapping[str, str]) -> str:
    """Say that a server, by its INFO, deletes what it was given; '' if it does not."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ""
    return f"maxmemory-policy is {policy}: at maxmemory the server deletes tasks; set it to noeviction"


def memory(patient: Patient) -> Steps[list[Found]]:
    """A server that evicts deletes tasks; a full one refuses them."""
    info = yield from patient.info()
    limit, used = int(info["maxmemory"]), int(info["used_memory"])
    evicted = int(info.get("evicted_keys", 0))
    found: list[Found] = []
    if says := eviction(info):
        found.append(problem(says) if limit else warning(f"{says} (maxmemory is not set now)"))
    if evicted:
        says = f"the server has evicted {many(evicted, 'key')} since it started: tasks may be among them"
        found.append(problem(f"{says}; look at `limbo`, and enqueue again what is missing"))
    if found:
        return found
    if not limit:
        return [ok("noeviction, and maxmemory is not set")]
    share = f"{used * 100 // limit} % of maxmemory are used"
    if used > _NEARLY_FULL * limit:
        return [warning(f"{share}: a full server refuses to enqueue; raise it, or purge what is not needed")]
    return [ok(f"noeviction; {share}")]


def aof(patient: Patient) -> Steps[list[Found]]:
    """Without the append-only file, a server that dies loses what it had accepted."""
    info = yield from patient.info()
    found: list[Found] = []
    if info["aof_enabled"] != "1":
        found.append(problem("AOF is off: a server that dies loses accepted tasks; set appendonly yes"))
    elif info.get("aof_last_write_status", "ok") != "ok":
        found.append(
            problem("the server cannot write its AOF, and refuses to enqueue: look at its disk and log")
        )
    elif info.get("aof_last_bgrewrite_status", "ok") != "ok":
        found.append(warning("the last rewrite of the AOF failed: look at the server's disk and log"))
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        says = "the last snapshot failed, and a server that cannot save refuses to enqueue"
        found.append(problem(f"{says}: look at its disk and log"))
    return found or [ok("AOF is on, and written")]


def fsync(patient: Patient) -> Steps[list[Found]]:
    """How much of what was accepted a dying machine loses."""
    info = yield from patient.info()
    if info["aof_enabled"] != "1":
        return [not_checked("AOF is off")]
    found: list[Found] = []
    late = int(info.get("aof_delayed_fsync", 0))
    if late:
        says = f"an fsync of the AOF was late {late} times since the server started: the disk is slow"
        found.append(warning(f"{says}, and a crash then loses more than 2 s; use a faster one"))
    policy = yield from patient.setting("appendfsync")
    if policy == "no":
        says = "appendfsync is no: a dying machine loses what it accepted in half a minute"
        found.append(warning(f"{says}; set it to everysec or always"))
    return found or [ok(f"appendfsync is {policy}, and no fsync was late")]


def durability_check(durability: Durability) -> Check:
    """Make the check whether the server can hold what programs ask of it."""

    def check(patient: Patient) -> Steps[list[Found]]:
        needs = needs_of(durability)
        if needs is None:
            return [ok("relaxed: what is enqueued waits for neither the disk nor replicas")]
        from taskq.broker.durable import (
            Safely,  # with the driver, which nothing above the broker loads at its import
        )

        try:
            waits = yield from Safely(needs, 1, lambda _: None).learn(patient.keys)
        except (ConfigurationError, BrokerRefused) as error:
            return [problem(str(error))]
        by = " and ".join(text(wait.words[0]).replace("CONFIG", "appendfsync always") for wait in waits)
        info = yield from patient.info()
        online = sum("state=online" in value for name, value in info.items() if name.startswith("slave"))
        if online < needs.replicas:
            says = f"{needs} is asked for, and {many(online, 'replica')} online: enqueue raises DurabilityUnknown"
            return [problem(f"{says}; look at the replicas, or ask for fewer")]
        if needs.fsync and (yield from _everysec(patient)):
            says = f"{needs}, by {by}; appendfsync is everysec, so that a call waits up to a second"
            return [ok(f"{says}: always is quicker for calls one by one, and slower for all else")]
        return [ok(f"{needs}, by {by}")]

    return check


def _everysec(patient: Patient) -> Steps[bool]:
    try:
        return (yield from patient.setting("appendfsync")) == "everysec"
    except BrokerRefused:
        return False


def clients(patient: Patient) -> Steps[list[Found]]:
    """What the server does to connections that wait: those of workers, and of who awaits results."""
    found: list[Found] = []
    timeout = yield from patient.setting("timeout")
    if timeout not in ("", "0"):
        says = f"timeout is {timeout} s: the server closes idle connections, and each costs a reconnect"
        found.append(warning(f"{says}; set it to 0"))
    limit = yield from patient.setting("maxmemory-clients")
    if limit not in ("", "0"):
        says = f"maxmemory-clients is {limit}: the server cuts off clients when theirs is more"
        found.append(warning(f"{says}; set it to 0"))
    return found or [ok("idle connections stay open")]


def clock(patient: Patient) -> Steps[list[Found]]:
    """Redis's clock decides when tasks are due; an eta comes from a clock like ours."""
    ways: list[tuple[float, float]] = []
    for _ in range(5):
        asked, started = time.time(), time.monotonic()
        seconds, micros = yield read(patient.keys, "TIME")
        way = time.monotonic() - started
        ways.append((way, int(seconds) + int(micros) / 1e6 - (asked + way / 2)))
    way, offset = min(ways)  # the shortest way tells most
    skew = max(0.0, abs(offset) - way / 2)
    if skew <= _SKEWED_S:
        return [ok(f"the server's clock and this machine's are {abs(offset):.3f} s apart")]
    which = "ahead of" if offset > 0 else "behind"
    says = f"the server's clock is {skew:,.1f} s {which} this machine's: an eta is met that much off"
    judged = problem if skew > _BADLY_SKEWED_S else warning
    return [judged(f"{says}; set both by NTP")]


def latency(patient: Patient) -> Steps[list[Found]]:
    """How long a command takes, and how long this machine itself stands still."""
    times: list[float] = []
    for _ in range(_PINGS):
        started = time.perf_counter()
        yield read(patient.keys, "PING")
        times.append((time.perf_counter() - started) * 1_000)
    median = statistics.median(times)
    own = longest_pause_ms(_SPIN_S)
    says = f"PING takes {median:.2f} ms (median); this machine paused for {own:.2f} ms at most"
    if own > _PAUSE_MS:
        return [warning(f"{says}: it has too little CPU for what runs here")]
    if median <= _SLOW_MS:
        return [ok(says)]
    judged = problem if median > _TOO_SLOW_MS else warning
    return [judged(f"{says}: bring workers nearer to the server, or look at what keeps it busy")]


def longest_pause_ms(seconds: float) -> float:
    """Spin for `seconds`, and give how long we were kept from it, as `redis-cli --intrinsic-latency` does."""
    now = time.perf_counter()
    until = now + seconds
    longest = 0.0
    while now < until:
        before, now = now, time.perf_counter()
        longest = max(longest, now - before)
    return longest * 1_000


def slots(patient: Patient) -> Steps[list[Found]]:
    """Scripts that cannot name every key beforehand corrupt data while its slot moves."""
    info = yield from patient.info()
    if info.get("cluster_enabled") != "1":
        return [ok("no cluster, so no slot moves")]
    found = [problem("this is a node of Redis Cluster, which taskq cannot use yet: use one server")]
    nodes = text((yield read(patient.keys, "CLUSTER", "NODES")))
    if moving := slots_on_the_move(nodes):
        which = ", ".join(moving[:5]) + (", …" if moving[5:] else "")
        found.append(
            problem(f"slots are on the move ({which}): stop workers and producers until they are not")
        )
    return found


def slots_on_the_move(nodes: str) -> list[str]:
    """Give the slots that the answering node hands over or takes over, from what CLUSTER NODES says."""
    mine = [line for line in nodes.splitlines() if "myself" in line]
    return [slot for line in mine for slot in re.findall(r"\[(\d+)-[<>]-", line)]


SERVER_CHECKS: tuple[tuple[str, Check], ...] = (
    ("version", version),
    ("memory", memory),
    ("aof", aof),
    ("fsync", fsync),
    ("clients", clients),
    ("clock", clock),
    ("latency", latency),
    ("slots", slots),
)
