"""What a scenario came to, as a line and as JSON."""

from __future__ import annotations

import msgspec

from tests.chaos.checker import bound


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario. Times are seconds."""

    id: str
    fault: str
    seed: int
    accepted: int
    lost: int
    duplicates: int
    refused: int
    overlaps: int
    doubles: int
    changed: int
    residue: int
    recover_p99: float
    figures: dict[str, str]
    lag_p99: float
    busy: float
    seconds: float
    complaints: list[str]
    valid: bool
    control: str = "-"
    """`RED`, as it must be, `GREEN`, `invalid`, or `-` where it was not run."""
    control_showed: list[str] = msgspec.field(default_factory=list[str])

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return self.valid and not self.complaints and self.control in ("RED", "-")

    @property
    def duplicate_rate(self) -> float:
        """Repeated starts a task."""
        return self.duplicates / self.accepted if self.accepted else 0.0

    def line(self) -> str:
        """The row as a line."""
        none_lost = "" if self.lost else f" (<{bound(self.accepted):.1e})"
        more = "".join(f" {name}={value}" for name, value in self.figures.items())
        verdict = "ok" if self.passed else "FAILED"
        return (
            f"{self.id} seed={self.seed} n={self.accepted:,} lost={self.lost}{none_lost} dup={self.duplicates} "
            f"overlap={self.overlaps} double={self.doubles} changed={self.changed} "
            f"recover_p99={self.recover_p99:.1f}s{more} residue={self.residue} "
            f"lag_p99={self.lag_p99 * 1e3:.0f}ms cpu={self.busy:.0%} took={self.seconds:.0f}s "
            f"valid={'yes' if self.valid else 'no'} control={self.control} {verdict}"
        )
