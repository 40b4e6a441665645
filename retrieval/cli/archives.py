"""A query of the command line that lies in a DICOMweb archive: fetched into memory, and kept nowhere."""

from dataclasses import dataclass
from pathlib import Path

from retrieval.answers import UploadQuery
from retrieval.datasets.collections.archive_address import Address, is_address, parse_picture
from retrieval.datasets.collections.dicomweb import Archive, Withheld
from retrieval.errors import Unavailable
from retrieval.roots import archive_login


@dataclass(frozen=True)
class ArchivePicture:
    """A picture in an archive, by its SOPInstanceUID."""

    address: Address
    uid: str

    @property
    def named(self) -> UploadQuery:
        """The query without its bytes, for a document that says why it was refused."""
        return UploadQuery(Path(self.uid))

    def fetched(self) -> UploadQuery:
        """The query, its bytes in memory.

        Raises:
            BadInput: The archive has no such picture.
            Unavailable: The archive cannot be asked, does not let in, or does not give it.
        """
        with Archive(self.address, archive_login()) as archive:
            data = archive.fetch(archive.find(self.uid))
        if isinstance(data, Withheld):
            raise Unavailable(f"The picture {self.uid} cannot be had. {data.reason}", remedy="Check its UID.")
        return UploadQuery(Path(self.uid), data)


def picture(text: str) -> UploadQuery | ArchivePicture:
    """A picture file by its path, or a picture in an archive by `dicomweb:URL#UID`; BadInput for a bad address."""
    return ArchivePicture(*parse_picture(text)) if is_address(text) else UploadQuery(Path(text))
