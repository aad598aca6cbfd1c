"""Ids: none is made twice, by whatever threads and forks."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from taskq.names import new_task_id


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_fork_makes_ids_of_its_own() -> None:
    new_task_id()  # there is randomness in store
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, new_task_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)

    assert new_task_id()[-16:] != theirs[-16:]


def test_threads_share_no_randomness() -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.extend([new_task_id() for _ in range(2_000)])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id[-16:] for id in ids}) == len(ids) == 16_000
