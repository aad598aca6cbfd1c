"""The pytest plugin: fixtures for tests against a real server.

It is loaded wherever taskq is installed, so it imports nothing until a test asks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.testing.threaded import ThreadedWorker


@pytest.fixture(scope="session")
def taskq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a real server that was started for this run of the tests, and is stopped after it."""
    from taskq.broker import embedded

    directory = tmp_path_factory.mktemp("taskq-server")
    yield embedded.ensure("testing", directory=directory, allow_fake=False).url
    embedded.stop("testing", directory=directory)


@pytest.fixture
def taskq_worker(taskq_server: str) -> Iterator[Callable[..., ThreadedWorker]]:
    """Start a worker on threads of this process: `taskq_worker(app, concurrency=8)`; it stops with the test.

    The app sends to `taskq_server` meanwhile, to a namespace of the test's own.
    """
    from taskq.testing.threaded import ThreadedWorker

    namespace = f"test-{uuid.uuid4().hex[:12]}"
    started: list[ThreadedWorker] = []

    def start(app: TaskQ, **options: Any) -> ThreadedWorker:
        worker = ThreadedWorker(app, taskq_server, namespace, **options)
        started.append(worker)
        worker.start()
        return worker

    yield start
    for worker in reversed(started):
        worker.stop()
