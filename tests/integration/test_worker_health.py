"""What a worker says of itself: over HTTP, and in its log."""

from __future__ import annotations

import http.client
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.workers import Yard

Answer = tuple[int, str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str, method: str = "GET") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    reply = connection.getresponse()
    answer = reply.status, reply.read().decode().strip()
    connection.close()
    return answer


def test_a_worker_that_works_is_live_and_ready(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        port = free_port()
        worker = yard.worker("deadly", health=f"127.0.0.1:{port}")

        assert ask(port, "/livez") == (200, "ok")
        wait_until(lambda: ask(port, "/readyz") == (200, "ok"))
        assert ask(port, "/livez?verbose=1") == (200, "ok")
        assert ask(port, "/readyz", "HEAD") == (200, "")
        assert ask(port, "/")[0] == 404
        assert ask(port, "/livez", "POST")[0] == 405
        assert worker.stop() == 0


def test_a_worker_that_stops_is_live_and_not_ready(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        port = free_port()
        worker = yard.worker("deadly", health=f"127.0.0.1:{port}")
        handle = yard.send("deadly.work", 1.5)
        yard.ledger.wait("start", handle.id)
        worker.send(signal.SIGTERM)

        wait_until(lambda: ask(port, "/readyz") == (503, "stopping"), timeout=1)
        assert ask(port, "/livez") == (200, "ok")
        assert worker.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            ask(port, "/livez")


def test_a_worker_without_a_server_is_live_and_not_ready_until_it_is_back(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        port = free_port()
        worker = yard.worker("deadly", health=f"127.0.0.1:{port}")
        wait_until(lambda: ask(port, "/readyz")[0] == 200)
        yard.server.kill()

        wait_until(lambda: ask(port, "/readyz")[0] == 503)
        assert "the server has not answered for" in ask(port, "/readyz")[1]
        assert ask(port, "/livez") == (200, "ok")
        yard.server.start()
        wait_until(lambda: ask(port, "/readyz") == (200, "ok"))
        assert worker.stop() == 0


def test_a_worker_that_has_not_reached_its_server_is_not_ready(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        port = free_port()
        yard.server.kill()
        worker = yard.worker("deadly", health=f"127.0.0.1:{port}", wait=False)
        wait_until(lambda: worker.says("no answer"))

        assert ask(port, "/readyz") == (503, "starting")


def test_clients_that_say_nothing_or_nonsense_do_not_stop_the_answers(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        port = free_port()
        worker = yard.worker("deadly", health=f"127.0.0.1:{port}")
        silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(100)]
        for data in (b"\x00\xff" * 10, b"GET", b"\r\n\r\n", b"x" * 20_000):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(data)
        for client in silent:
            client.close()

        wait_until(lambda: ask(port, "/livez") == (200, "ok"))
        assert yard.send("deadly.work", 0).result(timeout=10) == 1
        assert worker.stop() == 0


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        worker = yard.worker("deadly", health=f"127.0.0.1:{port}", wait=False)

        assert worker.wait() != 0
        assert worker.says(f"--health 127.0.0.1:{port}")


def test_the_log_is_json_a_line(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes", log_level="DEBUG")
        yard.wait_ended(yard.send_many("outcomes.echo", [("é\n\x00",)] * 20))
        yard.wait_ended([yard.send("outcomes.fail", 9, "multi\nline")])
        assert worker.stop() == 0

        lines = worker.log()
        assert all(line["level"] for line in lines), "a line is no JSON"
        for line in lines:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
            assert {"level", "logger", "pid", "message"} <= line.keys()
        [failure] = worker.says("failed for good in attempt 4: ValueError: multi")
        assert failure["level"] == "error"
        assert failure["task_name"] == "tests.tests.apps.outcomes.fail"
        assert "Traceback" in failure["traceback"]
        retries = worker.says("failed in attempt")
        assert [line["level"] for line in retries] == ["warning"] * 3


def test_the_log_is_text_for_people_otherwise(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes", log_json=False)
        yard.wait_ended(yard.send_many("outcomes.echo", [(1,)] * 20))
        assert worker.stop() == 0

        text = worker.path.read_text()
        assert re.search(r"INFO +taskq\.worker: 2?\d succeeded", text)
        assert "Traceback" not in text


def test_successes_are_one_line_a_batch_and_not_one_a_task(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes", wait=False)
        handles = yard.send_many("outcomes.echo", [(1,)] * 2_000)
        yard.wait_ended(handles, timeout=30)
        assert worker.stop() == 0

        lines = worker.says(" succeeded")
        assert sum(int(line["message"].split()[0]) for line in lines) == 2_000
        assert len(lines) < 100
        assert all("slowest tests.tests.apps.outcomes.echo in" in line["message"] for line in lines)
        assert not [line for handle in handles[:20] for line in worker.says(handle.id)]


def test_each_task_has_a_line_if_that_is_asked_for(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes", log_tasks=True)
        handles = yard.send_many("outcomes.echo", [(1,)] * 20)
        yard.wait_ended(handles)
        assert worker.stop() == 0

        for handle in handles:
            [line] = worker.says(handle.id)
            assert re.search(r"succeeded in \d+\.\d ms", line["message"])


def test_a_worker_says_at_its_start_what_it_is_and_hides_the_password(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        yard.server.call("CONFIG", "SET", "requirepass", "s3cret")
        url = yard.server.url.replace("://", "://:s3cret@")
        worker = yard.worker("outcomes", url=url, queues=("mail", "default"), weights=(3, 1), wait=False)
        wait_until(lambda: worker.says("tasks     "))

        told = "\n".join(line["message"] for line in worker.log())
        for words in (
            f"namespace {yard.namespace}",
            ", AOF everysec",
            "mail=3, default=1",
            "1 process(es) x 8 tasks",
            "tests.tests.apps.outcomes.aback_off",
        ):
            assert words in told
        assert worker.stop() == 0
        assert "s3cret" not in worker.path.read_text()
