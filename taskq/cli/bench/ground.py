"""The ground of a run: a server, looked over before the first task, and a namespace that is removed after."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from taskq.broker.client import Broker
from taskq.broker.command import Command, same
from taskq.broker.commands.reading import read
from taskq.broker.connect import resolve
from taskq.broker.keys import Keys
from taskq.cli.output import line
from taskq.cli.server_options import find_url
from taskq.cli.trial.environment import unhurried
from taskq.errors import (
    BackpressureError,
    BrokerNotConfigured,
    BrokerUnavailable,
    ConfigurationError,
    TaskqError,
)
from taskq.inspector.doctor import Finding, Patient, Status, diagnose
from taskq.inspector.server_checks import SERVER_CHECKS

_PATIENCE_S = 3.0
_BATCH = 500
LEAST = 250
"""Fewer tasks say nothing."""
_FATAL = ("version", "slots")
"""The doctor's checks that a server has to pass for any task to run on it."""


def find_server(url: str | None, namespace: str) -> str:
    """Give the URL of the server that counts, as for other commands; empty if there is none.

    Raises:
        ConfigurationError: it is none that workers could reach.
    """
    try:
        named = find_url(url, namespace)
    except BrokerNotConfigured:
        return ""
    if named.startswith("memory:"):
        raise ConfigurationError(
            f"{named} is in this process alone, and workers could not reach it: name a server"
        )
    return resolve(named, namespace).url


@contextmanager
def server_url(found: str, directory: Path) -> Generator[str]:
    """Give the URL that was found, or that of an embedded one that lives in `directory` meanwhile.

    Raises:
        ConfigurationError: none was named, and none can be had on this machine.
    """
    if found:
        yield found
        return
    from taskq.broker import embedded

    place = directory / "server"
    with ExitStack() as ends:
        ends.callback(embedded.stop, "bench", directory=place)
        yield embedded.ensure("bench", directory=place, allow_fake=False, linger=5.0).url


def reach(broker: Broker) -> None:
    """Make sure that the server is there, and takes writes.

    Raises:
        BrokerUnavailable: it is not reached, or it is a replica.
    """
    refuse_replica(broker.run(Patient(broker.keys).info()), broker.url.masked)


def look_over(broker: Broker) -> list[Finding]:
    """Give what the doctor finds wrong with the server.

    Raises:
        ConfigurationError: it is too old, or a node of a cluster.
        BackpressureError: its memory is full.
        BrokerError: it fails.
    """
    patient = Patient(broker.keys)
    refuse_full(broker.run(patient.info()), broker.url.masked)
    findings = broker.run(diagnose(patient, SERVER_CHECKS))
    for finding in findings:
        if finding.check in _FATAL and finding.status is Status.PROBLEM:
            raise ConfigurationError(finding.says)
    return [finding for finding in findings if finding.status in (Status.PROBLEM, Status.WARNING)]


def refuse_replica(info: Mapping[str, str], where: str) -> None:
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        raise BrokerUnavailable(f"{where} is a replica, which stores nothing: name its master, {master}")


def refuse_full(info: Mapping[str, str], where: str) -> None:
    limit, used = int(info.get("maxmemory", 0)), int(info["used_memory"])
    if limit and used >= limit:
        raise BackpressureError(
            f"the memory of {where} is full: {used:,} bytes are used, and maxmemory is {limit:,}; "
            "raise it, or remove what is not needed"
        )


def most_tasks(info: Mapping[str, str], each_bytes: int, asked: int | None, usual: int) -> int:
    """How many tasks the server may have to hold at once: `asked`, or `usual` if they fit.

    Those that are asked for may take half of the memory that the server has left, else it is a tenth.

    Raises:
        ConfigurationError: they take more, or not even a batch fits.
    """
    room = _room(info)
    fitting = room // (2 if asked else 10) // each_bytes
    if fitting < (asked or LEAST):
        raise ConfigurationError(
            f"{asked or LEAST:,} tasks take {(asked or LEAST) * each_bytes:,} bytes of Redis's memory, which has "
            f"{room:,} left: give a smaller --tasks or --payload, or free some"
        )
    return asked or min(usual, fitting)


def _room(info: Mapping[str, str]) -> int:
    limit = int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0)) or 1 << 30
    return max(0, limit - int(info["used_memory"]))


def own_namespace(url: str) -> Broker:
    """Give a client of a namespace that nobody else has."""
    return Broker(url, f"bench-{uuid.uuid4().hex[:8]}", patience=_PATIENCE_S)


@contextmanager
def removed_afterwards(broker: Broker) -> Generator[None]:
    """Remove all keys of the namespace after the body, whatever happened in it."""
    try:
        yield
    finally:
        with unhurried():
            try:
                remove(broker, broker.keys[0])
            except TaskqError as error:
                keys = f"{broker.keys[0].prefix}*"
                line(
                    f"taskq: the keys {keys} could not be removed ({error}); delete them by hand", error=True
                )


def remove(broker: Broker, keys: Keys) -> int:
    """Delete every key of a namespace in small steps, and no other; gives how many there were.

    `meta` goes first: without it every script refuses, also one that a killed worker has sent and that is
    still on its way.
    """
    removed = _unlink(broker, keys, [keys.meta])
    cursor: Any = 0
    while True:
        cursor, found = broker.call(read(keys, "SCAN", cursor, "MATCH", f"{keys.prefix}*", "COUNT", _BATCH))
        removed += _unlink(broker, keys, found)
        if int(cursor) == 0:
            return removed


def forget(broker: Broker, ids: list[str]) -> None:
    """Delete the records of tasks that have ended, which would stay until their time is over."""
    (keys,) = broker.keys
    for start in range(0, len(ids), _BATCH):
        _unlink(broker, keys, [keys.record(id) for id in ids[start : start + _BATCH]])


def _unlink(broker: Broker, keys: Keys, names: list[Any]) -> int:
    # A repeat after a lost reply deletes what is left: harmless, as `Command` wants it.
    return int(broker.call(Command("UNLINK", "", names, same, keys.shard))) if names else 0
