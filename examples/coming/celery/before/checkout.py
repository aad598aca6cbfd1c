import smtplib

from tasks import mail_receipt, mail_reminder, total

receipts = [mail_receipt.delay(1, "ann@example.org"), mail_receipt.delay(2, "busy@example.org")]
wrong = mail_receipt.delay(3, "nobody@example.org")
reminder = mail_reminder.apply_async((4, "bob@example.org"), countdown=2, expires=3600, priority=9)

print("total", total.delay([1250, 3000]).get(timeout=60))
print("receipts for", [receipt.get(timeout=60) for receipt in receipts])
try:
    wrong.get(timeout=60)
except smtplib.SMTPRecipientsRefused:
    print("the receipt for order 3 was refused")
reminder.get(timeout=60)
print("reminded")
