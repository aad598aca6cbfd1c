"""What a benchmark says: rows of a figure, the figure that is asked for, and the settings it was taken under."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import redis.utils

from taskq.signing import keys_from
from tests.servers import RedisServer


@dataclass(frozen=True, slots=True)
class Asked:
    """The figure that is asked for: `limit` is the least, or the most, that will do."""

    limit: float
    most: bool

    def met_by(self, value: float) -> bool:
        return value <= self.limit if self.most else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {_number(self.limit)}"


def at_least(limit: float) -> Asked:
    return Asked(limit, most=False)


def at_most(limit: float) -> Asked:
    return Asked(limit, most=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a figure was taken under."""

    server: str
    aof: str
    hiredis: str
    uvloop: str
    signing: str = "off"
    log_level: str = "INFO"

    def __str__(self) -> str:
        return (
            f"{self.server}, AOF {self.aof}, hiredis {self.hiredis}, uvloop {self.uvloop}, "
            f"signing {self.signing}, log level {self.log_level}"
        )


def settings_of(server: RedisServer) -> Settings:
    """Read what the server and the libraries at hand are."""
    with server.client() as client:
        about: dict[Any, Any] = client.info("server")
        told: dict[Any, Any] = client.config_get("append*")
    kind = about.get("server_name", "redis")
    release = about.get(f"{kind}_version", about["redis_version"])
    return Settings(
        server=f"{kind} {release}",
        aof=told["appendfsync"] if told["appendonly"] == "yes" else "off",
        hiredis=_version("hiredis") if redis.utils.HIREDIS_AVAILABLE else "off",
        uvloop=_version("uvloop"),
        signing="on" if keys_from() else "off",
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "off"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    `invalid` says why the figure says nothing: the machine could not have reached it, whatever taskq does.
    """

    name: str
    value: float
    unit: str
    asked: Asked | None = None
    note: str = ""
    invalid: str = ""
    room: str = ""
    settings: Settings | None = None

    @property
    def verdict(self) -> str:
        """`ok`, `missed`, `invalid`, or nothing where nothing is asked."""
        if self.invalid:
            return "invalid"
        if self.asked is None:
            return ""
        return "ok" if self.asked.met_by(self.value) else "missed"

    def within(self, room: str, settings: Settings) -> Row:
        return replace(self, room=room, settings=settings)

    def as_json(self) -> dict[str, object]:
        fields = asdict(self)
        asked = "" if self.asked is None else str(self.asked)
        return {**fields, "asked": asked, "verdict": self.verdict}


def show(rows: Iterable[Row]) -> str:
    """Give rows as one table; the settings stand above those that share them."""
    lines: list[str] = []
    for settings, same in itertools.groupby(rows, key=lambda row: row.settings):
        lines.append(f"{settings}")
        for room, some in itertools.groupby(same, key=lambda row: row.room):
            lines += ["", room, *_table(list(some))]
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> list[str]:
    cells = [
        (row.name, _number(row.value), row.unit, str(row.asked or "-"), row.verdict, row.invalid or row.note)
        for row in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    return [
        f"  {name:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  "
        f"{asked:<{widths[3]}}  {verdict:<{widths[4]}}  {note}".rstrip()
        for name, value, unit, asked, verdict, note in cells
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
