"""Tasks that are given secrets, and do with them what they should not: raise, return and log them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from taskq import Middleware, Retry, Secret, TaskContext, TaskQ, current_task

log = logging.getLogger("tests")


@dataclass
class Account:
    """What has a secret field by its name, and one by its annotation."""

    user: str
    password: str
    pin: Secret[int]


class Careless(Middleware):
    """A hook that raises what it was given."""

    def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
        if error is not None:
            raise RuntimeError(f"a hook fails, too: {error}")


app = TaskQ("tests", middleware=[Careless()], redact=("*password*", "*iban*"))


@app.task
def give(user: str, code: Secret[str], account: Account) -> dict[str, Any]:
    return {"user": user, "password": code.reveal(), "wrapped": [code], "account": account}


@app.task
def same(code: Secret[str]) -> Secret[str]:
    return code


@app.task(max_retries=0)
def leak(user: str, code: Secret[str], account: Account, **more: Any) -> None:
    current_task().log.info("seen: %s", current_task().redact(f"{user} {code.reveal()} {more}"))
    log.info("also seen: %s", current_task().redact({"account": account, "more": more}))
    try:
        more.pop(code.reveal())
    except KeyError:
        raise ValueError(f"{user} {code.reveal()} {account} {more}")  # noqa: B904 - the more there is to hide


@app.task(max_retries=1)
async def aleak(user: str, iban: str) -> None:
    if current_task().attempt == 1:
        raise Retry(delay=0.01) from LookupError(iban)
    raise LookupError(f"{user} {iban}")


@app.task
def fits(user: str, pin: Secret[int]) -> None:
    """Get a number, or not even start."""


@app.task(keep_message=True)
def kept(user: str, code: Secret[str]) -> dict[str, Any]:
    return {"user": user, "password": code.reveal()}
