import asyncio
import os
import smtplib

from arq import create_pool
from arq.connections import RedisSettings


async def main() -> None:
    arq = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    receipts = [
        await arq.enqueue_job("mail_receipt", 1, "ann@example.org"),
        await arq.enqueue_job("mail_receipt", 2, "busy@example.org"),
    ]
    wrong = await arq.enqueue_job("mail_receipt", 3, "nobody@example.org")
    reminder = await arq.enqueue_job("mail_reminder", 4, "bob@example.org", _defer_by=2, _expires=3600)
    takings = await arq.enqueue_job("total", [1250, 3000])

    print("total", await takings.result(timeout=60))
    print("receipts for", [await receipt.result(timeout=60) for receipt in receipts])
    try:
        await wrong.result(timeout=60)
    except smtplib.SMTPRecipientsRefused:
        print("the receipt for order 3 was refused")
    await reminder.result(timeout=60)
    print("reminded")
    await arq.aclose()


asyncio.run(main())
