"""Drawing in integers alone, so that every machine draws the same bytes.

Lengths are in units of 1/16 pixel, angles in 1/256 turn, cover (how much of a pixel a shape takes) runs from 0 to 256.
Everything is drawn for n pictures (or volumes) at once: arrays begin with [n]. A random number depends only on its
key and its place, never on what was drawn before it.
"""

import functools
import hashlib

import numpy as np

UNIT = 16
TURN = 256

_INT = np.int32  # holds every intermediate value, at half the cost of 64 bits
_FULL = 256  # full cover
_ONE = 1024  # what sine and cosine call 1
_ROOT_LIMIT = 2**22


def numbers(key: str, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Evenly distributed integers from `low` to `high`, both included: int32 of this shape.

    The generator is SplitMix64 (Steele, Lea and Flood 2014), its state the digest of the key plus a counter.
    """
    start = np.uint64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
    mixed = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    scaled = (mixed >> np.uint64(32)) * np.uint64(high - low + 1) >> np.uint64(32)
    return (scaled.astype(_INT) + _INT(low)).reshape(shape)


def each(key: str, n: int, low: int, high: int, *, ndim: int = 2) -> np.ndarray:
    """One number a picture, shaped [n, 1, 1] (or [n, 1, 1, 1]) to go with its pixels."""
    return numbers(key, (n, *(1,) * ndim), low, high)


def grid(side: int, ndim: int) -> tuple[np.ndarray, ...]:
    """Pixel centres as seen from the middle of the picture: y, x (or z, y, x), each ready to broadcast after [n]."""
    line = (2 * np.arange(side, dtype=_INT) + 1 - side) * (UNIT // 2)
    return tuple(line.reshape([1] + [side if axis == own else 1 for axis in range(ndim)]) for own in range(ndim))


def root(squares: np.ndarray) -> np.ndarray:
    """The integer part of the square root; 2,047 for everything beyond the table."""
    return _roots().take(np.minimum(squares, _ROOT_LIMIT - 1))


@functools.lru_cache(maxsize=1)
def _roots() -> np.ndarray:
    # The integer part is k for the 2k+1 numbers from k squared to below (k+1) squared.
    whole = np.arange(2048, dtype=_INT)
    return np.repeat(whole, 2 * whole + 1)


def sine(angle: np.ndarray) -> np.ndarray:
    """1,024 times the sine, by Bhaskara's rational approximation (within 2 of it)."""
    half = TURN // 2
    rising = np.mod(angle, half)
    bow = rising * (half - rising)
    magnitude = _ONE * 16 * bow // (5 * half * half - 4 * bow)
    return np.where(np.mod(angle, TURN) < half, magnitude, -magnitude)


def cosine(angle: np.ndarray) -> np.ndarray:
    """1,024 times the cosine."""
    return sine(angle + TURN // 4)


def turned(y: np.ndarray, x: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a direction."""
    cos, sin = cosine(angle), sine(angle)
    return (y * sin + x * cos) >> 10, (y * cos - x * sin) >> 10


def fog(key: str, n: int, sides: tuple[int, ...], cell: int) -> np.ndarray:
    """Smooth noise from 0 to 255, [n, *sides]: random values every `cell` pixels, eased between."""
    values = numbers(key, (n, *(side // cell + 2 for side in sides)), 0, 255)
    for axis, side in enumerate(sides, start=1):
        whole, rest = np.divmod(np.arange(side, dtype=_INT), cell)
        part = rest * _FULL // cell
        weight = (part * part * (3 * _FULL - 2 * part) // _FULL**2).reshape([-1] + [1] * (len(sides) - axis))
        near, far = values.take(whole, axis=axis), values.take(whole + 1, axis=axis)
        values = near + ((far - near) * weight >> 8)
    return values


def sampled(lattice: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of [n, h, w] between its nodes; y and x, [n, H, W], are in 1/256 node and held inside it."""
    n, height, width = lattice.shape
    y = np.clip(y, 0, (height - 1) * _FULL - 1)
    x = np.clip(x, 0, (width - 1) * _FULL - 1)
    down, across = y & 255, x & 255
    place = np.arange(n, dtype=_INT)[:, None, None] * (height * width) + (y >> 8) * width + (x >> 8)
    flat = lattice.reshape(-1)
    upper, lower = flat.take(place), flat.take(place + width)
    upper = upper * 256 + (flat.take(place + 1) - upper) * across
    lower = lower * 256 + (flat.take(place + width + 1) - lower) * across
    return upper * (_FULL - down) + lower * down >> 16


def within(distance: np.ndarray, soft: int | np.ndarray = UNIT) -> np.ndarray:
    """Cover of a shape from the distance to its outline (negative inside); its edge is `soft` units wide."""
    slope = (1 << 16) // soft
    return np.clip(_FULL // 2 - (np.clip(distance, -soft, soft) * slope >> 8), 0, _FULL)


def ellipse(offsets: tuple[np.ndarray, ...], radii: tuple[np.ndarray, ...]) -> np.ndarray:
    """Distance to an ellipse's outline, of its offsets from the centre along its axes.

    Near enough for drawing; no radius may be below a pixel.
    """
    scaled = [offset * ((1 << 16) // radius) >> 9 for offset, radius in zip(offsets, radii, strict=True)]
    ratio = root(functools.reduce(np.add, [part * part for part in scaled]))
    return (ratio - 128) * functools.reduce(np.minimum, radii) >> 7


def blend(under: np.ndarray, over: np.ndarray | int, cover: np.ndarray) -> np.ndarray:
    """`over` laid on `under` as far as the cover goes."""
    return under + ((over - under) * cover >> 8)


def walk(key: str, start: np.ndarray, heading: np.ndarray, *, steps: int, bend: int) -> tuple[np.ndarray, np.ndarray]:
    """Winding paths of one-pixel steps.

    Args:
        start: [n, p, 2] places, y and x.
        heading: [n, p].
        bend: The most a path turns in one step.

    Returns:
        Places [n, p, steps, 2] and headings [n, p, steps].
    """
    n, paths, _ = start.shape
    swerve = numbers(f"{key}/bend", (n, paths, 1), -bend, bend) + numbers(
        f"{key}/jitter", (n, paths, steps), -bend, bend
    )
    headings = heading[..., None] + np.cumsum(swerve, axis=2) // 2
    moves = np.stack([sine(headings), cosine(headings)], axis=-1) * UNIT // _ONE
    return start[:, :, None] + np.cumsum(moves, axis=2), headings


def tree(
    key: str, start: np.ndarray, heading: np.ndarray, *, width: np.ndarray, steps: int, forks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Branching, tapering paths: trunks, `forks` branches off them, `forks` twigs off those.

    Args:
        start: [n, p, 2], one place a trunk.
        heading: [n, p].
        width: [n, p], radii at the root.

    Returns:
        Places [n, q, 2] and radii [n, q].
    """
    grown = []
    for level in range(3):
        name = f"{key}/{level}"
        length = steps * (4 - level) // 4
        places, headings = walk(f"{name}/walk", start, heading, steps=length, bend=4)
        radii = width[..., None] * (5 * length - 2 * np.arange(length)) // (5 * length)
        grown.append((_flat(places), _flat(radii)))
        n, many = len(start), places.shape[1] * length
        chosen = numbers(f"{name}/fork", (n, forks), many // 8, many - 1)
        side = numbers(f"{name}/side", (n, forks), 0, 1) * 2 - 1
        start = np.take_along_axis(_flat(places), chosen[..., None], axis=1)
        width = np.take_along_axis(_flat(radii), chosen, axis=1) * 3 // 4
        turn = side * numbers(f"{name}/turn", (n, forks), 18, 36)
        heading = np.take_along_axis(_flat(headings), chosen, axis=1) + turn
    return np.concatenate([place for place, _ in grown], axis=1), np.concatenate([r for _, r in grown], axis=1)


def _flat(values: np.ndarray) -> np.ndarray:
    """[n, p, steps, ...] -> [n, p * steps, ...]"""
    return values.reshape(len(values), -1, *values.shape[3:])


def stamped(places: np.ndarray, radii: np.ndarray, *, side: int, soft: int = UNIT) -> np.ndarray:
    """Cover [n, side, side] (or a volume) of balls set at places [n, q, 2 or 3] with radii [n, q]."""
    n, _, ndim = places.shape
    halo = soft // 2
    reach = (int(radii.max()) + halo + UNIT // 2) // UNIT
    wide = side + 2 * reach  # with a margin, so that what falls outside needs no special case
    cover = np.zeros((n, *(wide,) * ndim), _INT)
    corner = np.clip(places // UNIT + side // 2, -reach, side - 1 + reach).astype(_INT)
    picture = np.arange(n, dtype=_INT)[:, None] * wide**ndim
    limit = (radii + halo) ** 2
    rows = [np.clip(corner + step, -reach, side - 1 + reach) for step in range(-reach, reach + 1)]
    squares = [_by_axis((row * UNIT + (UNIT - side * UNIT) // 2 - places) ** 2) for row in rows]
    strides = [_by_axis((row + reach) * wide ** np.arange(ndim, dtype=_INT)[::-1]) for row in rows]
    for picks in np.ndindex(*(len(rows),) * ndim):
        square = functools.reduce(np.add, [squares[pick][axis] for axis, pick in enumerate(picks)])
        near = square <= limit
        index = functools.reduce(np.add, [strides[pick][axis][near] for axis, pick in enumerate(picks)])
        distance = root(square[near]) - radii[near]
        np.maximum.at(cover.reshape(-1), index + (picture + 0 * square)[near], within(distance, soft).astype(_INT))
    inner = slice(reach, reach + side)
    return cover[(slice(None), *(inner,) * ndim)]


def _by_axis(values: np.ndarray) -> np.ndarray:
    """[n, q, axes] -> [axes, n, q]"""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))
