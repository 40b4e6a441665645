"""Voxels in any orientation -> slices as a CT is looked at: from the feet up, front on top, right at the left.

Directions are those of NIfTI: x to the patient's right, y to the front, z to the head (RAS+).
"""

import math

import numpy as np

from retrieval.pictures.decoded import CUBES, Spacing

_AXES = 3


def to_axial(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Spacing] | None:
    """Turn and flip voxels [I, J, K] or [I, J, K, 3] so that their axes are the nearest to those of the body.

    No value is changed or interpolated: what lies obliquely stays oblique.

    Args:
        affine: float [4, 4], voxel numbers to millimetres (RAS+).

    Returns:
        [D, H, W(, 3)]: slices towards the head, rows towards the back, columns towards the patient's left, and the
        millimetres between them. None where the affine names no three directions.
    """
    from nibabel import orientations

    if not np.isfinite(affine[:_AXES]).all():
        return None
    turns = orientations.io_orientation(affine)
    sides = np.sqrt((affine[:_AXES, :_AXES] ** 2).sum(axis=0))
    if np.isnan(turns).any() or not (sides > 0).all():
        return None
    canonical = orientations.apply_orientation(voxels, turns)[::-1, ::-1]
    order = np.argsort(turns[:, 0])  # which stored axis runs along x, y and z
    x, y, z = (float(sides[axis]) for axis in order)
    turned = canonical.transpose(2, 1, 0, *range(_AXES, voxels.ndim))
    return np.ascontiguousarray(turned), (z, y, x)


def checked_spacing(values: tuple[float, float, float]) -> tuple[Spacing, tuple[str, ...]]:
    """The spacing where it is one; otherwise cubes, and a note that says so."""
    if all(math.isfinite(value) and value > 0 for value in values):
        return values, ()
    return CUBES, ("It does not say how far its voxels are apart, so they are taken for cubes.",)
