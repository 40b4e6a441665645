"""Small Gradio pages that ours is compared with: `python -m benchmarks.bare_pages KIND`.

`textboxes`: two of them and nothing else. `round_trip`: a button whose click sets a gr.HTML. `board`: the product's own
leaderboard tab over generated rows. `dataframe`: the same rows in a gr.Dataframe, in a tab as well.
"""

import gzip
import itertools
import json
import random
import sys

import gradio as gr

ROWS = 2_000
SEED = 7


def textboxes() -> None:
    """The least that Gradio can start with."""
    with gr.Blocks(analytics_enabled=False) as page:
        one, other = gr.Textbox(), gr.Textbox()
        one.submit(lambda text: text, one, other)
    page.launch(quiet=True)


def round_trip() -> None:
    """The least that a click can cost."""
    count = itertools.count()
    with gr.Blocks(analytics_enabled=False) as page:
        button = gr.Button("Ask", elem_id="ask")
        html = gr.HTML("<p>nothing yet</p>", elem_id="answer")
        button.click(lambda: f"<p>answer {next(count)}</p>", None, html, show_progress="hidden")
    page.launch(quiet=True)


def board() -> None:
    """The product's own tab, its rows by a plain route."""
    from starlette.responses import Response
    from starlette.routing import Route

    from retrieval.page import leaderboard_tab
    from retrieval.roots import roots_from_environment

    packed = gzip.compress(json.dumps(leaderboard_tab.page_document(rows())).encode())
    headers = {"Content-Encoding": "gzip"}
    route = Route(
        f"/{leaderboard_tab.JSON_ROUTE}", lambda _: Response(packed, media_type="application/json", headers=headers)
    )
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        with gr.Tab("Other"):
            gr.HTML("<p>Another tab</p>")
        with gr.Tab("Leaderboard"):
            leaderboard_tab.build(roots_from_environment())
    page.launch(quiet=True, app_kwargs={"routes": [route]})


def dataframe() -> None:
    """Gradio's own table, its rows in the page's configuration, which is the faster way."""
    flat = [
        [row.dataset, row.size, row.encoder, row.protocol, row.source, row.n_queries, row.grouped_queries, row.verified]
        + [round(value, 3) for value in list(row.as_published.metrics.values())[:6]]
        for row in rows()
    ]
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        with gr.Tab("Other"):
            gr.HTML("<p>Another tab</p>")
        with gr.Tab("Leaderboard"):
            gr.Dataframe(flat, headers=[f"column {number}" for number in range(14)], elem_id="frame", interactive=False)
    page.launch(quiet=True)


def rows():
    """As many leaderboard rows as asked for, of every dataset and size, with numbers drawn at random."""
    from retrieval.datasets.catalogue import DATASETS

    draw = random.Random(SEED)
    places = [(data, size) for data in DATASETS if not data.synthetic for size in data.sizes]
    return tuple(_row(number, *places[number % len(places)], draw) for number in range(ROWS))


def _row(number: int, data, size: int, draw: random.Random):
    from retrieval.leaderboard import Row

    return Row(
        dataset=data.name,
        size=size,
        encoder=f"extractor {number % 61:02d}",
        protocol="paper" if number % 2 else "cosine",
        source="published" if number % 8 == 0 else "measured",
        n_queries=data.counts["test"],
        grouped_queries=draw.randrange(20),
        as_published=_figures(data.counts["test"], draw),
        groups_left_out=_figures(data.counts["test"], draw),
        verified=True,
        cheap=False,
        ranked=data.task != "findings",
        synthetic=False,
        hits_difference=dict.fromkeys(("mMV@5", "ACC@1", "ACC@3", "ACC@5"), 0) if number % 8 == 1 else None,
    )


def _figures(n: int, draw: random.Random):
    from retrieval.leaderboard import Figures

    hits = {name: draw.randrange(n // 2, n) for name in ("ACC@1", "ACC@3", "ACC@5", "mMV@5", "MV@5")}
    others = {name: draw.uniform(20, 100) for name in ("mAP@5", "P@5", "AP@5", "MRR@5", "nDCG@5", "balanced ACC@1")}
    return Figures(
        metrics={name: 100 * count / n for name, count in hits.items()} | others,
        hits=hits,
        intervals={name: _interval(count, n) for name, count in hits.items()},
        beats_majority={"ACC@1": draw.random() > 0.2, "mMV@5": True},
        near_best=("ACC@1",) if draw.random() > 0.8 else (),
    )


def _interval(count: int, n: int) -> tuple[float, float]:
    from retrieval.scoring.uncertainty import wilson

    low, high = wilson(count, n) or (0.0, 1.0)
    return 100 * low, 100 * high


KINDS = {function.__name__: function for function in (textboxes, round_trip, board, dataframe)}

if __name__ == "__main__":
    KINDS[sys.argv[1]]()
