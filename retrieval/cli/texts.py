"""The engine's values -> what a person reads in a terminal. Rounding happens here and nowhere before."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from retrieval import phrases
from retrieval.cli.tables import table
from retrieval.datasets.download import plain_size
from retrieval.doctor import Check
from retrieval.leaderboard import Figures, Row
from retrieval.pictures.item import size_name
from retrieval.protocols import find_protocol

_LISTED = {
    "datasets": ("name", "title", "ndim", "task", "classes", "sizes", "at_hand", "licence"),
    "encoders": ("name", "domain", "library", "dim", "gated", "state", "size", "title", "licence"),
    "results": ("dataset", "size", "encoder", "protocol", "n_queries", "verified", "ACC@1", "mMV@5", "mAP@5"),
}
_MARKS = {"ok": "ok     ", "missing": "MISSING", "note": "note   "}
_LEFT_OUT = "ACC@1 % duplicates left out"
_BOARD = (
    "encoder",
    "protocol",
    "source",
    "ACC@1 %",
    "hits",
    "95 %",
    "mMV@5 %",
    "mAP@5 %",
    _LEFT_OUT,
    "",
)


def listing(records: Sequence[Mapping[str, Any]], kind: str) -> str:
    """What `list` lists, one line each; of classes their number."""
    return table([_listed(record) for record in records], _LISTED[kind])


def examination(checks: Iterable[Check]) -> str:
    """One line a check, and under it what to do."""
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check.state]}  {check.name}: {check.message}")
        if check.remedy:
            lines.append(f"         {check.remedy}")
    return "\n".join(lines)


def terms(encoder: Mapping[str, Any]) -> str:
    """What to know of an extractor's weights before they are fetched."""
    size = f"about {plain_size(encoder['bytes'])}" if encoder["bytes"] else "not known"
    gated = "yes: the publisher gives them out after a login and consent" if encoder["gated"] else "no"
    url = f" ({encoder['licence_url']})" if encoder["licence_url"] else ""
    page = [f"Page: {encoder['page']}"] if encoder["page"] else []
    return "\n".join([f"Licence: {encoder['licence']}{url}", f"Gated: {gated}", f"Size: {size}", *page])


def fetched(document: Mapping[str, Any]) -> str:
    """Where data or weights lie; of weights also what they are known by."""
    if not document["file"]:
        return "Nothing to fetch: it comes with the product."
    if "digest" not in document:
        return document["file"]
    revision, pinned = document["revision"], document["pinned_revision"]
    at = f", revision {revision}" if revision else ""
    at += f" (not the pinned {pinned})" if revision and pinned not in (None, revision) else ""
    return f"{document['file']}\nDigest of the tensors {document['digest']}{at}; {_known(document)}."


def _known(document: Mapping[str, Any]) -> str:
    if document["verified"]:
        return "verified"
    if document["expected_digest"]:
        return f"NOT verified: other tensors than the ones that are known ({document['expected_digest']})"
    return "NOT verified: nobody has told this product what to compare them with"


def evaluation(document: Mapping[str, Any]) -> str:
    """Both readings of a Result with hits and n, beside the study's figures where it has some."""
    n, left = document["n_queries"], document["groups_left_out"]
    published, difference = document["published"] or {}, document["hits_difference"] or {}
    rows = [
        {
            "metric": name,
            "as published": _with_hits(name, value, document["hits"], n),
            "duplicates left out": _with_hits(name, left["metrics"].get(name), left["hits"], n),
            "study": _rounded(published.get(name)),
            "hits minus study": difference.get(name),
        }
        for name, value in document["metrics"].items()
    ]
    columns = ["metric", "as published", "duplicates left out", *(["study", "hits minus study"] if published else [])]
    head = (
        f"{_place(document)}, {document['encoder']}, {document['protocol']}: {n} queries, "
        f"{left['grouped_queries']} of them with a duplicate in the gallery; data and weights "
        f"{'verified' if document['verified'] else 'NOT verified'}."
    )
    return f"{head}\n{_against_chance(document)}\n\n{table(rows, columns)}"


def _place(record: Mapping[str, Any]) -> str:
    return f"{record['dataset']} {size_name(record['size'])}"


def _against_chance(document: Mapping[str, Any]) -> str:
    """ACC@1 with its interval, beside the answers that look at no picture."""
    low, high = document["intervals"]["ACC@1"]
    floor = {name: metrics["ACC@1"] for name, metrics in document["baselines"].items()}
    beside = "".join(f"; {name} {value:.2f} %" for name, value in floor.items())
    return f"ACC@1 {document['metrics']['ACC@1']:.2f} %, 95 % interval {low:.1f} to {high:.1f}{beside}."


def answers(document: Mapping[str, Any]) -> str:
    """Neighbours and vote of each query that was answered; the reason where one was not."""
    return "\n\n".join(_answer(query, document["protocol"]) for query in document["queries"])


def board(rows: Sequence[Row]) -> str:
    """The leaderboard, one table for each dataset and size."""
    parts = []
    for (dataset, size), group in groupby(rows, key=lambda row: (row.dataset, row.size)):
        lines = list(group)
        parts.append(
            f"{dataset} {size_name(size)}, {lines[0].n_queries} queries\n{table([_row(row) for row in lines], _BOARD)}"
        )
    return "\n\n".join(parts) or "No results yet."


def _listed(record: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {name: _rounded(value) for name, value in record.get("metrics", {}).items()}
    size = plain_size(record["bytes"]) if record.get("bytes") else None
    named = size_name(record["size"]) if "size" in record else size
    sides = {name: [size_name(each) for each in record[name]] for name in ("sizes", "at_hand") if name in record}
    return {**record, **metrics, **sides, "size": named, "classes": len(record.get("classes", ()))}


def _answer(query: Mapping[str, Any], protocol: str) -> str:
    asked = f"“{query['text']}”" if "text" in query else query["file"]
    if query["error"]:
        return f"{asked}: {query['error']['message']} {query['error']['remedy']}".rstrip()
    rows = [
        {"rank": each["rank"], "index": each["index"], "label": each["label_name"], "score": f"{each['score']:.4f}"}
        for each in query["neighbours"]
    ]
    vote, k = query["vote"], len(rows)
    said = f"vote: {vote['label_name']}, {vote['share']:.0%} ({round(vote['share'] * k)} of {k})" if vote else "no vote"
    said += "; of each group its nearest picture" if query.get("one_per_group") else ""
    warning = "\nNothing in this gallery looks like this picture." if (query["nearness"] or {}).get("beyond") else ""
    how = [f"{query['compared']}."] if "compared" in query else []
    how += [] if query["verified"] else ["Data or weights are NOT verified."]
    notes = "".join(f"\n{said}" for said in [*how, *query.get("notes", ())])
    rules = phrases.SIMILARITY if "text" in query else find_protocol(protocol)
    known = f"\n{_trust(query['reliability'])}\nScore: {rules.score_name}."
    return f"{asked}: {said}{warning}{notes}{known}\n{table(rows, ('rank', 'index', 'label', 'score'))}"


def _trust(reliability: Mapping[str, Any] | None) -> str:
    """How often a first neighbour like that of a picture of one's own is right, as counted on the test items."""
    if reliability is None:
        return "How far to trust this is not known."
    hits, n, name = reliability["hits"], reliability["n"], reliability["label_name"]
    if not n:
        return f"How far to trust this is not known: of no test item does the first neighbour say “{name}”."
    share, low, high = (100 * part for part in (hits / n, reliability["low"], reliability["high"]))
    return (
        f"Among test items whose first neighbour says “{name}”, {hits:,} of {n:,} are "
        f"({share:.1f} %, 95 % interval {low:.1f} to {high:.1f})."
    )


def _row(row: Row) -> dict[str, Any]:
    figures, left = row.as_published, row.groups_left_out
    interval = figures.intervals.get("ACC@1")
    hits = figures.hits.get("ACC@1")
    return {
        "encoder": row.encoder,
        "protocol": row.protocol,
        "source": row.source,
        "ACC@1 %": _of(figures, "ACC@1"),
        "hits": f"{hits} of {row.n_queries}" if hits is not None else None,
        "95 %": f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else None,
        "mMV@5 %": _of(figures, "mMV@5"),
        "mAP@5 %": _of(figures, "mAP@5"),
        _LEFT_OUT: _of(left, "ACC@1") if left else None,
        "": "; ".join(_remarks(row)) or None,
    }


def _remarks(row: Row) -> list[str]:
    """What a reader must know before comparing with this row."""
    below = row.as_published.beats_majority.get("ACC@1") is False
    return ["not above the majority class"] * below + ["data or weights NOT verified"] * (row.verified is False)


def _of(figures: Figures, name: str) -> str:
    return _rounded(figures.metrics.get(name))


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _with_hits(name: str, value: float | None, hits: Mapping[str, int], n: int) -> str:
    """`87.18 % (136 of 156)`; kappa and grades are no percentages."""
    if value is None:
        return ""
    unit = "" if name in ("kappa@1", "MAE@1") else " %"
    return f"{value:.2f}{unit}" + (f" ({hits[name]} of {n})" if name in hits else "")
