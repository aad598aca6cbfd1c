"""One function's calls and results as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from taskq.codec import ext, walk
from taskq.codec.decoders import Decoders
from taskq.codec.mismatch import mismatch
from taskq.codec.plan import Plan
from taskq.codec.values import MSGPACK, decode_value, encode_value, write
from taskq.errors import ArgumentMismatch, BadMessage, ConfigurationError

_NONE = MSGPACK + ext.encode(None)


class CallCodec:
    """How one function's arguments and result travel.

    They travel as annotated where annotations are closed, else by what msgpack and our Ext codes carry; the
    package's docstring has the rules. With `function` None, a call by name, nothing is known. Annotations are
    resolved at the first use, so that they may name what is defined later.
    """

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self._function = function

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self._function)

    @cached_property
    def _decoders(self) -> Decoders:
        try:
            return Decoders(self._plan)
        except ConfigurationError as error:
            raise ArgumentMismatch(str(error)) from error

    def encode_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Encode a call's arguments, positional and named; none are b"".

        Raises:
            ArgumentMismatch: the call does not fit the signature.
            NotEncodable: something in an argument cannot travel; the message names the path to it.
            ConfigurationError: an annotation promises what cannot arrive.
        """
        plan = self._plan
        if (len(args), *kwargs) not in plan.shapes:
            plan.bind(args, kwargs)
        return _encode_args(plan, args) if args else b"", _encode_kwargs(plan, kwargs) if kwargs else b""

    def decode_call(self, args: bytes, kwargs: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode what `encode_call` wrote, here or for a function of other annotations, or of none.

        Raises:
            ArgumentMismatch: the call does not fit the signature, or an argument not its annotation.
            BadMessage: no codec of ours wrote these bytes.
        """
        decoders = self._decoders
        try:
            values: tuple[Any, ...] = decoders.args[args[:2]](memoryview(args)[1:]) if args else ()
            named: dict[str, Any] = decoders.kwargs(kwargs) if kwargs else {}
        except Exception:  # noqa: BLE001 - the untyped way says what is wrong
            return self._decode_untyped(args, kwargs)
        if (len(values), *named) not in self._plan.shapes:
            self._plan.bind(values, named)
        return values, named

    def _decode_untyped(self, args: bytes, kwargs: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values: list[Any] = _decoded(list, args)
        named: dict[str, Any] = _decoded(dict, kwargs)
        plan = self._plan
        plan.bind(values, named)
        for index, slot in enumerate(plan.slots(len(values))):
            try:
                values[index] = slot.rebuild(values[index])
            except Exception as error:
                raise mismatch(f"argument {plan.label(index)}", error) from error
        for name, value in named.items():
            try:
                named[name] = plan.slot_named(name).rebuild(value)
            except Exception as error:
                raise mismatch(f"argument {name!r}", error) from error
        return tuple(values), named

    def encode_result(self, value: Any) -> bytes:
        """Encode what the function returned.

        Raises:
            NotEncodable: something in it cannot travel; the message names the path to it.
            ConfigurationError: an annotation promises what cannot arrive.
        """
        if value is None:
            return _NONE
        return encode_value(value, "result", closed=self._plan.result.closed)

    def decode_result(self, data: bytes) -> Any:
        """Decode what `encode_result` wrote.

        Raises:
            ArgumentMismatch: the result does not fit the return annotation.
            BadMessage: no codec of ours wrote these bytes.
        """
        decoders = self._decoders
        try:
            return decoders.result(data)
        except Exception:  # noqa: BLE001 - the untyped way says what is wrong
            value = decode_value(data)
        try:
            return self._plan.result.rebuild(value)
        except Exception as error:
            raise mismatch(f"the result of {self._plan.name}()", error) from error


def _decoded(kind: type[Any], data: bytes) -> Any:
    value = decode_value(data) if data else kind()
    if not isinstance(value, kind):
        raise BadMessage(f"the arguments are a {type(value).__name__} in place of a {kind.__name__}")
    return value


def _encode_args(plan: Plan, args: tuple[Any, ...]) -> bytes:
    try:
        if len(args) <= plan.closed_args or walk.TRUSTED.issuperset(map(type, args)):
            return MSGPACK + ext.encode(args)
        slots = plan.slots(len(args))
        walked = [arg if slot.closed else walk.fast(arg) for arg, slot in zip(args, slots, strict=True)]
        return MSGPACK + ext.encode(walked)
    except Exception:  # noqa: BLE001 - the careful walk says what is wrong
        return write([walk.careful(arg, f"args[{index}]") for index, arg in enumerate(args)], "args")


def _encode_kwargs(plan: Plan, kwargs: Mapping[str, Any]) -> bytes:
    closed = plan.closed_names
    try:
        if closed.issuperset(kwargs) or walk.TRUSTED.issuperset(map(type, kwargs.values())):
            return MSGPACK + ext.encode(dict(kwargs))
        walked = {name: arg if name in closed else walk.fast(arg) for name, arg in kwargs.items()}
        return MSGPACK + ext.encode(walked)
    except Exception:  # noqa: BLE001 - the careful walk says what is wrong
        return write({name: walk.careful(arg, f"kwargs[{name!r}]") for name, arg in kwargs.items()}, "kwargs")
