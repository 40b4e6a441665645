"""What DICOM files say of themselves: whose they are, as a keyed group, and a label from a named attribute."""

import re
from collections.abc import Sequence
from dataclasses import replace

from retrieval.datasets.collections.person_tags import Tags, told
from retrieval.datasets.collections.records import File
from retrieval.datasets.collections.sources import Entry
from retrieval.pictures.reading import dicom_in

_KEYED = re.compile(r"patient-[0-9a-f]{16}")  # as `person_tags` makes them


def from_file(entry: Entry, data: bytes, tags: Tags | None) -> Entry:
    """An entry with what its bytes say, where they are DICOM or hold it; a table's group or a pattern's goes first.

    Raises:
        BadInput: Its attributes cannot be read, or the archive that holds it cannot.
    """
    dicom = None if tags is None else dicom_in(data, name=entry.name)
    if tags is None or dicom is None:
        return entry
    said = told(dicom, key=tags.key, label_tag=tags.label_tag)
    label = said.label if tags.label_tag else entry.label
    return replace(entry, label=label, group=entry.group or said.group)


def from_record(entry: Entry, before: File, tags: Tags | None) -> Entry | None:
    """The same for a file that has not changed, without reading it again.

    None where only the file itself can tell: the table that named its group does not any more.
    """
    if tags is None:
        return entry
    keyed = before.group if before.group and _KEYED.fullmatch(before.group) else None
    if before.group and not keyed and not entry.group:
        return None
    label = before.label if tags.label_tag else entry.label
    return replace(entry, label=label, group=entry.group or keyed)


def without_label(entries: Sequence[Entry], tags: Tags | None) -> dict[str, str]:
    """Names of entries that have no label where others have one by an attribute, each with the reason."""
    lacking = [entry.name for entry in entries if entry.label is None]
    if tags is None or not tags.label_tag or len(lacking) == len(entries):
        return {}
    return dict.fromkeys(lacking, f"It has no {tags.label_tag}, and others have one.")
