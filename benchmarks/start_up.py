"""From the start of the process to the first HTTP 200, against a Gradio page that holds two text boxes."""

import re

from benchmarks.judging import Finding, in_turn, median
from benchmarks.serving import app, bare, served

ROUNDS = 5
NETWORKS = ("torch", "timm", "keras")


def findings() -> list[Finding]:
    """Measure in turn, then judge; what is imported is read off one more start, which is not timed."""
    starts = {"ours": lambda: _first_answer(app()), "bare": lambda: _first_answer(bare("textboxes"))}
    _first_answer(app())  # compiled and in the disk's cache, as every start but the first is
    _first_answer(bare("textboxes"))
    seconds = {name: median(values) for name, values in in_turn(starts, rounds=ROUNDS).items()}
    note = f"medians of {ROUNDS}"
    early = sorted(_imported() & set(NETWORKS))
    return [
        Finding(
            "first HTTP 200 of app.py", seconds["ours"], "Gradio with two text boxes", seconds["bare"], 1.25, note=note
        ),
        Finding(f"{', '.join(NETWORKS)} imported by then", len(early), bound=0, unit="modules", note=", ".join(early)),
    ]


def _first_answer(command: list[str]) -> float:
    with served(command) as page:
        return page.seconds


def _imported() -> set[str]:
    """The top-level names that Python says it imported up to the first answer."""
    with served(app("-X", "importtime")) as page:
        said = page.log.read_text(errors="replace")
    names = {name.split(".")[0] for name in re.findall(r"^import time:.*\|\s*(\S+)$", said, re.MULTILINE)}
    if "gradio" not in names:
        raise RuntimeError("Python did not say what it imported")
    return names


if __name__ == "__main__":
    for finding in findings():
        print(finding)
