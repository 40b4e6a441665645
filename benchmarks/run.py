"""What `make bench` runs: every benchmark, or those named; a table at the end; 1 where a demand does not hold.

All is judged by ratios within one run. Absolute times are told, not judged: they are this machine's, at this load.
"""

import json
import os
import platform
import sys
from dataclasses import asdict
from importlib import import_module, metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.judging import Finding
from benchmarks.serving import REPOSITORY

PARTS = ("search_at_scale", "start_up", "page", "page_at_work", "kills", "pipeline", "grid", "memory", "own_pictures")
PACKAGES = ("numpy", "faiss-cpu", "torch", "gradio", "playwright")
REPORT = REPOSITORY / "build" / "bench.json"


def main(names: list[str]) -> int:
    """Run the parts named, or all; the exit status."""
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    surroundings = describe()
    print("\n".join(f"{name}: {value}" for name, value in surroundings.items()), flush=True)
    loads, found = [], []
    for name in names or PARTS:
        print(f"\n{name} ...", flush=True)
        found += import_module(f"benchmarks.{name}").findings()
        loads.append(f"{name} {_load()}")
        write(found, {**surroundings, "load average after": loads})
    print(f"load average after: {', '.join(loads)}\n\n{table(found)}")
    return 1 if any(finding.held is False for finding in found) else 0


def describe() -> dict[str, str]:
    """The machine and what runs on it."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return {
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, device cpu",
        "load average before": _load(),
        "versions": f"Python {platform.python_version()}, {versions}",
    }


def table(found: list[Finding]) -> str:
    """One line a finding: figure, peer, ratio, what is demanded, whether it holds; notes below."""
    rows = [("what", "figure", "against", "its figure", "ratio", "demanded", ""), *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"{finding.name}: {finding.note}" for finding in found if finding.note]
    return "\n".join([*lines, "", *notes])


def write(found: list[Finding], surroundings: dict) -> None:
    """The same as JSON, at full precision, for whoever compares runs."""
    findings = [{**asdict(finding), "ratio": finding.ratio, "held": finding.held} for finding in found]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({**surroundings, "findings": findings}, indent=1) + "\n", encoding="utf-8")


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def _row(finding: Finding) -> tuple[str, ...]:
    ratio = "" if finding.ratio is None else f"{finding.ratio:.2f}"
    demanded = "" if finding.bound is None else f"{'>=' if finding.at_least else '<='} {finding.bound:g}"
    if finding.peer_figure is None and demanded:
        demanded += f" {finding.unit}"
    held = {True: "holds", False: "DOES NOT HOLD", None: ""}[finding.held]
    return (
        finding.name,
        _figure(finding.figure, finding.unit),
        finding.peer,
        _figure(finding.peer_figure, finding.unit),
        ratio,
        demanded,
        held,
    )


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.{0 if unit in ('ms', 'MB', 'modules') else 2}f} {unit}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
