"""A module that makes what it is asked for, as lazy packages do: who may only call what is there must not ask."""

from __future__ import annotations

import importlib


def __getattr__(name: str) -> object:
    return importlib.import_module(name)


def double(number: int) -> int:
    return 2 * number
