"""The way out: as it is where annotations allow it, else walked over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskq.codec import ext, walk
from taskq.codec.plan import Plan
from taskq.codec.slots import Slot
from taskq.codec.values import MSGPACK, write


def write_args(plan: Plan, args: tuple[Any, ...]) -> bytes:
    try:
        if len(args) <= plan.closed_args or walk.TRUSTED.issuperset(map(type, args)):
            return MSGPACK + ext.encode(args)
        slots = plan.slots(len(args))
        walked = [arg if slot.closed else walk.fast(arg) for slot, arg in zip(slots, args, strict=True)]
        return MSGPACK + ext.encode(walked)
    except Exception:  # noqa: BLE001 - the careful walk says what is wrong
        slots = plan.slots(len(args))
        paths = [f"args[{index}]" for index in range(len(args))]
        return write(list(map(_careful, slots, args, paths)), "args")


def write_kwargs(plan: Plan, kwargs: Mapping[str, Any]) -> bytes:
    closed = plan.closed_names
    try:
        if closed.issuperset(kwargs) or walk.TRUSTED.issuperset(map(type, kwargs.values())):
            return MSGPACK + ext.encode(dict(kwargs))
        walked = {name: arg if name in closed else walk.fast(arg) for name, arg in kwargs.items()}
        return MSGPACK + ext.encode(walked)
    except Exception:  # noqa: BLE001 - the careful walk says what is wrong
        return write(
            {name: _careful(plan.slot_named(name), arg, f"kwargs[{name!r}]") for name, arg in kwargs.items()},
            "kwargs",
        )


def _careful(slot: Slot, value: Any, path: str) -> Any:
    # Not always does it go without saying: a dataclass may be a key where it is annotated, a dict never.
    if slot.closed and _encodes(value):
        return value
    return walk.careful(value, path)


def _encodes(value: Any) -> bool:
    try:
        ext.encode(value)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True
