"""A service that is away at times, and says when to come back.

Run `taskq dev examples.retries:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/retries.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from taskq import Reject, RetryPolicy, TaskFailed, TaskQ, current_task

app = TaskQ("retries")


@dataclass
class Response:
    """Stands for what an HTTP client gives."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])


class HTTPError(Exception):
    """As HTTP clients have it: its response's Retry-After decides when the task runs again."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"status {response.status}")
        self.response = response


def get(url: str, attempt: int) -> Response:
    """Stands for the service: busy once, broken once, then fine."""
    if url.endswith("/missing"):
        return Response(404)
    if attempt == 1:
        return Response(429, headers={"Retry-After": "1"})
    if attempt == 2:
        return Response(503)
    return Response(200, f"the weather, at attempt {attempt}")


@app.task(retry=RetryPolicy(max_retries=4, delay="200ms", retry_for=HTTPError))
def fetch(url: str) -> str:
    response = get(url, current_task().attempt)
    if response.status == 404:
        raise Reject(f"{url} does not exist")  # trying again cannot help
    if response.status != 200:
        raise HTTPError(response)
    return response.body


def main() -> None:
    print(fetch.enqueue("https://example.org/weather").result(timeout=20))
    try:
        fetch.enqueue("https://example.org/missing").result(timeout=20)
    except TaskFailed as error:
        print(error)


if __name__ == "__main__":
    main()
