from taskq import TaskFailed

from tasks import mail_receipt, mail_reminder, total

receipts = [mail_receipt.enqueue(1, "ann@example.org"), mail_receipt.enqueue(2, "busy@example.org")]
wrong = mail_receipt.enqueue(3, "nobody@example.org")
reminder = mail_reminder.using(delay=2, expires=3600, priority=0).enqueue(4, "bob@example.org")

print("total", total.enqueue([1250, 3000]).result(timeout=60))
print("receipts for", [receipt.result(timeout=60) for receipt in receipts])
try:
    wrong.result(timeout=60)
except TaskFailed as failed:
    if failed.type != "smtplib.SMTPRecipientsRefused":
        raise
    print("the receipt for order 3 was refused")
reminder.result(timeout=60)
print("reminded")
