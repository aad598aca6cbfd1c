import asyncio

from taskq import TaskFailed

from tasks import app, mail_receipt, mail_reminder, total


async def main() -> None:
    receipts = [
        await mail_receipt.aenqueue(1, "ann@example.org"),
        await mail_receipt.aenqueue(2, "busy@example.org"),
    ]
    wrong = await mail_receipt.aenqueue(3, "nobody@example.org")
    reminder = await mail_reminder.using(delay=2, expires=3600).aenqueue(4, "bob@example.org")
    takings = await total.aenqueue([1250, 3000])

    print("total", await takings.aresult(timeout=60))
    print("receipts for", [await receipt.aresult(timeout=60) for receipt in receipts])
    try:
        await wrong.aresult(timeout=60)
    except TaskFailed as failed:
        if failed.type != "smtplib.SMTPRecipientsRefused":
            raise
        print("the receipt for order 3 was refused")
    await reminder.aresult(timeout=60)
    print("reminded")
    await app.aclose()


asyncio.run(main())
