"""One function's calls and results as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from taskq.codec import code, ext
from taskq.codec.plan import Plan
from taskq.codec.reading import Reader
from taskq.codec.values import MSGPACK, decode_value, encode_value
from taskq.codec.writing import write_args, write_kwargs
from taskq.errors import ArgumentMismatch, ConfigurationError
from taskq.redaction import DEFAULT, Marks, Redaction
from taskq.secret import Secret
from taskq.veil import NO_VEIL, Veil

_NONE = MSGPACK + ext.encode(None)


class CallCodec:
    """How one function's arguments and result travel.

    They travel as annotated where annotations are closed, else by what msgpack and our Ext codes carry; the
    package's docstring has the rules. With `function` None, a call by name, nothing is known. Annotations are
    resolved at the first use, so that they may name what is defined later.

    With `pickles`, cloudpickle writes them; what it wrote is loaded only where it is `trusted`: its signature was
    verified. Every codec reads both, so a call may differ from what its task declares.
    """

    def __init__(
        self, function: Callable[..., Any] | None, pickles: bool = False, redaction: Redaction = DEFAULT
    ) -> None:
        self._function = function
        self.pickles = pickles
        self.redaction = redaction
        """Which names are secret: the app's word, given before the first use."""
        self.secrets: list[int | str] | None = None
        """Which arguments are secret, as each message of this function says it; None if none is, or before the first
        use. A plain attribute, for every message asks; `marks` knows it at any time."""

    def pickling(self, pickles: bool) -> CallCodec:
        """Give the codec of the same function that pickles, or does not."""
        return self if pickles == self.pickles else CallCodec(self._function, pickles, self.redaction)

    @cached_property
    def _plan(self) -> Plan:
        plan = Plan(self._function)
        self.secrets = self._marks_of(plan)
        return plan

    def _marks_of(self, plan: Plan) -> list[int | str] | None:
        return [*plan.marks(self.redaction.hides), *self.redaction.own] or None

    @property
    def marks(self) -> Marks:
        """Which arguments are secret."""
        _ = self._plan  # which finds them
        return self.secrets or ()

    @cached_property
    def _named(self) -> Marks:
        """Those of `marks` that are secret by their name alone, and not annotated."""
        declared = self._plan.marks(lambda _: False)
        return [mark for mark in self.marks if mark not in declared]

    @cached_property
    def _reader(self) -> Reader:
        try:
            return Reader(self._plan, self.redaction)
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

    def veil(self, args: bytes, kwargs: bytes, trusted: bool, marks: Marks | None) -> Veil:
        """Give what hides a call's secret values in texts; `marks` are its message's, `trusted` as for `decode_call`.

        It never raises: of what cannot be read, no value can stand in a text.
        """
        try:
            if args[:1] == code.PICKLE:
                if not trusted:
                    return NO_VEIL
                loaded, by_name = code.load(args)
                return self.veil_of(loaded, by_name, marks)
            values: list[Any] = decode_value(args) if args else []
            named: dict[str, Any] = decode_value(kwargs) if kwargs else {}
            return self.veil_of(values, named, marks)
        except Exception:  # noqa: BLE001 - a message of anybody's
            return NO_VEIL

    def veil_of(self, args: Sequence[Any], kwargs: Mapping[str, Any], marks: Marks | None, /) -> Veil:
        """As `veil`, of arguments that are read already."""
        besides = self._plan.defaults(len(args), kwargs, self.redaction.hides) if self.marks else ()
        return self.redaction.veil(args, kwargs, self._all_marks(marks), self._named, besides)

    def shown(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], marks: Marks | None = None
    ) -> str:
        """Write a call of `name` as Python would, but for what is secret."""
        values, named = self.redaction.call(args, kwargs, self._all_marks(marks))
        return f"{name}({', '.join([*map(repr, values), *(f'{key}={value!r}' for key, value in named.items())])})"

    def _all_marks(self, marks: Marks | None) -> Marks:
        return [*self.marks, *(marks or ())]

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
        slot = self._plan.result
        closed = slot.closed
        if not closed and slot.secret and not isinstance(value, Secret):
            value = Secret(value)  # so that whoever shows it knows
        return encode_value(value, "result", closed=closed)

    def decode_result(self, data: bytes, trusted: bool = False) -> Any:
        """Decode what `encode_result` wrote; `trusted` as for `decode_call`.

        Raises:
            ArgumentMismatch: the result does not fit the return annotation.
            BadMessage: no codec of ours wrote these bytes.
        """
        return code.load(data) if trusted and data[:1] == code.PICKLE else self._reader.result(data)
