"""What a person asks for, checked; files in, the document of `search` out: what cannot be answered says why."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from retrieval import phrases, search
from retrieval.answers import Answer, TextQuery, UploadQuery
from retrieval.cells import cell
from retrieval.cli import documents
from retrieval.cli.answering import error_document, refusals, share_on_stderr
from retrieval.cli.archives import ArchivePicture
from retrieval.datasets.catalogue import datasets
from retrieval.encoders.catalogue import ENCODERS
from retrieval.errors import RetrievalError, UnknownName
from retrieval.leaderboard import Row, Source
from retrieval.protocols import PROTOCOLS
from retrieval.roots import Roots

Asked = UploadQuery | TextQuery | ArchivePicture  # what a command can ask with


def ask(
    queries: Sequence[Asked], address: Mapping[str, Any], roots: Roots, *, k: int | None, one_per_group: bool = False
) -> dict[str, Any]:
    """The document of `search`: an entry for each file or text, in order; `error` beside them if nothing could begin.

    Files and texts are not mixed: what each needs is made first.
    """
    words = any(isinstance(query, TextQuery) for query in queries)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            with refusals():
                asked = cell(**address, roots=roots)
                address = asked.names
                (phrases.gallery if words else search.prepare)(asked, roots, progress=share_on_stderr())
        except RetrievalError as error:
            why = error_document(error)
            return {**address, "error": why, "queries": [documents.refused(_named(query), why) for query in queries]}
        find = functools.partial(search.find, cell=asked, roots=roots, k=k, one_per_group=one_per_group)
        return {**address, "queries": [_query(query, find) for query in queries]}


def check_filters(wanted: Mapping[str, Any], rows: Iterable[Row], roots: Roots) -> None:
    """UnknownName for a filter that no row of the leaderboard and no catalogue knows; None filters nothing."""
    known: dict[str, dict[Any, None]] = {
        "dataset": {data.name: None for data in datasets(roots)},
        "size": {size: None for data in datasets(roots) for size in data.sizes},
        "encoder": {spec.name: None for spec in ENCODERS},
        "protocol": {rules.name: None for rules in PROTOCOLS},
        "source": dict.fromkeys(get_args(Source)),
    }
    for row in rows:
        known["encoder"].setdefault(row.encoder)
        if row.protocol is not None:
            known["protocol"].setdefault(row.protocol)
    for kind, name in wanted.items():
        if name is not None and name not in known[kind]:
            raise UnknownName(kind, name, known[kind])


def _query(query: Asked, find: Callable[..., Answer]) -> dict[str, Any]:
    try:
        with refusals():
            ready = query.fetched() if isinstance(query, ArchivePicture) else query
            return documents.answer(ready, find(ready))
    except RetrievalError as error:
        return documents.refused(_named(query), error_document(error))


def _named(query: Asked) -> UploadQuery | TextQuery:
    return query.named if isinstance(query, ArchivePicture) else query
