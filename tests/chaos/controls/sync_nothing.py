"""A server that leaves its file to the kernel: the scenario sets it so, and nothing of taskq is changed."""

from __future__ import annotations


def apply() -> None:
    """Change nothing."""
