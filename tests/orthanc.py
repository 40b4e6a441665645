"""A real archive: Orthanc with its DICOMweb plug-in on a free port of this machine, and DICOM files to put into it."""

import io
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "Orthanc with DICOMweb is not installed (Debian: apt-get install orthanc orthanc-dicomweb)"
USER, PASSWORD = "reader", "a pass:word"
DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1"  # Computed Radiography Image Storage


def program() -> str | None:
    """Where Orthanc is; None where it or its plug-in is not installed."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    return found if PLUGIN.exists() else None


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@dataclass
class Orthanc:
    """An archive that can be stopped and started again on the same port, with what it holds."""

    folder: Path
    port: int
    process: subprocess.Popen | None = None
    files: dict[str, bytes] = field(default_factory=dict, repr=False)  # what a test has put into it, by SOPInstanceUID

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/dicom-web"

    def start(self) -> None:
        command = [program() or "Orthanc", "--verbose", str(self.folder / "orthanc.json")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        for _ in range(300):
            try:
                if httpx.get(f"{self.root}/system", auth=(USER, PASSWORD)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(self.log.read_text()[-2000:])

    def stop(self) -> None:
        """At once, as when the machine fails."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def asked_for(self) -> list[str]:
        """The SOPInstanceUIDs of the objects that were asked for by WADO-RS so far, by its own log."""
        return re.findall(r"GET /dicom-web/studies/[\d.]+/series/[\d.]+/instances/([\d.]+)", self.log.read_text())

    def store(self, files: list[bytes]) -> None:
        with httpx.Client(auth=(USER, PASSWORD), timeout=60) as client:
            for data in files:
                client.post(f"{self.root}/instances", content=data).raise_for_status()

    def remove(self, sop: str) -> None:
        with httpx.Client(auth=(USER, PASSWORD)) as client:
            (found,) = client.post(f"{self.root}/tools/lookup", content=sop).json()
            client.delete(f"{self.root}/instances/{found['ID']}").raise_for_status()


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """An Orthanc that listens to this machine alone, speaks to nobody, and keeps all it has under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = Orthanc(folder, free_port())
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": archive.port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    archive.start()
    try:
        yield archive
    finally:
        archive.stop()


@dataclass(frozen=True)
class Patient:
    """Who a picture is of, as no trace of it may be found afterwards."""

    name: str
    number: str
    birth: str
    accession: str

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self.name.split("^"), self.number, self.birth, self.accession)


def patient(number: int) -> Patient:
    return Patient(
        f"Zwetschge{number:03}^Quirin{number:03}",
        f"PID-{770_000 + number}",
        f"19{30 + number % 60}0{1 + number % 9}17",
        f"ACC{990_000 + number}",
    )


def dicom_file(
    pixels: np.ndarray, who: Patient, *, number: int, part: str = "BREAST", modality: str = "CR", burned_in: str = ""
) -> tuple[str, bytes]:
    """The SOPInstanceUID and the bytes of a DICOM file of a grey uint8 picture, or of none if it has no pixels."""
    sop = UID(generate_uid(entropy_srcs=[who.number, str(number), "sop"]))
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = UID(DIGITAL_X_RAY)
    data.file_meta.MediaStorageSOPInstanceUID = sop
    data.SOPClassUID, data.SOPInstanceUID = UID(DIGITAL_X_RAY), sop
    data.StudyInstanceUID = generate_uid(entropy_srcs=[who.number, "study"])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[who.number, "series"])
    data.PatientName, data.PatientID, data.PatientBirthDate = who.name, who.number, who.birth
    data.AccessionNumber, data.StudyDate, data.StudyID = who.accession, "20210305", "1"
    data.Modality, data.BodyPartExamined, data.InstanceNumber = modality, part, number
    if burned_in:
        data.BurnedInAnnotation = burned_in
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    if pixels.size:
        data.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return str(sop), stream.getvalue()
