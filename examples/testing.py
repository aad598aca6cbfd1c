"""Tests of tasks, without a server: retries, a clock that is moved, and what happens when a process dies.

Run `python examples/testing.py`, or `pytest examples/testing.py`.
"""

from __future__ import annotations

from taskq import TaskQ, current_task

app = TaskQ("testing")
charged: list[str] = []


@app.task(max_retries=3)
def charge(order: str) -> str:
    if current_task().attempt < 3:
        raise ConnectionError("the bank does not answer")
    if order not in charged:  # safe to run twice
        charged.append(order)
    return f"{order} is paid"


def test_a_charge_is_repeated_until_the_bank_answers() -> None:
    charged.clear()
    with app.testing() as t:
        handle = charge.enqueue("order 7")
        t.run()
        assert not handle.ready()

        t.advance("1m")

        assert handle.result() == "order 7 is paid"


def test_nobody_is_charged_twice() -> None:
    charged.clear()
    with app.testing("inline") as t:
        assert charge.enqueue("order 8").result() == "order 8 is paid"
        t.assert_enqueued(charge, "order 8")
        assert charge.enqueue("order 8").result() == "order 8 is paid"

    assert charged == ["order 8"]


if __name__ == "__main__":
    test_a_charge_is_repeated_until_the_bank_answers()
    test_nobody_is_charged_twice()
    print("both hold")
