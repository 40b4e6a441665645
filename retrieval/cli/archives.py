"""A query of the command line that lies in a DICOMweb archive: fetched into memory, and kept nowhere."""

import re
from pathlib import Path

from retrieval.answers import UploadQuery
from retrieval.datasets.collections.archive_address import is_address, parse_picture
from retrieval.datasets.collections.dicomweb import Archive, Withheld
from retrieval.errors import Unavailable
from retrieval.roots import archive_login


def shown(text: str) -> str:
    """What a document calls a query: as it was given, but for a login in an address."""
    return re.sub(r"//.*@", "//", text) if is_address(text) else text


def upload(text: str) -> UploadQuery:
    """A picture file by its path, or a picture in an archive by `dicomweb:URL#UID`.

    Raises:
        BadInput: The address is none, or the archive has no such picture.
        Unavailable: The archive cannot be asked, or does not let in.
    """
    if not is_address(text):
        return UploadQuery(Path(text))
    address, uid = parse_picture(text)
    with Archive(address, archive_login()) as archive:
        data = archive.fetch(archive.find(uid))
    if isinstance(data, Withheld):
        raise Unavailable(f"The picture {uid} cannot be had. {data.reason}", remedy="Check its SOPInstanceUID.")
    return UploadQuery(Path(uid), data)
