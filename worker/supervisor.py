"""The supervisor: the parent that owns leases, limits and signals, and never runs user code.

One thread, one selector. It makes children, beats for them, sees them die, gives back what they held, replaces
them, and ends them when it is told to.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from typing import Any

import msgspec

from taskq.broker.client import Broker
from taskq.errors import (
    BrokerError,
    BrokerNotConfigured,
    BrokerRefused,
    ConfigurationError,
    FormatMismatch,
    TaskqError,
)
from taskq.worker.appearance import set_title, set_up_logs
from taskq.worker.banner import banner, danger
from taskq.worker.child import EXIT_NOT_LOADED, Report
from taskq.worker.config import WorkerConfig
from taskq.worker.custody import Custody, processes_of
from taskq.worker.health import Health
from taskq.worker.life import beat_s
from taskq.worker.offspring import Offspring, how_it_ended, make_child, reap_adopted
from taskq.worker.population import Population
from taskq.worker.sweeper import Sweeper
from taskq.worker.testimony import monotonic_ms
from taskq.worker.watcher import Watcher

log = logging.getLogger("taskq.worker")

_SILENT_MS = 6_000
"""How long a child's engine may be silent, where half a lease is longer: no reply of the server takes it as long."""

OK, FAILED = 0, 1

_START_ERRORS: dict[str, type[TaskqError]] = {
    kind.__name__: kind for kind in (ConfigurationError, BrokerNotConfigured, BrokerRefused, FormatMismatch)
}


class Supervisor:
    """Runs one `taskq worker`."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self._population = Population(config, self._make)
        self._selector = selectors.DefaultSelector()
        self._first = True
        """True until the first child is made, which says what it has loaded."""
        self._report: Report | None = None
        self._broker: Broker | None = None
        self._custody: Custody | None = None
        self._sweeper: Sweeper | None = None
        self._health: Health | None = None
        self._watcher: Watcher | None = None
        self._stopping = self._forced = False
        self._not_started: TaskqError | None = None
        self._code = OK
        self._next_beat = self._next_sweep = 0.0
        self._signals: list[int] = []
        self._signal_reader, self._signal_writer = os.pipe()
        self._turned = time.monotonic()

    @property
    def children(self) -> list[Offspring]:
        """Those that live."""
        return self._population.children

    # -- the life of the worker

    def run(self) -> int:
        """Work until told to stop; gives the exit code: 0, or 1 if the first process died before it could work.

        Raises:
            ConfigurationError: the app cannot be loaded.
            BrokerNotConfigured, BrokerRefused, FormatMismatch: the server cannot be used as it is named.
        """
        set_up_logs(self.config)
        set_title(self.config, "supervisor")
        for fd in (self._signal_reader, self._signal_writer):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._signal_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)
        self._selector.register(self._signal_reader, selectors.EVENT_READ, self._drain_signals)
        if self.config.health:
            self._health = Health(self.config.health, {"/livez": self._not_live, "/readyz": self._not_ready})
            self._health.start(self._selector)
        if self.config.reload:
            self._watcher = Watcher(self.config.app_dir)
            self._selector.register(self._watcher, selectors.EVENT_READ, self._code_changed)
        self._population.add()
        try:
            while self.children or not (self._stopping or self._population.finished):
                self._turn()
        finally:
            self._end()
        if self._not_started is not None:
            raise self._not_started
        log.info("stopped")
        return self._code

    def _turn(self) -> None:
        now = self._turned = time.monotonic()
        at = self._population.make_at or self._next_beat
        wait = min(self._next_beat, at, now + (0.25 if self._has_deadlines() else 1.0))
        for key, _ in self._selector.select(max(0.0, wait - now)):
            key.data()
        while self._signals:
            self._heed(self._signals.pop(0))
        now = time.monotonic()
        self._bury()
        self._enforce(now)
        if now >= self._next_beat:
            self._next_beat = now + (1.0 if self._report is None else beat_s(self._report.lease_ms))
            self._look_after(now)
        # The first child is to show that the app can be loaded.
        self._population.tend(now, growing=not self._stopping and self._report is not None)

    def _end(self) -> None:
        for child in self.children:
            child.kill()
        deadline = time.monotonic() + (0.0 if self._forced else 5.0)
        while self._custody and self._custody.pending() and time.monotonic() < deadline:
            if not {signal.SIGTERM, signal.SIGINT}.isdisjoint(self._signals):
                break  # somebody will not wait: the sweepers of others take it back
            try:
                self._custody.settle_estates()
            except BrokerError:
                time.sleep(0.2)
        if self._watcher:
            self._watcher.stop()
        if self._health:
            self._health.stop()
        if self._broker:
            self._broker.close()
        signal.set_wakeup_fd(-1)

    # -- signals

    def _note(self, number: int, _frame: Any) -> None:
        self._signals.append(number)

    def _drain_signals(self) -> None:
        os.read(self._signal_reader, 4096)

    def _heed(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._stopping:
                self._force()
            else:
                self.stop()
        elif number == signal.SIGHUP and not self._stopping:
            self._reload()

    def _reload(self) -> None:
        log.info("reloading: each process is replaced by one that imports the code anew")
        self._population.outdate()

    def _code_changed(self) -> None:
        assert self._watcher is not None
        if changed := self._watcher.changed():
            log.info("changed: %s", changed)
            self._reload()
        else:
            self._selector.unregister(self._watcher)
            log.error("the watching of %s has ended; the code is not reloaded any more", self.config.app_dir)

    def stop(self) -> None:
        """Stop claiming, let what runs end within the grace, then give it back."""
        grace_s = self.config.grace_ms / 1_000
        log.info("stopping: running tasks have %g s; a second signal stops at once", grace_s)
        self._stopping = True
        last = next((child for child in self.children if child.ready and child.stays), None)
        for child in self.children:
            child.stop(grace_s, worker=child is last)

    def _force(self) -> None:
        log.warning("stopping at once: what runs goes back, uncharged")
        self._forced = True
        for child in self.children:
            child.given_up = True
            child.kill()

    # -- children

    def _make(self) -> Offspring:
        child = make_child(self.config, self._first, self._close_inherited)
        self._first = False
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._hear(child))
        return child

    def _close_inherited(self) -> None:
        """Close in a forked child what only its parent needs."""
        self._selector.close()
        os.close(self._signal_reader)
        os.close(self._signal_writer)
        for child in self.children:
            child.close()
        if self._watcher:
            self._watcher.close()
        if self._health:
            self._health.close()
        if self._broker:
            self._broker.close()  # redis-py closes the copy without a goodbye to the server

    def _hear(self, child: Offspring) -> None:
        for message in child.channel.messages():
            if message["kind"] == "born":
                child.process = message["process"]
            elif message["kind"] == "ready":
                self._population.is_ready(child)
                self._ready(msgspec.convert(message["report"], Report))
            elif message["kind"] == "failed":
                if self._report is None:
                    kind = _START_ERRORS.get(message["type"], ConfigurationError)
                    self._not_started = kind(message["error"])
                else:
                    log.error("%s", message["error"])
        if child.channel.closed:
            self._selector.unregister(child.channel)  # it has died, or is about to: `_bury` sees to it
            child.channel.close()

    def _ready(self, report: Report) -> None:
        if self._report is None:
            self._broker = Broker(
                report.url, report.namespace, shards=report.shards, patience=0.0, timeout=2.0
            )
            self._custody = Custody(self._broker, report.lease_ms, report.queues)
            self._sweeper = Sweeper(self._broker, report.lease_ms, report.queues)
            for line in banner(self.config, report, self._broker):
                log.info("%s", line)
            if says := danger(self._broker):
                log.warning("%s", says)
            if strange := [queue for queue in report.queues if queue not in report.declared]:
                log.warning("no task of the app is declared in queue %s: is that meant?", ", ".join(strange))
            self._next_beat = 0.0
        self._report = report

    # -- watching

    def _bury(self) -> None:
        for child in list(self.children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._population.is_gone(child)
                self._mourn(child, status)
        if os.getpid() == 1:
            reap_adopted({child.pid for child in self.children})

    def _mourn(self, child: Offspring, status: int) -> None:
        if not child.channel.closed:
            self._hear(child)  # its last words
        if not child.channel.closed:
            self._selector.unregister(child.channel)
        code = os.waitstatus_to_exitcode(status)
        ran = any(not one.apart for one in child.testimony.running())
        died_of_a_task = child.stopping_until is None and ran
        if self._custody:
            self._custody.inherit(child)
        child.close()
        if code == 0 and child.ready and not died_of_a_task:
            if self.config.burst:
                self._population.is_done()
            elif child.stopping_until is None and not self._stopping:
                log.info("pid %d has ended, as somebody asked it to", child.pid)
            return
        if code != EXIT_NOT_LOADED and not child.given_up:
            log.error("pid %d ended %s", child.pid, how_it_ended(code))
        if self._report is None:
            self._code = OK if self._stopping else FAILED
            self._stopping = True
            return
        if child.was_quick() and not child.killed_for:
            self._population.died_quickly(time.monotonic())

    def _enforce(self, now: float) -> None:
        """Kill what its own process could not end."""
        now_ms = monotonic_ms()
        for child in self.children:
            over = frozenset(one.g for one in child.testimony.running() if 0 < one.kill_at_ms <= now_ms)
            if over and not child.killed_for:
                log.error(
                    "pid %d is killed: %d task(s) did not heed their hard timeout", child.pid, len(over)
                )
                child.killed_for = over
                child.kill()
            elif child.stopping_until is not None and now > child.stopping_until and not child.given_up:
                log.warning(
                    "pid %d did not end within the grace and is killed; what it ran goes back", child.pid
                )
                child.given_up = True
                child.kill()

    def _has_deadlines(self) -> bool:
        return any(child.stopping_until is not None or child.testimony.running() for child in self.children)

    def _look_after(self, now: float) -> None:
        if self._custody is None or self._sweeper is None:
            for child in self.children:
                child.testimony.beat()
            return
        if not self._custody.beat(self.children):
            return  # the rest would wait for the server as long again, and signals with it
        self._population.scale(self._custody.work_is_ready, now)
        for child in list(self.children):
            self._return_of_the_silent(child)
            if not self._stopping:
                self._population.replace_if_worn(child)
        if now >= self._next_sweep:
            self._next_sweep = now + self._sweeper.every_s
            self._sweeper.sweep(processes_of(self.children), now)

    def _return_of_the_silent(self, child: Offspring) -> None:
        """Return what a child that does not answer was given and has not started."""
        assert self._custody is not None
        patience_ms = min(self._custody.lease_ms / 2, _SILENT_MS)
        silent = child.ready and child.testimony.engine_silent_ms() > patience_ms
        if silent and child.process:
            try:
                self._custody.return_unstarted(child)
                child.wedged = True
            except BrokerError as error:
                log.debug("%s", error)
        elif not silent:
            child.wedged = False

    # -- health

    def _not_live(self) -> str:
        dead = self._report is not None and not self.children and not self._stopping
        return "no process lives" if dead else ""

    def _not_ready(self) -> str:
        if self._stopping:
            return "stopping"
        if self._custody is None or not any(child.ready for child in self.children):
            return "starting"
        silent = time.monotonic() - self._custody.beaten
        if silent > self._custody.lease_ms / 2_000:
            return f"the server has not answered for {silent:.1f} s"
        return ""
