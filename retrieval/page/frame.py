"""The page's frame: its heading, its tabs, and what it is launched with."""

from typing import Any

import gradio as gr

from retrieval.page import about_tab, collections_tab, jobs_tab, leaderboard_tab, routes, search_tab
from retrieval.page.assets import FOLDER, read
from retrieval.page.desk import Desk
from retrieval.page.security import closed, outermost, shown_in_a_frame
from retrieval.page.theme import theme
from retrieval.roots import queueing_allowed

TITLE = "Medical image retrieval"
WAITING = 32
SWEEP_SECONDS = 600


def build(desk: Desk) -> gr.Blocks:
    """The whole page, ready to launch."""
    keep = round(60 * desk.uploads.keep_minutes)
    with gr.Blocks(analytics_enabled=False, title=TITLE, delete_cache=(SWEEP_SECONDS, keep)) as page:
        gr.HTML(html_template=read("header.html"), apply_default_css=False, elem_id="header")
        with gr.Tabs(overflow_behavior="wrap", elem_id="tabs"):
            with gr.Tab("Search", id="search"):
                search_tab.build(desk)
            with gr.Tab("Leaderboard", id="leaderboard"):
                leaderboard_tab.build(desk.roots)
            with gr.Tab("Jobs", id="jobs"):
                jobs_tab.build(desk.roots)
            if queueing_allowed():
                with gr.Tab("Collections", id="collections"):
                    collections_tab.build()
            with gr.Tab("About", id="about"):
                about_tab.build(desk.roots)
    return page.queue(max_size=WAITING, api_open=False)


def launch_options(desk: Desk) -> dict[str, Any]:
    """Arguments of `launch`: looks, plain routes and headers, and all that Gradio need not offer turned off."""
    return {
        "theme": theme(),
        # As a style of the page itself: Gradio rewrites the selectors of what it is given as css, media queries' too.
        "head": f"{read('head.html')}<style>{read('frame.css')}</style><script>{read('frame.js')}</script>",
        "favicon_path": FOLDER / "favicon.svg",
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "show_error": False,
        "max_file_size": "50mb",
        "allowed_paths": [],
        "quiet": True,
        "app_kwargs": {
            "routes": [
                *routes.routes(desk),
                *leaderboard_tab.routes(desk.roots),
                *jobs_tab.routes(desk.roots),
                *collections_tab.routes(desk.roots),
                *closed(),
            ],
            "lifespan": outermost(framed=shown_in_a_frame()),
            "openapi_url": None,
            "docs_url": None,
            "redoc_url": None,
        },
    }
