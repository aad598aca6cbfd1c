"""The producing program of a driver: python produce.py with_NAME, in that queue's environment."""

from __future__ import annotations

import importlib
import sys

if __name__ == "__main__":
    importlib.import_module(sys.argv[1]).produce()
