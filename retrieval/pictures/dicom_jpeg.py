"""JPEG of 12 bits and lossless JPEG for pydicom, by libjpeg-turbo as imagecodecs brings it.

pydicom's own choice for these is a library under the GPL or one that is not at home with files from strangers.
"""

import importlib.util
from typing import Any

PLUGIN = "imagecodecs"
EXTENDED, LOSSLESS, LOSSLESS_FIRST = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
DECODER_DEPENDENCIES = dict.fromkeys((EXTENDED, LOSSLESS, LOSSLESS_FIRST), (PLUGIN,))


def add_to(decoder: Any) -> None:
    """Make a pydicom decoder of one of these syntaxes able to decode it; others are left alone."""
    if str(decoder.UID) in DECODER_DEPENDENCIES and PLUGIN not in decoder.available_plugins:
        decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))


def is_available(uid: str) -> bool:
    """Whether a syntax can be decoded here; pydicom asks."""
    return uid in DECODER_DEPENDENCIES and importlib.util.find_spec(PLUGIN) is not None


def decode_frame(source: bytes, runner: Any) -> bytearray:
    """The samples of one frame, colours as they were coded; pydicom calls it, and turns YBR into RGB itself."""
    from imagecodecs import jpeg8_decode

    kept = "RGB" if runner.samples_per_pixel == 3 else None
    samples = jpeg8_decode(source, colorspace=kept, outcolorspace=kept)
    runner.set_option("bits_allocated", 8 * samples.itemsize)
    if runner.samples_per_pixel == 3:
        runner.set_option("planar_configuration", 0)
    return bytearray(samples.tobytes())
