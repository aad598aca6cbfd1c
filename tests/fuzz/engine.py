"""The loop: an input, changed, given to a target; kept if it reached a line of the product that none had reached."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import taskq
from tests.fuzz.mutate import Mutator
from tests.fuzz.watch import Watch

CORPUS = Path(__file__).with_name("corpus")
STUCK_S = 60
_HOUSE = str(Path(taskq.__file__).parent)
_ROOMS = (_HOUSE, *(str(link.resolve()) for link in Path(_HOUSE).iterdir() if link.is_symlink()))


@dataclass(frozen=True)
class Target:
    """Something that reads bytes. `read` raises nothing but what is a finding."""

    name: str
    read: Callable[[bytes], object]

    def corpus(self) -> list[bytes]:
        """The inputs that are committed."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).glob("*"))]


@dataclass
class Report:
    """What a run came to. `findings` has each input with its traceback, one for each place that raised."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    seeds: int = 0
    kept: list[bytes] = field(default_factory=list[bytes])
    lines: int = 0
    findings: dict[bytes, str] = field(default_factory=dict[bytes, str])

    def __str__(self) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0
        return (
            f"{self.target:<10} {self.seconds:4.0f} s  {self.inputs:>8,} inputs  {rate:6,.0f}/s  "
            f"corpus {self.seeds} + {len(self.kept)}  {self.lines:,} lines  {len(self.findings)} finding(s)"
        )


class Tracer:
    """Collects the lines of the product that run, by `sys.settrace`."""

    def __init__(self) -> None:
        self.lines: set[tuple[CodeType, int]] = set()
        self._ours: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(_ROOMS)
        return self._line if ours else None

    def _line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            self.lines.add((frame.f_code, frame.f_lineno))
        return self._line


class Fuzzer:
    """Feeds one target."""

    def __init__(self, target: Target, watch: Watch, seed: int) -> None:
        self._target, self._watch = target, watch
        self._luck = random.Random(f"{target.name} {seed}")
        self._mutator = Mutator(self._luck)
        self._tracer = Tracer()
        self._corpus = target.corpus()
        self._places: set[str] = set()
        self.report = Report(target.name, seeds=len(self._corpus))

    def run(self, seconds: float = float("inf"), inputs: float = float("inf")) -> Report:
        """Feed the corpus, then changed inputs, until either is spent; whoever hangs is shown and ended."""
        started = time.monotonic()
        for data in self._corpus:  # what is loaded at the first use, and cached
            with contextlib.suppress(Exception):
                self._target.read(data)
        for data in self._inputs():
            faulthandler.dump_traceback_later(STUCK_S, exit=True)
            known = len(self._tracer.lines)
            self._feed(data, traced=self.report.inputs < self.report.seeds or self._luck.random() < 0.25)
            if len(self._tracer.lines) > known and self.report.inputs > self.report.seeds:
                self._corpus.append(data)
                self.report.kept.append(data)
            self.report.inputs += 1
            if self.report.inputs >= self.report.seeds + inputs or time.monotonic() - started > seconds:
                break
        faulthandler.cancel_dump_traceback_later()
        self.report.seconds = time.monotonic() - started
        self.report.lines = len(self._tracer.lines)
        return self.report

    def _inputs(self) -> Iterator[bytes]:
        yield from list(self._corpus)
        while True:
            others = self._corpus
            yield self._mutator(self._luck.choice(others) if others else b"", others)

    def _feed(self, data: bytes, *, traced: bool) -> None:
        try:
            with self._watch.over(timed=not traced):
                sys.settrace(self._tracer if traced else None)
                try:
                    self._target.read(data)
                finally:
                    sys.settrace(None)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} {place.filename}:{place.lineno}"
            if key not in self._places:
                self._places.add(key)
                self.report.findings[data] = "".join(traceback.format_exception(error)[-12:])


def name_of(data: bytes) -> str:
    """The name of an input's file."""
    return hashlib.sha256(data).hexdigest()[:12]
