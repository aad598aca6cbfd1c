"""Exit codes, all of them, and which error ends with which."""

from __future__ import annotations

from enum import IntEnum

from taskq.errors import (
    ArgumentMismatch,
    BrokerError,
    BrokerNotConfigured,
    ConfigurationError,
    EnqueueUnknown,
    NotEncodable,
    ResultTimeout,
    TaskqError,
    TooLate,
)


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    NO = 1
    """What was asked about is not so: no such task, it failed, the doctor found a problem."""
    USAGE = 2
    """The command line, the configuration or the app is wrong; nothing was done."""
    BROKER = 3
    """There is no server, or it failed or refused."""
    WAITING = 4
    """The task has not ended yet, or not within the timeout."""
    BUG = 70
    """An error that taskq should not have made."""
    INTERRUPTED = 130
    """Ctrl-C, or a question answered with no."""
    PIPE = 141
    """Whoever read the output has closed it."""


HELP = (
    "Exit codes: 0 done; 1 what was asked about is not so (no such task, it failed, a problem was found); "
    "2 wrong usage, configuration or app; 3 no server, or it failed; 4 the task has not ended; "
    "130 interrupted."
)

# The first that fits counts.
_CODES: tuple[tuple[type[TaskqError], Exit], ...] = (
    (BrokerNotConfigured, Exit.BROKER),
    (BrokerError, Exit.BROKER),
    (EnqueueUnknown, Exit.BROKER),
    (TooLate, Exit.BROKER),
    (ConfigurationError, Exit.USAGE),
    (ArgumentMismatch, Exit.USAGE),
    (NotEncodable, Exit.USAGE),
    (ResultTimeout, Exit.WAITING),
)


def code_of(error: TaskqError) -> Exit:
    """Give the exit code that `error` ends a command with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.NO)
