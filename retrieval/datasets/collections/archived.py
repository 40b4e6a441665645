"""What of an archive is kept with its collection: the pixels, what they are labelled, and nothing that names a person.

In the collection's folder `archive.json` holds the address, and the key under which patients become groups. Below
`archive/` each picture has one file by its UIDs, written whole or not at all: a PNG of its 8-bit rendition, in whose
text the label and the group stand, or the reason why it is none. So a run that was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from retrieval import artifacts
from retrieval.datasets.collections import person_tags
from retrieval.datasets.collections.archive_address import Address
from retrieval.datasets.collections.containers import Kind
from retrieval.datasets.collections.dicomweb import Archive, Instance, Withheld
from retrieval.datasets.collections.folders import Folder
from retrieval.datasets.collections.person_tags import Told
from retrieval.datasets.collections.sifting import LeftOut, shortened
from retrieval.datasets.collections.sources import Entry, Source
from retrieval.errors import BadInput, Unavailable
from retrieval.pictures.reading import decode_picture

RECORD = "archive.json"
PICTURES = "archive"
VERSION = 1  # raised when what the record says changes its meaning

IN_A_ROW = 5  # pictures that an archive may fail to give before it is taken to be out of order

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Archived:
    """Where the pictures of a collection come from.

    Attributes:
        folder: The collection's own.
        address: The archive, and which of its pictures.
        label_tag: The attribute that is the label; None: there is none.
        key: Under which patients become groups, hexadecimal.
    """

    folder: Path
    address: Address
    label_tag: str | None
    key: str = field(repr=False)

    @property
    def pictures(self) -> Path:
        """The folder of what was fetched."""
        return self.folder / PICTURES


@dataclass(frozen=True)
class Fetched:
    """What an archive lists now, all of it fetched or left out.

    Attributes:
        instances: In order of their UIDs.
        withheld: What it did not give this time, with reasons.
    """

    instances: tuple[Instance, ...]
    withheld: tuple[LeftOut, ...]


class Pixels(Folder):
    """The pictures that were fetched, as files to read.

    Attributes:
        unlisted: Files of pictures that are not in the archive any more.
    """

    kind: Kind = "dicomweb"

    def __init__(self, path: Path, unlisted: Sequence[Path]) -> None:
        super().__init__(path)
        self.unlisted = tuple(unlisted)

    def forget(self) -> None:
        """Remove what the archive does not have any more; for when no record names it."""
        for path in self.unlisted:
            artifacts.remove_file(path)


def begin(folder: Path, address: Address, label_tag: str | None) -> Archived:
    """The archive of a new collection, or of one that was begun in the same way.

    Raises:
        BadInput: It was begun with another archive, query or label.
        Unavailable: What was begun is damaged.
    """
    found = find(folder)
    if found is None:
        begun = Archived(folder, address, label_tag, person_tags.new_key())
        document: dict[str, Any] = {
            "version": VERSION,
            "url": address.url,
            "query": [list(pair) for pair in address.query],
        }
        document |= {"label_tag": label_tag, "key": begun.key}
        artifacts.write_sealed(folder / RECORD, document, private=True)
        return begun
    if (found.address, found.label_tag) != (address, label_tag):
        raise BadInput(
            f"Fetching the collection {folder.name} was begun with another archive, query or label.",
            remedy=f"Go on as it was begun; or run: python -m retrieval collection remove {folder.name}",
        )
    return found


def find(folder: Path) -> Archived | None:
    """The archive that a collection comes from; None where it comes from none.

    Raises:
        Unavailable: What is recorded of it is damaged: without its key, a patient would become another group.
    """
    if not (folder / RECORD).exists():
        return None
    document = artifacts.read_sealed(folder / RECORD)
    if document is None or document.get("version") != VERSION:
        raise _lost(folder, "is damaged")
    query = tuple((str(key), str(value)) for key, value in document["query"])
    return Archived(folder, Address(document["url"], query), document["label_tag"], document["key"])


def find_again(folder: Path) -> Archived:
    """The archive of a collection that comes from one; Unavailable where what is recorded of it is gone or damaged."""
    found = find(folder)
    if found is None:
        raise _lost(folder, "is gone")
    return found


def check_not_begun(folder: Path) -> None:
    """BadInput where a collection of this name was begun with an archive: its key and its pictures are kept here."""
    if (folder / RECORD).exists():
        raise BadInput(
            f"Fetching a collection {folder.name} from an archive was begun, and is not finished.",
            remedy=f"Go on with it or choose another name; or run: python -m retrieval collection remove {folder.name}",
        )


def fetch(archived: Archived, archive: Archive, *, progress: Progress | None = None) -> Fetched:
    """Fetch every picture that the archive lists and is not here; each is decoded, kept and forgotten one by one.

    Raises:
        BadInput: Nothing matches, or too much.
        Unavailable: The archive cannot be asked, does not let in or gives nothing; what has come is kept.
    """
    instances = archive.instances()
    missing = [each for each in instances if not _is_here(archived, each)]
    withheld: list[LeftOut] = []
    in_a_row = 0
    for number, instance in enumerate(missing):
        if progress is not None:
            done = len(instances) - len(missing) + number
            progress(f"Fetching from {archive.address.host}: {done:,} of {len(instances):,}", done / len(instances))
        reason = _fetch_one(archived, archive, instance)
        in_a_row = in_a_row + 1 if reason else 0
        withheld += [LeftOut(_name(instance), reason)] if reason else []
        if in_a_row >= IN_A_ROW:
            raise _out_of_order(archive, reason, len(instances) - len(missing) + number + 1 - len(withheld))
    return Fetched(tuple(instances), tuple(withheld))


def opened(archived: Archived, fetched: Fetched) -> Source:
    """What was fetched as a source: a picture without a label is left out where others have one."""
    withheld = {each.name for each in fetched.withheld}
    found = [_entry(archived, each) for each in fetched.instances if _name(each) not in withheld]
    entries = [each for each in found if isinstance(each, Entry)]
    left_out = [*fetched.withheld, *(each for each in found if isinstance(each, LeftOut))]
    labelled = [entry for entry in entries if entry.label is not None]
    if 0 < len(labelled) < len(entries):
        reason = f"It has no {archived.label_tag}, and others have one."
        left_out += [LeftOut(entry.name, reason) for entry in entries if entry.label is None]
        entries = labelled
    container = Pixels(archived.pictures, _unlisted(archived, fetched))
    return Source(container=container, entries=tuple(entries), left_out=shortened(left_out))


def _fetch_one(archived: Archived, archive: Archive, instance: Instance) -> str:
    """Keep one picture, or why it is none; the reason where the archive does not give it now."""
    try:
        data = archive.fetch(instance)
        if isinstance(data, Withheld):
            return data.reason
        told = person_tags.told(data, key=archived.key, label_tag=archived.label_tag)
        if told.sop != instance.sop:
            return "The archive sends another object than was asked for."
        _keep(archived, instance, data, told)
    except BadInput as error:
        text = json.dumps({"reason": error.message}).encode()
        artifacts.write_atomic(_refusal(archived, instance), lambda stream: stream.write(text), private=True)
    return ""


def _keep(archived: Archived, instance: Instance, data: bytes, told: Told) -> None:
    image = decode_picture(data, name=instance.sop).image
    text = PngImagePlugin.PngInfo()
    for name, value in (("label", told.label), ("group", told.group), ("burned-in", "YES" if told.burned_in else None)):
        if value is not None:
            text.add_itxt(name, value)
    artifacts.write_atomic(
        _file(archived, instance),
        lambda stream: image.save(stream, "PNG", pnginfo=text, compress_level=3),
        private=True,
    )


def _entry(archived: Archived, instance: Instance) -> Entry | LeftOut:
    path = _file(archived, instance)
    if not path.exists():
        return LeftOut(_name(instance), _reason(_refusal(archived, instance)))
    try:
        with Image.open(path, formats=("PNG",)) as image:
            text = image.info
    except (OSError, SyntaxError, ValueError):
        artifacts.remove_file(path)
        return LeftOut(_name(instance), "It was damaged on the disk and is fetched again by the next update.")
    marked = text.get("burned-in") == "YES"
    return Entry(_name(instance), path.stat().st_size, text.get("label"), text.get("group"), burned_in=marked)


def _unlisted(archived: Archived, fetched: Fetched) -> list[Path]:
    listed = {_file(archived, each).with_suffix("") for each in fetched.instances}
    files = (path for path in archived.pictures.glob("*/*") if not path.name.startswith("."))
    return [path for path in files if path.with_suffix("") not in listed]


def _reason(path: Path) -> str:
    document = artifacts.read_json(path)
    if isinstance(document, dict) and isinstance(document.get("reason"), str):
        return document["reason"]
    artifacts.remove_file(path)
    return "It is fetched again by the next update."


def _is_here(archived: Archived, instance: Instance) -> bool:
    return _file(archived, instance).exists() or _refusal(archived, instance).exists()


def _name(instance: Instance) -> str:
    return f"{instance.series}/{instance.sop}.png"


def _file(archived: Archived, instance: Instance) -> Path:
    return archived.pictures / instance.series / f"{instance.sop}.png"


def _refusal(archived: Archived, instance: Instance) -> Path:
    return archived.pictures / instance.series / f"{instance.sop}.json"


def _lost(folder: Path, what: str) -> Unavailable:
    return Unavailable(
        f"What is recorded of the archive of the collection {folder.name} {what}.",
        remedy=f"Run: python -m retrieval collection remove {folder.name}. Then add it again.",
    )


def _out_of_order(archive: Archive, reason: str, count: int) -> Unavailable:
    return Unavailable(
        f"{archive.address.host} did not give {IN_A_ROW} pictures one after the other. Of the last: {reason}",
        remedy=f"Run it again when it is in order: the {count:,} pictures that are here are kept.",
    )
