"""Work that takes long, in a thread of its own, and what it says on its way."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from retrieval.embeddings.embedding import Progress
from retrieval.errors import RetrievalError

log = logging.getLogger(__name__)


class Left(Exception):
    """Nobody listens any more to what is being done."""


def steps(work: Callable[[Progress], object], *, stops: bool = False) -> Iterator[tuple[str, float]]:
    """Run `work` and yield what it says (words, share done); where it says no, so does this, at the end.

    The thread is a daemon, so that a server that is stopped does not wait for it: what is computed can be resumed.
    `stops`: the work is ended, at the next thing that it says, once this generator is closed.
    """
    run = _Run(work, stops)
    threading.Thread(target=run, name="work", daemon=True).start()
    try:
        while (step := run.said.get()) is not None:
            yield step
    finally:
        run.left.set()
    if not run.ends:
        raise RuntimeError("work ended early; its thread has said why")
    if run.ends[0] is not None:
        raise run.ends[0]


@dataclass(frozen=True, eq=False)
class _Run:
    """What passes between the thread and who listens: steps, None when it is over, and how it ended."""

    work: Callable[[Progress], object]
    stops: bool
    left: threading.Event = field(default_factory=threading.Event)
    said: "queue.SimpleQueue[tuple[str, float] | None]" = field(default_factory=queue.SimpleQueue)
    ends: list[RetrievalError | None] = field(default_factory=list)

    def __call__(self) -> None:
        try:
            self.work(self._say)
            self.ends.append(None)
        except Left:
            log.info("What was under way was left; what came of it is kept.")
        except RetrievalError as error:
            self.ends.append(error)
        finally:
            self.said.put(None)

    def _say(self, words: str, share: float) -> None:
        if self.stops and self.left.is_set():
            raise Left
        self.said.put((words, share))
