"""Where data, weights, shipped results and the cache lie: the only reader of the environment."""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from retrieval.errors import BadInput

ZIP_MB = 500
SHIPPED = Path(__file__).resolve().parent.parent / "precomputed"


@dataclass(frozen=True)
class Roots:
    """The folders a run works with.

    Attributes:
        data: Folders searched for data files, in order; never written.
        weights: A folder with one folder per encoder; never written. None where the user named none.
        precomputed: What is shipped: embeddings, neighbours, results, published figures; only read.
        cache: All that is computed, converted or downloaded; looked at first.
        hub: The user's own cache of the Hugging Face Hub; only read. None: not looked at.
    """

    data: tuple[Path, ...]
    weights: Path | None
    precomputed: Path
    cache: Path
    hub: Path | None = None

    @property
    def lookup(self) -> tuple[Path, ...]:
        """Folders searched for computed artifacts, first hit wins."""
        return (self.cache, self.precomputed)


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def roots_from_environment(environ: Mapping[str, str] = os.environ) -> Roots:
    """Read RETRIEVAL_DATA, RETRIEVAL_WEIGHTS, RETRIEVAL_PRECOMPUTED and RETRIEVAL_CACHE, and where the Hub caches.

    RETRIEVAL_DATA may name several folders, separated as in PATH; `~/.medmnist` is searched after them.
    """
    named = [_folder(part) for part in environ.get("RETRIEVAL_DATA", "").split(os.pathsep) if part]
    weights = environ.get("RETRIEVAL_WEIGHTS")
    cache = environ.get("RETRIEVAL_CACHE")
    cache_root = _folder(cache) if cache else Path(platformdirs.user_cache_dir("medical-image-retrieval"))
    precomputed = environ.get("RETRIEVAL_PRECOMPUTED")
    return Roots(
        data=(*named, Path.home() / ".medmnist"),
        weights=_folder(weights) if weights else None,
        precomputed=_folder(precomputed) if precomputed else SHIPPED,
        cache=cache_root,
        hub=_hub_cache(environ),
    )


def _hub_cache(environ: Mapping[str, str]) -> Path:
    """The folder that huggingface_hub 2.4 takes; loading that library only to ask it takes too long for a menu."""
    named = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return _folder(os.path.expandvars(named))
    home = environ.get("HF_HOME") or os.path.join(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return _folder(os.path.expandvars(home)) / "hub"


def environment_of(roots: Roots, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a process of its own that is to work with the same roots."""
    named = {
        "RETRIEVAL_DATA": os.pathsep.join(str(folder) for folder in roots.data),
        "RETRIEVAL_WEIGHTS": str(roots.weights or ""),
        "RETRIEVAL_PRECOMPUTED": str(roots.precomputed),
        "RETRIEVAL_CACHE": str(roots.cache),
        "PYTHONPATH": os.pathsep.join(part for part in (str(SHIPPED.parent), environ.get("PYTHONPATH")) if part),
        "OMP_WAIT_POLICY": "PASSIVE",  # torch's spinning threads collapse on a busy machine
    }
    return {**environ, **named}


def queueing_allowed(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether visitors of the page may queue jobs and add pictures: RETRIEVAL_JOBS=off says no, for a public server.

    On a Hugging Face Space, which sets SPACE_ID, they may not unless RETRIEVAL_JOBS=on.
    """
    usual = "off" if environ.get("SPACE_ID") else "on"
    said = environ.get("RETRIEVAL_JOBS", "").strip().lower() or usual
    return said in ("on", "1", "yes", "true")  # a word that is none of these was hardly meant to open the page


@dataclass(frozen=True)
class Login:
    """What an archive is shown.

    Attributes:
        header: The value of the header `Authorization`. It appears in no text of this object.
    """

    header: str = field(repr=False)


def archive_login(environ: Mapping[str, str] = os.environ) -> Login | None:
    """The login for DICOMweb archives: RETRIEVAL_DICOMWEB_TOKEN, or _USER and _PASSWORD; None where none is set.

    Raises:
        BadInput: Both are set, half of one is, or one cannot be sent.
    """
    token, user, password = (environ.get(f"RETRIEVAL_DICOMWEB_{name}", "") for name in ("TOKEN", "USER", "PASSWORD"))
    if not (token or user or password):
        return None
    if token and not (user or password):
        _check_login(re.fullmatch(r"[!-~]+", token), "RETRIEVAL_DICOMWEB_TOKEN holds more than one word")
        return Login(f"Bearer {token}")
    _check_login(not token, "A token and a user with a password are both set for DICOMweb archives")
    _check_login(user and password, "Of the login for DICOMweb archives the user or the password is not set")
    _check_login(":" not in user, "RETRIEVAL_DICOMWEB_USER holds a colon, which a user's name cannot")
    return Login("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def _check_login(sound: object, reason: str) -> None:
    if not sound:
        raise BadInput(
            f"{reason}.",
            remedy="Set either RETRIEVAL_DICOMWEB_USER and RETRIEVAL_DICOMWEB_PASSWORD, or RETRIEVAL_DICOMWEB_TOKEN.",
        )


def largest_archive(environ: Mapping[str, str] = os.environ) -> int:
    """Bytes that an archive of pictures sent to the page may have: as many MB as RETRIEVAL_ZIP_MB says, else 500."""
    named = environ.get("RETRIEVAL_ZIP_MB", "").strip()
    return (int(named) if named.isdecimal() else ZIP_MB) * 1_000_000
