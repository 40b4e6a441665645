"""Sources of every kind, and a look at the disk before and after."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from packed import KINDS


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """`make(files)`: a source that holds them; the test runs for a folder, a zip and a tar."""
    return lambda files: KINDS[request.param](tmp_path, files)


@pytest.fixture
def listing(tmp_path: Path) -> Callable[[], dict[str, tuple[int, int]]]:
    """All files under the test's folder, and beside it, in the working folder and in `/tmp`: to compare afterwards."""

    def listed() -> dict[str, tuple[int, int]]:
        files = [*tmp_path.rglob("*"), tmp_path, tmp_path.parent, Path(), *Path("/tmp").glob("*escaped*")]
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in files}

    return listed
