"""Where a command is to write its file, looked at before the work and not after it."""

import os
from collections.abc import Sequence
from pathlib import Path

from retrieval.errors import BadInput


def check_output(path: Path, *, endings: Sequence[str] = ()) -> None:
    """BadInput where no file can be written to this path, or its name ends in none of the endings, if there are any."""
    refusal = _refusal(path, endings)
    if refusal is not None:
        reason, remedy = refusal
        raise BadInput(f"{str(path)!r} cannot be written: {reason}.", remedy=remedy)


def _refusal(path: Path, endings: Sequence[str]) -> tuple[str, str] | None:
    if path.is_dir():
        return "it is a folder", "Name a file in it."
    if endings and path.suffix.lower() not in endings:
        return f"its name ends in none of {', '.join(endings)}", "Name the file so."
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir():
        return f"{there} is no folder", "Name a file in a folder."
    if not os.access(there, os.W_OK | os.X_OK):
        return f"nothing may be written into {there}", "Allow it, or choose another folder."
    return None
