"""The Collections tab: a zip of somebody's own pictures becomes a dataset; and the plain routes that it is sent by."""

import functools
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import gradio as gr
from anyio import from_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from retrieval.datasets.collections import opening, received, records
from retrieval.datasets.download import plain_size
from retrieval.errors import BadInput, RetrievalError
from retrieval.page import own_pictures
from retrieval.page.arrivals import MOST_FILES, Arrivals
from retrieval.page.assets import read
from retrieval.page.bodies import name_sent, read_bounded
from retrieval.roots import Roots, largest_archive, queueing_allowed

log = logging.getLogger(__name__)

NEVER = {"Cache-Control": "no-store"}
MOST_WORDS = 20_000
OFF = RetrievalError(
    "On this server no pictures can be added.",
    remedy="Run the product on your own machine to search your own pictures.",
)
_NOT_WRITTEN = RetrievalError("The zip could not be kept.", remedy="The server's log says why.")


def build() -> None:
    """Put the tab's content into the gr.Tab being built; what there is is fetched when it is opened."""
    gr.HTML(
        "",
        html_template=read("collections.html"),
        css_template=read("collections.css"),
        js_on_load=read("collections.js"),
        apply_default_css=False,
        elem_id="collections",
        most=largest_archive(),
        bounds=f"At most {plain_size(largest_archive())} and {MOST_FILES:,} files.",
    )


def routes(roots: Roots) -> list[Route]:
    """What there is as JSON; where a zip is sent, by PUT, and where it is steered, in JSON."""
    arrivals = Arrivals(roots, most_bytes=largest_archive())
    return [
        Route("/collections.json", functools.partial(_listed, arrivals=arrivals)),
        Route("/collections/{name}.json", functools.partial(_held, roots=roots)),
        Route("/collections", functools.partial(_received, arrivals=arrivals), methods=["PUT"]),
        Route("/collections", functools.partial(_steer, arrivals=arrivals), methods=["POST"]),
    ]


def reply(asked: object, arrivals: Arrivals) -> dict[str, Any]:
    """What comes of what a page asks: nothing to say, or a sentence where it cannot be."""
    words = asked if isinstance(asked, Mapping) else {}
    try:
        _steered(words, arrivals)
    except RetrievalError as error:
        return {"message": error.message, "remedy": error.remedy}
    except OSError:
        log.exception("A collection could not be steered.")
        return {"message": "That could not be done.", "remedy": "The server's log says why."}
    return {}


def _steered(words: Mapping[str, Any], arrivals: Arrivals) -> None:
    what, name, size = words.get("do"), str(words.get("name", "")), words.get("bytes")
    if what == "check":
        arrivals.check(name, size if isinstance(size, int) else 0)
    elif what == "stop":
        arrivals.stop(str(words.get("secret")))
    elif what == "remove":
        _remove(name, arrivals.roots)
    else:
        raise BadInput("That cannot be done with a collection.", remedy="Add one, stop that, or remove one.")


def _remove(name: str, roots: Roots) -> None:
    """Only what was added here goes from here: of others, pages know nothing but what they hold."""
    if not received.is_received(name, roots):
        raise BadInput(
            f"{name} was not sent to this page.", remedy=f"Run: python -m retrieval collection remove {name}"
        )
    records.remove(name, roots)
    opening.close_all()


def _listed(request: Request, *, arrivals: Arrivals) -> Response:
    coming = [own_pictures.arrival(one) for one in arrivals.all()]
    return JSONResponse({"collections": own_pictures.listed(arrivals.roots), "arrivals": coming}, headers=NEVER)


def _held(request: Request, *, roots: Roots) -> Response:
    try:
        found = records.find(request.path_params["name"], roots)
        about = records.standing(found.name, roots).dataset.about
        return JSONResponse(own_pictures.outcome(found, about=about), headers=NEVER)
    except RetrievalError as error:
        return _no(error, status=404)


async def _received(request: Request, *, arrivals: Arrivals) -> Response:
    """Take a zip as the body of a PUT; answers by what it is followed and stopped, or a sentence that says why not."""
    if not queueing_allowed():
        return _no(OFF, status=403)
    name, file = request.query_params.get("name", ""), name_sent(request.headers)
    length = request.headers.get("content-length", "")
    try:
        arrivals.check(name, int(length) if length.isdecimal() else 0)
        arrival = await run_in_threadpool(arrivals.receive, name, file, _pulled(request.stream()))
    except RetrievalError as error:
        return _no(error)
    except ClientDisconnect:
        return PlainTextResponse("What was sent ended too early.", status_code=400, headers=NEVER)
    except OSError:
        log.exception("A zip could not be kept.")
        return _no(_NOT_WRITTEN)
    return JSONResponse({"id": arrival.id, "secret": arrival.secret}, headers=NEVER)


async def _steer(request: Request, *, arrivals: Arrivals) -> Response:
    if request.headers.get("content-type") != "application/json":
        return PlainTextResponse("Collections are steered in JSON.", status_code=415, headers=NEVER)
    if not queueing_allowed():
        return _no(OFF, status=403)
    try:
        asked = json.loads(await read_bounded(request.stream(), most=MOST_WORDS))
    except (BadInput, ValueError, RecursionError):
        return PlainTextResponse("That says nothing about a collection.", status_code=400, headers=NEVER)
    return JSONResponse(await run_in_threadpool(reply, asked, arrivals), headers=NEVER)


def _pulled(stream: AsyncIterator[bytes]) -> Iterator[bytes]:
    """What arrives on the event loop, piece by piece in a thread: no more is in memory than one."""

    async def pull() -> bytes | None:
        return await anext(stream, None)

    while (piece := from_thread.run(pull)) is not None:
        yield piece


def _no(error: RetrievalError, *, status: int = 200) -> Response:
    return JSONResponse({"message": error.message, "remedy": error.remedy}, status_code=status, headers=NEVER)
