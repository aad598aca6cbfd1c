"""`python -m tests.fuzz.seeds`: write the real encodings that the corpus begins with, as this release makes them."""

from __future__ import annotations

from tests.fuzz.engine import CORPUS
from tests.fuzz.targets import calls, server, wire, words


def write() -> None:
    for target, files in (wire.seeds() | calls.seeds() | server.seeds() | words.seeds()).items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (CORPUS / target / name).write_bytes(data)


if __name__ == "__main__":
    write()
