"""Files in, the document of `search` out: what cannot be answered says why, the rest is answered."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retrieval import search
from retrieval.answers import UploadQuery
from retrieval.cells import Cell, cell
from retrieval.cli import documents
from retrieval.cli.answering import error_document, refusals, share_on_stderr
from retrieval.errors import RetrievalError
from retrieval.roots import Roots


def ask(images: Sequence[Path], address: Mapping[str, Any], roots: Roots, *, k: int) -> dict[str, Any]:
    """The document of `search`: an entry for each file, in order; `error` beside them if nothing could begin."""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            with refusals():
                asked = cell(**address)
                search.prepare(asked, roots, progress=share_on_stderr())
        except RetrievalError as error:
            why = error_document(error)
            return {**address, "error": why, "queries": [documents.refused(str(image), why) for image in images]}
        return {**address, "queries": [_query(image, asked, roots, k) for image in images]}


def _query(image: Path, asked: Cell, roots: Roots, k: int) -> dict[str, Any]:
    try:
        with refusals():
            return documents.answer(str(image), search.find(UploadQuery(image), asked, roots, k=k))
    except RetrievalError as error:
        return documents.refused(str(image), error_document(error))
