"""What Linux' control groups, a container's limits among them, say of this process. Both of their versions are read."""

from collections.abc import Iterator
from pathlib import Path


def settings(root: Path, controller: str, *names: str) -> Iterator[list[str]]:
    """The words of these files, one after another, in the group around this process and in every one above it.

    Args:
        root: Where the system's own files lie.
        controller: What the first version keeps in a tree of its own; the second keeps all in one.
    """
    for folder in dict.fromkeys(_folders(root, controller)):
        yield [word for name in names for word in _text(folder / name).split()]


def _folders(root: Path, controller: str) -> Iterator[Path]:
    groups = root / "sys/fs/cgroup"
    yield from (groups, groups / controller)
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line + "::").split(":")[:3]
        home = groups / controller if controllers else groups
        folder = home / path.strip("/")
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(home))


def _text(path: Path) -> str:
    """What stands in a file of the system's; nothing where it has none or does not show it."""
    try:
        return path.read_text()
    except OSError:
        return ""
