"""Secret arguments: the task has them, and nothing shows them, not even the error of a task that failed.

Run `taskq dev examples.redaction:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/redaction.py`.
"""

from __future__ import annotations

from taskq import Secret, TaskFailed, TaskQ, current_task

app = TaskQ("redaction")


@app.task(max_retries=0)
def log_in(user: str, password: Secret[str], *, api_key: str) -> Secret[str]:
    url = f"https://{user}:{password.reveal()}@bank.example/?key={api_key}"
    current_task().log.info("calling %s", current_task().redact(url))
    if len(password.reveal()) < 8:
        raise PermissionError(f"{url} says no")
    return Secret(f"session of {user}")


def main() -> None:
    password = Secret("correct horse")
    print("the password:", password)

    session = log_in.enqueue("ann", password, api_key="k-1234567").result(timeout=10)
    print("what came back:", session, "which is the", session.reveal())

    failed = log_in.enqueue("bob", Secret("hunter2"), api_key="k-1234567")
    try:
        failed.result(timeout=10)
    except TaskFailed as error:
        print(error)


if __name__ == "__main__":
    main()
