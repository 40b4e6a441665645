"""`collection ...`: a person's own pictures, made a dataset; nothing is copied, and nothing of theirs is written."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval import artifacts
from retrieval.cells import cell
from retrieval.cli.answering import Form, give, saying_no, share_on_stderr
from retrieval.cli.tables import table
from retrieval.datasets.collections import adding, records
from retrieval.datasets.collections.duplicates import contradicting, crossing, duplicates
from retrieval.datasets.collections.imported import write_imported
from retrieval.datasets.collections.records import Collection, File
from retrieval.datasets.collections.vectors import NUMBER
from retrieval.datasets.specs import SPLITS
from retrieval.exporting import exported
from retrieval.roots import Roots, roots_from_environment

app = typer.Typer(
    help="Your own pictures: a folder of class folders, a folder with a CSV (file,label[,group][,split]), or a zip or "
    "tar of either.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The collection's name.")]
FormOption = Annotated[Form, typer.Option("--format", help="For people, or one JSON document.")]

_LISTED = ("name", "pictures", "classes", "gallery", "queries", "source")
_EXPORTED = ("file", "label", "group", "split", "width", "height", "pixels")
_MOST = 10  # of a long list, for people; the document holds all


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A new name: lower-case letters, digits, - and _.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder, zip or tar.")],
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern", help="What in a file's name is the patient or case: a regular expression, one group."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the split, where the source makes none.")] = 0,
    encoder: Annotated[
        str, typer.Option("--encoder", help="Of a file of vectors (npz, npy, parquet): what made them, in words.")
    ] = "",
    volumes: Annotated[
        bool,
        typer.Option(
            "--volumes",
            help="Whole volumes: NIfTI, multi-frame DICOM, TIFF, npy, npz, zips and folders of DICOM slices.",
        ),
    ] = False,
    form: FormOption = Form.TEXT,
) -> None:
    """Make a dataset of your pictures.

    They stay where they are. About 70 % are searched in, 20 % asked with, 10 % set aside, by class; a patient's
    pictures, and exact duplicates, are never on two sides.
    """
    with saying_no(form):
        roots = roots_from_environment()
        made = adding.add(
            name,
            path,
            roots,
            pattern=pattern,
            seed=seed,
            vectors=encoder,
            ndim=3 if volumes else 2,
            progress=share_on_stderr(),
        )
        document = described(made)
    give(document, form, text=f"{_text(made)}\n\n{_next(made)}")


@app.command("list")
def list_(form: FormOption = Form.TEXT) -> None:
    """The collections that were added."""
    with saying_no(form):
        roots = roots_from_environment()
        documents = [_line(name, roots) for name in records.names(roots)]
    give(documents, form, text=table(documents, _LISTED))


@app.command()
def show(name: Name, form: FormOption = Form.TEXT) -> None:
    """What a collection holds: counts, classes, groups, exact duplicates, and what was left out."""
    with saying_no(form):
        found = records.find(name, roots_from_environment())
        document = described(found)
    give(document, form, text=_text(found))


@app.command()
def update(name: Name, form: FormOption = Form.TEXT) -> None:
    """Look again for files that are new, changed or gone.

    Every other picture keeps its split, and its vectors when the collection is embedded next.
    """
    with saying_no(form):
        changes = adding.update(name, roots_from_environment(), progress=share_on_stderr())
        lists = {"new": changes.new, "changed": changes.changed, "vanished": changes.vanished}
        document = {**described(changes.collection), **{kind: list(names) for kind, names in lists.items()}}
    said = ", ".join(f"{len(names):,} {kind}" for kind, names in lists.items())
    give(document, form, text=f"Files: {said}.\n{_text(changes.collection)}")


@app.command()
def export(
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="The CSV file to write; with --encoder an npz, npy or parquet.")],
    encoder: Annotated[str, typer.Option("--encoder", help="Write its vectors of all pictures.")] = "",
    size: Annotated[int | None, typer.Option("--size", help="With --encoder: of the pictures at this size.")] = None,
    form: FormOption = Form.TEXT,
) -> None:
    """Write what is known of each picture as CSV, or the vectors of an extractor with it.

    Beside the pictures, the CSV is what `collection add` reads; the last three columns are not looked at then. A file
    of vectors can be added as a collection itself.
    """
    with saying_no(form):
        roots = roots_from_environment()
        found = records.find(name, roots)
        if encoder:
            asked = cell(name, size, encoder, roots=roots)
            written = write_imported(exported(asked, roots, progress=share_on_stderr()), to)
        else:
            text = as_csv(found.files)
            artifacts.write_atomic(to, lambda stream: stream.write(text.encode()))
            written = (to,)
    document = {"name": name, "file": str(to), "files": [str(path) for path in written], "pictures": len(found.files)}
    what = (
        f"The vectors of {len(found.files):,} pictures are" if encoder else f"{len(found.files):,} pictures are listed"
    )
    give(document, form, text=f"{what} in {' and '.join(map(str, written))}.")


@app.command()
def remove(name: Name, form: FormOption = Form.TEXT) -> None:
    """Forget a collection and what was computed for it; the pictures stay where they are."""
    with saying_no(form):
        records.remove(name, roots_from_environment())
    give({"removed": name}, form, text=f"{name} is forgotten. Its pictures were not touched.")


def described(found: Collection) -> dict[str, Any]:
    """A collection for programs."""
    files = found.files
    return {
        "name": found.name,
        "source": str(found.source),
        "kind": found.kind,
        "pattern": found.pattern,
        "seed": found.seed,
        "pictures": len(files),
        "counts": {split: len(found.of(split)) for split in SPLITS},
        "labelled": found.labelled,
        "classes": _per_class(files),
        "groups": len({file.group for file in files if file.group is not None}),
        "ndim": found.ndim,
        "channels": found.channels,
        "sides": _sides(found),
        "reduced_volumes": found.reduced,
        "duplicates": _names(duplicates(files)),
        "duplicates_on_two_sides": _names(crossing(files)),
        "duplicates_with_other_labels": _names(contradicting(files)),
        "vectors": found.vectors,
        "left_out": [{"name": each.name, "reason": each.reason} for each in found.left_out],
    }


def as_csv(files: Sequence[File]) -> str:
    """One row a picture; `pixels` is the digest that exact duplicates share."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_EXPORTED)
    for file in files:
        told = (file.name, file.label or "", file.group or "", file.split)
        writer.writerow((*told, file.width, file.height, file.pixels))
    return out.getvalue()


def _line(name: str, roots: Roots) -> dict[str, Any]:
    standing = records.standing(name, roots)
    counts, data = standing.dataset.counts, standing.dataset
    return {
        "name": name,
        "pictures": sum(counts.values()),
        "classes": len(data.classes) if data.labelled else 0,
        "gallery": counts["train"],
        "queries": counts["test"],
        "source": str(standing.source),
    }


def _per_class(files: Sequence[File]) -> dict[str, dict[str, int]]:
    """For each label, how many pictures each split has."""
    counts = Counter((file.label, file.split) for file in files if file.label is not None)
    labels = sorted({label for label, _ in counts if label is not None})
    return {label: {split: counts[label, split] for split in SPLITS} for label in labels}


def _sides(found: Collection) -> dict[str, int]:
    sides = [side for file in found.files for side in (file.height, file.width)]
    sides += [file.depth for file in found.files] if found.ndim == 3 else []
    return {"shortest": min(sides), "longest": max(sides)}


def _names(sets: Sequence[Sequence[File]]) -> list[list[str]]:
    return [[file.name for file in same] for same in sets]


def _text(found: Collection) -> str:
    document = described(found)
    counts, same = document["counts"], document["duplicates"]
    lines = [
        f"{found.name}: {_what(found, document)}, from {found.source}",
        f"{counts['train']:,} to search in, {counts['test']:,} to ask with, {counts['val']:,} set aside; "
        f"{_groups(document['groups'])}.",
        *_volumes(found),
        "",
        _classes(document["classes"]),
        "",
        f"Exact duplicates: {_number(same, 'set')}, {sum(map(len, same)):,} files.",
        *_few([", ".join(names[:4]) + (" …" if len(names) > 4 else "") for names in same]),
        *_warnings(document),
        f"Left out: {_number(document['left_out'], 'file')}.",
        *_few([f"{each['name']}: {each['reason']}" for each in document["left_out"]]),
    ]
    return "\n".join(lines)


def _what(found: Collection, document: dict[str, Any]) -> str:
    count, colour = document["pictures"], "in colour" if found.channels == 3 else "grey"
    if found.vectors:
        return f"{count:,} vectors of {found.files[0].bytes // NUMBER.itemsize:,} numbers by {found.vectors}"
    if found.ndim == 3:
        return f"{count:,} volumes of {_range(document['sides'])} voxels a side, grey"
    return f"{count:,} pictures of {_range(document['sides'])} pixels a side, {colour}"


def _volumes(found: Collection) -> list[str]:
    """At which sizes volumes are compared; or how many were made pictures."""
    if found.ndim == 3:
        usual, *others = records.VOLUME_SIZES
        return [f"They are compared as cubes of {usual} voxels a side, with --size of {' or '.join(map(str, others))}."]
    if not found.reduced:
        return []
    return [
        f"{found.reduced:,} of {len(found.files):,} files are volumes, of which the middle slice was taken; "
        "add them with --volumes to compare whole volumes."
    ]


def _classes(classes: dict[str, dict[str, int]]) -> str:
    if not classes:
        return "They have no labels: they can be searched, not ranked."
    rows = [
        {"class": label, "search in": n["train"], "ask with": n["test"], "aside": n["val"]}
        for label, n in classes.items()
    ]
    return table(rows, ("class", "search in", "ask with", "aside"))


def _warnings(document: dict[str, Any]) -> list[str]:
    """What in a source is worth a second look."""
    two, other = document["duplicates_on_two_sides"], document["duplicates_with_other_labels"]
    said = [f"{_number(two, 'set')} of them on two sides, as the source has it."] if two else []
    return said + ([f"{_number(other, 'set')} of them with different labels."] if other else [])


def _groups(count: int) -> str:
    return f"{count:,} groups, none on two sides" if count else "no groups"


def _range(sides: dict[str, int]) -> str:
    low, high = sides["shortest"], sides["longest"]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _number(what: Sequence[Any], noun: str) -> str:
    return f"{len(what):,} {noun}" + ("" if len(what) == 1 else "s")


def _few(lines: Sequence[str]) -> list[str]:
    more = [f"  … and {len(lines) - _MOST:,} more; --format json lists all"] if len(lines) > _MOST else []
    return [f"  {line}" for line in lines[:_MOST]] + more


def _next(found: Collection) -> str:
    if found.vectors:
        verb = "evaluate" if found.labelled else "search VECTOR.npy"
        return f"Run: python -m retrieval {verb} --dataset {found.name} --encoder imported"
    if not found.labelled:
        query = "PICTURE" if found.ndim == 2 else "VOLUME"
        return f"Run: python -m retrieval search {query} --dataset {found.name} --encoder efficientnet_lite0"
    return f"Run: python -m retrieval evaluate --dataset {found.name} --encoder efficientnet_lite0"
