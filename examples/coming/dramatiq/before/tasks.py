import os
import smtplib
from email.message import EmailMessage

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from redis import Redis

broker = RedisBroker(url=os.environ["REDIS_URL"])
results = Redis.from_url(
    os.environ["REDIS_URL"], socket_timeout=None
)  # redis-py 8 would end a wait after 5 s
broker.add_middleware(Results(backend=RedisBackend(client=results)))
dramatiq.set_broker(broker)


def send(to: str, subject: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@example.org", to, subject
    with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as server:
        server.send_message(mail)


@dramatiq.actor(
    queue_name="mail",
    max_retries=5,
    min_backoff=1_000,
    throws=(smtplib.SMTPRecipientsRefused,),
    time_limit=30_000,
    store_results=True,
)
def mail_receipt(order: int, to: str) -> str:
    send(to, f"Your receipt for order {order}")
    return to


@dramatiq.actor(queue_name="mail", max_retries=0, max_age=3_600_000, store_results=True)
def mail_reminder(order: int, to: str) -> None:
    send(to, f"Order {order} waits for you")


@dramatiq.actor(max_retries=0, store_results=True)
def total(prices: list[int]) -> int:
    return sum(prices)
