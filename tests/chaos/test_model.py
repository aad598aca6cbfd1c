"""Commands in any order, on a real server, against a model of what they promise; and that this finds faults."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos.model.machine import Machine
from tests.chaos.model.mutants import MUTANTS
from tests.chaos.model.setting import SETTING, Change
from tests.engine import Lab, altered_scripts
from tests.servers import RedisServer

EXAMPLES = int(os.environ.get("TASKQ_TESTS_EXAMPLES", "100"))
"""For each of the two kinds of servers; of 50 steps each, and none of them the same in another run."""

SETTINGS = settings(
    stateful_step_count=50,
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

SEARCH = settings(SETTINGS, max_examples=1_000, phases=[Phase.generate], derandomize=True, print_blob=False)
"""The same examples each time, and the first that fails is enough."""


@pytest.fixture
def model_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Run the machine on a server: with the scripts as they are, but for their clock and bounds, or with a fault."""

    def run(server: RedisServer, given: settings, *faults: Change) -> None:
        def begin() -> Machine:
            return Machine(lab)

        with altered_scripts(monkeypatch, tmp_path, [*SETTING, *faults]), Lab(server.url, "model") as lab:
            run_state_machine_as_test(begin, settings=given)  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="module")
def any_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    kind = "redis" if shutil.which("redis-server") else "valkey"
    server = RedisServer(kind, tmp_path_factory.mktemp(kind), aof=False)
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(4 * EXAMPLES)
def test_the_server_does_what_the_model_says_in_whatever_order_commands_come(
    redis_server: Callable[..., RedisServer], model_of: Callable[..., None]
) -> None:
    model_of(redis_server(aof=False), settings(SETTINGS, max_examples=EXAMPLES))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("fault", MUTANTS)
def test_a_script_with_a_fault_is_found(
    any_server: RedisServer, model_of: Callable[..., None], fault: str
) -> None:
    # Nothing but a difference counts: an error of the script itself would be found by any test.
    with pytest.raises(AssertionError, match=r"^(?!.* does not have .* any more)"):
        model_of(any_server, SEARCH, MUTANTS[fault])
