"""The Search tab: one piece of HTML whose script asks and draws.

Questions go by plain requests (`routes.py`): from click to painted cards that takes up to 1.5 times as long as the
emptiest of Gradio's events, where asking by an event took 3.5 times. What takes long is an event, `compute`, since it
reports how far it is.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from retrieval.page import questions
from retrieval.page.assets import read, read_all
from retrieval.page.desk import Desk
from retrieval.page.view import menus

# In this order they are one script: each part uses what stands before it.
SCRIPTS = ("parts", "slices", "menu", "ask", "draw", "extractor", "upload", "phrase", "start")
DOWNLOADS = 2  # at a time, of all visitors together
STYLES = ("search", "menu")


def build(desk: Desk) -> None:
    """Lay out the tab inside the `gr.Tab` that is open."""

    def compute(event: gr.EventData) -> Iterator[dict[str, Any]]:
        yield from questions.compute(desk, event._data)

    def download(event: gr.EventData) -> Iterator[dict[str, Any]]:
        yield from questions.download(desk, event._data)

    page = gr.HTML(
        html_template=read("search.html"),
        css_template=read_all(f"{name}.css" for name in STYLES),
        js_on_load=read_all(f"search_{part}.js" for part in SCRIPTS),
        apply_default_css=False,
        elem_id="search",
        menus=menus(desk.uploads.keep_minutes),
    )
    # `multiple`: the page itself draws only what the last of its runs says.
    page.compute(
        compute,
        None,
        page,
        show_progress="hidden",
        api_visibility="private",
        trigger_mode="multiple",
        concurrency_limit=1,
    )
    fetched = page.download(
        download,
        None,
        page,
        show_progress="hidden",
        api_visibility="private",
        trigger_mode="multiple",
        concurrency_limit=DOWNLOADS,
    )
    page.leave(None, None, None, cancels=[fetched], api_visibility="private", queue=False)
