"""Watches code for `--reload`, in a process of its own: the supervisor keeps to one thread.

It prints a line for each batch of changed .py files, and ends with its parent.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading

from taskq.errors import ConfigurationError


class Watcher:
    """The watching process, as the supervisor sees it: readable when code has changed."""

    def __init__(self, directory: str) -> None:
        if importlib.util.find_spec("watchfiles") is None:
            raise ConfigurationError('--reload needs watchfiles: install taskq with the extra "reload"')
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from taskq.worker.watcher import main; main()", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C is for the supervisor
        )

    def fileno(self) -> int:
        """For a selector."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def changed(self) -> str:
        """Name what has changed; empty if the watching has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode("utf-8", "replace").strip()

    def stop(self) -> None:
        """End the watching."""
        self._process.kill()
        self._process.wait()
        self.close()

    def close(self) -> None:
        """Close the pipes only: what a forked child does with those of its parent."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def main() -> None:
    """Watch until the parent is gone."""
    import watchfiles

    parent_gone = threading.Event()

    def wait_for_parent() -> None:
        sys.stdin.read()
        parent_gone.set()

    threading.Thread(target=wait_for_parent, daemon=True).start()
    changes = watchfiles.watch(
        sys.argv[1], watch_filter=watchfiles.PythonFilter(), stop_event=parent_gone, raise_interrupt=False
    )
    for batch in changes:
        sys.stdout.write(", ".join(sorted(path for _, path in batch)[:3]) + "\n")
        sys.stdout.flush()
