import os
import smtplib
from email.message import EmailMessage

from rq import Retry


def send(to: str, subject: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@example.org", to, subject
    with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as server:
        server.send_message(mail)


def mail_receipt(order: int, to: str) -> str | Retry:
    try:
        send(to, f"Your receipt for order {order}")
    except smtplib.SMTPRecipientsRefused:
        raise
    except OSError:
        return Retry(max=5, interval=[1, 2, 4, 8, 16])
    return to


def mail_reminder(order: int, to: str) -> None:
    send(to, f"Order {order} waits for you")


def total(prices: list[int]) -> int:
    return sum(prices)
