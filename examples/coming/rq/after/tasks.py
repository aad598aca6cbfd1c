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


@app.task(
    queue="mail",
    retry_for=OSError,
    no_retry_for=smtplib.SMTPRecipientsRefused,
    max_retries=5,
    timeout=30,
)
def mail_receipt(order: int, to: str) -> str:
    send(to, f"Your receipt for order {order}")
    return to


@app.task(queue="mail", max_retries=0)
def mail_reminder(order: int, to: str) -> None:
    send(to, f"Order {order} waits for you")


@app.task(max_retries=0)
def total(prices: list[int]) -> int:
    return sum(prices)
