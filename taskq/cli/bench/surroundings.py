"""What a run takes place in: the server as it stands, this machine, and what the server noted as slow."""

from __future__ import annotations

import platform
from typing import Any

from taskq.broker.client import Broker
from taskq.broker.command import text
from taskq.broker.commands.reading import read
from taskq.cli.about import taskq_version, version_of_package
from taskq.cli.bench.gauges import Gauges
from taskq.cli.bench.measured import Client, Server, Slow
from taskq.errors import BrokerError
from taskq.signing import KeyRing
from taskq.worker.config import cpu_count

_OURS = 1
"""The connections of this program when it first looks."""
_MOST = 128
"""How many entries of the SLOWLOG are read."""


def server_of(broker: Broker, gauges: Gauges, *, embedded: bool) -> Server:
    """Read what the server is, and who uses it besides us."""
    info = gauges.info()
    name = "Valkey" if "valkey_version" in info else "Redis"
    return Server(
        name=f"{name} {info.get('valkey_version') or info.get('redis_version', '?')}",
        url=broker.url.masked,
        embedded=embedded,
        network=_network(broker),
        aof=_setting(broker, "appendfsync") if info.get("aof_enabled") == "1" else "off",
        maxmemory_bytes=int(info.get("maxmemory", 0)),
        maxmemory_policy=info.get("maxmemory_policy", ""),
        used_memory_bytes=int(info["used_memory"]),
        other_clients=max(0, int(info.get("connected_clients", 0)) - _OURS),
        other_commands_per_s=int(info.get("instantaneous_ops_per_sec", 0)),
    )


def client_of(signing_keys: KeyRing | None) -> Client:
    """Say what is installed here."""
    return Client(
        taskq=taskq_version(),
        python=platform.python_version(),
        hiredis=version_of_package("hiredis"),
        uvloop=version_of_package("uvloop"),
        signing=signing_keys is not None,
        cpus=cpu_count(),
    )


def _network(broker: Broker) -> str:
    url = broker.url
    if url.scheme == "unix":
        return "unix socket"
    if all(host == "localhost" or host.startswith("127.") or host == "[::1]" for host, _ in url.hosts):
        return "loopback"
    told = text(_tolerant(broker, "CLIENT", "INFO") or b"")
    ends = dict(part.split("=", 1) for part in told.split() if "=" in part)
    theirs, ours = (ends.get(name, name).rpartition(":")[0] for name in ("laddr", "addr"))
    return "loopback" if theirs and theirs == ours else "network"


def _setting(broker: Broker, name: str) -> str | None:
    told = _tolerant(broker, "CONFIG", "GET", name)
    return text(told[1]) if told and len(told) > 1 else None


def _tolerant(broker: Broker, name: str, *args: str | int) -> Any:
    """Read what some servers do not tell: None then."""
    try:
        return broker.call(read(broker.keys[0], name, *args))
    except BrokerError:
        return None


class SlowLog:
    """The commands of this run in the server's SLOWLOG."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._last = max((int(entry[0]) for entry in self._entries(1) or []), default=-1)

    def _entries(self, most: int) -> list[Any] | None:
        found: list[Any] | None = _tolerant(self._broker, "SLOWLOG", "GET", most)
        return found

    def read(self) -> Slow | None:
        """Give what has come meanwhile; None where the server does not tell."""
        entries = self._entries(_MOST)
        if entries is None:
            return None
        # Those of others may have come at the same time; ours name a key of ours.
        prefix = self._broker.keys[0].prefix.encode()
        ours = [
            int(entry[2])
            for entry in entries
            if int(entry[0]) > self._last and any(word.startswith(prefix) for word in entry[3])
        ]
        threshold = _setting(self._broker, "slowlog-log-slower-than")
        return Slow(
            commands=len(ours),
            longest_ms=max(ours, default=0) / 1_000,
            threshold_ms=int(threshold) / 1_000 if threshold else None,
        )
