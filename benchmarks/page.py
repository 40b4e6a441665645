"""What a person waits for, in headless Chromium: a sampled picture, an uploaded one, the leaderboard.

Every time is taken inside the page, from the click to the second frame after what was asked for is there, its pictures
loaded; so what is compared differs in nothing but the page.
"""

import base64
import io
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.judging import Finding, in_turn, median, percentile_95
from benchmarks.serving import REPOSITORY, app, bare, environment, served

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
ROUNDS, TAB_ROUNDS, WARM = 30, 7, 3
MINUTES = 10 * 60_000  # the very first answer may have to compute what the page shows

# What every measurement shares. `until` looks once a frame, and gives the milliseconds up to the frame after next.
CLOCK = """
window.frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
window.until = async (act, there) => {
  const began = performance.now();
  act();
  while (!there()) {
    if (performance.now() - began > 600000) throw new Error('nothing came within ten minutes');
    await frame();
  }
  await frame();
  await frame();
  return performance.now() - began;
};
window.answered = (act) => {
  const found = document.querySelector('.found'), before = found.dataset.serial;
  return until(act, () => {
    const images = [...document.querySelectorAll('.cards .card img')];
    return found.dataset.serial !== before && !found.hasAttribute('aria-busy') && images.length === 5
      && images.every((image) => image.complete && image.naturalWidth > 0);
  });
};
"""
FIVE = "document.querySelectorAll('.cards .card img').length === 5"
SAMPLE = "() => answered(() => document.querySelector('#sample').click())"
UPLOAD = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], 'mine.png', {type: 'image/png'}));
  const chooser = document.querySelector('#upload input[type=file]');
  return answered(() => {
    chooser.files = files.files;
    chooser.dispatchEvent(new Event('change', {bubbles: true}));
  });
}"""
ASK = """() => {
  const text = () => document.querySelector('#answer').textContent, before = text();
  return until(() => document.querySelector('#ask').click(), () => text() !== before);
}"""
LEADERBOARD = "button[role=tab]:visible:has-text('Leaderboard')"
TAB = """(cell) => {
  const tabs = [...document.querySelectorAll('button[role=tab]')];
  const tab = tabs.find((one) => one.textContent.trim() === 'Leaderboard');
  const painted = (node) => node.textContent.trim() && node.getClientRects().length;
  return until(() => tab.click(), () => [...document.querySelectorAll(cell)].some(painted));
}"""
BOARD_CELL, FRAME_CELL = ".board[data-ready=yes] .board-body .board-name", "#frame tbody td"
SORT = """() => until(() => document.querySelector('.board-sort[data-id="all:ACC@1"]').click(), () => true)"""
FILTER = """(value) => {
  const select = document.querySelector('.board select[name=dataset]');
  return until(() => { select.value = value; select.dispatchEvent(new Event('change')); }, () => true);
}"""
FILTERS = ("pathmnist", "", "breastmnist", "")


def findings() -> list[Finding]:
    """Measure in turn, then judge."""
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        urls = [stack.enter_context(served(command)).url for command in (app(), bare("round_trip"))]
        ours, plain = opened(browser, urls[0], "#sample"), opened(browser, urls[1], "#ask")
        ours.wait_for_function(FIVE, timeout=MINUTES)
        found = _answers(ours, plain, stack.enter_context(_forward()))
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        urls = [stack.enter_context(served(bare(kind))).url for kind in ("board", "dataframe")]
        return found + _tables(browser, *urls)


def _answers(ours, plain, forward: Callable[[], float]) -> list[Finding]:
    """A sampled and an uploaded picture against a bare round trip."""
    pictures = (_picture(seed) for seed in itertools.count())
    works = {
        "sample": lambda: milliseconds(ours, SAMPLE),
        "round trip": lambda: milliseconds(plain, ASK),
        "upload": lambda: milliseconds(ours, UPLOAD, next(pictures)),
        "forward": forward,
    }
    in_turn(works, rounds=WARM)
    times = in_turn(works, rounds=ROUNDS)
    mid = {name: median(values) for name, values in times.items()}
    tails = {name: _spread(values) for name, values in times.items()}
    together = mid["forward"] + mid["round trip"]
    return [
        Finding(
            "click on Sample to five painted cards",
            mid["sample"],
            "bare gr.HTML round trip",
            mid["round trip"],
            2,
            unit="ms",
            note=f"{tails['sample']}; round trip {tails['round trip']}",
        ),
        Finding(
            "upload to five painted cards, warm",
            mid["upload"],
            f"bare forward ({mid['forward']:.0f} ms) + round trip",
            together,
            3,
            unit="ms",
            note=tails["upload"],
        ),
    ]


def _tables(browser, board: str, frame: str) -> list[Finding]:
    """The leaderboard's tab against a gr.Dataframe with the same rows; sort and filter inside it."""
    works = {
        "board": lambda: _first_tab(browser, board, BOARD_CELL),
        "frame": lambda: _first_tab(browser, frame, FRAME_CELL),
    }
    in_turn(works, rounds=1)
    tabs = in_turn(works, rounds=TAB_ROUNDS)
    page = opened(browser, board, LEADERBOARD)
    milliseconds(page, TAB, BOARD_CELL)
    values = itertools.cycle(FILTERS)
    inside = {"sort": lambda: milliseconds(page, SORT), "filter": lambda: milliseconds(page, FILTER, next(values))}
    in_turn(inside, rounds=WARM)
    times = in_turn(inside, rounds=ROUNDS)
    page.context.close()
    first = Finding(
        "leaderboard tab, 2,000 rows, click to painted",
        median(tabs["board"]),
        "gr.Dataframe, same rows",
        median(tabs["frame"]),
        0.5,
        unit="ms",
        note=_spread(tabs["board"]),
    )
    return [first, *(_inside(name, values) for name, values in times.items())]


def _inside(name: str, values: list[float]) -> Finding:
    return Finding(
        f"{name} 2,000 rows, to painted",
        median(values),
        bound=100,
        unit="ms",
        note=_spread(values),
    )


def _spread(values: list[float]) -> str:
    return f"median of {len(values)}, p95 {percentile_95(values):.0f} ms"


def _first_tab(browser, url: str, cell: str) -> float:
    """Milliseconds of the first opening of the tab, by a visitor who has just come."""
    page = opened(browser, url, LEADERBOARD)
    page.wait_for_timeout(500)  # until the page is at rest
    taken = milliseconds(page, TAB, cell)
    page.context.close()
    return taken


def milliseconds(page, script: str, argument: object = None) -> float:
    """What a script measures inside a page that is in front."""
    page.bring_to_front()
    return page.evaluate(script, argument)


def opened(browser, url: str, ready: str):
    """A new visitor's page, once what `ready` selects can be seen."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.add_init_script(CLOCK)
    page.goto(url)
    page.wait_for_selector(ready)
    return page


@contextmanager
def chromium() -> Iterator:
    """The browser, until the block is left."""
    if not CHROMIUM.is_file():
        raise SystemExit(f"There is no Chromium at {CHROMIUM} (Debian: apt-get install chromium).")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def _forward() -> Iterator[Callable[[], float]]:
    """Milliseconds of one bare forward, each time it is called, in a process that keeps the network warm."""
    command = [sys.executable, "-m", "benchmarks.forward"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment(), **pipes) as process:
        asked, answers = process.stdin, process.stdout
        assert asked and answers

        def once() -> float:
            print(file=asked, flush=True)
            return 1000 * float(answers.readline())

        yield once
        asked.close()


def _picture(seed: int) -> str:
    """A grey picture of 256 pixels a side, never the same, as a PNG in base64."""
    from PIL import Image

    stream = io.BytesIO()
    small = np.random.default_rng(seed).integers(0, 256, (12, 12), np.uint8)
    Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


if __name__ == "__main__":
    for finding in findings():
        print(finding)
