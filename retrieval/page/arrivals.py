"""Archives of pictures on their way to being collections: sent, kept on the disk, then added in the background."""

import contextlib
import functools
import logging
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

from retrieval import artifacts
from retrieval.datasets.catalogue import DATASETS
from retrieval.datasets.collections import adding, received, records
from retrieval.datasets.collections.containers import unusable
from retrieval.datasets.collections.sources import open_container
from retrieval.datasets.download import plain_size
from retrieval.errors import BadInput, Busy, RetrievalError
from retrieval.page.uploads import clean_name
from retrieval.roots import Roots

log = logging.getLogger(__name__)

MOST_FILES = 50_000  # each is decoded once, at some hundred a second
AT_ONCE = 2  # archives that are sent or added at a time
MOST_KEPT = 20  # that are over, for pages that have not asked since

_ON_THE_COMMAND_LINE = "Or add it on the command line, where there is no such bound: python -m retrieval collection add"
_FAILED = RetrievalError("The pictures could not be added.", remedy="Try again; the server's log says what it was.")


class _Stopped(Exception):
    """Ends an adding that is not wanted any more."""


@dataclass(frozen=True)
class Arrival:
    """One archive.

    Attributes:
        id: By which pages follow it.
        name: Of the collection that it is to be.
        state: Where it stands; `stopped` because somebody wished so.
        words: What is being done.
        share: Of that, 0 to 1.
        error: Why it was refused.
        secret: By which it is stopped; told to nobody but who sent it.
    """

    id: str
    name: str
    state: Literal["arriving", "adding", "added", "refused", "stopped"]
    words: str = ""
    share: float = 0.0
    error: RetrievalError | None = None
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    @property
    def live(self) -> bool:
        return self.state in ("arriving", "adding")


class Arrivals:
    """A server's archives on their way; for many threads."""

    def __init__(self, roots: Roots, *, most_bytes: int, most_files: int = MOST_FILES) -> None:
        self.roots, self.most_bytes, self.most_files = roots, most_bytes, most_files
        self._lock = threading.RLock()
        self._known: dict[str, Arrival] = {}
        self._unwanted: set[str] = set()

    def all(self) -> tuple[Arrival, ...]:
        """Those on their way and the last that are over, the oldest first."""
        with self._lock:
            return tuple(self._known.values())

    def check(self, name: str, size: int) -> None:
        """Say no before anything is sent: to a name that cannot be used or is taken, or to too many bytes.

        Raises:
            BadInput: As said.
            Busy: As many archives as can be are on their way.
        """
        records.check_name(name, [dataset.name for dataset in DATASETS])
        live = [arrival for arrival in self.all() if arrival.live]
        if name in records.names(self.roots) or name in [arrival.name for arrival in live]:
            raise BadInput(f"There is a collection {name} already.", remedy="Choose another name, or remove that one.")
        if size > self.most_bytes:
            raise self._too_large()
        if len(live) >= AT_ONCE:
            raise Busy(f"{AT_ONCE} archives are on their way already.", remedy="Wait until one of them is there.")

    def receive(self, name: str, file: str, chunks: Iterable[bytes]) -> Arrival:
        """Write an archive to the disk as it comes, and begin to add it; BadInput, Busy or Unavailable where not."""
        received.sweep(self.roots)
        arrival = Arrival(secrets.token_hex(8), name, "arriving", f"Receiving {name}.")
        with self._lock:
            self.check(name, 0)
            self._known[arrival.id] = arrival
        path = received.place_for(name, clean_name(file), self.roots)
        try:
            artifacts.write_atomic(path, functools.partial(self._pour, chunks))
        except BaseException:
            with self._lock:
                del self._known[arrival.id]
            received.discard(path)
            raise
        self._tell(replace(arrival, state="adding", words="Looking for pictures."))
        threading.Thread(target=self._add, args=(arrival.id, path), daemon=True, name=f"adding {name}").start()
        return self._known[arrival.id]

    def stop(self, secret: str) -> None:
        """End the adding that this secret belongs to; what was sent is deleted. Nothing happens to one that is over."""
        with self._lock:
            self._unwanted.update(one.id for one in self._known.values() if one.secret == secret)

    def _pour(self, chunks: Iterable[bytes], stream: IO[bytes]) -> None:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > self.most_bytes:
                raise self._too_large()
            stream.write(chunk)

    def _add(self, key: str, path: Path) -> None:
        """Make the collection; whatever goes wrong, nothing of it stays and there is a sentence."""
        arrival = self._known[key]
        try:
            self._check_files(path)
            adding.add(arrival.name, path, self.roots, progress=functools.partial(self._progress, key))
            self._tell(replace(arrival, state="added", share=1.0))
            return
        except _Stopped:
            self._tell(replace(arrival, state="stopped"))
        except RetrievalError as error:
            self._tell(replace(arrival, state="refused", error=error))
        except Exception:
            log.exception("The collection %s could not be added.", arrival.name)
            self._tell(replace(arrival, state="refused", error=_FAILED))
        received.discard(path)

    def _check_files(self, path: Path) -> None:
        with contextlib.closing(open_container(path)) as container:
            count = len(container.found())
        if count > self.most_files:
            reason = f"it holds {count:,} files, and {self.most_files:,} are taken here"
            raise unusable(path, reason, remedy=f"Send it in parts. {_ON_THE_COMMAND_LINE}.")

    def _progress(self, key: str, words: str, share: float) -> None:
        if key in self._unwanted:
            raise _Stopped
        self._tell(replace(self._known[key], state="adding", words=f"{words}.", share=share))

    def _tell(self, arrival: Arrival) -> None:
        with self._lock:
            self._known[arrival.id] = arrival
            over = [one.id for one in self._known.values() if not one.live]
            for key in over[:-MOST_KEPT]:
                del self._known[key]
                self._unwanted.discard(key)

    def _too_large(self) -> BadInput:
        return BadInput(
            f"The zip is larger than {plain_size(self.most_bytes)}.",
            remedy=f"Send it in parts. {_ON_THE_COMMAND_LINE}.",
        )
