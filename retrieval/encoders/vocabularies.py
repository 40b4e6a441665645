"""Where the vocabularies of text sides lie: a file beside the weights, or in the caches, or what a library brings."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from retrieval import artifacts
from retrieval.encoders import catalogue, fetching, hub, places, tokenizing
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.encoders.text_towers import tower_of
from retrieval.encoders.tokenizing import Tokenizer, Vocabulary
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots


def locate(spec: EncoderSpec, roots: Roots) -> Path | None:
    """The file of an encoder's vocabulary; None where there is none. Looked for where the weights are looked for."""
    return next(_found(spec, roots), None)


def lacking(spec: EncoderSpec, roots: Roots) -> Unavailable | None:
    """The sentence that says which vocabulary is missing and what to do; None where nothing is."""
    tokenizer = tower_of(spec).tokenizer
    if not tokenizer.file or locate(spec, roots) is not None:
        return None
    page = hub.page(tokenizer.repo) if tokenizer.repo else tokenizer.url
    return Unavailable(
        f"The vocabulary of the text side of {spec.title} ({tokenizer.file}) is not at hand.",
        remedy=f"Run: python -m retrieval download --encoder {spec.plain}; or put the file into the folder "
        f"{spec.plain} of RETRIEVAL_WEIGHTS. Its page: {page}",
    )


def read(spec: EncoderSpec, roots: Roots) -> Vocabulary:
    """An encoder's vocabulary, remembered while its file stays the same.

    Raises:
        Unavailable: Its file is not at hand.
        BadInput: Its file is not what it should be.
    """
    missing = lacking(spec, roots)
    if missing is not None:
        raise missing
    path = locate(spec, roots)
    return _read(tower_of(spec).tokenizer, path, artifacts.file_digest(path) if path else "")


def fetch(spec: EncoderSpec, roots: Roots) -> Path | None:
    """The file of an encoder's vocabulary, fetched into the cache if it is not at hand; None where it has none.

    Raises:
        Unavailable: It cannot be had; says why.
        Busy: Another process is fetching it.
    """
    found, source = locate(spec, roots), _source(spec)
    if found is not None or source is None:
        return found
    wanted = replace(spec, weights=source)
    if source.repo:
        return hub.download(wanted, roots.cache / "hub")
    return fetching.from_address(wanted, source, roots, None)


def _found(spec: EncoderSpec, roots: Roots) -> Iterator[Path]:
    source = _source(spec)
    if source is None:
        return
    kin = [spec, *(one for one in catalogue.ENCODERS if one.weights == spec.weights and one.name != spec.plain)]
    yield from filter(None, (places.locate(replace(one, weights=source), roots) for one in kin))


def _source(spec: EncoderSpec) -> WeightsSource | None:
    tokenizer = tower_of(spec).tokenizer
    if not tokenizer.file:
        return None
    return WeightsSource(filename=tokenizer.file, repo=tokenizer.repo, revision=tokenizer.revision, url=tokenizer.url)


@functools.lru_cache(maxsize=8)
def _read(tokenizer: Tokenizer, path: Path | None, digest: str) -> Vocabulary:
    try:
        return tokenizing.read(tokenizer, path)
    except (OSError, ValueError) as error:
        where = path or Path()
        raise BadInput(
            f"The vocabulary {where.name} in {where.parent} cannot be read ({type(error).__name__}: {error}).",
            remedy=f"It may be truncated or another file: delete {where} and fetch it again.",
        ) from error
