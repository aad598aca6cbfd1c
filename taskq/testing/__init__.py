"""The testing kit: run tasks inside a test, without a server, by the code that workers run them by.

`app.testing()` gives an `AppTesting`; `taskq.testing.plugin` has the pytest fixtures.
"""

from taskq.testing.calls import SentCall
from taskq.testing.chaos import Delivery
from taskq.testing.kit import AppTesting, Mode

__all__ = ["AppTesting", "Delivery", "Mode", "SentCall"]
