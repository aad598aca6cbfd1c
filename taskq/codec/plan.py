"""What is worked out once of a function: which calls fit it, and how each of its values travels."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping
from inspect import Parameter, Signature
from itertools import takewhile
from typing import Any

from taskq.codec.hints import anything, name_of, resolved_signature
from taskq.codec.slots import OPEN, Inexpressible, Slot, slot_of
from taskq.errors import ArgumentMismatch, ConfigurationError
from taskq.redaction import ALL_NAMES
from taskq.secret import Secret

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_SHAPES = 256


class Plan:
    """Which calls fit one function, and how its arguments and its result travel.

    Raises:
        ConfigurationError: an annotation promises what cannot arrive.
    """

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self.name = "a call by name" if function is None else name_of(function)
        self._signature = resolved_signature(anything if function is None else function)
        self._parameters = list(self._signature.parameters.values())
        slots = [self._slot(f"parameter {each.name!r}", each.annotation) for each in self._parameters]
        placed = self._placed = list(zip(self._parameters, slots, strict=True))
        self.positional = [slot for each, slot in placed if each.kind in _POSITIONAL]
        self.rest = next((slot for each, slot in placed if each.kind is Parameter.VAR_POSITIONAL), None)
        self.named = {each.name: slot for each, slot in placed if each.kind in _NAMED}
        self.others = next((slot for each, slot in placed if each.kind is Parameter.VAR_KEYWORD), None)
        self.result = self._slot("the result", self._signature.return_annotation)

        leading = len(list(takewhile(lambda slot: slot.closed, self.positional)))
        all_closed = self.rest is not None and self.rest.closed and leading == len(self.positional)
        self.closed_args = sys.maxsize if all_closed else leading
        """So many arguments, from the first, may be encoded as they are."""
        self.closed_names = frozenset(name for name, slot in self.named.items() if slot.closed)
        self.shapes: set[tuple[Any, ...]] = set()
        """Calls known to fit, as their number of positional arguments and their names; not all that do."""

    def _slot(self, what: str, annotation: Any) -> Slot:
        try:
            return slot_of(annotation)
        except Inexpressible as error:
            raise ConfigurationError(
                f"{what} of {self.name}() cannot arrive as annotated: {error}. "
                f"Annotate what msgspec supports, or Any to receive plain data"
            ) from error

    def bind(self, args: tuple[Any, ...] | list[Any], kwargs: Mapping[str, Any]) -> None:
        """Check that a call fits the signature, and remember its shape.

        Raises:
            ArgumentMismatch: it does not.
        """
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            # Names only: a default may be long, or secret.
            names = Signature([Parameter(each.name, each.kind) for each in self._parameters])
            said = str(error)
            if self.others is None and (unknown := [name for name in kwargs if name not in names.parameters]):
                # Python names it last: with one that is mistyped, another one seems to be missing.
                surprise = f"got an unexpected keyword argument {unknown[0]!r}"
                said = surprise if said == surprise else f"{surprise}; {said}"
            raise ArgumentMismatch(f"{self.name}{names}: {said}") from None
        if len(self.shapes) < _SHAPES:
            self.shapes.add((len(args), *kwargs))

    def slots(self, count: int) -> list[Slot]:
        """Give the slots of the first `count` positional arguments."""
        here = self.positional[:count]
        return here + [self.rest or OPEN] * (count - len(here))

    def marks(self, hides: Callable[[object], bool]) -> list[int | str]:
        """Say which arguments are secret, by annotation or because their name hides them; see `redaction.Marks`."""
        marks: list[int | str] = []
        for place, (each, slot) in enumerate(self._placed):
            if not slot.secret and not hides(each.name):
                continue
            if each.kind in _POSITIONAL:
                marks.append(place)
            if each.kind in _NAMED:
                marks.append(each.name)
            if each.kind is Parameter.VAR_POSITIONAL:
                marks.append(-1 - place)
            if each.kind is Parameter.VAR_KEYWORD:
                marks.append(ALL_NAMES)
        return marks

    def defaults(self, count: int, names: Container[str], hides: Callable[[object], bool]) -> list[Any]:
        """Give the defaults that are secret and stand, where a call has `count` arguments by place and those names."""
        return [
            Secret(each.default) if slot.secret else each.default
            for place, (each, slot) in enumerate(self._placed)
            if each.default is not Parameter.empty
            and (slot.secret or hides(each.name))
            and (each.name not in names and not (each.kind in _POSITIONAL and place < count))
        ]

    def label(self, index: int) -> str:
        """Name the positional argument at `index`, as messages do."""
        last = len(self.positional)
        name = self._parameters[min(index, last)].name
        return repr(name) if index < last else f"'*{name}'[{index - last}]"

    def slot_named(self, name: str) -> Slot:
        """Give the slot of an argument by name."""
        return self.named.get(name) or self.others or OPEN
