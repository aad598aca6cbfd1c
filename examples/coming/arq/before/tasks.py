import asyncio
import os
import smtplib
from email.message import EmailMessage
from typing import Any

from arq import Retry, func
from arq.connections import RedisSettings


def send(to: str, subject: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@example.org", to, subject
    with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as server:
        server.send_message(mail)


async def mail_receipt(ctx: dict[str, Any], order: int, to: str) -> str:
    try:
        await asyncio.to_thread(send, to, f"Your receipt for order {order}")
    except smtplib.SMTPRecipientsRefused:
        raise
    except OSError as error:
        raise Retry(defer=2 ** (ctx["job_try"] - 1)) from error
    return to


async def mail_reminder(ctx: dict[str, Any], order: int, to: str) -> None:
    await asyncio.to_thread(send, to, f"Order {order} waits for you")


async def total(ctx: dict[str, Any], prices: list[int]) -> int:
    return sum(prices)


class WorkerSettings:
    functions = (func(mail_receipt, max_tries=6, timeout=30), mail_reminder, total)
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    keep_result = 600
