import os
import time
from datetime import timedelta
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job

from tasks import mail_receipt, mail_reminder, total

connection = Redis.from_url(os.environ["REDIS_URL"])
mail = Queue("mail", connection=connection, default_timeout=30)
default = Queue(connection=connection)


def value(job: Job) -> Any:
    while job.get_status() not in ("finished", "failed"):
        time.sleep(0.1)
    result = job.latest_result()
    if result.type != result.Type.SUCCESSFUL:
        raise RuntimeError(result.exc_string)
    return result.return_value


receipts = [
    mail.enqueue(mail_receipt, 1, "ann@example.org", result_ttl=600),
    mail.enqueue(mail_receipt, 2, "busy@example.org", result_ttl=600),
]
wrong = mail.enqueue(mail_receipt, 3, "nobody@example.org")
reminder = mail.enqueue_in(timedelta(seconds=2), mail_reminder, 4, "bob@example.org")

print("total", value(default.enqueue(total, [1250, 3000])))
print("receipts for", [value(receipt) for receipt in receipts])
try:
    value(wrong)
except RuntimeError as error:
    if "SMTPRecipientsRefused" not in str(error):
        raise
    print("the receipt for order 3 was refused")
value(reminder)
print("reminded")
