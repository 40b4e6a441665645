"""The table of labels in a source: a CSV with the columns `file`, `label`, `group` and `split`."""

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class Cells:
    """A table's rows as text, by the columns of interest that it has."""

    columns: frozenset[str]
    rows: tuple[Mapping[str, str], ...]


def read_table(data: bytes, *, name: str) -> Table | None:
    """The table of labels in a file's bytes; None where the file is a table without a column `file`.

    See `read_cells` for how it may be written.

    Raises:
        BadInput: It is no text, has a column twice, or is no table from some row on.
    """
    cells = read_cells(data, name=name, columns=COLUMNS)
    if "file" not in cells.columns:
        return None
    return Table(name=name, columns=cells.columns, rows=tuple(_row(values) for values in cells.rows))


def read_cells(data: bytes, *, name: str, columns: Sequence[str]) -> Cells:
    """The cells of a table under these columns, blanks around them cut off; rows without any are left out.

    Columns are parted by commas, semicolons, tabs or bars; the text is UTF-8 or UTF-16, with or without a mark at its
    beginning, or else Windows' western code page. Names of columns may be in upper case. Columns of other names are
    not looked at.

    Raises:
        BadInput: It is no text, has a column twice, or is no table from some row on.
    """
    try:
        return _cells(_text(data, name), name, columns)
    except csv.Error as error:
        raise BadInput(f"{name!r} cannot be read as a table: {error}.", remedy=_REMEDY) from error


def problem(values: Mapping[str, str]) -> str:
    """Why a row cannot be used, a sentence or nothing; a column that a table has must be filled in every row."""
    for column, value in values.items():
        if not value and column != "group":  # a picture without a group is its own
            return f"Its row has no {column}."
        most = naming.MAX_NAME if column == "id" else MAX_TEXT
        if column != "file" and len(value) > most:
            return f"Its {column} is longer than {most} characters."
        if column != "file" and (found := naming.text_problem(value)):
            return f"Its {column} holds {found}."
    split = values.get("split")
    if split and split.lower() not in SPLIT_WORDS:
        return f"Its split is {naming.shown(split)!r}, not train, val or test."
    return ""


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


def _cells(text: str, name: str, columns: Sequence[str]) -> Cells:
    lines = list(io.StringIO(text, newline=""))  # splitlines() would part rows at more than line ends
    if lines and lines[0].lower().startswith("sep="):  # Excel's own
        lines = lines[1:]
    headers = {delimiter: _header(lines, delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda each: len(set(columns).intersection(headers[each])))
    header = headers[delimiter]
    for column in columns:
        if header.count(column) > 1:
            raise BadInput(f"{name!r} has the column {column!r} more than once.", remedy="Keep one of them.")
    places = {column: header.index(column) for column in columns if column in header}
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    next(reader, None)
    rows = tuple(_rows(reader, places, len(header), name)) if places else ()
    return Cells(columns=frozenset(places), rows=rows)


def _header(lines: list[str], delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader(lines[:1], delimiter=delimiter, strict=True), [])
    except csv.Error:  # quotes that belong to another delimiter
        return []
    return [cell.strip().lower() for cell in cells]


def _rows(reader: Iterator[list[str]], places: Mapping[str, int], width: int, name: str) -> Iterator[Mapping[str, str]]:
    for number, cells in enumerate(reader, start=2):
        if number > MAX_FILES:
            raise BadInput(f"{name!r} has more than {MAX_FILES:,} rows.", remedy="Divide it and its pictures.")
        if any(cells[width:]):
            raise BadInput(
                f"Row {number:,} of {name!r} has more cells than the first row has names.",
                remedy="Put text that holds a comma (or whatever parts the columns) into double quotes.",
            )
        values = {column: cells[place].strip() if place < len(cells) else "" for column, place in places.items()}
        if any(values.values()):
            yield values


def _row(values: Mapping[str, str]) -> Row:
    file = unicodedata.normalize("NFC", naming.plain(values["file"].replace("\\", "/")))
    label, group, split = (values.get(column) or None for column in COLUMNS[1:])
    known = SPLIT_WORDS.get(split.lower()) if split else None
    return Row(file=file, label=label, group=group, split=known, problem=problem(values))
