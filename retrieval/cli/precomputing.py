"""`precompute`: every embedding, neighbour list and metric table of a selection, listed, then computed."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import typer

from retrieval.cli.answering import SAID_NO, Form, give, saying_no, steps_on_stderr
from retrieval.cli.device_options import Devices
from retrieval.cli.tables import table
from retrieval.datasets.download import plain_size
from retrieval.encoders import devices
from retrieval.errors import BadInput
from retrieval.jobs import leftovers
from retrieval.jobs.plan import STUDY, Entry, Selection, plan
from retrieval.jobs.running import Outcome, run
from retrieval.jobs.side_by_side import run_on
from retrieval.readiness import plain_time
from retrieval.roots import Roots, roots_from_environment

_INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended
_PACES = {True: "at the pace of earlier runs here", False: "on two processor cores"}
_COLUMNS = ("cell", "state", "pictures", "size", "time")


def precompute(
    datasets: Annotated[str, typer.Option(help="Names, separated by commas; all real ones if left out.")] = "",
    sizes: Annotated[str, typer.Option(help="Sides in pixels, separated by commas; all if left out.")] = "",
    encoders: Annotated[str, typer.Option(help="Names, separated by commas; all if left out.")] = "",
    protocols: Annotated[str, typer.Option(help="Names, separated by commas; paper if left out.")] = "",
    study: Annotated[bool, typer.Option("--study", help="The study's grid: nine extractors, eight datasets.")] = False,
    device: Devices = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what there is to do.")] = False,
    form: Annotated[Form, typer.Option("--format", help="For people, or one JSON document.")] = Form.TEXT,
) -> None:
    """Compute whole tables beforehand.

    Lists the cells of a selection with where each stands and what it costs, then computes what is missing or stale. A
    run that was stopped is taken up where it was.
    """
    with saying_no(form):
        roots = roots_from_environment()
        selection = _selection(datasets, sizes, encoders, protocols, study=study)
        entries = plan(selection, roots, device=device)
        if not dry_run:
            if form is Form.TEXT:
                typer.echo(_table(entries), err=True)
            outcome = _run(selection, entries, roots, *devices.named(device))
    if dry_run:
        give({"cells": [_document(entry) for entry in entries]}, form, text=_table(entries))
        return
    give({"cells": _ended(entries, outcome)}, form, text=_summary(entries, outcome))
    if outcome.failed or outcome.busy or any(entry.state == "unavailable" for entry in entries):
        raise typer.Exit(SAID_NO)


def clean(
    remove: Annotated[bool, typer.Option("--remove", help="Remove what is listed.")] = False,
    form: Annotated[Form, typer.Option("--format", help="For people, or one JSON document.")] = Form.TEXT,
) -> None:
    """What in the cache serves nothing any more.

    Stale, of names that are no more, left by runs that were killed, or begun and not gone on with: listed with its
    size, removed when asked.
    """
    with saying_no(form):
        roots = roots_from_environment()
        found = leftovers.leftovers(roots)
        found = leftovers.remove(found, roots) if remove else found
    records = [{"what": one.key, "bytes": one.bytes, "why": one.why} for one in found]
    rows = [{**record, "size": plain_size(record["bytes"])} for record in records]
    total = f"{len(found)} of them, {plain_size(sum(one.bytes for one in found))}"
    end = f"Removed: {total}." if remove else f"Found: {total}. `clean --remove` removes them."
    text = (
        "\n".join([table(rows, ("what", "size", "why")), "", end]) if found else "Nothing: all in the cache is of use."
    )
    give({"removed": remove, "leftovers": records}, form, text=text)


def _run(selection: Selection, entries: tuple[Entry, ...], roots: Roots, first: str, *others: str) -> Outcome:
    """On several devices first, where there are several; what is left then, on the first that still works."""
    before = [entry.cell for entry in entries if entry.state != "done"]
    try:
        with _ended_as_by_ctrl_c():
            if others:
                run_on((first, *others), selection, roots, say=lambda line: typer.echo(line, err=True))
                first = devices.usable((first, *others))
                entries = plan(selection, roots, device=first)
            outcome = run(entries, roots, device=first, report=steps_on_stderr())
    except KeyboardInterrupt as stop:
        typer.echo("\nStopped. What is finished is kept; the same command goes on from there.", err=True)
        raise typer.Exit(_INTERRUPTED) from stop
    elsewhere = tuple(entry.cell for entry in entries if entry.state == "done" and entry.cell in before)
    return replace(outcome, done=(*elsewhere, *outcome.done))


@contextlib.contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Within, who asks this process to end, or closes its terminal, ends those that it started too.

    What the caller has switched off, as nohup does, stays so.
    """
    asked = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {one: signal.getsignal(one) for one in asked if signal.getsignal(one) is signal.SIG_DFL}
    for one in before:
        signal.signal(one, signal.default_int_handler)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _selection(datasets: str, sizes: str, encoders: str, protocols: str, *, study: bool) -> Selection:
    if study:
        if encoders or protocols:
            raise BadInput("The study has its own extractors and its own protocol.", remedy="Leave them out.")
        return Selection(_names(datasets) or STUDY.datasets, _numbers(sizes), STUDY.encoders, STUDY.protocols)
    return Selection(_names(datasets), _numbers(sizes), _names(encoders), _names(protocols))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _numbers(text: str) -> tuple[int, ...]:
    words = _names(text)
    wrong = next((word for word in words if not word.isdecimal()), None)
    if wrong is not None:
        raise BadInput(f"{wrong!r} is no size in pixels.", remedy="Write whole numbers, such as --sizes 28,64.")
    return tuple(int(word) for word in words)


def _document(entry: Entry) -> dict[str, Any]:
    return {**entry.cell.names, **{name: value for name, value in vars(entry).items() if name != "cell"}}


def _ended(entries: tuple[Entry, ...], outcome: Outcome) -> list[dict[str, Any]]:
    """The plan as it stands after the run, with what went wrong."""
    failed = {cell: (message, remedy) for cell, message, remedy in outcome.failed}
    documents = []
    for entry in entries:
        document = _document(entry)
        if entry.cell in outcome.done:
            document |= {"state": "done"}
        elif entry.cell in failed:
            document |= {"state": "failed", "cause": failed[entry.cell][0], "remedy": failed[entry.cell][1]}
        elif entry.cell in outcome.busy:
            document |= {"state": "busy"}
        documents.append(document)
    return documents


def _table(entries: tuple[Entry, ...]) -> str:
    left = [entry for entry in entries if entry.state in ("to do", "stale")]
    total = f"{len(left)} of {len(entries)} cells to compute"
    if left:
        pictures, size = sum(entry.pictures for entry in left), sum(entry.bytes for entry in left)
        time = plain_time(sum(entry.seconds for entry in left))
        total += f": {pictures:,} pictures to embed, about {plain_size(size)}, about {time} {_PACES[_paced(left)]}"
    said = [entry for entry in entries if entry.cause]
    causes = dict.fromkeys(f"{entry.state}: {entry.cause} {entry.remedy}".strip() for entry in said)
    return "\n".join([table([_row(entry) for entry in entries], _COLUMNS), "", f"{total}.", *causes])


def _paced(entries: list[Entry]) -> bool:
    return any(entry.seconds != entry.estimated for entry in entries)


def _row(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"cell": entry.cell.key, "state": entry.state}
    if entry.state in ("to do", "stale"):
        row |= {"pictures": f"{entry.pictures:,}", "size": plain_size(entry.bytes), "time": plain_time(entry.seconds)}
    return row


def _summary(entries: tuple[Entry, ...], outcome: Outcome) -> str:
    missing = [entry for entry in entries if entry.state == "unavailable"]
    lines = [f"{_cells(len(outcome.done))} computed, {sum(entry.state == 'done' for entry in entries)} were there."]
    lines += [f"{cell.key}: {message} {remedy}".rstrip() for cell, message, remedy in outcome.failed]
    lines += [f"{cell.key}: another process is at work on it." for cell in outcome.busy]
    if missing:
        lines.append(f"Unavailable: {_cells(len(missing))}; --dry-run says why.")
    return "\n".join(lines)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
