"""What tasks and handles use of their app, so that they need not know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from taskq.broker.command import Steps
from taskq.config import AppConfig
from taskq.frame import FrameCodec
from taskq.middleware import Hooks
from taskq.payloads import Payloads

if TYPE_CHECKING:
    from taskq.broker.client import Broker


class Application(Protocol):
    """An app, as seen from below."""

    @property
    def config(self) -> AppConfig: ...
    @property
    def broker(self) -> Broker: ...
    @property
    def frames(self) -> FrameCodec: ...
    @property
    def payloads(self) -> Payloads: ...
    @property
    def hooks(self) -> Hooks: ...
    def queue_of(self, task: str) -> Steps[str]: ...
