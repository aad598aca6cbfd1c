"""pydantic models (2.11 or newer), for those who have pydantic. It is never imported from here first.

A model travels as `model_dump` gives it, by field names, and is validated again where it arrives: aliases and
field names are both accepted there.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from pydantic import BaseModel


def is_model(cls: Any) -> TypeGuard[type[BaseModel]]:
    """Whether `cls` is a pydantic model; if it is one, pydantic is loaded."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


def dump(model: BaseModel) -> Any:
    """Give a model's data. Python mode: JSON mode would turn NaN into None and secrets into stars."""
    return model.model_dump(round_trip=True, by_alias=False)


def fields(model: BaseModel) -> list[tuple[str, str]]:
    """Give the names of a model's fields, each with the name it travels by."""
    return [(name, name) for name in type(model).model_fields]


def dump_leaf(value: Any) -> Any:
    """Give what pydantic writes for a value of a model's that is foreign to us: a URL, a path, an address.

    Raises ValueError for a secret, which pydantic would write as stars.
    """
    if hasattr(value, "get_secret_value"):
        raise ValueError("a secret is not sent unless a serializer of the model says how")
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


def rebuild(cls: Any, value: Any) -> Any:
    """Make a model of its data. What is no model stays as it arrived."""
    return _validated(cls.model_validate, value) if is_model(cls) else value


def rebuild_any(annotation: Any) -> Any:
    """Give the function that makes what `annotation` says: one that names models, and is beyond msgspec."""
    from pydantic import TypeAdapter

    return partial(_validated, TypeAdapter[Any](annotation).validate_python)


def _validated(validate: Any, value: Any) -> Any:
    from pydantic import ValidationError

    try:
        return validate(value, by_alias=True, by_name=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        # Pydantic's own text quotes what it was given, cut in its middle.
        raise ValueError(text) from None
