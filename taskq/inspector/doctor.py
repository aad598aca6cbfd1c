"""What is wrong with a server or a namespace, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

import msgspec

from taskq.broker.command import Steps, text
from taskq.broker.commands.reading import read
from taskq.broker.keys import Keys
from taskq.errors import BrokerError, BrokerUnavailable, ConfigurationError


class Status(Enum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


class Finding(msgspec.Struct, frozen=True):
    """What one check found; `says` is one line, which ends with what to do where there is something to do."""

    check: str
    status: Status
    says: str


class Diagnosis(msgspec.Struct, frozen=True):
    """All findings. `mended` is how many records were mended, None where that was not asked for."""

    findings: list[Finding]
    mended: int | None = None

    @property
    def healthy(self) -> bool:
        """True if no check found a problem."""
        return all(finding.status is not Status.PROBLEM for finding in self.findings)


class Patient:
    """A namespace on its server, and what was read of the server once for all checks."""

    def __init__(self, shards: Sequence[Keys]) -> None:
        self.shards = shards
        self.keys = shards[0]
        self._info: dict[str, str] | None = None

    def info(self) -> Steps[dict[str, str]]:
        """Give what INFO says, all sections in one."""
        if self._info is None:
            reply = text((yield read(self.keys, "INFO")))
            self._info = dict(_fields(reply.splitlines()))
        return self._info

    def setting(self, name: str) -> Steps[str]:
        """Give one setting of the server, empty if it has no such."""
        reply = yield read(self.keys, "CONFIG", "GET", name)
        return text(reply[1]) if len(reply) > 1 else ""


def _fields(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            yield name, value


Found = tuple[Status, str]
Check = Callable[[Patient], Steps[list[Found]]]


def ok(says: str) -> Found:
    return Status.OK, says


def warning(says: str) -> Found:
    return Status.WARNING, says


def problem(says: str) -> Found:
    return Status.PROBLEM, says


def not_checked(says: str) -> Found:
    return Status.NOT_CHECKED, says


def many(number: int, noun: str, plural: str = "s") -> str:
    """Give `1 task`, `2 tasks`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}{plural}"


def diagnose(patient: Patient, checks: Iterable[tuple[str, Check]]) -> Steps[list[Finding]]:
    """Run checks; one that the server refuses is `not checked`, and says why.

    Raises:
        BrokerUnavailable: the server is gone.
    """
    findings: list[Finding] = []
    for name, check in checks:
        try:
            found = yield from check(patient)
        except BrokerUnavailable:
            raise
        except (BrokerError, ConfigurationError, ValueError) as error:
            found = [not_checked(f"the server refuses: {error.__cause__ or error}")]
        findings += [Finding(name, status, says) for status, says in found]
    return findings
