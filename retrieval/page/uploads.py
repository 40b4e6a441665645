"""Pictures that visitors upload: kept for minutes, under names that nobody can guess, and deleted when asked."""

import functools
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from retrieval import artifacts
from retrieval.errors import BadInput, Unavailable
from retrieval.pictures.reading import MAX_BYTES, read_picture

KEEP_MINUTES = 30
PREVIEW_SIDE = 1024

_TOKEN = re.compile(r"[0-9a-f]{32}")
_UNWANTED = re.compile(r"[^\w.() -]+")


@dataclass(frozen=True)
class Upload:
    """An uploaded picture as it lies on disk.

    Attributes:
        path: The file, byte by byte as it came.
        preview: The same picture as PNG, at most 1024 pixels a side.
        width, height: Of the picture, upright.
        notes: Sentences on what was left out or changed when it was read.
    """

    path: Path
    preview: Path
    width: int
    height: int
    notes: tuple[str, ...]

    @property
    def shrunk(self) -> bool:
        """Whether the preview is smaller than the picture."""
        return max(self.width, self.height) > PREVIEW_SIDE


@dataclass(frozen=True)
class Uploads:
    """A server's folder of uploaded pictures, one folder a picture, named by its token; its age decides its end.

    Attributes:
        folder: This server's own; the folders of other servers lie beside it.
        keep_minutes: How long a picture is kept.
        turns: How many pictures are decoded or embedded at a time: one of 100 megapixels takes some hundred MB.
    """

    folder: Path
    keep_minutes: float = KEEP_MINUTES
    turns: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2), repr=False, compare=False)

    def keep(self, data: bytes, *, name: str) -> str:
        """Write a picture, read it once and return its token; BadInput where it cannot be read, and nothing is left."""
        token = secrets.token_hex(16)
        try:
            with self.turns:
                self._write(self.folder / token, data, clean_name(name))
            return token
        except BaseException:
            self.forget(token)
            raise

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
        path = place / "original" / name
        artifacts.write_atomic(path, lambda stream: stream.write(data))
        picture = read_picture(path)
        small = picture.image.copy()
        small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.BOX)
        artifacts.write_atomic(place / "preview.png", functools.partial(small.save, format="PNG", compress_level=3))
        width, height = picture.image.size
        about = {"name": name, "width": width, "height": height, "notes": list(picture.notes)}
        artifacts.write_json(place / "about.json", about)

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


async def read_bounded(chunks: AsyncIterator[bytes], *, most: int = MAX_BYTES) -> bytes:
    """All that arrives, at most 50 MB unless told otherwise; BadInput above."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most:
            raise BadInput("This file is larger than 50 MB.", remedy="Upload a smaller copy of the picture.")
    return bytes(data)
