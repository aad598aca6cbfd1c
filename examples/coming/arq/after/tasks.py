import asyncio
import os
import smtplib
from email.message import EmailMessage

from taskq import TaskQ

app = TaskQ("shop", result_ttl="10m")


def send(to: str, subject: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@example.org", to, subject
    with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as server:
        server.send_message(mail)


@app.task(retry_for=OSError, no_retry_for=smtplib.SMTPRecipientsRefused, max_retries=5, timeout=30)
async def mail_receipt(order: int, to: str) -> str:
    await asyncio.to_thread(send, to, f"Your receipt for order {order}")
    return to


@app.task(max_retries=0)
async def mail_reminder(order: int, to: str) -> None:
    await asyncio.to_thread(send, to, f"Order {order} waits for you")


@app.task(max_retries=0)
async def total(prices: list[int]) -> int:
    return sum(prices)
