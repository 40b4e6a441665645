"""A question as a page sent it -> what that page draws. Whatever is sent and whatever goes wrong, it is a sentence."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from retrieval.errors import RetrievalError
from retrieval.page import view
from retrieval.page.desk import Desk

log = logging.getLogger(__name__)

FAILED = RetrievalError("Something went wrong here.", remedy="Try again; the server's log says what it was.")


def reply(desk: Desk, question: object) -> dict[str, Any]:
    """What the page draws for a question: its words, and what is to become of the browser's history."""
    try:
        return _numbered(desk, desk.handle(**_checked(question)))
    except Exception:  # the log gets all of it, the visitor a sentence
        log.exception("A question could not be answered.")
        return _numbered(desk, view.refused(FAILED))


def compute(desk: Desk, question: object) -> Iterator[dict[str, Any]]:
    """Compute in place what the cell of a question lacks, saying how far it is, then answer."""
    yield from _worked(desk, question, desk.compute)


def download(desk: Desk, question: object) -> Iterator[dict[str, Any]]:
    """Fetch the weights that the cell of a question lacks, saying how far it is, then compute and answer."""
    yield from _worked(desk, question, desk.download)


def _worked(
    desk: Desk, question: object, work: Callable[[Mapping[str, str]], Iterator[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """What `work` says, each with the number that the page gave this run: it draws only those of the last one."""
    run = question.get("run") if isinstance(question, Mapping) else None
    number = run if isinstance(run, int) else 0
    try:
        for value in work(_checked(question)["words"]):
            yield {**_numbered(desk, value), "run": number}
    except Exception:
        log.exception("Something could not be done in place.")
        yield {**_numbered(desk, view.refused(FAILED)), "run": number}


def _numbered(desk: Desk, value: dict[str, Any]) -> dict[str, Any]:
    """With a number of its own: Gradio draws only values that differ from the last."""
    return {**value, "serial": next(desk.serial)}


def _checked(question: object) -> dict[str, Any]:
    """The parts of a question, each of the kind it must be; what is not is left out."""
    asked = question if isinstance(question, Mapping) else {}
    words, history = asked.get("words"), asked.get("history")
    return {
        "words": {str(name): str(word) for name, word in words.items()} if isinstance(words, Mapping) else {},
        "history": history if history in ("push", "replace", "keep") else "keep",
        "address": asked.get("address") is True,
    }
