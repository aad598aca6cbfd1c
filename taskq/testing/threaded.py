"""A worker process inside the test's own process, on threads, against a real server."""

from __future__ import annotations

import asyncio
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

from taskq.app import TaskQ
from taskq.broker.client import Broker
from taskq.errors import ConfigurationError
from taskq.worker.channel import Channel
from taskq.worker.child import Process, report_of, slots_of
from taskq.worker.config import WorkerConfig
from taskq.worker.testimony import Testimony

_READY_S = 30.0
_GRACE_S = 10.0


class ThreadedWorker:
    """Runs an app's tasks as a worker process does, but in threads of this one, until `stop()`.

    The app sends to `url` and `namespace` meanwhile. What takes a process of its own does not happen: a task that
    heeds no timeout is not killed.
    """

    def __init__(self, app: TaskQ, url: str, namespace: str, concurrency: int = 8) -> None:
        self._app = app
        self._config = WorkerConfig(
            app=app.name, url=url, namespace=namespace, concurrency=concurrency, name="in-process"
        )
        self._failure: BaseException | None = None
        self._running = False

    def start(self) -> None:
        """Return once it takes tasks. Raises what the app's lifespan raises."""
        app, config = self._app, self._config
        app.freeze()
        report = report_of(app, config, str(config.url))
        self._broker = Broker(report.url, report.namespace, shards=report.shards)
        self._channel, theirs = Channel.pair()
        self._testimony = Testimony(slots_of(config))
        self._before = app.use(self._broker)
        process = Process(config, theirs, self._testimony, app, self._broker, report, first=True)
        self._thread = threading.Thread(target=self._live, args=(process, theirs), name="taskq-worker")
        self._thread.start()
        self._running = True
        for message in self._heard():
            if message["kind"] == "ready":
                return
        self.stop()

    def stop(self) -> None:
        """Take no more tasks, and end when those that run have, at the latest after 10 s.

        Raises what ended the worker before.
        """
        if not self._running:
            return
        self._running = False
        self._channel.send(kind="stop", deadline=time.monotonic() + _GRACE_S, worker=True)
        self._thread.join()
        self._app.use(self._before)
        self._broker.close()
        self._channel.close()
        self._testimony.close()
        if self._failure is not None:
            raise self._failure

    def _heard(self) -> Iterator[dict[str, Any]]:
        until = time.monotonic() + _READY_S
        while not self._channel.closed:
            if not select.select([self._channel], [], [], max(0.0, until - time.monotonic()))[0]:
                raise ConfigurationError(f"the worker in this process was not ready after {_READY_S:g} s")
            yield from self._channel.messages()

    def _live(self, process: Process, channel: Channel) -> None:
        try:
            asyncio.run(process.run())
        except BaseException as error:  # noqa: BLE001 - raised where the worker is stopped
            self._failure = error
        finally:
            channel.close()
