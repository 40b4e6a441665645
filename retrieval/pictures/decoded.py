"""What a decoded file is: a picture or a volume, in 8 bits, with what was said on the way; and the bounds of both."""

import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from retrieval.errors import BadInput

MAX_BYTES = 50 * 2**20  # of a picture's file
MAX_VOLUME_BYTES = 200 * 2**20  # of a volume's file, packed and unpacked
MAX_PIXELS = 100_000_000  # of a picture, or of all slices of a volume
MAX_PLANES = 2000

_NEARLY = 0.01
_WIDEST = 8192

Spacing = tuple[float, float, float]
CUBES: Spacing = (1.0, 1.0, 1.0)

# All that decoders (Pillow's, pydicom's, nibabel's, numpy's) were seen to raise on damaged files. RuntimeError holds
# NotImplementedError and RecursionError, ArithmeticError overflow and division by zero, Warning what a strict filter
# raises.
DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    BufferError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    tokenize.TokenError,  # from the head of a .npy, which is a Python literal
    Image.DecompressionBombError,
    Warning,
)


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        image: Upright, mode `L` or `RGB`, 8 bits a channel; colour profiles are not applied.
        notes: Sentences on what was left out or changed, for the reader of the answer.
        burned_in: Whether its file says that text is burned into the pixels.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()
    burned_in: bool = False


@dataclass(frozen=True, eq=False)
class Volume:
    """A decoded volume, or the frames of a film.

    Attributes:
        levels: Grey levels uint8 [D, H, W], or colour [D, H, W, 3].
        spacing: Millimetres (or any one unit) from slice to slice, row to row and column to column.
        notes: As a Picture's.
        flaw: Why its slices make no volume, and what to do; empty where they do. The middle one is a picture anyway.
        burned_in: As a Picture's.
    """

    levels: np.ndarray
    spacing: Spacing = CUBES
    notes: tuple[str, ...] = ()
    flaw: tuple[str, ...] = ()
    burned_in: bool = False

    def middle(self) -> Picture:
        """Its middle slice (of an even number the later one) as a picture, with a note that says so."""
        count = len(self.levels)
        note = f"Only the middle one of its {count:,} slices is used."
        only = self.only(count // 2)
        return Picture(only.image, (note, *only.notes), self.burned_in)

    def only(self, number: int) -> Picture:
        """One slice as a picture, its pixels made square where they are not."""
        image, more = _square(Image.fromarray(np.ascontiguousarray(self.levels[number])), self.spacing[1:])
        return Picture(image, (*more, *self.notes), self.burned_in)


def picture_or_volume(volume: Volume) -> Picture | Volume:
    """A volume of one slice is a picture."""
    return volume if len(volume.levels) > 1 else volume.only(0)


def one_picture(called: str) -> BadInput:
    """What is said where a volume is needed and a file holds one picture."""
    return BadInput(
        f"{called} holds one picture, and this dataset holds volumes.",
        remedy="Choose a volume (NIfTI, npy, npz, TIFF pages, a zip of DICOM slices), or a dataset of pictures.",
    )


def check_voxels(called: str, shape: tuple[int, ...]) -> None:
    """BadInput where there is nothing to see in such a volume [D, H, W], or too much."""
    planes, height, width = shape
    if min(shape) < 1:
        raise BadInput(f"{called} has no pixels.", remedy="Choose a file that holds a picture.")
    if planes > MAX_PLANES or planes * height * width > MAX_PIXELS:
        size = f"{planes:,} slices of {width:,} x {height:,} pixels" if planes > 1 else f"{width:,} x {height:,} pixels"
        raise BadInput(
            f"{called} has {size}; at most {MAX_PLANES:,} slices and 100 megapixels in all are read.",
            remedy="Crop it or make it smaller, and try again.",
        )


def _square(image: Image.Image, sides: tuple[float, float]) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture whose pixels are these millimetres high and wide, enlarged to square ones where they are not nearly."""
    height, width = (side / min(sides) for side in sides)
    if max(height, width) < 1 + _NEARLY:
        return image, ()
    shape = (round(image.width * width), round(image.height * height))
    if max(shape) > _WIDEST:
        return image, ("Its pixels are far from square, and it is drawn as if they were.",)
    return image.resize(shape, Image.Resampling.BICUBIC), ("Its pixels are not square, so it is enlarged to such.",)
