"""Synthetic pictures in the manner of six kinds of medical image, and volumes of three simple shapes.

For a machine with neither data files nor a network. Drawn in integers, so that every machine draws the same bytes:
their digest is known and tested.
"""

import functools
import hashlib
from collections.abc import Callable

import numpy as np

from retrieval.datasets.drawing import (
    TURN,
    UNIT,
    blend,
    cosine,
    each,
    ellipse,
    fog,
    grid,
    numbers,
    root,
    sampled,
    sine,
    stamped,
    tree,
    turned,
    within,
)
from retrieval.datasets.specs import SPLITS, Dataset
from retrieval.errors import UnknownName


def draw(dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The pictures or volumes of one split of a synthetic dataset; kept in memory once drawn.

    Returns:
        images: uint8 of the shape the dataset states, read-only.
        labels: int64 [N, 1], read-only; the classes take turns.
        digest: 32 hexadecimal digits of the sha256 of images and labels.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    return _draw(f"{dataset.name}/{split}", dataset.classes, dataset.shape(dataset.sizes[0], split))


@functools.lru_cache(maxsize=8)
def _draw(key: str, classes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, str]:
    scenes = _PICTURES if len(shape) == 3 else _VOLUMES
    labels = np.arange(shape[0], dtype="<i8")[:, None] % len(classes)
    images = np.zeros(shape, np.uint8)
    for label, name in enumerate(classes):
        chosen = labels[:, 0] == label
        if chosen.any():
            word = name.split()[0]
            images[chosen] = _exposed(f"{key}/{word}", scenes[word](f"{key}/{word}", int(chosen.sum()), shape[1]))
    images.flags.writeable = labels.flags.writeable = False
    return images, labels, hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:32]


def _exposed(key: str, grey: np.ndarray) -> np.ndarray:
    """Grain, and contrast and brightness that differ from picture to picture."""
    n, ndim = len(grey), grey.ndim - 1
    gain = each(f"{key}/gain", n, 200, 270, ndim=ndim)
    offset = each(f"{key}/offset", n, -8, 12, ndim=ndim)
    grain = numbers(f"{key}/grain", grey.shape, -7, 7) + numbers(f"{key}/more grain", grey.shape, -7, 7)
    lit = np.clip(grey, 0, 255)
    return np.clip(lit * gain // 256 + (offset + grain) * np.minimum(lit + 16, 64) // 64, 0, 255).astype(np.uint8)


def _ultrasound(key: str, n: int, side: int) -> np.ndarray:
    """A fan of speckled tissue layers with one dark lesion and what the sound does behind it."""
    y, x = grid(side, 2)
    down = y + each(f"{key}/apex", n, 620, 720)
    aside = x - each(f"{key}/shift", n, -40, 40)
    depth, slant = root(down * down + aside * aside), aside * 1024 // down
    opening = within((np.abs(slant) - each(f"{key}/opening", n, 540, 700)) * depth // 1024)
    near = each(f"{key}/near", n, 190, 260)
    fan = np.minimum(opening, np.minimum(within(near - depth), within(depth - near - each(f"{key}/far", n, 780, 900))))

    rows, columns = depth * 256 // 30, (slant + 1024) * 256 // 60
    waves = [sampled(numbers(f"{key}/{part}", (n, 56, 44), -128, 127), rows, columns) for part in ("real", "imaginary")]
    speckle = root(waves[0] ** 2 + waves[1] ** 2)
    layers = sampled(numbers(f"{key}/layers", (n, 24, 6), 0, 255), depth * 256 // 72, (slant + 1024) * 256 // 420)
    tissue = 70 + layers * 110 // 255 - (depth - near) // 14

    size = each(f"{key}/lesion", n, 90, 190)
    lesion_y, lesion_x = each(f"{key}/lesion y", n, -190, 200), each(f"{key}/lesion x", n, -170, 170)
    along, across = turned(y - lesion_y, x - lesion_x, each(f"{key}/tilt", n, -16, 16))
    rough = (fog(f"{key}/rough", n, (side, side), 6) - 128) * each(f"{key}/roughness", n, 10, 60) // 128
    inside = within(ellipse((along, across), (size, size * each(f"{key}/flat", n, 50, 90) // 100)) + rough, 40)
    behind = np.minimum(
        within(np.abs(x - lesion_x - (y - lesion_y) * slant // 1024) - size * 3 // 4, 90), (y > lesion_y) * 256
    )
    change = np.where(each(f"{key}/cyst", n, 0, 1) == 1, 410, 130)
    tissue = tissue * blend(np.full_like(behind, 256), change, behind) // 256
    return blend(tissue, each(f"{key}/echo", n, 12, 40), inside) * (speckle + 30) // 92 * fan // 256


def _cells(key: str, n: int, side: int) -> np.ndarray:
    """Stained cells on a bright slide: grey bodies, dark nuclei, some lying over others."""
    y, x = grid(side, 2)
    ground = each(f"{key}/slide", n, 205, 240)
    grey = ground - fog(f"{key}/haze", n, (side, side), 16) * 24 // 255
    wobble = (fog(f"{key}/wobble", n, (side, side), 9) - 128) * 40 // 128
    grain = (fog(f"{key}/grain", n, (side, side), 2) - 128) * 30 // 128
    scale = each(f"{key}/scale", n, 80, 125)
    body, nucleus = each(f"{key}/body", n, 130, 175), each(f"{key}/nucleus", n, 40, 85)
    for place in range(9):
        name = f"{key}/{place}"
        centre_y = (place // 3 - 1) * 340 + each(f"{name}/y", n, -100, 100)
        centre_x = (place % 3 - 1) * 340 + each(f"{name}/x", n, -100, 100)
        radius = each(f"{name}/radius", n, 100, 190) * scale // 100
        along, across = turned(y - centre_y, x - centre_x, each(f"{name}/turn", n, 0, TURN - 1))
        outline = ellipse((along, across), (radius, radius * each(f"{name}/flat", n, 70, 100) // 100)) + wobble
        there = each(f"{name}/there", n, 0, 6) > 0
        shade = body + each(f"{name}/shade", n, -18, 18) + grain - within(np.abs(outline + 16), 40) * 34 // 256
        grey = blend(grey, shade, within(outline, 24) * there)
        core = radius * each(f"{name}/core", n, 38, 60) // 100
        shift = each(f"{name}/off", n, -30, 30)
        kernel = ellipse((along - shift, across + shift // 2), (core, core * 4 // 5)) + wobble // 2
        grey = blend(grey, nucleus + each(f"{name}/stain", n, -15, 15) + grain, within(kernel, 24) * there)
    return grey


def _vessels(key: str, n: int, side: int) -> np.ndarray:
    """Bright, branching, tapering tubes on a dim ground, entering from any side."""
    half = side * UNIT // 2
    aim = numbers(f"{key}/aim", (n, 2), 0, TURN - 1)
    aim[:, 1] = aim[:, 0] + numbers(f"{key}/apart", (n,), 40, 200)
    start = np.stack([-sine(aim), -cosine(aim)], axis=-1) * half // 1024
    start = start + numbers(f"{key}/shift", (n, 2, 2), -120, 120)
    width = numbers(f"{key}/width", (n, 2), 14, 30)
    places, radii = tree(f"{key}/tree", start, aim, width=width, steps=60, forks=7)
    cover = stamped(places, radii, side=side, soft=22)
    ground = each(f"{key}/ground", n, 14, 40) + fog(f"{key}/haze", n, (side, side), 16) * 34 // 255
    return blend(ground, each(f"{key}/dye", n, 190, 250), cover)


def _nodules(key: str, n: int, side: int) -> np.ndarray:
    """A slice through a chest: two dark lungs, heart and spine, and one bright round spot in a lung."""
    y, x = grid(side, 2)
    x, y = x + each(f"{key}/x", n, -24, 24), y + each(f"{key}/y", n, -24, 24)
    wide, tall = each(f"{key}/wide", n, 430, 490), each(f"{key}/tall", n, 330, 400)
    flesh = each(f"{key}/flesh", n, 120, 150) + fog(f"{key}/muscle", n, (side, side), 5) * 24 // 255
    body = ellipse((x, y), (wide, tall))
    grey = blend(np.full_like(flesh, 6), flesh, within(body))
    grey = blend(grey, 95, within(np.abs(body + 14) - 12, 20))
    wobble = (fog(f"{key}/wobble", n, (side, side), 12) - 128) * 40 // 128
    air = each(f"{key}/air", n, 22, 42) + fog(f"{key}/air haze", n, (side, side), 8) * 20 // 255
    open_air = np.zeros_like(flesh)
    for name, sign in (("left", -1), ("right", 1)):
        along, across = turned(y, x - sign * (wide * 47 // 100), each(f"{key}/{name}/tilt", n, -8, 8) * sign)
        lung = (
            ellipse((along, across), (wide * each(f"{key}/{name}/wide", n, 33, 38) // 100, tall * 68 // 100)) + wobble
        )
        open_air = np.maximum(open_air, within(lung, 20))
    heart = ellipse(
        (x - 60, y + each(f"{key}/heart y", n, -20, 60)), (each(f"{key}/heart", n, 130, 190), tall * 38 // 100)
    )
    open_air = np.minimum(open_air, 256 - within(heart, 24))
    grey = blend(grey, air, open_air)

    start = numbers(f"{key}/hilum", (n, 2, 2), -40, 40) + np.array([[0, -110], [0, 110]])
    outward = np.array([TURN // 2, 0]) + numbers(f"{key}/outward", (n, 2), -20, 20)
    places, radii = tree(f"{key}/lung vessels", start, outward, width=np.full((n, 2), 12), steps=20, forks=8)
    grey = blend(grey, 150, stamped(places, radii, side=side) * open_air // 256 * 5 // 8)
    spine = ellipse((x, y - tall * 62 // 100), (np.full_like(wide, 82), np.full_like(wide, 66)))
    grey = blend(grey, 225 - within(spine + 28, 30) * 60 // 256, within(spine, 20))

    where = each(f"{key}/lung", n, 0, 1) * 2 - 1
    spot_x = x - where * wide * each(f"{key}/spot x", n, 42, 60) // 100
    spot = root((y - each(f"{key}/spot y", n, -120, 90)) ** 2 + spot_x**2) - each(f"{key}/spot", n, 38, 78)
    return blend(grey, each(f"{key}/bright", n, 200, 245), within(spot, 26))


def _fundus(key: str, n: int, side: int) -> np.ndarray:
    """The back of an eye: a round field in a dark surround, bright disc, dark vessels from it, darker macula."""
    y, x = grid(side, 2)
    sign = each(f"{key}/eye", n, 0, 1) * 2 - 1
    field = root(y * y + x * x)
    disc_y, disc_x = each(f"{key}/disc y", n, -50, 50), sign * each(f"{key}/disc x", n, 170, 260)
    reach = each(f"{key}/field", n, 440, 490)
    grey = (
        each(f"{key}/tone", n, 130, 175) - field * field // 3000 + fog(f"{key}/mottle", n, (side, side), 7) * 22 // 255
    )
    macula = root((y - disc_y - 30) ** 2 + (x - disc_x + sign * 300) ** 2)
    grey = grey - within(macula - 50, 190) * each(f"{key}/macula", n, 50, 80) // 256
    disc = ellipse((y - disc_y, x - disc_x), (each(f"{key}/disc", n, 72, 96), each(f"{key}/disc wide", n, 62, 80)))
    grey = blend(grey, each(f"{key}/disc tone", n, 215, 245), within(disc, 26))

    centre = np.concatenate([disc_y, disc_x], axis=2) + np.zeros((n, 6, 1), np.int64)
    away = np.where(sign[:, :, 0] > 0, TURN // 2, 0)
    fans = np.array([-52, -34, 34, 52, 96, -96]) + numbers(f"{key}/fans", (n, 6), -8, 8)
    width = numbers(f"{key}/width", (n, 6), 6, 11)
    places, radii = tree(f"{key}/tree", centre, away + fans, width=width, steps=40, forks=10)
    lines = stamped(places, radii, side=side)
    grey = blend(grey, grey * each(f"{key}/blood", n, 38, 56) // 100, lines)
    return grey * within(field - reach, 20) // 256


def _bone(key: str, n: int, side: int) -> np.ndarray:
    """Long bones on an X-ray: bright walls, spongy flared ends, in softer flesh; one, two side by side, or a joint."""
    y, x = grid(side, 2)
    along, across = turned(y, x, each(f"{key}/turn", n, 0, TURN - 1))
    across = across - each(f"{key}/shift", n, -70, 70)
    flesh = within(np.abs(across) - each(f"{key}/limb", n, 300, 400), 160)
    muscle = fog(f"{key}/muscle", n, (side, side), 8) // 12
    grey = 6 + ((each(f"{key}/flesh", n, 50, 80) + muscle) * flesh >> 8)
    sponge = fog(f"{key}/sponge", n, (side, side), 3) // 4 + fog(f"{key}/fine", n, (side, side), 2) // 5 - 56
    form = each(f"{key}/form", n, 0, 3)
    pair, joint = form == 0, form == 1
    for name, sign in (("first", 1), ("second", -1)):
        half = each(f"{key}/{name}/half", n, 85, 125) * np.where(pair, 3, 4) // 4
        end = np.where(joint, each(f"{key}/gap", n, -40, 10) - 18, each(f"{key}/{name}/end", n, 150, 400))
        beside = across - np.where(pair, sign * 150, 0)
        ahead = along * np.where(joint, sign, 1) - end
        outline = _shaft(f"{key}/{name}", ahead, beside, half=half)
        shown = within(outline) * (pair | joint | (sign > 0))
        depth = outline + each(f"{key}/{name}/wall", n, 30, 46)
        swell = np.clip(ahead + 300, 0, 300)
        marrow = each(f"{key}/{name}/marrow", n, 105, 135) + swell // 8 + sponge
        wall = each(f"{key}/{name}/lime", n, 215, 250) - swell // 8
        grey = blend(grey, blend(wall, marrow, within(depth - swell // 12, 30)), shown)
    return grey


def _shaft(key: str, ahead: np.ndarray, beside: np.ndarray, *, half: np.ndarray) -> np.ndarray:
    """Distance to the outline of a long bone that flares towards its rounded end, which lies at `ahead` = 0."""
    n, rounding = len(half), 64
    flare = np.clip(ahead + each(f"{key}/neck", n, 260, 360), 0, 400)
    aside = np.abs(beside) - half - flare * flare // each(f"{key}/flare", n, 900, 1900) + rounding
    beyond = ahead + beside * beside // 500 + rounding
    corner = root(np.maximum(aside, 0) ** 2 + np.maximum(beyond, 0) ** 2)
    return np.minimum(np.maximum(aside, beyond), 0) + corner - rounding


def _nodule_volume(key: str, n: int, side: int) -> np.ndarray:
    """A bright ball, not quite round, in a hazy dark field crossed by thin vessels."""
    z, y, x = grid(side, 3)
    grey = each(f"{key}/ground", n, 20, 50, ndim=3) + fog(f"{key}/haze", n, (side,) * 3, 7) // 6
    grey = blend(grey, 140, _tubes(f"{key}/vessels", n, side, thin=8, thick=12))
    offsets = tuple(line - each(f"{key}/at {axis}", n, -70, 70, ndim=3) for axis, line in enumerate((z, y, x)))
    radius = each(f"{key}/radius", n, 56, 110, ndim=3)
    radii = tuple(radius * each(f"{key}/radius {axis}", n, 80, 110, ndim=3) // 100 for axis in range(3))
    rough = fog(f"{key}/rough", n, (side,) * 3, 7) // 8 - 16
    return blend(grey, each(f"{key}/bright", n, 170, 230, ndim=3), within(ellipse(offsets, radii) + rough, 24))


def _vessel_volume(key: str, n: int, side: int) -> np.ndarray:
    """A branching bright tube."""
    grey = each(f"{key}/ground", n, 20, 50, ndim=3) + fog(f"{key}/haze", n, (side,) * 3, 7) // 6
    return blend(grey, each(f"{key}/dye", n, 180, 245, ndim=3), _tubes(key, n, side, thin=22, thick=34))


def _tubes(key: str, n: int, side: int, *, thin: int, thick: int) -> np.ndarray:
    """Cover of a tree grown in a plane that is then tilted and waved through the volume."""
    aim = numbers(f"{key}/aim", (n, 1), 0, TURN - 1)
    start = np.stack([-sine(aim), -cosine(aim)], axis=-1) * (side * UNIT // 2) // 1024
    width = numbers(f"{key}/width", (n, 1), thin, thick)
    places, radii = tree(f"{key}/tree", start, aim, width=width, steps=side, forks=4)
    y, x = places[..., 0], places[..., 1]
    lean = numbers(f"{key}/lean", (n, 2), -200, 200)
    wave = sine((x + y) // 4 + numbers(f"{key}/wave", (n, 1), 0, TURN - 1)) * 50 // 1024
    z = (y * lean[:, :1] + x * lean[:, 1:]) // 256 + wave
    return stamped(np.stack([z, y, x], axis=-1), radii, side=side, soft=22)


def _bone_volume(key: str, n: int, side: int) -> np.ndarray:
    """A hollow shaft in any direction: a bright shell, spongy marrow, softer flesh around."""
    z, y, x = grid(side, 3)
    z, y, x = (line - each(f"{key}/at {axis}", n, -40, 40, ndim=3) for axis, line in enumerate((z, y, x)))
    turn, rise = each(f"{key}/turn", n, 0, TURN - 1, ndim=3), each(f"{key}/rise", n, -48, 48, ndim=3)
    along, beside = turned(y, x, turn)
    along, above = turned(z, along, rise)
    flare = np.clip(along + each(f"{key}/neck", n, -40, 80, ndim=3), 0, 200)
    outline = root(beside * beside + above * above) - each(f"{key}/half", n, 70, 105, ndim=3) - flare * flare // 700
    grey = each(f"{key}/flesh", n, 40, 75, ndim=3) + fog(f"{key}/muscle", n, (side,) * 3, 7) // 8
    marrow = each(f"{key}/marrow", n, 90, 125, ndim=3) + fog(f"{key}/sponge", n, (side,) * 3, 2) // 6 - 20
    depth = outline + each(f"{key}/wall", n, 26, 40, ndim=3)
    shaft = blend(each(f"{key}/lime", n, 205, 245, ndim=3), marrow, within(depth, 20))
    return blend(grey, shaft, within(outline, 20))


_PICTURES: dict[str, Callable[[str, int, int], np.ndarray]] = {
    "ultrasound": _ultrasound,
    "cells": _cells,
    "vessels": _vessels,
    "nodules": _nodules,
    "fundus": _fundus,
    "bone": _bone,
}
_VOLUMES: dict[str, Callable[[str, int, int], np.ndarray]] = {
    "nodule": _nodule_volume,
    "vessel": _vessel_volume,
    "bone": _bone_volume,
}
