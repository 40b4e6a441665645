"""`verify`: an encoder, or all whose weights are at hand, set beside the study's figures."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval import artifacts, verification
from retrieval.cells import cell
from retrieval.cli.answering import DONE, SAID_NO, Form, give, saying_no, share_on_stderr
from retrieval.cli.device_options import Device
from retrieval.cli.outputs import check_output
from retrieval.cli.tables import table
from retrieval.datasets.catalogue import find_dataset
from retrieval.errors import Unavailable
from retrieval.published import METRICS, PROTOCOL
from retrieval.roots import Roots, roots_from_environment
from retrieval.verification import Figure, Trial, Verification

_FIGURES = ("metric", "published %", "measured %", "published hits", "measured hits", "difference")
_WALK = ("encoder", "input", *METRICS, "n", "weights", "verified", "device", "seconds", "verdict")
_KEPT = (
    *("dataset", "size", "encoder", "kind", "verdict", "input"),
    *(f"{name}{part}" for name in METRICS for part in (" published", " measured", " difference")),
    *("n_queries", "weights", "weights_verified", "revision", "device", "seconds"),
)
_ABOUT_LINES = "Hits, for mAP@5 percent; in brackets, measured minus published."
_ABOUT_DIFFERENCES = "Differences are measured minus published: hits, for mAP@5 percent points."


def verify(
    encoder: Annotated[str | None, typer.Option("--encoder", help="Its name: see `list encoders`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every extractor whose weights are at hand.")] = False,
    dataset: Annotated[str, typer.Option("--dataset", help="Its name: see `list datasets`.")] = "breastmnist",
    size: Annotated[int, typer.Option("--size", help="Side in pixels.")] = 28,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this .csv or .json file as well.")] = None,
    form: Annotated[Form, typer.Option("--format", help="For people, or one JSON document.")] = Form.TEXT,
) -> None:
    """Whether an extractor gives the study's numbers.

    Embeds with the weights at hand, and compares hit by hit. Exit 1 if one does not, or says no.
    """
    if (encoder is None) != every:
        raise typer.BadParameter("name either --encoder or --all.")
    if out is not None and out.suffix not in (".csv", ".json"):
        raise typer.BadParameter("--out ends in .csv or .json.")
    with saying_no(form):
        if out is not None:
            check_output(out)
        found = _verified(encoder, dataset, size, roots_from_environment(), device)
        document = [as_document(each) for each in found]
        if out is not None:
            _write(out, found, document)
    if every:
        give({"verifications": document}, form, text=as_table(found))
    else:
        give(document[0], form, text=as_text(found[0]))
    raise typer.Exit(DONE if all(each.is_fine for each in found) else SAID_NO)


def as_document(found: Verification) -> dict[str, Any]:
    """A Verification for programs; nothing is rounded."""
    fields = {name: value for name, value in _plain(found).items() if name != "cell"}
    trials = [_trial_document(trial) for trial in found.trials]
    return {**found.cell.names, **fields, "trials": trials, "fine": found.is_fine}


def as_text(found: Verification) -> str:
    """A Verification for people: the verdict, what it was measured with, and each trial's figures."""
    where, weights = found.cell, _weights(found)
    head = (
        f"{where.dataset} {where.size}, {where.encoder}: {found.verdict}.\n"
        f"{found.n_queries} queries; weights {weights}; {found.seconds:.1f} seconds in all."
    )
    parts = [f"{_heading(trial)}\n{table([_figure(one) for one in trial.figures], _FIGURES)}" for trial in found.trials]
    return "\n\n".join([head, *parts, _ABOUT_DIFFERENCES])


def as_table(found: Sequence[Verification]) -> str:
    """Verifications for people, one line each; of several trials the one that decided."""
    if not found:
        return "No extractor's weights are at hand."
    return f"{table([_line(each) for each in found], _WALK)}\n\n{_ABOUT_LINES}"


def as_csv(found: Sequence[Verification]) -> str:
    """The same lines as CSV: hits, for mAP@5 percent at full precision; missing is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _KEPT, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_record(each) for each in found)
    return out.getvalue()


def _verified(encoder: str | None, dataset: str, size: int, roots: Roots, device: str) -> list[Verification]:
    if find_dataset(dataset, roots).own is not None:
        raise Unavailable(
            f"The study, which `verify` compares with, has no row for {dataset}.",
            remedy="Compare extractors on it: python -m retrieval evaluate, and python -m retrieval leaderboard.",
        )
    if encoder is None:
        return list(verification.verify_all(dataset, size, roots, device=device, progress=share_on_stderr()))
    asked = cell(dataset, size, encoder, PROTOCOL)
    return [verification.verify(asked, roots, device=device, progress=share_on_stderr())]


def _write(path: Path, found: Sequence[Verification], document: list[dict[str, Any]]) -> None:
    whole = {"verifications": document}
    text = as_csv(found) if path.suffix == ".csv" else json.dumps(whole, indent=2, allow_nan=False) + "\n"
    artifacts.write_atomic(path, lambda stream: stream.write(text.encode()))


def _trial_document(trial: Trial) -> dict[str, Any]:
    figures = [{**asdict(figure), "difference": figure.difference} for figure in trial.figures]
    return {**asdict(trial), "figures": figures}


def _plain(found: Verification) -> dict[str, Any]:
    """Its fields, those in it as fields too; of its cell the names alone."""
    return asdict(replace(found, cell=replace(found.cell, own=None)))


def _weights(found: Verification) -> str:
    known = "verified" if found.weights_verified else "NOT verified"
    source = found.cell.spec.weights
    on_hub = "; revision not known" if source and source.repo else ""
    return f"{found.weights} ({known}{f'; revision {found.revision}' if found.revision else on_hub})"


def _heading(trial: Trial) -> str:
    words = f"{trial.input}: " if trial.input else ""
    ties = f"; {trial.tied} queries depend on the order of equal distances" if trial.tied else ""
    heading = f"{words}features from {trial.device or 'an unknown device'}, at hand after {trial.seconds:.1f} s{ties}"
    return heading[0].upper() + heading[1:]


def _figure(figure: Figure) -> dict[str, Any]:
    misprint = " (misprint)" if figure.misprint else ""
    return {
        "metric": figure.metric,
        "published %": None if figure.published is None else f"{figure.published:.2f}{misprint}",
        "measured %": f"{figure.measured:.4f}",
        "published hits": figure.published_hits,
        "measured hits": figure.measured_hits,
        "difference": _signed(figure),
    }


def _signed(figure: Figure) -> str | None:
    """`+1` or `0` hits; `+0.0054` percent points."""
    if figure.difference is None:
        return None
    if isinstance(figure.difference, int):
        return f"{figure.difference:+d}" if figure.difference else "0"
    return f"{figure.difference:+.4f}"


def _decided(found: Verification) -> Trial | None:
    return min(found.trials, key=lambda trial: len(trial.misses), default=None)


def _line(found: Verification) -> dict[str, Any]:
    trial = _decided(found)
    return {
        "encoder": found.cell.encoder,
        "input": trial.input if trial else None,
        **{figure.metric: _measured(figure) for figure in (trial.figures if trial else ())},
        "n": found.n_queries or None,
        "weights": found.weights[:8] or None,
        "verified": found.weights_verified if found.weights else None,
        "device": trial.device if trial else None,
        "seconds": f"{found.seconds:.1f}",
        "verdict": f"{found.verdict} {found.remedy}".rstrip(),
    }


def _measured(figure: Figure) -> str:
    """`125 (+1)` hits, `84.62 (+0.0054)` percent; without a difference where the study has no row."""
    value = f"{figure.measured:.2f}" if figure.measured_hits is None else str(figure.measured_hits)
    return value if figure.difference is None else f"{value} ({_signed(figure)})"


def _record(found: Verification) -> dict[str, Any]:
    trial = _decided(found)
    record = {**found.cell.names, **_plain(found)}
    for figure in trial.figures if trial else ():
        hits = figure.measured_hits is not None
        record[f"{figure.metric} published"] = figure.published_hits if hits else figure.published
        record[f"{figure.metric} measured"] = figure.measured_hits if hits else figure.measured
        record[f"{figure.metric} difference"] = figure.difference
    record |= {"input": trial.input, "device": trial.device} if trial else {}
    return {name: record.get(name) for name in _KEPT}
