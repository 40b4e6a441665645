"""The Hugging Face Hub: one file of a repository at one commit, fetched into a cache of the Hub's own layout.

The library huggingface_hub asks it about a file: it reads HF_TOKEN or the stored login, HF_ENDPOINT and HF_HUB_OFFLINE
itself. The bytes come by the product's own download, since that library (2.4) keeps nothing of one that was killed. Its
headers are handed through as they are, a token perhaps among them, which is neither kept nor repeated.
"""

import functools
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval import artifacts
from retrieval.datasets import download as transfer
from retrieval.datasets.specs import DataFile
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.errors import Unavailable

Progress = Callable[[int, int | None], None]
Sentence = tuple[str, str]  # what happened and why; what to do next

LOGIN = "`hf auth login`, or set HF_TOKEN"
TOKENS = "https://huggingface.co/settings/tokens"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 10  # seconds for the Hub to say what it knows of a file


def page(repo: str) -> str:
    """Where a person reads about a repository and asks for access."""
    return f"https://huggingface.co/{repo}"


def stored(cache: Path, source: WeightsSource, names: tuple[str, ...]) -> Path | None:
    """The first of these files in a cache of the Hub's layout; of the pinned commit if it has several."""
    for snapshot in _snapshots(cache / _folder(source.repo), source.revision):
        for name in names:
            if (snapshot / name).is_file():
                return snapshot / name
    return None


def revision_of(path: Path) -> str:
    """The commit of a file in a cache of the Hub's layout, 40 hexadecimal digits; empty for any other file."""
    parts = path.parts
    return next((one for before, one in zip(parts, parts[1:], strict=False) if _is_commit(before, one)), "")


def download(spec: EncoderSpec, cache: Path, *, progress: Progress | None = None) -> Path:
    """The weights file of a spec, and its configuration file where it names one, at one commit.

    What came before a connection broke or the process was killed is kept, and the next call goes on from there. What
    has come whole is compared with the digest that the Hub has of the file; another file is removed.

    Raises:
        Unavailable: Gated, not found, no network, cut off, no room, or not the file that it should be: each its own
            sentence, with the page to visit.
        Busy: Another process is fetching it.
    """
    source = spec.weights
    if source is None or not source.repo:
        raise ValueError(f"{spec.name} has no repository")
    home = cache / _folder(source.repo)
    with _sentences(spec, cache):
        found = _ask(source.repo, source.filename, source.revision)
        _check_known(spec, found.etag)
        with artifacts.lock(cache / f"{home.name}.lock", what=f"the download of {spec.title}"):
            config = _ask_config(source, found.commit)
            if config is not None:
                _get(spec, config, home)
            return _get(spec, found, home, progress)


def remove(path: Path) -> None:
    """Remove a file of a cache, and what it points to there: the Hub's layout keeps the bytes in another folder."""
    target = path.resolve()
    path.unlink(missing_ok=True)
    if target.parent.name == "blobs":
        target.unlink(missing_ok=True)


# --- what is at hand


def _folder(repo: str) -> str:
    return f"models--{repo.replace('/', '--')}"


def _is_commit(before: str, one: str) -> bool:
    return before == "snapshots" and _COMMIT.fullmatch(one) is not None


def _snapshots(folder: Path, pinned: str) -> list[Path]:
    """The commits in a repository's folder: the pinned one, the one that `main` was when last asked, then the rest."""
    home = folder / "snapshots"
    if not home.is_dir():
        return []
    main = ""
    with suppress(OSError, ValueError):  # no branch was asked for
        main = (folder / "refs" / "main").read_text().strip()
    first = [name for name in (pinned, main) if name]
    return [*(home / name for name in first), *sorted(one for one in home.iterdir() if one.name not in first)]


# --- the transfer


@dataclass(frozen=True)
class _Remote:
    """What the Hub knows of a file, before anything of it is sent; `etag` is the Hub's own digest."""

    name: str
    commit: str
    etag: str
    size: int | None


def _ask(repo: str, name: str, revision: str) -> _Remote:
    import huggingface_hub

    url = huggingface_hub.hf_hub_url(repo, name, revision=revision or None)
    said = huggingface_hub.get_hf_file_metadata(url, timeout=_TIMEOUT)
    if not _COMMIT.fullmatch(said.commit_hash or "") or not said.etag:
        raise Unavailable(
            f"What answered in place of the Hugging Face Hub for {repo} is something else.",
            remedy="Check the proxy and, if it is set, HF_ENDPOINT; a network may also ask for a login of its own.",
        )
    return _Remote(name, str(said.commit_hash), said.etag, said.size)


def _ask_config(source: WeightsSource, commit: str) -> _Remote | None:
    """The configuration file that a source names, at a commit; None where the repository has none."""
    from huggingface_hub.errors import EntryNotFoundError

    with suppress(EntryNotFoundError):  # the weights are known without it
        return _ask(source.repo, source.config, commit) if source.config else None
    return None


def _get(spec: EncoderSpec, remote: _Remote, home: Path, progress: Progress | None = None) -> Path:
    """A file in its place in a repository's folder; what is there of it already is not fetched again."""
    import huggingface_hub
    from huggingface_hub.utils import build_hf_headers

    target = home / "snapshots" / remote.commit / remote.name
    if target.is_file():
        return target
    repo, part = spec.weights.repo if spec.weights else "", _incoming(home, remote)
    url = huggingface_hub.hf_hub_url(repo, remote.name, revision=remote.commit)
    file = DataFile(name=f"{remote.name} of {spec.title}", url=url, md5="")
    check = functools.partial(_check_content, remote=remote, name=file.name)
    try:
        transfer.download(file, part, progress=progress, at_most=remote.size, headers=build_hf_headers(), check=check)
    except Unavailable as error:
        remedy = f"{error.remedy} Or fetch it with a browser from {_page(spec)} and {_by_hand(spec)}"
        raise Unavailable(error.message, remedy=remedy) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    shutil.rmtree(part.parent)
    return target


def _incoming(home: Path, remote: _Remote) -> Path:
    """Where a file comes in, by its digest; what came of one that the Hub has replaced since is removed."""
    folder, mark = home / "incoming" / remote.name.replace("/", "--"), artifacts.fingerprint(etag=remote.etag)
    for old in folder.glob("*"):
        if not old.name.startswith(mark):
            old.unlink()
    return folder / mark


# --- what is checked


def _check_known(spec: EncoderSpec, etag: str) -> None:
    """Before the download: that the Hub's file is the one that the spec knows, where both know a digest."""
    source = spec.weights
    known = source.containers if source and source.revision and not source.digest else ()
    if source and known and _SHA256.fullmatch(etag) and f"sha256:{etag}" not in known:
        raise Unavailable(
            f"{source.filename} at {page(source.repo)} is not the file that {spec.title} is known by "
            f"(sha256 {etag[:12]}… instead of {known[0].removeprefix('sha256:')[:12]}…), so it was not fetched.",
            remedy=f"Look at that page whether the file was changed. To use it all the same, {_by_hand(spec)}",
        )


def _check_content(path: Path, *, remote: _Remote, name: str) -> None:
    if not _is_whole(path, remote):
        raise Unavailable(f"What came for {name} is not the file on the Hub; it was removed.", remedy="Try again.")


def _is_whole(path: Path, remote: _Remote) -> bool:
    """The Hub's digest is the sha256 of a large file and git's own of a small one; without either the size counts."""
    if _SHA256.fullmatch(remote.etag):
        return artifacts.file_digest(path) == remote.etag
    if _SHA1.fullmatch(remote.etag):
        content = path.read_bytes()  # git hashes a blob with its kind and length before it (gitformat-loose)
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == remote.etag
    return remote.size in (None, path.stat().st_size)


# --- what is said when it cannot be had


def _page(spec: EncoderSpec) -> str:
    return page(spec.weights.repo if spec.weights else "")


def _by_hand(spec: EncoderSpec) -> str:
    return f"put the file into the folder {spec.plain} of RETRIEVAL_WEIGHTS."


@contextmanager
def _sentences(spec: EncoderSpec, cache: Path) -> Iterator[None]:
    """Turn what huggingface_hub and the disk refuse into one of the product's own errors."""
    try:
        yield
    except (_http_error(), OSError) as error:
        message, remedy = _sentence(error, spec, cache)
        raise Unavailable(message, remedy=remedy) from error


def _http_error() -> type[Exception]:
    """What the HTTP library raises that huggingface_hub is built on: httpx2 for version 2.4."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


def _sentence(error: BaseException, spec: EncoderSpec, cache: Path) -> Sentence:
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error, spec)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _offline(spec)
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
        return (
            f"The weights of {spec.title} cannot be written to {cache}: {error.strerror}.",
            "Make room or allow writing there, or point RETRIEVAL_CACHE to another folder.",
        )
    return _unreachable(spec)


def _refusal(error: Any, spec: EncoderSpec) -> Sentence:
    """What the Hub itself answered; the first kind that fits."""
    from huggingface_hub import errors

    source, status = spec.weights or WeightsSource(filename=""), error.response.status_code
    at = f" at {source.revision}" if source.revision else ""
    kinds: tuple[tuple[type[Exception], Callable[[], Sentence]], ...] = (
        (errors.GatedRepoError, lambda: _gated(spec)),
        (errors.RevisionNotFoundError, lambda: _not_found(f"{source.repo} has no revision {source.revision}", spec)),
        (errors.EntryNotFoundError, lambda: _not_found(f"{source.repo} has no file {source.filename}{at}", spec)),
        (errors.RepositoryNotFoundError, lambda: _not_found(f"it has no repository {source.repo}, or hides it", spec)),
        (errors.DisabledRepoError, lambda: _not_found(f"the repository {source.repo} has been closed", spec)),
    )
    for kind, sentence in kinds:
        if isinstance(error, kind):
            return sentence()
    return _login_refused(spec) if status in (401, 403) else _failed(spec, status)


def _gated(spec: EncoderSpec) -> Sentence:
    import huggingface_hub

    if huggingface_hub.get_token() is None:
        return (
            f"The weights of {spec.title} are gated: the publisher gives them out after a login and consent, and no "
            "login was found here.",
            f"Accept the terms at {_page(spec)}, then run {LOGIN}, and try again; or {_by_hand(spec)}",
        )
    return (
        f"The weights of {spec.title} are gated, and the login found here has not been granted access to them.",
        f"Ask for access at {_page(spec)} and wait until it is granted. If it was granted already, see at {TOKENS} "
        "whether the token may read gated repositories.",
    )


def _login_refused(spec: EncoderSpec) -> Sentence:
    return (
        f"The Hugging Face Hub does not accept the login found here for the weights of {spec.title}.",
        f"See at {TOKENS} whether the token is still valid, then run {LOGIN}, and try again. The page: {_page(spec)}",
    )


def _not_found(what: str, spec: EncoderSpec) -> Sentence:
    return (
        f"The weights of {spec.title} were not found on the Hugging Face Hub: {what}.",
        f"See at {_page(spec)} whether they were moved (a private repository asks for a login: run {LOGIN}); "
        f"or {_by_hand(spec)}",
    )


def _failed(spec: EncoderSpec, status: int) -> Sentence:
    return (
        f"The weights of {spec.title} could not be fetched: the Hugging Face Hub answered {status}.",
        f"Try again later. The page: {_page(spec)}",
    )


def _offline(spec: EncoderSpec) -> Sentence:
    return (
        f"The weights of {spec.title} were not fetched: HF_HUB_OFFLINE forbids downloads from the Hugging Face Hub.",
        f"Unset HF_HUB_OFFLINE and try again; or fetch them elsewhere from {_page(spec)} and {_by_hand(spec)}",
    )


def _unreachable(spec: EncoderSpec) -> Sentence:
    return (
        f"The weights of {spec.title} could not be fetched: there is no connection to the Hugging Face Hub.",
        f"Check the network and try again; or fetch them elsewhere from {_page(spec)} and {_by_hand(spec)}",
    )
