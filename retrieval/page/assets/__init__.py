"""The page's own markup, styles and scripts, as files; read when the page is built."""

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def read(name: str) -> str:
    """The text of one file."""
    return (FOLDER / name).read_text(encoding="utf-8")


def read_all(names: Iterable[str]) -> str:
    """The texts of several files, one after the other."""
    return "\n".join(read(name) for name in names)
