"""Large arguments and results in a folder: through Redis travels where they lie, and nothing else.

Run `taskq dev examples.large_payloads:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/large_payloads.py`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from taskq import TaskQ

# In production: a folder that all programs and workers mount, named by TASKQ_OFFLOAD_TO.
STORE = Path(tempfile.gettempdir()) / f"taskq-large-payloads-{os.getuid()}"

app = TaskQ("large", offload_over="64KB", offload_to=STORE.as_uri())


@app.task
def rotated(image: bytes, times: int) -> bytes:
    return image[times:] + image[:times]


def objects() -> list[Path]:
    return [path for path in STORE.rglob("*~*") if path.is_file()]


def main() -> None:
    image = os.urandom(2_000_000)
    handle = rotated.enqueue(image, 90)
    result = handle.result(timeout=20)
    print(f"{len(result):,} bytes came back, as they should be: {result == rotated(image, 90)}")

    # The arguments go with the task; the result stays as long as its record.
    end = time.monotonic() + 10
    while len(objects()) > 1 and time.monotonic() < end:
        time.sleep(0.02)
    print(f"in the store now: {len(objects())} object of {objects()[0].stat().st_size:,} bytes")
    print("a small call stays in Redis:", rotated.enqueue(b"abc", 1).result(timeout=10))
    shutil.rmtree(STORE)


if __name__ == "__main__":
    main()
