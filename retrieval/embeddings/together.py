"""One split by several encoders, shard by shard, so that each picture is read and prepared once for all of them."""

import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from retrieval.datasets.specs import Dataset, SplitName
from retrieval.embeddings.embedding import Embeddings, Progress, by_shards
from retrieval.embeddings.listening import Listener
from retrieval.embeddings.seen import Shared
from retrieval.encoders import devices, loading, memory, preprocessing
from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.errors import RetrievalError
from retrieval.roots import Roots

log = logging.getLogger(__name__)

Making = Generator[Embeddings | None, None, None]


def geometry(spec: EncoderSpec, ndim: int) -> Pixels:
    """By what items come to the size at which an encoder sees them: encoders that agree in it can share their work."""
    return preprocessing.apart(preprocessing.pixels_for(spec, ndim))[0]


def embed_together(
    dataset: Dataset,
    size: int,
    split_name: SplitName,
    specs: Sequence[EncoderSpec],
    roots: Roots,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> None:
    """Embed a split by every one of these encoders; as many of them at a time as memory has room for.

    One that cannot be had, that another process is at work on, for which memory is too small, or that fails however
    else does not hold up the others. It is left to whoever asks for its Embeddings, and is told why. What is finished
    when this is ended, by an exception of `progress` or from outside, is kept.

    Args:
        progress: Gets words, and the share of all that is done, 0 to 1; nothing where all is on disk.

    Raises:
        Lost: The GPU answers no more, so that none of them can go on.
    """
    told = _Told(progress and Listener(progress), {spec.name: spec.ms_at_224 for spec in specs})
    for group in loading.fitting(specs, device=device):
        # Of a collection each encoder embeds the pictures that it lacks: another's shard is of other pictures.
        shared = Shared() if len(group) > 1 and dataset.own is None else None
        with ExitStack() as under_way:
            makings: list[tuple[EncoderSpec, Making]] = []
            for spec in group:
                making = by_shards(
                    dataset, size, split_name, spec, roots, device=device, progress=told.of(spec), shared=shared
                )
                makings.append((spec, under_way.enter_context(closing(making))))
            while makings:
                makings = [(spec, making) for spec, making in makings if _goes_on(spec, making, told, device)]
    told.end()


def _goes_on(spec: EncoderSpec, making: Making, told: "_Told", device: str) -> bool:
    """Take one more shard; whether there is more to come."""
    try:
        with memory.refusals(spec.title):
            if next(making) is None:
                return True
    except Exception as error:
        if told.progress is not None and error is told.progress.ended:
            raise
        lost = None if isinstance(error, RetrievalError) else devices.lost(device)
        if lost is not None:
            raise lost from error
        log.info("%s is left for later: %s", spec.title, error)
    told.shares[spec.name] = 1.0
    return False


@dataclass(eq=False)
class _Told:
    """The share of each encoder that is done, weighted by the encoder's cost, and who is told of it."""

    progress: Listener | None
    costs: dict[str, float]
    shares: dict[str, float] = field(default_factory=dict)
    words: str = ""

    def end(self) -> None:
        """All is done, or left: said where anything was, since who was left may have been the last."""
        if self.progress is not None and self.words:
            self.progress(self.words, 1.0)

    def of(self, spec: EncoderSpec) -> Progress | None:
        """What this encoder's progress goes to."""
        progress = self.progress
        if progress is None:
            return None

        def told(words: str, share: float) -> None:
            self.words, self.shares[spec.name] = words, share
            done = sum(self.costs[name] * share for name, share in self.shares.items())
            progress(words, min(1.0, done / sum(self.costs.values())))

        return told
