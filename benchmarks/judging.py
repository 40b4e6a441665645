"""What a benchmark finds out, and whether a demand holds: ratios of medians measured turn by turn in one run."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        name: What was measured.
        figure: In `unit`; None where it could not be measured.
        peer: What it is compared with.
        peer_figure: In the same unit; None where the figure stands alone.
        bound: What the ratio (or, alone, the figure itself) is held to; None where it is only told.
        at_least: The bound is a floor, not a ceiling; the ratio is then the peer's figure over ours.
        unit: `s`, `ms`, `MB`, `files` or a share.
        note: How it was measured, where that needs saying.
    """

    name: str
    figure: float | None
    peer: str = ""
    peer_figure: float | None = None
    bound: float | None = None
    at_least: bool = False
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's; where a floor is demanded, how many times faster ours is."""
        if not self.figure or not self.peer_figure:
            return None
        return self.peer_figure / self.figure if self.at_least else self.figure / self.peer_figure

    @property
    def held(self) -> bool | None:
        """Whether the demand holds; None where there is none. What could not be measured does not hold."""
        if self.bound is None:
            return None
        judged = self.figure if self.peer_figure is None else self.ratio
        if judged is None:
            return False
        return judged >= self.bound if self.at_least else judged <= self.bound


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(works: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """What each returned, A B A B ..., so that a busy minute of the machine falls on all of them."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return found


def median(values: list[float]) -> float:
    """The middle one: a busy machine makes the mean tell of its neighbours."""
    return statistics.median(values)


def percentile_95(values: list[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
