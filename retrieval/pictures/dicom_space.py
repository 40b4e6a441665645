"""Where the slices of a DICOM volume lie: their order in the body, and how far they are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_PARALLEL = 1e-3  # most that direction cosines of slices of one stack differ
_SAME_PLACE = 0.01  # of the usual step: two slices this near are at one place
_UNEVEN = 0.1  # of the usual step: what steps may differ
_GAP = 1.5  # usual steps
_SHEAR = 0.02  # of the step: how far slices may slide sideways


@dataclass(frozen=True, eq=False)
class Place:
    """Where one slice lies, in millimetres (LPS, as DICOM has it).

    Attributes:
        corner: [3] the middle of its first pixel.
        along: [3] the direction in which column numbers grow.
        down: [3] the direction in which row numbers grow.
        sides: From row to row and from column to column.
    """

    corner: np.ndarray
    along: np.ndarray
    down: np.ndarray
    sides: tuple[float, float]

    @property
    def normal(self) -> np.ndarray:
        """[3] at right angles to the slice."""
        return np.cross(self.along, self.down)


@dataclass(frozen=True, eq=False)
class Stack:
    """How slices make a volume.

    Attributes:
        order: Their numbers, in physical order.
        affine: [4, 4] voxel numbers (slice, row, column) to millimetres, RAS+.
        notes: Sentences on what was assumed.
        flaw: A sentence why they make none, and what to do; empty where they do.
    """

    order: tuple[int, ...]
    affine: np.ndarray
    notes: tuple[str, ...] = ()
    flaw: tuple[str, ...] = ()


def group_of(header: Any, frame: int, name: str) -> Any:
    """The item of a functional group for a frame, of the frame's own or of all; the header itself where there is none.

    In a file of one slice, and in older ones of many, the header holds what newer ones keep in groups.
    """
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    for groups in (*own[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or [])):
        items = groups.get(name)
        if items:
            return items[0]
    return header


def sides_of(header: Any, frame: int) -> tuple[float, float]:
    """Millimetres from row to row and from column to column; without them how these relate, else 1 and 1."""
    for value in (group_of(header, frame, "PixelMeasuresSequence").get("PixelSpacing"), header.get("PixelAspectRatio")):
        found = _numbers(value, 2)
        if found is not None and min(found) > 0:
            return float(found[0]), float(found[1])
    return 1.0, 1.0


def place_of(header: Any, frame: int) -> Place | None:
    """Where a frame lies; None where that is not said whole, or once for all of many frames."""
    shared = int(header.get("NumberOfFrames") or 1) > 1 and "PerFrameFunctionalGroupsSequence" not in header
    if shared and "GridFrameOffsetVector" not in header:
        return None
    corner = _numbers(group_of(header, frame, "PlanePositionSequence").get("ImagePositionPatient"), 3)
    directions = _numbers(group_of(header, frame, "PlaneOrientationSequence").get("ImageOrientationPatient"), 6)
    sides = sides_of(header, frame)
    if corner is None or directions is None:
        return None
    along, down = directions[:3], directions[3:]
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    if not (min(lengths) > 0.5 and abs(along @ down) < 0.05):
        return None
    offset = _offset(header, frame)
    place = Place(corner, along / lengths[0], down / lengths[1], sides)
    return Place(corner + offset * place.normal, place.along, place.down, sides)


def stack(places: Sequence[Place | None], headers: Sequence[Any]) -> Stack:
    """How slices with these places make a volume; where they have none, in the order of their numbers."""
    known = [place for place in places if place is not None]
    if len(known) < len(places):
        return _unplaced(headers)
    first = known[0]
    if any(_turned(place, first) for place in known):
        return _flawed(len(places), "Its slices do not lie parallel to each other.", "Send the slices of one stack.")
    heights = np.array([place.corner @ first.normal for place in known])
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order])
    flaw = _flaw_of(steps)
    if flaw:
        return _flawed(len(places), *flaw)
    begin, end = known[order[0]].corner, known[order[-1]].corner
    step = (end - begin) / (len(known) - 1)
    return Stack(tuple(map(int, order)), _affine(begin, step, first), _shear_notes(step, first))


def _numbers(value: Any, count: int) -> np.ndarray | None:
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != count:
        return None
    numbers = np.array([float(part) for part in value])
    return numbers if np.isfinite(numbers).all() else None


def _offset(header: Any, frame: int) -> float:
    """Dose grids say once where they begin, and then how far from there each frame lies."""
    offsets = header.get("GridFrameOffsetVector")
    count = int(header.get("NumberOfFrames") or 1)
    found = _numbers(offsets, count) if count > 1 else None
    return 0.0 if found is None else float(found[frame] - found[0])


def _turned(place: Place, first: Place) -> bool:
    apart = max(np.abs(place.along - first.along).max(), np.abs(place.down - first.down).max())
    return bool(apart > _PARALLEL) or not np.allclose(place.sides, first.sides, rtol=1e-3)


def _flaw_of(steps: np.ndarray) -> tuple[str, str] | None:
    usual = float(np.median(steps))
    if usual <= 0 or steps.min() < _SAME_PLACE * usual:
        return (
            "Several of its slices lie at the same place.",
            "Send one series, one time point or one kind of picture at a time.",
        )
    widest = int(steps.argmax())
    if steps[widest] > _GAP * usual:
        return (
            f"Between its slices {widest + 1} and {widest + 2} (in physical order) lie {steps[widest]:.3g} mm, "
            f"elsewhere {usual:.3g} mm: slices are missing.",
            "Send the whole series.",
        )
    if np.abs(steps - usual).max() > _UNEVEN * usual:
        return "Its slices are unevenly spaced.", "Send a series with equal steps between slices."
    return None


def _shear_notes(step: np.ndarray, first: Place) -> tuple[str, ...]:
    along = abs(float(step @ first.normal))
    sideways = float(np.linalg.norm(step - (step @ first.normal) * first.normal))
    return ("Its slices slide sideways (a tilted gantry), which is not undone.",) if sideways > _SHEAR * along else ()


def _affine(begin: np.ndarray, step: np.ndarray, place: Place) -> np.ndarray:
    """DICOM counts to the left and to the back, NIfTI to the right and to the front."""
    affine = np.eye(4)
    affine[:3] = np.stack([step, place.down * place.sides[0], place.along * place.sides[1], begin], axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _unplaced(headers: Sequence[Any]) -> Stack:
    """Frames of one file keep its order; files go by their numbers, of which there must be no two alike."""
    numbers = [header.get("InstanceNumber") for header in headers]
    several = len({id(header) for header in headers}) > 1
    if several and (None in numbers or len(set(numbers)) < len(numbers)):
        return _flawed(
            len(headers), "Its slices say neither where they lie nor in which order.", "Send them as one NIfTI file."
        )
    order = sorted(range(len(headers)), key=lambda at: int(numbers[at])) if several else range(len(headers))
    sides = sides_of(headers[0], 0)
    between, note = _between(headers[0], sides)
    place = Place(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), sides)
    return Stack(tuple(order), _affine(place.corner, np.array([0, 0, between]), place), note)


def _between(header: Any, sides: tuple[float, float]) -> tuple[float, tuple[str, ...]]:
    measures = group_of(header, 0, "PixelMeasuresSequence")
    note = "Its slices do not say where they lie, so they are taken in their own order"
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        value = measures.get(name)
        if value is not None and np.isfinite(float(value)) and float(value) > 0:
            return float(value), (f"{note}, {float(value):g} mm apart.",)
    return sides[0], (f"{note}, as far apart as their rows.",)


def _flawed(count: int, why: str, remedy: str) -> Stack:
    return Stack(tuple(range(count)), np.diag([-1.0, -1.0, 1.0, 1.0])[:, [2, 1, 0, 3]], (), (why, remedy))
