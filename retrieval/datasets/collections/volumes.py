"""Volumes of a collection: read from a file or from its slices, known by their voxels, made cubes as queries are."""

import hashlib
from collections.abc import Sequence

import numpy as np

from retrieval.datasets.collections.containers import Container, read_whole, unreadable
from retrieval.datasets.collections.facts import Facts, bytes_digest
from retrieval.pictures.archives import MOST_MEMBERS, MOST_UNPACKED
from retrieval.pictures.burned_in import has_text
from retrieval.pictures.decoded import MAX_VOLUME_BYTES, Volume
from retrieval.pictures.dicom import decode_slices
from retrieval.pictures.item import grey_levels, make_volume_item
from retrieval.pictures.reading import decode_volume


def read_files(container: Container, name: str, slices: Sequence[str]) -> list[bytes]:
    """The bytes of a volume's file, or of its slices in the order of their names.

    Raises:
        BadInput: One is gone, damaged or too large, or they are too many or too large together: as in a zip of them.
    """
    if not slices:
        return [read_whole(container, name, most=MAX_VOLUME_BYTES)]
    if len(slices) > MOST_MEMBERS:
        raise unreadable(container.path, name, f"it has {len(slices):,} slices; at most {MOST_MEMBERS:,} are read")
    files, total = [], 0
    for each in slices:
        files.append(read_whole(container, each, most=MAX_VOLUME_BYTES))
        total += len(files[-1])
        if total > MOST_UNPACKED:
            raise unreadable(container.path, name, f"its slices are larger than {MOST_UNPACKED >> 20} MB together")
    return files


def stamp_of(container: Container, name: str, slices: Sequence[str]) -> tuple[int, int]:
    """Size, and a number that changes with the bytes, of a file or of all slices; BadInput where one is gone."""
    if not slices:
        return container.stamp(name)
    stamps = [container.stamp(each) for each in slices]
    mark = hashlib.blake2b(repr(stamps).encode(), digest_size=7).digest()  # fits a double, as JSON's numbers may be
    return sum(size for size, _ in stamps), int.from_bytes(mark, "big")


def digest_of(files: Sequence[bytes]) -> str:
    """By which a file, or the slices in their order, are seen to be those that were added."""
    digests = [bytes_digest(data) for data in files]
    return digests[0] if len(digests) == 1 else bytes_digest("".join(digests).encode())


def facts_of_volume(files: Sequence[bytes], *, name: str) -> Facts:
    """Decode a volume and note what it is known by; BadInput where it is none.

    Two are the same where their grey levels are and how far these are apart, whatever files they come in.
    """
    volume = _decoded(files, name=name)
    grey = np.ascontiguousarray(grey_levels(volume))
    apart = tuple(float(side / min(volume.spacing)) for side in volume.spacing)
    seen = hashlib.blake2b(repr((grey.shape, apart)).encode(), digest_size=16)
    seen.update(grey.data)
    depth, height, width = grey.shape
    return Facts(
        digest=digest_of(files),
        pixels=seen.hexdigest(),
        height=height,
        width=width,
        coloured=False,
        burned_in=volume.burned_in or has_text(volume.middle()),
        depth=depth,
    )


def cube_of(files: Sequence[bytes], *, name: str, size: int) -> np.ndarray:
    """uint8 [size, size, size]: the item that the volume would be as a query, by the same function."""
    return make_volume_item(_decoded(files, name=name), size=size)


def _decoded(files: Sequence[bytes], *, name: str) -> Volume:
    return decode_volume(files[0], name=name) if len(files) == 1 else decode_slices(files, called=repr(name))
