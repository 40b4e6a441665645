"""How a command answers: one document on stdout, progress on stderr, and a no with exit code 1."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import typer

from retrieval.errors import RetrievalError, Unavailable
from retrieval.jobs.running import Step
from retrieval.readiness import plain_time

Document = dict[str, Any] | list[Any]

DONE, SAID_NO = 0, 1

_EVERY = 0.2  # seconds between two reports on a terminal
_SELDOM = 10.0  # and elsewhere, where each report stays as a line


class Form(StrEnum):
    """For people, or for programs."""

    TEXT = "text"
    JSON = "json"


@contextlib.contextmanager
def saying_no(form: Form) -> Iterator[None]:
    """Turn the product's own errors, and those of the disk, into an error document and exit code 1.

    Meanwhile stdout belongs to the answer alone: what libraries print goes to stderr.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr), refusals():
            yield
    except RetrievalError as error:
        give({"error": error_document(error)}, form, text="")
        if form is Form.TEXT:
            typer.echo(f"{error.message}\n{error.remedy}".rstrip(), err=True)
        raise typer.Exit(SAID_NO) from error


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what the disk refuses into one of the product's own errors."""
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise Unavailable(
            f"A file or folder cannot be used: {error.strerror or error}{place}.",
            remedy="Make room or allow access there, or point RETRIEVAL_CACHE to another folder.",
        ) from error


def give(document: Document, form: Form, *, text: str) -> None:
    """Write the answer to stdout: the document as JSON, or its text; exit code 1 where stdout does not take it."""
    answer = json.dumps(document, indent=2, allow_nan=False) if form is Form.JSON else text
    try:
        if answer:
            typer.echo(answer)
    except BrokenPipeError:
        raise  # whoever reads has had enough, which Typer ends quietly
    except OSError as error:
        typer.echo(f"The answer could not be written: {error.strerror or error}.", err=True)
        raise typer.Exit(SAID_NO) from error


def error_document(error: RetrievalError) -> dict[str, str]:
    """What happened and what to do, as the contract has it."""
    return {"message": error.message, "remedy": error.remedy}


def share_on_stderr() -> Callable[[str, float], None]:
    """A progress callback (what is being done, the share of it that is done)."""
    write = _lines_on_stderr()

    def report(what: str, share: float) -> None:
        write(f"{what} ({share:.0%})", share >= 1)

    return report


def steps_on_stderr() -> Callable[[Step], None]:
    """A callback for the steps of a run: which cell, how far, how fast, how long still."""
    write = _lines_on_stderr()

    def report(step: Step) -> None:
        rate = f", {step.rate:,.1f} pictures a second" if step.rate else ""
        left = f", about {plain_time(step.left)} left" if step.left is not None else ""
        write(f"Cell {step.number} of {step.of}, {step.cell.key}: {step.words} ({step.share:.0%}{rate}{left})", False)

    return report


def count_on_stderr(what: str, *, shown: Callable[[int], str] = str) -> Callable[[int, int | None], None]:
    """A progress callback (done, in all if known)."""
    write = _lines_on_stderr()

    def report(done: int, total: int | None) -> None:
        write(f"{what}: {shown(done)}" + (f" of {shown(total)}" if total else ""), total is not None and done >= total)

    return report


def _lines_on_stderr() -> Callable[[str, bool], None]:
    """Writes (line, is it the last): one changing line on a terminal, a line now and then elsewhere."""
    terminal = sys.stderr.isatty()
    pause = _EVERY if terminal else _SELDOM
    last = 0.0

    def write(line: str, complete: bool) -> None:
        nonlocal last
        now = time.monotonic()
        if complete or now - last >= pause:
            last = now
            typer.echo(f"\r\033[K{line}" if terminal else line, err=True, nl=complete or not terminal)

    return write
