"""Pictures and volumes that visitors upload: kept for minutes, under names that nobody can guess, deleted when asked.

Of a file that may name a person (DICOM, NIfTI and their archives) only the grey levels are kept, never the file.
"""

import functools
import os
import re
import secrets
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retrieval import artifacts
from retrieval.errors import BadInput, Unavailable
from retrieval.page import rendering
from retrieval.page.bodies import Bodies
from retrieval.pictures import arrays, burned_in, item, reading
from retrieval.pictures.decoded import Picture, Volume, one_picture

KEEP_MINUTES = 30
MOST_BYTES = 2 * 2**30  # of all uploads together; what is kept of one is at most a third of it
MOST_UPLOADS = 1000
PREVIEW_SIDE = 1024
SLICE_SIDE = 256

_TOKEN = re.compile(r"[0-9a-f]{32}")
_PICTURE, _VOLUME, _SLICES = "picture.png", "volume.npz", "slices.npy"  # what is kept, whatever it was called
_UNWANTED = re.compile(r"[^\w.() -]+")


@dataclass(frozen=True)
class Upload:
    """An uploaded picture or volume as it lies on disk.

    Attributes:
        path: What a dataset of pictures is asked with: the file as it came, or what was decoded of it.
        preview: The same picture as PNG, at most 1024 pixels a side.
        width, height: Of the picture, upright.
        notes: Sentences on what was left out or changed when it was read as a picture.
        volume: What a dataset of volumes is asked with; None where it holds none.
        shape: Of the volume [D, H, W]; all 0 where it holds none.
        fullest: The slice of the volume with the most to see.
        volume_notes: As notes, when it was read as a volume.
        flaw: Why it holds no volume though it has several slices, and what to do; may be empty.
    """

    path: Path
    preview: Path
    width: int
    height: int
    notes: tuple[str, ...]
    volume: Path | None = None
    shape: tuple[int, int, int] = (0, 0, 0)
    fullest: int = 0
    volume_notes: tuple[str, ...] = ()
    flaw: tuple[str, ...] = ()

    @property
    def shrunk(self) -> bool:
        """Whether the preview is smaller than the picture."""
        return max(self.width, self.height) > PREVIEW_SIDE

    @property
    def slices_shrunk(self) -> bool:
        """Whether the slices drawn are smaller than those of the volume."""
        return max(self.shape[1:]) > SLICE_SIDE

    def drawn_slice(self, number: int) -> np.ndarray:
        """One slice of the volume to draw, uint8 [H, W] or [H, W, 3], at most 256 pixels a side; BadInput if none."""
        if self.volume is None or not 0 <= number < self.shape[0]:
            raise BadInput(f"This upload has no slice {number}.", remedy=f"It has {self.shape[0]} slices.")
        return np.load(self.volume.with_name(_SLICES), mmap_mode="r")[number]

    def query_path(self, *, ndim: int, size: int) -> Path:
        """The file to ask a dataset with; BadInput where volumes are asked for and this holds none.

        Of a volume the item of that size is made once and kept beside it, since it is asked for slice by slice.
        """
        if ndim == 2:
            return self.path
        if self.volume is None and self.flaw:
            raise BadInput(self.flaw[0], remedy=self.flaw[1])
        if self.volume is None:
            raise one_picture("Your file")
        path = self.volume.with_name(f"item-{size}.npz")
        if not path.exists():
            cube = item.make_volume_item(reading.read_volume(self.volume), size=size)
            _write_volume(path, Volume(cube))
        return path


@dataclass(frozen=True)
class Uploads:
    """A server's folder of uploaded pictures, one folder a picture, named by its token; its age decides its end.

    Attributes:
        folder: This server's own; the folders of other servers lie beside it.
        keep_minutes: How long a picture is kept; the oldest less long where all together are too many.
        most_bytes, most: What is kept of all together, on the disk; the newest is, whatever its size.
        bodies: What arrives or is being read.
        turns: How many pictures are decoded or embedded at a time: one of 100 megapixels takes some hundred MB.
    """

    folder: Path
    keep_minutes: float = KEEP_MINUTES
    most_bytes: int = MOST_BYTES
    most: int = MOST_UPLOADS
    bodies: Bodies = field(default_factory=Bodies, repr=False, compare=False)
    turns: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2), repr=False, compare=False)

    def keep(self, data: bytes, *, name: str) -> str:
        """Write a picture, read it once and return its token; BadInput where it cannot be read, and nothing is left."""
        token = secrets.token_hex(16)
        try:
            with self.turns:
                self._write(self.folder / token, data, clean_name(name))
        except BaseException:
            self.forget(token)
            raise
        self._make_room()
        return token

    def open(self, token: str) -> Upload:
        """The picture of a token; Unavailable where it has been deleted, or never was."""
        place = self.folder / token
        about = artifacts.read_json(place / "about.json") if _TOKEN.fullmatch(token) else None
        if about is None or self._is_old(place):
            message = "That picture is no longer here: it was forgotten, or its time was over."
            raise Unavailable(message, remedy="Upload it again.")
        return Upload(
            path=place / "original" / about["name"],
            preview=place / "preview.png",
            width=about["width"],
            height=about["height"],
            notes=tuple(about["notes"]),
            volume=place / "original" / _VOLUME if about["shape"] else None,
            shape=_shape(about["shape"]),
            fullest=about["fullest"],
            volume_notes=tuple(about["volume_notes"]),
            flaw=tuple(about["flaw"]),
        )

    def forget(self, token: str) -> None:
        """Delete a picture and all that was made of it from the disk; nothing happens where it is gone already."""
        if _TOKEN.fullmatch(token):
            shutil.rmtree(self.folder / token, ignore_errors=True)

    def sweep(self) -> int:
        """Delete every picture whose time is over, those of a server that was killed too; returns how many."""
        old = [place for place in self.folder.parent.glob("*/*") if self._is_old(place)]
        for place in old:
            shutil.rmtree(place, ignore_errors=True)
        return len(old)

    def empty(self) -> None:
        """Delete every picture of this server, and its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_swept(self) -> threading.Event:
        """Sweep now, and once a minute in the background until the returned event is set."""
        over = threading.Event()

        def run() -> None:
            self.sweep()
            while not over.wait(60):
                self.sweep()

        threading.Thread(target=run, name="sweep uploads", daemon=True).start()
        return over

    def _write(self, place: Path, data: bytes, name: str) -> None:
        place.mkdir(parents=True, mode=0o700)
        found, volume = _decoded(data, name)
        picture = burned_in.warned(found.middle() if isinstance(found, Volume) else found)
        kept = place / "original"
        if reading.kind_of(data) == "raster":
            artifacts.write_atomic(kept / name, lambda stream: stream.write(data))
        elif isinstance(found, Volume):
            name = _VOLUME
            _write_volume(kept / name, found)
        else:
            name = _PICTURE
            _write_png(kept / name, picture.image)
        about = {"name": name, **_about(picture, volume), "flaw": list(getattr(found, "flaw", ()))}
        _write_preview(place, picture)
        if volume is not None:
            _write_volume(kept / _VOLUME, volume)
            artifacts.write_atomic(kept / _SLICES, functools.partial(np.save, arr=_small(volume.levels)))
        artifacts.write_json(place / "about.json", about)

    def _make_room(self) -> None:
        """Delete the oldest pictures of this server for which no room is left beside the newer ones."""
        whole = (about.parent for about in self.folder.glob("*/about.json"))  # not those that are being written
        total = 0
        for count, place in enumerate(sorted(whole, key=_written, reverse=True), 1):
            total += _bytes_of(place)
            if count > 1 and (count > self.most or total > self.most_bytes):
                shutil.rmtree(place, ignore_errors=True)

    def _is_old(self, place: Path) -> bool:
        try:
            return place.stat().st_mtime < time.time() - 60 * self.keep_minutes
        except FileNotFoundError:
            return True


def open_uploads(cache: Path) -> Uploads:
    """A folder of its own for this server's uploads, under the cache root; made when the first picture arrives."""
    return Uploads(folder=cache / "uploads" / secrets.token_hex(4))


def clean_name(name: str) -> str:
    """A file's name as a visitor sent it, fit for a path and a sentence."""
    last = re.split(r"[/\\]", name)[-1]
    return _UNWANTED.sub("", last).strip(". ")[-80:] or "picture"


def _written(place: Path) -> float:
    """When a picture's folder was written; long ago where it is being deleted."""
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _bytes_of(place: Path) -> int:
    """What a folder's files fill, deleted meanwhile or not."""
    total = 0
    for within, _, names in os.walk(place):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(within, name)).st_size
    return total


def _decoded(data: bytes, name: str) -> tuple[Picture | Volume, Volume | None]:
    """What a file holds, and the volume in it if there is one: of a TIFF its pages, if it has several that fit."""
    found = reading.decode(data, name=name)
    if isinstance(found, Volume):
        return found, None if found.flaw else found
    if reading.kind_of(data) != "raster":
        return found, None
    try:
        return found, reading.decode_volume(data, name=name)
    except BadInput:  # one page, or pages that make no volume: it is a picture all the same
        return found, None


def _about(picture: Picture, volume: Volume | None) -> dict[str, Any]:
    width, height = picture.image.size
    said = {"width": width, "height": height, "notes": list(picture.notes)}
    if volume is None:
        return {**said, "shape": [], "fullest": 0, "volume_notes": []}
    fullest = rendering.fullest_slice(volume.levels)
    return {**said, "shape": list(volume.levels.shape[:3]), "fullest": fullest, "volume_notes": list(volume.notes)}


def _shape(stored: list[int]) -> tuple[int, int, int]:
    depth, height, width = stored or (0, 0, 0)
    return depth, height, width


def _small(levels: np.ndarray) -> np.ndarray:
    """Slices to draw, each at most 256 pixels a side."""
    factor = max(1.0, max(levels.shape[1:3]) / SLICE_SIDE)
    if factor == 1:
        return levels
    height, width = (max(1, round(side / factor)) for side in levels.shape[1:3])
    return np.stack(
        [np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX)) for plane in levels]
    )


def _write_preview(place: Path, picture: Picture) -> None:
    small = picture.image.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.BOX)
    _write_png(place / "preview.png", small)


def _write_png(path: Path, image: Image.Image) -> None:
    artifacts.write_atomic(path, functools.partial(image.save, format="PNG", compress_level=3))


def _write_volume(path: Path, volume: Volume) -> None:
    artifacts.write_atomic(path, lambda stream: arrays.write_npz(stream, volume))
