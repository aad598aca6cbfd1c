"""The testing kit: run tasks inside a test, without a server, by the code that workers run them by.

`app.testing()` gives an `AppTesting`; `taskq.testing.plugin` has the pytest fixtures. pytest imports this package
wherever taskq is installed, so it loads nothing until it is asked.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.testing.calls import SentCall
    from taskq.testing.chaos import Delivery
    from taskq.testing.kit import AppTesting

__all__ = ["AppTesting", "Delivery", "SentCall"]

_ROOMS = {"AppTesting": "kit", "Delivery": "chaos", "SentCall": "calls"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
