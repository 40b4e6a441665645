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
from retrieval.cli.collection_texts import next_step, text_of
from retrieval.cli.outputs import check_output
from retrieval.cli.tables import table
from retrieval.datasets.collections import adding, archived, received, records
from retrieval.datasets.collections.archive_address import Address, is_address, parse_address
from retrieval.datasets.collections.dicomweb import plain_http
from retrieval.datasets.collections.duplicates import contradicting, crossing, duplicates
from retrieval.datasets.collections.imported import SUFFIXES, write_imported
from retrieval.datasets.collections.records import Collection, File
from retrieval.datasets.specs import SPLITS
from retrieval.exporting import exported
from retrieval.roots import Login, Roots, archive_login, roots_from_environment

app = typer.Typer(
    help="Your own pictures: a folder of class folders, a folder with a CSV (file,label[,group][,split]), or a zip or "
    "tar of either.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The collection's name.")]
Query = Annotated[
    list[str] | None,
    typer.Option(
        "--query",
        metavar="KEY=VALUE",
        help="Of an archive: what its pictures must match, for instance Modality=CR or StudyDate=20200101-; "
        "repeatable.",
    ),
]
LabelTag = Annotated[
    str | None,
    typer.Option(
        "--label-tag", help="Of DICOM files and archives: the attribute that is the label, such as BodyPartExamined."
    ),
]
Volumes = Annotated[
    bool,
    typer.Option(
        "--volumes", help="Whole volumes: NIfTI, multi-frame DICOM, TIFF, npy, npz, zips and folders of DICOM slices."
    ),
]
FormOption = Annotated[Form, typer.Option("--format", help="For people, or one JSON document.")]

_LISTED = ("name", "pictures", "classes", "gallery", "queries", "source")
_EXPORTED = ("file", "label", "group", "split", "width", "height", "pixels")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A new name: lower-case letters, digits, - and _.")],
    place: Annotated[
        str, typer.Argument(metavar="PATH", help="The folder, zip or tar; or dicomweb:URL, a DICOMweb archive.")
    ],
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern", help="What in a file's name is the patient or case: a regular expression, one group."
        ),
    ] = None,
    query: Query = None,
    label_tag: LabelTag = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the split, where the source makes none.")] = 0,
    encoder: Annotated[
        str, typer.Option("--encoder", help="Of a file of vectors (npz, npy, parquet): what made them, in words.")
    ] = "",
    volumes: Volumes = False,
    form: FormOption = Form.TEXT,
) -> None:
    """Make a dataset of your pictures.

    They stay where they are; of an archive the pixels are kept under the cache. About 70 % are searched in, 20 % asked
    with, 10 % set aside, by class; a patient's pictures, and exact duplicates, are never on two sides.
    """
    in_archive = is_address(place)
    _check_kind(in_archive, pattern=pattern, encoder=encoder, volumes=volumes, query=query)
    with saying_no(form):
        roots, progress = roots_from_environment(), share_on_stderr()
        if in_archive:
            address, login = parse_address(place, query or ()), archive_login()
            _warn_of(address, login)
            made = adding.add_archive(
                name, address, roots, label_tag=label_tag, login=login, seed=seed, progress=progress
            )
        else:
            made = adding.add(
                name,
                Path(place),
                roots,
                pattern=pattern,
                label_tag=label_tag,
                seed=seed,
                vectors=encoder,
                ndim=3 if volumes else 2,
                progress=progress,
            )
        document = {**described(made), **_archive(name, roots)}
    give(document, form, text=f"{text_of(made, document)}\n\n{next_step(made, roots)}")


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
        roots = roots_from_environment()
        found = records.find(name, roots)
        document = {**described(found), **_archive(name, roots)}
    give(document, form, text=text_of(found, document))


@app.command()
def update(name: Name, form: FormOption = Form.TEXT) -> None:
    """Look again for files that are new, changed or gone.

    Every other picture keeps its split, and its vectors when the collection is embedded next.
    """
    with saying_no(form):
        roots = roots_from_environment()
        login = archive_login() if records.find(name, roots).kind == "dicomweb" else None
        changes = adding.update(name, roots, login=login, progress=share_on_stderr())
        lists = {"new": changes.new, "changed": changes.changed, "vanished": changes.vanished}
        document = {
            **described(changes.collection),
            **_archive(name, roots),
            **{kind: list(names) for kind, names in lists.items()},
        }
    said = ", ".join(f"{len(names):,} {kind}" for kind, names in lists.items())
    give(document, form, text=f"Files: {said}.\n{text_of(changes.collection, document)}")


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
    if size is not None and not encoder:
        raise typer.BadParameter("--size is of an extractor's vectors: name one with --encoder.")
    with saying_no(form):
        roots = roots_from_environment()
        found = records.find(name, roots)
        check_output(to, endings=SUFFIXES if encoder else ())
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
    """Forget a collection and what was computed for it; the pictures stay where they are.

    Only what was fetched from an archive, or sent to the page, goes with it.
    """
    with saying_no(form):
        roots = roots_from_environment()
        sent = received.is_received(name, roots)
        records.remove(name, roots)
    what = "The zip that was sent to the page is deleted" if sent else "Its pictures stay where they come from"
    give({"removed": name}, form, text=f"{name} is forgotten. {what}.")


def _check_kind(in_archive: bool, *, pattern: str | None, encoder: str, volumes: bool, query: list[str] | None) -> None:
    """Options that are for the other kind of source."""
    if in_archive and (pattern or encoder):
        raise typer.BadParameter(
            "--pattern and --encoder are for files; an archive says itself which pictures are of one patient."
        )
    if in_archive and volumes:
        raise typer.BadParameter("--volumes is for files; of an archive every picture is taken by itself.")
    if not in_archive and query:
        raise typer.BadParameter("--query is for archives: dicomweb:URL.")


def _warn_of(address: Address, login: Login | None) -> None:
    """What is to be known before a login is sent."""
    if login is not None and plain_http(address):
        typer.echo(f"The login crosses the network to {address.host} unencrypted: it is asked by http.", err=True)


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
        "burned_in": [file.name for file in files if file.burned_in],
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
        "source": (_archive(name, roots).get("archive") or {}).get("url") or str(standing.source),
    }


def _archive(name: str, roots: Roots) -> dict[str, Any]:
    """Where a collection of an archive comes from; nothing for others."""
    found = archived.find(records.folder_of(name, roots))
    if found is None:
        return {}
    return {"archive": {"url": found.address.url, "query": dict(found.address.query), "label_tag": found.label_tag}}


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
