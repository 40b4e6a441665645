"""What the folders and the table of a source say of its pictures: labels, groups and splits."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.sifting import LeftOut
from retrieval.datasets.collections.tables import MAX_TEXT, SPLIT_WORDS, Row, Table, read_table
from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput

MAX_PATTERN = 200  # characters


@dataclass(frozen=True)
class Told:
    """What is told of one picture; None where nothing is. A `problem` is a sentence on why it is left out."""

    name: str
    label: str | None = None
    group: str | None = None
    split: SplitName | None = None
    problem: str = ""


@dataclass(frozen=True)
class Layout:
    """Pictures in the order of their names, and what was left out."""

    pictures: tuple[Told, ...]
    left_out: tuple[LeftOut, ...]


def laid_out(
    pictures: Sequence[str], tables: Sequence[str], *, read: Callable[[str], bytes], pattern: re.Pattern[str] | None
) -> Layout:
    """Label, group and split of each picture.

    A single folder that holds everything is looked through. Then a table with a column `file` rules, which lies beside
    or above the pictures; for what it has no column, and without a table, folders named `train`, `val` and `test` are
    the splits, and the folders in them, or at the top, the classes. Either all pictures have a label or none: one
    without is left out where others have one.

    Args:
        pattern: With one group, which names a picture's group in its name; in its whole path if `/` is in the pattern.

    Raises:
        BadInput: There are several tables, labels that differ by case only, folders that are half splits and half
            classes, or a group is given twice or found nowhere.
    """
    top = _top(pictures)
    table, left_out = _table(tables, top, read)
    columns = table.columns if table else frozenset()
    told = _by_folders(pictures, top, columns)
    if table:
        told, unmatched = _by_table(told, table)
        left_out += unmatched
    told = _complete(told)
    if pattern:
        told = _by_pattern(told, pattern, columns)
    _check_labels(told)
    left_out += [LeftOut(naming.shown(each.name), each.problem) for each in told if each.problem]
    return Layout(tuple(each for each in told if not each.problem), tuple(left_out))


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern for the group in a name; BadInput where it is no regular expression with exactly one group."""
    remedy = r"Give one such as '(p\d+)_', whose group in parentheses is the patient's part of the file name."
    if len(pattern) > MAX_PATTERN:
        raise BadInput(f"The pattern is longer than {MAX_PATTERN} characters.", remedy=remedy)
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadInput(f"The pattern {pattern!r} is no regular expression: {error}.", remedy=remedy) from error
    if expression.groups != 1:
        raise BadInput(f"The pattern {pattern!r} has {expression.groups} groups instead of one.", remedy=remedy)
    return expression


def _top(names: Sequence[str]) -> str:
    """The folders that hold everything, with a slash at the end; empty where there are none."""
    if not names:
        return ""
    first, last = min(names), max(names)  # what these two share, all share
    shared = 0
    steps, others = first.split("/")[:-1], last.split("/")[:-1]
    while shared < min(len(steps), len(others)) and steps[shared] == others[shared]:
        shared += 1
    return "".join(f"{step}/" for step in steps[:shared])


def _table(names: Sequence[str], top: str, read: Callable[[str], bytes]) -> tuple[Table | None, list[LeftOut]]:
    """The one table of labels that lies beside the pictures or above them."""
    above = [name for name in names if top.startswith(_folder(name))]
    left_out = [
        LeftOut(naming.shown(name), "It is a table, and lies in another place than beside or above all pictures.")
        for name in names
        if name not in above
    ]
    tables = []
    for name in above:
        if table := read_table(read(name), name=name):
            tables.append(table)
        else:
            reason = "It is no table of labels: none of its columns is named `file`."
            left_out.append(LeftOut(naming.shown(name), reason))
    if len(tables) > 1:
        raise BadInput(
            f"There is more than one table of labels: {', '.join(table.name for table in tables)}.",
            remedy="Keep one of them beside the pictures.",
        )
    return (tables[0] if tables else None), left_out


def _folder(name: str) -> str:
    return name[: name.rfind("/") + 1]


def _by_folders(names: Sequence[str], top: str, columns: frozenset[str]) -> list[Told]:
    """What the folders say, less what a table has a column for."""
    if columns >= {"label", "split"}:
        return [Told(name) for name in names]
    steps = {name: name[len(top) :].split("/") for name in names}
    heads = {each[0] for each in steps.values() if len(each) > 1}
    splits: dict[str, SplitName] = {head: SPLIT_WORDS[head.lower()] for head in heads if head.lower() in SPLIT_WORDS}
    if not splits:
        told = [Told(name, label=each[0] if len(each) > 1 else None) for name, each in steps.items()]
    else:
        _check_splits(splits, heads, steps)
        told = [
            Told(name, label=each[1] if len(each) > 2 else None, split=splits[each[0]]) for name, each in steps.items()
        ]
    if "label" in columns:
        return [replace(each, label=None) for each in told]
    return [replace(each, split=None) for each in told] if "split" in columns else told


def _check_splits(splits: Mapping[str, SplitName], heads: set[str], steps: Mapping[str, Sequence[str]]) -> None:
    others = sorted(heads - splits.keys()) or [name for name, each in steps.items() if len(each) == 1]
    if others:
        raise BadInput(
            f"The folders {', '.join(sorted(splits))} are named as splits, but {naming.shown(others[0])!r} lies "
            "beside them: it is not clear what is a split and what a class.",
            remedy="Rename or move one of them, or add a table with the columns `file`, `label` and `split`.",
        )
    if len(set(splits.values())) < len(splits):
        raise BadInput(
            f"The folders {', '.join(sorted(splits))} hold one split under two names.", remedy="Rename one of them."
        )


def _by_table(told: Sequence[Told], table: Table) -> tuple[list[Told], list[LeftOut]]:
    """What the table says of each picture; rows that name no picture."""
    named = _Index([each.name for each in told], _folder(table.name))
    rows: dict[str, list[Row]] = {}
    unmatched = []
    for row in table.rows:
        if name := named.find(row.file):
            rows.setdefault(name, []).append(row)
        else:
            called = naming.shown(row.file) or table.name
            reason = row.problem if not row.file else f"A row of {table.name} names it, and there is no such picture."
            unmatched.append(LeftOut(called, reason))
    return [_with_row(each, rows.get(each.name, []), table) for each in told], unmatched


class _Index:
    """Pictures by what a table may call them: the path from the table, the whole path, the name, the name's stem."""

    def __init__(self, names: Iterable[str], folder: str) -> None:
        self._places: list[dict[str, str | None]] = [{}, {}, {}, {}]
        for name in names:
            last = PurePosixPath(name).name
            for place, key in zip(self._places, (name.removeprefix(folder), name, last, _stem(last)), strict=True):
                key = unicodedata.normalize("NFC", key)
                place[key] = None if key in place else name  # two of a name: it says too little

    def find(self, called: str) -> str | None:
        """The picture that is called so; None where there is none or several."""
        return next((place[called] for place in self._places if called in place), None)


def _stem(name: str) -> str:
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else PurePosixPath(name).stem


def _with_row(told: Told, rows: Sequence[Row], table: Table) -> Told:
    if not rows:
        return replace(told, problem=f"No row of {table.name} names it.")
    if len({(row.label, row.group, row.split, row.problem) for row in rows}) > 1:
        return replace(told, problem=f"Several rows of {table.name} name it and differ.")
    row, columns = rows[0], table.columns
    return Told(
        name=told.name,
        label=row.label if "label" in columns else told.label,
        group=row.group,
        split=row.split if "split" in columns else told.split,
        problem=row.problem,
    )


def _complete(told: Sequence[Told]) -> list[Told]:
    """Pictures without a label are left out where others have one: they could only be counted as misses."""
    sound = [each for each in told if not each.problem]
    labelled = [each for each in sound if each.label is not None]
    if not labelled or len(labelled) == len(sound):
        return list(told)
    reason = "It lies beside the folders of classes, in none of them."
    return [replace(each, problem=each.problem or reason) if each.label is None else each for each in told]


def _by_pattern(told: Sequence[Told], pattern: re.Pattern[str], columns: frozenset[str]) -> list[Told]:
    if "group" in columns:
        raise BadInput(
            "Groups are given by the table's column `group` and by a pattern.", remedy="Leave the pattern out."
        )
    grouped = [_grouped(each, pattern) for each in told]
    if told and not any(each.group for each in grouped):
        raise BadInput(
            f"The pattern {pattern.pattern!r} is found in no name, such as {naming.shown(told[0].name)!r}.",
            remedy="Correct it, or leave it out.",
        )
    return grouped


def _grouped(told: Told, pattern: re.Pattern[str]) -> Told:
    match = pattern.search(told.name if "/" in pattern.pattern else PurePosixPath(told.name).name)
    group = match[1] if match else None
    if not group:
        return replace(told, problem=told.problem or "The pattern finds no group in its name.")
    return replace(told, group=group[:MAX_TEXT])


def _check_labels(told: Sequence[Told]) -> None:
    clashes = naming.clashing(sorted({each.label for each in told if each.label is not None and not each.problem}))
    if clashes:
        raise BadInput(
            f"The classes {', '.join(map(repr, clashes))} differ by upper and lower case or accents only.",
            remedy="Give them one name, or names that differ more.",
        )
