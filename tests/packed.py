"""The same files as a folder, a zip and a tar, written for a test."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int = 0, kind: str = "PNG") -> bytes:
    """A small grey picture of noise."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7), np.uint8)).save(stream, kind)
    return stream.getvalue()


def as_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "pictures").mkdir(exist_ok=True)
    return root / "pictures"


def as_zip(root: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(root / "pictures.zip", "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return root / "pictures.zip"


def as_tar(root: Path, files: Mapping[str, bytes], mode: str = "w", name: str = "pictures.tar") -> Path:
    with tarfile.open(root / name, mode) as archive:  # type: ignore[call-overload]
        for member, data in files.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return root / name


KINDS: Mapping[str, Callable[[Path, Mapping[str, bytes]], Path]] = {"folder": as_folder, "zip": as_zip, "tar": as_tar}
