"""Each fuzzer over its corpus and some changed inputs, and whether the fuzzers would find what they look for."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec

from tests.fuzz.engine import CORPUS
from tests.fuzz.mutate import LONGEST, Mutator
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]

PLANTED = """
import time
from tests.fuzz.engine import Fuzzer, Target
from tests.fuzz import watch as bounds

bounds.MOST_SECONDS = 0.1
kept = []

def raises(data):
    if b"\\x02" in data[:3]:
        raise IndexError("planted")

def imports(data):
    if b"ann" not in data:
        __import__(f"this_is_no_module_{len(data)}")

def runs(data):
    exec("len(kept)")

def opens(data):
    if b"ann" not in data:
        open("/etc/hostname").close()

def swells(data):
    if len(data) > 300 and len(kept) < 12:
        kept.append(b"x" * (1 << 25))

def dawdles(data):
    if len(data) > 300 and len(kept) < 30:
        kept.append(end := time.process_time() + 0.12)
        while time.process_time() < end:
            pass

watch = bounds.Watch()
for read in (raises, imports, runs, opens, swells, dawdles):
    found = Fuzzer(Target("frame", read), watch, 1).run(seconds=20, inputs=300).findings
    print(read.__name__, [told.splitlines()[-1] for told in found.values()])
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, for an audit hook stays.

    A shell forks it, for on Linux a process begins with the peak of memory of the one that made it, and pytest's may be
    above all that is looked for.
    """
    return subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_no_input_does_what_none_may() -> None:
    done = python("-m", "tests.fuzz", "--inputs", "2000", "--seconds", "2", "--seed", "1", "--here")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0 finding(s)") == len(TARGETS), done.stdout


def test_a_flaw_that_is_planted_is_found() -> None:
    done = python("-c", PLANTED)
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())

    assert "IndexError: planted" in found["raises"], done.stderr
    assert "import('this_is_no_module" in found["imports"]
    assert "compile(b\\'len(kept)\\'" in found["runs"]
    assert "open('/etc/hostname'" in found["opens"]
    assert "bytes of memory" in found["swells"]
    assert "it took 0.1 s" in found["dawdles"]


def test_the_corpus_is_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]

    assert {path.parent.name for path in files} == {*TARGETS}
    assert sum(path.stat().st_size for path in files) < 200_000


def test_an_input_stays_small_however_often_it_is_changed() -> None:
    nested: list[Any] = ["x"] * 8
    for _ in range(5):
        nested = [nested, "ann"]
    mutator, data = Mutator(random.Random(1)), msgspec.msgpack.encode(nested)
    tracemalloc.start()
    try:
        for _ in range(1_500):
            assert len(mutator(data, [data])) <= LONGEST
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 << 20
