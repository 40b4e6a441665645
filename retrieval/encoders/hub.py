"""The Hugging Face Hub: one file of a repository at one commit, fetched into a cache of the Hub's own layout.

The library huggingface_hub talks to it: it reads HF_TOKEN or the stored login, HF_ENDPOINT and HF_HUB_OFFLINE itself.
Nothing here sees a token; what a server or that library says of a request is not repeated either.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from retrieval import artifacts
from retrieval.datasets.download import plain_size
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.errors import Unavailable

Progress = Callable[[int, int | None], None]
Sentence = tuple[str, str]  # what happened and why; what to do next

LOGIN = "`hf auth login`, or set HF_TOKEN"
TOKENS = "https://huggingface.co/settings/tokens"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
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

    A connection that breaks is taken up again where it broke. What has come is compared with the digest that the Hub
    has of the file; what is wrong or incomplete is removed.

    Raises:
        Unavailable: Gated, not found, no network, cut off, no room, or not the file that it should be: each its own
            sentence, with the page to visit.
        Busy: Another process is fetching it.
    """
    source = spec.weights
    if source is None or not source.repo:
        raise ValueError(f"{spec.name} has no repository")
    with _sentences(spec, cache, network=_unreachable):
        commit, etag, size = _ask(source)
    _check_known(spec, etag)
    _check_room(spec, cache, size)
    lock = cache / f"{_folder(source.repo)}.lock"
    with _sentences(spec, cache, network=_cut_off), artifacts.lock(lock, what=f"the download of {spec.title}"):
        _clear(cache / _folder(source.repo))
        if source.config:
            _get(source.repo, source.config, commit, cache, _silent, absent=True)
        path = _get(source.repo, source.filename, commit, cache, progress or _silent)
    _check_content(spec, path, etag)
    return path


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


def _ask(source: WeightsSource) -> tuple[str, str, int | None]:
    """Commit, the Hub's own digest and the size of the file, before anything of it is sent."""
    import huggingface_hub

    url = huggingface_hub.hf_hub_url(source.repo, source.filename, revision=source.revision or None)
    said = huggingface_hub.get_hf_file_metadata(url, timeout=_TIMEOUT)
    if not said.commit_hash or not said.etag:
        raise Unavailable(
            f"What answered in place of the Hugging Face Hub for {source.repo} is something else.",
            remedy="Check the proxy and, if it is set, HF_ENDPOINT; a network may also ask for a login of its own.",
        )
    return said.commit_hash, said.etag, said.size


def _clear(folder: Path) -> None:
    """Remove what downloads left that were killed: under the lock none is under way, and none goes on with them."""
    for part in (folder / "blobs").glob("*.incomplete"):
        part.unlink()


def _get(repo: str, name: str, commit: str, cache: Path, report: Progress, *, absent: bool = False) -> Path:
    """A file at a commit; `absent`: it need not be there."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    try:
        bar = _bar(report)
        return Path(huggingface_hub.hf_hub_download(repo, name, revision=commit, cache_dir=cache, tqdm_class=bar))
    except EntryNotFoundError as error:
        if absent and not isinstance(error, FileNotFoundError):  # that would be: not here, and the Hub did not say
            return cache
        raise


def _silent(_done: int, _total: int | None) -> None:
    """Progress that nobody asked for."""


def _bar(report: Progress) -> Any:
    """A progress bar, as huggingface_hub makes them, that draws nothing and reports."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *_args: Any, total: float | None = None, initial: float = 0, **_more: Any) -> None:
            super().__init__(total=total, initial=initial, disable=True)
            self._report()

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            self._report()
            return None

        def update_transfer(self, n: float) -> None:
            """Bytes on the way; those that have arrived are what counts."""

        def set_transfer_postfix_str(self, *_args: Any, **_more: Any) -> None:
            """Nothing is drawn."""

        def _report(self) -> None:
            report(int(self.n), int(self.total) if self.total else None)

    return Bar


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


def _check_room(spec: EncoderSpec, cache: Path, size: int | None) -> None:
    folder = next(place for place in (cache, *cache.parents) if place.is_dir())
    free = shutil.disk_usage(folder).free
    if size is not None and size > free:
        raise Unavailable(
            f"The weights of {spec.title} take {plain_size(size)}, and {folder} has {plain_size(free)} free.",
            remedy="Make room, or point RETRIEVAL_CACHE to a folder on a larger disk.",
        )


def _check_content(spec: EncoderSpec, path: Path, etag: str) -> None:
    """The Hub's digest of a large file is its sha256; of a small one git's, which is not compared."""
    if _SHA256.fullmatch(etag) and artifacts.file_digest(path) != etag:
        remove(path)
        raise Unavailable(
            f"What came for the weights of {spec.title} is not the file on the Hub (another sha256); it was removed.",
            remedy=f"Try again; if it happens again, fetch it with a browser from {_page(spec)} and {_by_hand(spec)}",
        )


# --- what is said when it cannot be had


def _page(spec: EncoderSpec) -> str:
    return page(spec.weights.repo if spec.weights else "")


def _by_hand(spec: EncoderSpec) -> str:
    return f"put the file into the folder {spec.name} of RETRIEVAL_WEIGHTS."


@contextmanager
def _sentences(spec: EncoderSpec, cache: Path, *, network: Callable[[EncoderSpec], Sentence]) -> Iterator[None]:
    """Turn what huggingface_hub and the disk refuse into one of the product's own errors."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        yield
    except (_http_error(), OSError) as error:
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None  # it only says there was one
        message, remedy = _sentence(cause or error, spec, cache, network)
        raise Unavailable(message, remedy=remedy) from error


def _http_error() -> type[Exception]:
    """What the HTTP library raises that huggingface_hub is built on: httpx2 for version 2.4."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


def _sentence(
    error: BaseException, spec: EncoderSpec, cache: Path, network: Callable[[EncoderSpec], Sentence]
) -> Sentence:
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
    return network(spec)


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


def _cut_off(spec: EncoderSpec) -> Sentence:
    return (
        f"The weights of {spec.title} did not come whole: the connection to the Hugging Face Hub broke off again and "
        "again. What had come was removed.",
        f"Check the network and try again; or fetch them with a browser from {_page(spec)} and {_by_hand(spec)}",
    )
