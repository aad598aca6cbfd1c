"""How values travel.

Bytes are one byte that names the codec (1 is msgpack) and what that codec wrote.

Where an annotation is *closed*, msgspec alone writes and reads the value: numbers, text, bytes, dates, UUIDs,
Decimals, Enums, Literals, and what is made of them: containers, dataclasses, Structs, attrs, TypedDicts and
named tuples. What is annotated so arrives so; an abstract `Sequence` arrives as list, a `Mapping` as dict.

Elsewhere values are walked over, and what msgpack lacks becomes an Ext code (`taskq.codec.ext`). Without
annotations

- None, bool, int of any size, float, str, bytes, list, dict, tuple, set, frozenset, datetime, date, time,
  timedelta, Decimal and UUID arrive as they were; a dict's keys may be any of them that hash;
- an aware datetime keeps its instant and its zoneinfo key, or, with another tzinfo, its UTC offset. Where the
  receiver does not know the zone, the offset stays;
- bytearray and memoryview arrive as bytes;
- a value of a subclass arrives as one of the type it derives from: defaultdict, OrderedDict and Counter as
  dict, a named tuple as tuple, a subclass of str, int or float as str, int or float;
- an Enum, also an IntEnum and a StrEnum, arrives as its value;
- dataclass, Struct, pydantic model and attrs arrive as dict, an `array_like` Struct as list; a set of them
  arrives as list, and as keys of a dict they are refused;
- all else is NotEncodable, NumPy's scalars too.

The reader decodes as annotated; if that fails, untyped, and then converts. So what was sent by name fits an
annotated function, and text fits a date, as from a command line.

An annotation that says nothing counts as none: Any, object, a TypeVar, a Protocol, a class that msgspec does
not know, a name that does not resolve, a union like `str | bytes`, whose members arrive as themselves anyway.
One that names a class and cannot be kept, like a union of two dataclasses, is a ConfigurationError at the
first use.
"""

from taskq.codec.call import CallCodec
from taskq.codec.values import decode_value, encode_value

__all__ = ["CallCodec", "decode_value", "encode_value"]
