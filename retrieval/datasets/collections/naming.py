"""Names of files in folders and archives: made plain, shown safely, and refused where they are a trap.

Nothing is ever unpacked, so a name can lead nowhere. But a collection's record must mean the same on every system: a
name that Windows could not hold, or that an unpacked copy could not have, is left out with a reason.
"""

import re
import unicodedata
from collections.abc import Sequence

MAX_NAME = 1000  # characters of a whole path

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. ()+,=@-]*[A-Za-z0-9_)+-]")
_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # text's direction

_SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"})


def plain(name: str) -> str:
    """The name without empty steps and steps on the spot: `./a//b.png` is `a/b.png`; a leading slash stays."""
    steps = [step for step in name.split("/") if step not in ("", ".")]
    return ("/" if name.startswith("/") else "") + "/".join(steps)


def is_hidden(name: str) -> bool:
    """Whether a step of the path is hidden or a system's own, such as `.DS_Store`, `__MACOSX` or `Thumbs.db`."""
    return any(step.lower() in _SYSTEM or (step.startswith(".") and step != "..") for step in name.split("/"))


def problem(name: str) -> str:
    """Why a file of this plain name is left out, a sentence; empty where nothing speaks against it."""
    if len(name) > MAX_NAME:
        return f"Its path is longer than {MAX_NAME} characters."
    if not name:
        return "It has no name."
    if name.startswith("/") or _DRIVE.match(name):
        return "Its name is an absolute path, which a file in a collection cannot have."
    return next(filter(None, (_step_problem(step) for step in name.split("/"))), "")


def text_problem(text: str) -> str:
    """What a name or label holds that cannot be shown or kept, for a sentence; empty where there is nothing."""
    if any(unicodedata.category(character) in ("Cs", "Co", "Cn") for character in text):
        return "bytes that are no text"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _TURNING for character in text):
        return "control characters"
    return ""


def shown(name: str) -> str:
    """The name fit for a screen and a file: whatever cannot be printed escaped, and not too long."""
    escaped = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name[:200])
    return escaped + ("..." if len(name) > 200 else "")


def folded(name: str) -> str:
    """What two names share that differ by upper and lower case or by how accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def clashing(names: Sequence[str]) -> dict[str, str]:
    """Names of which there are several, or that differ from another by `folded` only, each with the reason."""
    kept: dict[str, list[str]] = {}
    for name in names:
        kept.setdefault(folded(name), []).append(name)
    several = [group for group in kept.values() if len(group) > 1]
    return {name: _clash(group) for group in several for name in group}


def _clash(names: list[str]) -> str:
    if len(set(names)) == 1:
        return "Its name is there more than once, so that it is not clear which file is meant."
    return "Its name differs from another one by upper and lower case or by accents only."


def _step_problem(step: str) -> str:
    if _PLAIN.fullmatch(step) and not _DEVICE.fullmatch(step):
        return ""
    if step == "..":
        return "Its name leads out of the source (..)."
    if found := text_problem(step):
        return f"Its name holds {found}."
    if "\\" in step:
        return "Its name holds a backslash, which some Windows programs write where a slash belongs."
    if _DEVICE.fullmatch(step) or step[-1] in ". ":
        return "Its name is one that Windows cannot hold."
    return ""
