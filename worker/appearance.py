"""How a worker shows itself: log lines, as text or as one JSON object each, and its title in `ps`."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time

from taskq.worker.config import WorkerConfig

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029) if code != ord("\t")
}
_CONTROL[ord("\n")] = "\n  "


class TextFormatter(logging.Formatter):
    """Lines for people. Control characters are spelled out: what a task raises must not steer a terminal.

    What goes on in a further line is set in, so that no text of a task's looks like a line of the worker's own.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, with the traceback below it."""
        return super().format(record).translate(_CONTROL)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, pid, message, the traceback, and what `extra=` gave."""

    def format(self, record: logging.LogRecord) -> str:
        """Give one line; what JSON cannot hold is shown by its repr."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        line.update({name: value for name, value in record.__dict__.items() if name not in _STANDARD})
        return json.dumps(line, default=repr, ensure_ascii=False)


def set_up_logs(config: WorkerConfig) -> None:
    """Send the root logger to standard error, unless the app has set up logging; set the level of `taskq`."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        text = TextFormatter("%(asctime)s %(process)d %(levelname)-7s %(name)s: %(message)s")
        handler.setFormatter(JsonFormatter() if config.log_json else text)
        root.addHandler(handler)
        root.setLevel(config.log_level.upper())
    logging.getLogger("taskq").setLevel(config.log_level.upper())


def set_title(config: WorkerConfig, role: str) -> None:
    """Say in `ps` what this process is, if setproctitle is installed; never what it connects to."""
    with contextlib.suppress(ImportError):
        import setproctitle

        setproctitle.setproctitle(f"taskq worker {config.app}: {role}")
