"""Values -> plain text, aligned, for people."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def table(records: Sequence[Record], columns: Sequence[str]) -> str:
    """Records as aligned text under column names; numbers to the right, absent values blank."""
    if not records:
        return "(none)"
    rows = [[_cell(record.get(column)) for column in columns] for record in records]
    right = [all(_is_number(record.get(column)) for record in records) for column in columns]
    widths = [max(len(line[place]) for line in (list(columns), *rows)) for place in range(len(columns))]
    return "\n".join(_line(line, widths, right) for line in (list(columns), *rows))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    return str(value)


def _is_number(value: Any) -> bool:
    return value is None or re.fullmatch(r"-?\d*(\.\d+)?", str(value)) is not None


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    aligned = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(aligned).rstrip()
