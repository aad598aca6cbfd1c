"""Tasks without an app: what libraries declare, and apps include."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskq.application import Application
from taskq.config import AppConfig
from taskq.declaring import Declaring
from taskq.errors import ConfigurationError
from taskq.names import check_name, check_task_name
from taskq.origin import qualified_name
from taskq.task import Task

if TYPE_CHECKING:
    from taskq.broker.client import Broker
    from taskq.broker.command import Steps
    from taskq.frame import FrameCodec
from taskq.middleware import Hooks
from taskq.payloads import Payloads


class TaskGroup(Declaring):
    """Tasks that an app takes over with `app.include(group)`; they are named `<prefix>.<function>`.

    `queue` is where those wait that name none. Until an app has included the group its tasks can be called,
    but not enqueued.
    """

    def __init__(self, prefix: str, *, queue: str = "default") -> None:
        super().__init__(check_name("the queue", queue))
        self.prefix = check_task_name(prefix)
        self._promised = _PromisedApp(self)
        self._adopt: Callable[[Task[..., Any]], None] | None = None

    def __repr__(self) -> str:
        return f"<TaskGroup {self.prefix}>"

    def join(self, app: Application, adopt: Callable[[Task[..., Any]], None]) -> None:
        """Give the tasks, and those declared later, to an app, which registers each with `adopt`.

        Raises:
            ConfigurationError: another app has included the group.
        """
        if self._promised.app not in (None, app):
            raise ConfigurationError(f"{self!r} is included in {self._promised.app!r}; a group has one app")
        for task in self.tasks.values():
            adopt(task)
        self._promised.app = app
        self._adopt = adopt

    def _home(self) -> Application:
        return self._promised

    def _default_name(self, function: Callable[..., Any]) -> str:
        return f"{self.prefix}.{qualified_name(function)}"

    def _add(self, task: Task[..., Any]) -> None:
        super()._add(task)
        if self._adopt is not None:
            self._adopt(task)


class _PromisedApp:
    """Stands for the app that will include a group."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self.app: Application | None = None

    def _kept(self) -> Application:
        if self.app is None:
            raise ConfigurationError(f"{self._group!r} has no app yet: app.include(group) gives it one")
        return self.app

    @property
    def config(self) -> AppConfig:
        return self._kept().config

    @property
    def broker(self) -> Broker:
        return self._kept().broker

    @property
    def frames(self) -> FrameCodec:
        return self._kept().frames

    @property
    def payloads(self) -> Payloads:
        return self._kept().payloads

    @property
    def hooks(self) -> Hooks:
        return self._kept().hooks

    def queue_of(self, task: str) -> Steps[str]:
        return self._kept().queue_of(task)
