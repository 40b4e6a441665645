"""Features of the project's own: raw pixels, intensity histograms, shape numbers. No weights, no torch."""

from dataclasses import dataclass

import numpy as np

from retrieval.encoders.specs import EncoderSpec

LEVELS = 32


@dataclass(frozen=True)
class BuiltinEncoder:
    """One of this module's features as an Encoder."""

    spec: EncoderSpec
    weights_digest: str = "none"

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [N, S, S, C] (for `shape`: volumes [N, D, H, W]) to float32 [N, dim]."""
        feature = _FEATURES[self.spec.architecture]
        return np.stack([feature(item) for item in pictures]).astype(np.float32)


def load(spec: EncoderSpec) -> BuiltinEncoder:
    """The feature named by the spec's architecture."""
    return BuiltinEncoder(spec)


def pixels(picture: np.ndarray) -> np.ndarray:
    """The values of a picture [S, S, C], 0 to 255, in reading order."""
    return picture.reshape(-1)


def histogram(picture: np.ndarray) -> np.ndarray:
    """Square roots of the shares of 32 equal intensity bins, channel by channel, of [S, S, 3] (0 to 255).

    With the root, Euclidean distance between two histograms is the Hellinger distance (times the root of 2).
    """
    bins = np.clip(picture, 0, 255).astype(np.intp) * LEVELS // 256
    shares = [np.bincount(bins[..., channel].ravel(), minlength=LEVELS) for channel in range(bins.shape[-1])]
    return np.sqrt(np.concatenate(shares) / bins[..., 0].size)


def shape(volume: np.ndarray) -> np.ndarray:
    """Eleven numbers of what is bright (at least 128) in a volume [D, H, W], all of the order of 0 to 1.

    Cube root of the volume, three extents of the bounding box and three principal axes (standard deviations, longest
    first), all over the side; square root of the surface (faces between bright and dark) over the side; share of the
    bounding box that is filled; second and third axis over the first. All zero for an empty volume.
    """
    bright = volume >= 128
    places = np.argwhere(bright)
    if not len(places):
        return np.zeros(11)
    side = max(volume.shape)
    extents = np.ptp(places, axis=0) + 1
    spread = np.cov(places, rowvar=False, bias=True) + np.eye(3) / 12  # a voxel is a cube, not a point
    axes = np.sqrt(np.linalg.eigvalsh(spread))[::-1]
    padded = np.pad(bright, 1)
    surface = sum(np.count_nonzero(np.diff(padded, axis=axis)) for axis in range(3))
    sizes = [len(places) ** (1 / 3) / side, *(extents / side), *(axes / side), surface**0.5 / side]
    return np.array([*sizes, len(places) / extents.prod(), axes[1] / axes[0], axes[2] / axes[0]])


def imported(row: np.ndarray) -> np.ndarray:
    """The vector whose bytes are a row [1, 4 D, 1]: float32 [D]."""
    return np.ascontiguousarray(row, dtype=np.uint8).reshape(-1).view("<f4")


_FEATURES = {"pixels": pixels, "histogram": histogram, "shape": shape, "imported": imported}
