from dramatiq.results import ResultFailure

from tasks import mail_receipt, mail_reminder, total

receipts = [mail_receipt.send(1, "ann@example.org"), mail_receipt.send(2, "busy@example.org")]
wrong = mail_receipt.send(3, "nobody@example.org")
reminder = mail_reminder.send_with_options(args=(4, "bob@example.org"), delay=2_000)

print("total", total.send([1250, 3000]).get_result(block=True, timeout=60_000))
print("receipts for", [receipt.get_result(block=True, timeout=60_000) for receipt in receipts])
try:
    wrong.get_result(block=True, timeout=60_000)
except ResultFailure as failure:
    if failure.orig_exc_type != "SMTPRecipientsRefused":
        raise
    print("the receipt for order 3 was refused")
reminder.get_result(block=True, timeout=60_000)
print("reminded")
