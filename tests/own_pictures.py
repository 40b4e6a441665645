"""Folders of pictures as people have them: drawn by a seed, of any shape, in class folders."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def write_classes(
    folder: Path, classes: Mapping[str, int], *, shape: tuple[int, ...] = (16, 16), first: int = 0
) -> list[Path]:
    """So many PNGs of noise in each class folder, each class brighter than the one before; the files' paths."""
    return [
        write_picture(folder / label / f"{number:05d}.png", seed=(place, number), shape=shape, low=40 * place)
        for place, (label, count) in enumerate(classes.items())
        for number in range(first, first + count)
    ]


def write_picture(path: Path, *, seed: tuple[int, ...] | int, shape: tuple[int, ...] = (16, 16), low: int = 0) -> Path:
    """One PNG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(low, low + 80, shape, np.uint8)).save(path)
    return path
