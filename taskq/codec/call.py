"""One function's calls and results as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from taskq.codec import code, ext
from taskq.codec.plan import Plan
from taskq.codec.reading import Reader
from taskq.codec.values import MSGPACK, encode_value
from taskq.codec.writing import write_args, write_kwargs
from taskq.errors import ArgumentMismatch, ConfigurationError

_NONE = MSGPACK + ext.encode(None)


class CallCodec:
    """How one function's arguments and result travel.

    They travel as annotated where annotations are closed, else by what msgpack and our Ext codes carry; the
    package's docstring has the rules. With `function` None, a call by name, nothing is known. Annotations are
    resolved at the first use, so that they may name what is defined later.

    With `pickles`, cloudpickle writes them; what it wrote is loaded only where it is `trusted`: its signature was
    verified. Every codec reads both, so a call may differ from what its task declares.
    """

    def __init__(self, function: Callable[..., Any] | None, pickles: bool = False) -> None:
        self._function = function
        self.pickles = pickles

    def pickling(self, pickles: bool) -> CallCodec:
        """Give the codec of the same function that pickles, or does not."""
        return self if pickles == self.pickles else CallCodec(self._function, pickles)

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self._function)

    @cached_property
    def _reader(self) -> Reader:
        try:
            return Reader(self._plan)
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
        if self.pickles:
            return code.dump((args, dict(kwargs)), "the call"), b""
        return (
            write_args(plan, args) if args else b"",
            write_kwargs(plan, kwargs) if kwargs else b"",
        )

    def decode_call(
        self, args: bytes, kwargs: bytes, trusted: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode what `encode_call` wrote, here or for a function of other annotations, or of none.

        `trusted` is what was verified to be signed; nothing else is unpickled.

        Raises:
            ArgumentMismatch: the call does not fit the signature, or an argument not its annotation.
            BadMessage: no codec of ours wrote these bytes.
        """
        if trusted and args[:1] == code.PICKLE:
            values, named = code.load(args)
            self.check_call(values, named)
            return values, named
        return self._reader.call(args, kwargs)

    def check_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise `ArgumentMismatch` if the call does not fit the signature."""
        if (len(args), *kwargs) not in self._plan.shapes:
            self._plan.bind(args, kwargs)

    def encode_result(self, value: Any, pickles: bool = False) -> bytes:
        """Encode what the function returned; `pickles`: as its call was.

        Raises:
            NotEncodable: something in it cannot travel; the message names the path to it.
            ConfigurationError: an annotation promises what cannot arrive.
        """
        if value is None:
            return _NONE
        if pickles or self.pickles:
            return code.dump(value, "the result")
        return encode_value(value, "result", closed=self._plan.result.closed)

    def decode_result(self, data: bytes, trusted: bool = False) -> Any:
        """Decode what `encode_result` wrote; `trusted` as for `decode_call`.

        Raises:
            ArgumentMismatch: the result does not fit the return annotation.
            BadMessage: no codec of ours wrote these bytes.
        """
        return code.load(data) if trusted and data[:1] == code.PICKLE else self._reader.result(data)
