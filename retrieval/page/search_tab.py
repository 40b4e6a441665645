"""The Search tab: one piece of HTML whose script asks by two events, `ask` and `compute`, and draws what comes back."""

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr

from retrieval.errors import RetrievalError
from retrieval.page.assets import read, read_all
from retrieval.page.desk import Desk
from retrieval.page.view import menus, refused

log = logging.getLogger(__name__)

FAILED = RetrievalError("Something went wrong here.", remedy="Try again; the server's log says what it was.")

# In this order they are one script: each part uses what stands before it.
SCRIPTS = ("parts", "slices", "ask", "draw", "upload", "start")


def build(desk: Desk) -> None:
    """Lay out the tab inside the `gr.Tab` that is open."""
    serial = itertools.count()

    def stamped(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "serial": next(serial)}  # the page draws only values that differ from the last

    def ask(event: gr.EventData) -> dict[str, Any]:
        try:
            return stamped(desk.handle(event.words, history=event.history, address=event.address))
        except Exception:  # whatever went wrong, the visitor gets a sentence and the log the rest
            log.exception("A question could not be answered.")
            return stamped(refused(FAILED))

    def compute(event: gr.EventData) -> Iterator[dict[str, Any]]:
        try:
            yield from map(stamped, desk.compute(event.words))
        except Exception:
            log.exception("Something could not be computed.")
            yield stamped(refused(FAILED))

    page = gr.HTML(
        html_template=read("search.html"),
        css_template=read("search.css"),
        js_on_load=read_all(f"search_{part}.js" for part in SCRIPTS),
        apply_default_css=False,
        elem_id="search",
        menus=menus(desk.uploads.keep_minutes),
    )
    quiet: dict[str, Any] = {"inputs": None, "outputs": page, "show_progress": "hidden", "api_visibility": "private"}
    page.ask(ask, **quiet, trigger_mode="always_last", concurrency_id="ask", concurrency_limit=4)
    page.compute(compute, **quiet, trigger_mode="once", concurrency_id="compute", concurrency_limit=1)
