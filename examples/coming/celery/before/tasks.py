import os
import smtplib
from email.message import EmailMessage

from celery import Celery

app = Celery("shop", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_routes={"tasks.mail_*": {"queue": "mail"}},
    result_expires=600,
)


def send(to: str, subject: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@example.org", to, subject
    with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as server:
        server.send_message(mail)


@app.task(
    autoretry_for=(OSError,),
    dont_autoretry_for=(smtplib.SMTPRecipientsRefused,),
    max_retries=5,
    retry_backoff=1,
    soft_time_limit=20,
    time_limit=30,
)
def mail_receipt(order: int, to: str) -> str:
    send(to, f"Your receipt for order {order}")
    return to


@app.task
def mail_reminder(order: int, to: str) -> None:
    send(to, f"Order {order} waits for you")


@app.task
def total(prices: list[int]) -> int:
    return sum(prices)
