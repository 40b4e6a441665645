"""The Jobs tab: a shell whose script watches and steers the queue by two plain routes, and the offers that fill it."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from retrieval.cells import Cell
from retrieval.datasets.catalogue import datasets, find_dataset
from retrieval.datasets.download import plain_size
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.literals.imported import IMPORTED
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput, RetrievalError
from retrieval.jobs import queue, worker
from retrieval.jobs.plan import STUDY, Entry, Selection, plan
from retrieval.jobs.queue import Job
from retrieval.page.assets import read
from retrieval.page.bodies import read_bounded
from retrieval.pictures.item import size_name
from retrieval.protocols import PROTOCOLS, find_protocol
from retrieval.readiness import plain_time
from retrieval.roots import Roots, queueing_allowed

log = logging.getLogger(__name__)

NEVER = {"Cache-Control": "no-store"}
MOST_WORDS = 20_000
MOST_CAUSES = 6
OFF = RetrievalError(
    "On this server no jobs can be queued.", remedy="Run the product on your own machine to compute what is missing."
)

_STATES = {
    "waiting": "Waiting",
    "running": "Running",
    "paused": "Paused",
    "interrupted": "Interrupted, goes on soon",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
_STEER = {"pause": queue.pause, "resume": queue.resume, "cancel": queue.cancel}


def build(roots: Roots) -> None:
    """Put the tab's content into the gr.Tab being built; its menus hold the collections that there are now."""
    gr.HTML(
        "",
        html_template=read("jobs.html"),
        css_template=read("jobs.css"),
        js_on_load=read("jobs.js"),
        apply_default_css=False,
        elem_id="jobs",
        menus=_menus(roots),
        allowed=queueing_allowed(),
        off=str(OFF),
    )


def routes(roots: Roots) -> list[Route]:
    """The queue as JSON, and where it is steered: in JSON only, so that no other site can do it by a form."""

    def as_json(request: Request) -> Response:
        shown = documents(roots) if queueing_allowed() else []  # titles tell of collections, errors of folders
        return JSONResponse({"jobs": shown}, headers=NEVER)

    async def steer(request: Request) -> Response:
        if request.headers.get("content-type") != "application/json":
            return PlainTextResponse("Jobs are steered in JSON.", status_code=415, headers=NEVER)
        if not queueing_allowed():
            return JSONResponse({"message": OFF.message, "remedy": OFF.remedy}, status_code=403, headers=NEVER)
        try:
            asked = json.loads(await read_bounded(request.stream(), most=MOST_WORDS))
        except (BadInput, ValueError, RecursionError):
            return PlainTextResponse("That says nothing about a job.", status_code=400, headers=NEVER)
        return JSONResponse(await run_in_threadpool(reply, asked, roots), headers=NEVER)

    return [Route("/jobs.json", as_json), Route("/jobs", steer, methods=["POST"])]


def reply(asked: object, roots: Roots) -> dict[str, Any]:
    """What comes of what a page asks: a plan, or the queue as it then stands; a sentence where it cannot be."""
    words = asked if isinstance(asked, Mapping) else {}
    try:
        if words.get("do") == "plan":
            return {"plan": summary(plan(chosen(words, roots), roots))}
        return {"id": _done(words, roots), "jobs": documents(roots)}
    except RetrievalError as error:
        return {"message": error.message, "remedy": error.remedy}
    except OSError:
        log.exception("The queue could not be written.")
        return {"message": "The queue could not be written.", "remedy": "The server's log says what it was."}


def chosen(words: Mapping[str, Any], roots: Roots) -> Selection:
    """The cells that a page names: one, an extractor's row, or the study's grid. UnknownName, BadInput."""
    scope = words.get("scope")
    if scope == "study":
        return STUDY
    encoder, protocol = find_encoder(str(words.get("encoder"))).name, find_protocol(str(words.get("protocol"))).name
    if scope == "row":
        real = tuple(data.name for data in datasets(roots) if not data.synthetic)
        return Selection(datasets=real, sizes=(), encoders=(encoder,), protocols=(protocol,))
    size = str(words.get("size"))
    if scope != "cell" or not size.isdecimal():
        raise BadInput("That names no cells.", remedy="Choose a dataset, a size, an extractor and a protocol.")
    dataset = find_dataset(str(words.get("dataset")), roots).name
    return Selection(datasets=(dataset,), sizes=(int(size[:6]),), encoders=(encoder,), protocols=(protocol,))


def summary(entries: tuple[Entry, ...]) -> dict[str, Any]:
    """What a plan comes to, in words, and why what is left out is."""
    wanted = [entry for entry in entries if entry.state in ("to do", "stale")]
    done = sum(entry.state == "done" for entry in entries)
    causes = Counter(f"{entry.cause} {entry.remedy}".strip() for entry in entries if entry.state == "unavailable")
    return {
        "to_do": len(wanted),
        "time": plain_time(sum(entry.seconds for entry in wanted)),
        "words": _cost(wanted, done),
        "unavailable": [
            f"{_cells(count)}: {cause}" if len(entries) > 1 else cause
            for cause, count in causes.most_common(MOST_CAUSES)
        ],
        "more": max(0, len(causes) - MOST_CAUSES),
    }


def title_of(selection: Selection, roots: Roots) -> str:
    """What a job is about, for people."""
    if selection == STUDY:
        return "The study's whole grid"
    encoder = find_encoder(selection.encoders[0]).title if len(selection.encoders) == 1 else "Several extractors"
    protocols = ", ".join(selection.protocols)
    if len(selection.datasets) == 1 and len(selection.sizes) == 1:
        dataset, size = find_dataset(selection.datasets[0], roots).title, size_name(selection.sizes[0])
        return f"{encoder} on {dataset}, {size}{' pixels' if selection.sizes[0] else ''}, {protocols}"
    return f"{encoder} on several datasets, {protocols}"


def offer(cell: Cell, seconds: float) -> dict[str, Any] | None:
    """A button that queues one cell, for other tabs; None where queueing is switched off."""
    if not queueing_allowed():
        return None
    return {"label": f"Compute in the background, about {plain_time(seconds)}", "cell": _words(cell)}


def documents(roots: Roots) -> list[dict[str, Any]]:
    """The queue as the script draws it, the newest first."""
    jobs = queue.jobs(roots)
    trouble = queue.unwritable(jobs, roots)
    return [_document(job, trouble) for job in reversed(jobs)]


def _done(words: Mapping[str, Any], roots: Roots) -> str:
    """Do what is asked of the queue; the job's name."""
    what, name = words.get("do"), str(words.get("id"))
    if what == "add":
        selection = chosen(words, roots)
        name = queue.add(selection, roots, title=title_of(selection, roots)).id
    elif what == "remove":
        queue.remove(name, roots)
    elif isinstance(what, str) and what in _STEER:
        _STEER[what](name, roots)
    else:
        raise BadInput("That cannot be done with a job.", remedy="Add, pause, resume, cancel or remove one.")
    if what in ("add", "resume"):
        worker.ensure(roots)
    return name


def _document(job: Job, trouble: str) -> dict[str, Any]:
    told, live = job.progress, job.state in ("waiting", "running", "interrupted")
    share = (told.finished + told.share * (told.finished < told.of)) / told.of if told.of else 0.0
    return {
        "id": job.id,
        "title": job.title,
        "state": job.state,
        "label": _label(job),
        "words": _said(job),
        "percent": 100 if job.state == "done" else round(100 * min(1.0, share)),
        "finished": told.finished,
        "errors": [*told.errors, *([trouble] if live and trouble else [])],
        "buttons": _buttons(job),
        "live": live,
    }


def _label(job: Job) -> str:
    if job.state == "running" and job.wish != "run":
        return "Pausing…" if job.wish == "pause" else "Cancelling…"
    if job.state == "done" and job.progress.errors:
        return "Done in part"
    return _STATES[job.state]


def _said(job: Job) -> str:
    told = job.progress
    place = f"Cell {told.number} of {told.of}. " if told.of and not job.over else ""
    left = f" About {plain_time(told.left)} left." if told.left is not None and job.state == "running" else ""
    return f"{place}{told.words.rstrip('.')}.{left}" if told.words else ""


def _buttons(job: Job) -> list[tuple[str, str]]:
    """What can be done with a job: (what is asked, what stands on the button)."""
    if not queueing_allowed():
        return []
    again = ("resume", "Try again")
    if job.over:
        whole = job.state == "done" and not job.progress.errors
        return [*([] if whole else [again]), ("remove", "Remove")]
    hold = ("resume", "Resume") if job.wish == "pause" else ("pause", "Pause")
    return [hold, ("cancel", "Cancel")]


def _cost(wanted: list[Entry], done: int) -> str:
    if not wanted:
        return "Nothing is left to compute." if done else "Nothing of this can be computed here."
    pictures, size = sum(entry.pictures for entry in wanted), sum(entry.bytes for entry in wanted)
    seconds = plain_time(sum(entry.seconds for entry in wanted))
    before = f" {_cells(done)} done before." if done else ""
    return f"{_cells(len(wanted))} to compute: {pictures:,} pictures, {plain_size(size)}, about {seconds}.{before}"


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count:,} cells"


def _words(cell: Cell) -> dict[str, str]:
    return {
        "scope": "cell",
        "dataset": cell.dataset,
        "size": str(cell.size),
        "encoder": cell.encoder,
        "protocol": cell.protocol,
    }


def _encoders(roots: Roots) -> tuple[EncoderSpec, ...]:
    """The catalogue, and where there are vectors of a visitor's own, what keeps them."""
    return (*ENCODERS, IMPORTED) if any(data.vectors for data in datasets(roots)) else ENCODERS


def _menus(roots: Roots) -> dict[str, Any]:
    return {
        "dataset": [[data.name, data.title, list(data.sizes), data.own is not None] for data in datasets(roots)],
        "encoder": [[spec.name, spec.title] for spec in _encoders(roots)],
        "protocol": [[protocol.name, protocol.title] for protocol in PROTOCOLS],
    }
