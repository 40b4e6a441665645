"""The table of labels in a source: a CSV with the columns `file`, `label`, `group` and `split`."""

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.containers import MAX_FILES
from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput

COLUMNS = ("file", "label", "group", "split")
MAX_TEXT = 200  # characters of a label or a group

SPLIT_WORDS: Mapping[str, SplitName] = {
    **{name: name for name in get_args(SplitName)},
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}

_DELIMITERS = ",;\t|"
_REMEDY = "It needs a first row of names, of which one is `file` and others may be `label`, `group` and `split`."


@dataclass(frozen=True)
class Row:
    """What a table says of one file; None where it says nothing."""

    file: str
    label: str | None = None
    group: str | None = None
    split: SplitName | None = None
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A table of labels: which of the columns it has, and its rows in order."""

    name: str
    columns: frozenset[str]
    rows: tuple[Row, ...]


def read_table(data: bytes, *, name: str) -> Table | None:
    """The table of labels in a file's bytes; None where the file is a table without a column `file`.

    Columns are parted by commas, semicolons, tabs or bars; the text is UTF-8 or UTF-16, with or without a mark at its
    beginning, or else Windows' western code page. Names of columns may be in upper case. Columns of other names are
    not looked at.

    Raises:
        BadInput: It is no text, has a column twice, or is no table from some row on.
    """
    text = _text(data, name)
    try:
        return _table(text, name)
    except csv.Error as error:
        raise BadInput(f"{name!r} cannot be read as a table: {error}.", remedy=_REMEDY) from error


def _text(data: bytes, name: str) -> str:
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise BadInput(f"{name!r} is no text in UTF-8, UTF-16 or Windows' western code page.", remedy="Save it as UTF-8.")


def _table(text: str, name: str) -> Table | None:
    lines = list(io.StringIO(text, newline=""))  # splitlines() would part rows at more than line ends
    if lines and lines[0].lower().startswith("sep="):  # Excel's own
        lines = lines[1:]
    parted = [(delimiter, _header(lines, delimiter)) for delimiter in _DELIMITERS]
    delimiter, header = next((each for each in parted if "file" in each[1]), (",", []))
    if not header:
        return None
    for column in COLUMNS:
        if header.count(column) > 1:
            raise BadInput(f"{name!r} has the column {column!r} more than once.", remedy="Keep one of them.")
    places = {column: header.index(column) for column in COLUMNS if column in header}
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    next(reader)
    return Table(name=name, columns=frozenset(places), rows=tuple(_rows(reader, places, name)))


def _header(lines: list[str], delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader(lines[:1], delimiter=delimiter, strict=True), [])
    except csv.Error:  # quotes that belong to another delimiter
        return []
    return [cell.strip().lower() for cell in cells]


def _rows(reader: Iterator[list[str]], places: Mapping[str, int], name: str) -> Iterator[Row]:
    for number, cells in enumerate(reader):
        if number >= MAX_FILES:
            raise BadInput(f"{name!r} has more than {MAX_FILES:,} rows.", remedy="Divide it and its pictures.")
        values = {column: cells[place].strip() if place < len(cells) else "" for column, place in places.items()}
        if any(values.values()):
            yield _row(values)


def _row(values: Mapping[str, str]) -> Row:
    file = unicodedata.normalize("NFC", naming.plain(values["file"].replace("\\", "/")))
    label, group, split = (values.get(column) or None for column in COLUMNS[1:])
    known = SPLIT_WORDS.get(split.lower()) if split else None
    problem = _problem(values) or (
        "" if split is None or known else f"Its split is {naming.shown(split)!r}, not train, val or test."
    )
    return Row(file=file, label=label, group=group, split=known, problem=problem)


def _problem(values: Mapping[str, str]) -> str:
    """Why a row cannot be used; a column that a table has must be filled in every row."""
    for column, value in values.items():
        if not value and column != "group":  # a picture without a group is its own
            return f"Its row has no {column}."
        if column != "file" and len(value) > MAX_TEXT:
            return f"Its {column} is longer than {MAX_TEXT} characters."
        if column != "file" and (found := naming.text_problem(value)):
            return f"Its {column} holds {found}."
    return ""
