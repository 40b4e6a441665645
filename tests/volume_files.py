"""One volume written as every kind of file that can hold one, as other programs write them."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

WHO = "Nobody^Really^Lives"  # names, numbers and dates that no file, log or page may hold afterwards
NUMBER = "PID-4711-X"
DAY = "19630229"
PRIVATE = (WHO, NUMBER, DAY)
SERIES = "1.2.826.0.1.3680043.8.498.1"


def dicom_dataset(pixels: np.ndarray, **elements):
    """A pydicom Dataset of grey pixels [H, W] or [F, H, W], uncompressed, of a person who does not exist."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, made.file_meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientID, made.PatientBirthDate, made.StudyDate = WHO, NUMBER, DAY, DAY
    made.SeriesInstanceUID = SERIES
    made.Rows, made.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        made.NumberOfFrames = len(pixels)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(pixels.dtype.kind == "i")
    made.add_new("PixelData", "OW" if pixels.itemsize > 1 else "OB", pixels.tobytes())
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def dicom_bytes(dataset) -> bytes:
    """The file of a Dataset."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def slices(volume: np.ndarray, *, step: float = 1.0, side: float = 1.0) -> list[bytes]:
    """Axial DICOM slices of a volume [D, H, W], from the feet up, each a file."""
    return [
        dicom_bytes(
            dicom_dataset(
                plane,
                InstanceNumber=len(volume) - number,
                ImagePositionPatient=[-10, -20, 5 + step * number],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelSpacing=[side, side],
            )
        )
        for number, plane in enumerate(volume)
    ]


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def dicom_zip(volume: np.ndarray, *, step: float = 1.0, side: float = 1.0) -> bytes:
    """The slices of a volume in an archive, in the order of a shuffled deck."""
    files = [(f"series/{number}", data) for number, data in enumerate(slices(volume, step=step, side=side))]
    order = np.random.default_rng(5).permutation(len(files))
    return zipped(dict(files[at] for at in order))


def nifti_bytes(voxels: np.ndarray, affine: np.ndarray, *, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """A NIfTI file of voxels [x, y, z] as stored."""
    import nibabel

    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_slope_inter(slope, intercept)
    return image.to_bytes()


def axial_nifti(volume: np.ndarray, *, step: float = 1.0, side: float = 1.0) -> bytes:
    """A volume [D, H, W] of axial slices, from the feet up, as NIfTI stores it from a scanner."""
    affine = np.diag([-side, -side, step, 1.0])
    return nifti_bytes(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)


def tiff_pages(volume: np.ndarray) -> bytes:
    """The slices of a volume as the pages of a TIFF."""
    stream = io.BytesIO()
    first, *others = [Image.fromarray(np.ascontiguousarray(plane)) for plane in volume]
    first.save(stream, "TIFF", save_all=True, append_images=others)
    return stream.getvalue()


def npy_bytes(volume: np.ndarray) -> bytes:
    """A volume as numpy.save writes it."""
    stream = io.BytesIO()
    np.save(stream, volume)
    return stream.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Arrays as numpy.savez_compressed writes them."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def multi_frame(volume: np.ndarray) -> bytes:
    """The slices of a volume as the frames of one DICOM file that says how far they are apart."""
    return dicom_bytes(dicom_dataset(volume, SpacingBetweenSlices=1, PixelSpacing=[1, 1]))


def every_kind(volume: np.ndarray) -> dict[str, bytes]:
    """A volume of 8 bits as files, by name."""
    import gzip

    return {
        "volume.npy": npy_bytes(volume),
        "volume.npz": npz_bytes(volume=volume, spacing=np.ones(3)),
        "volume.nii": axial_nifti(volume),
        "volume.nii.gz": gzip.compress(axial_nifti(volume)),
        "slices.zip": dicom_zip(volume),
        "frames.dcm": multi_frame(volume),
        "pages.tif": tiff_pages(volume),
    }


def write(folder: Path, name: str, data: bytes) -> Path:
    """A file in a folder."""
    path = folder / name
    path.write_bytes(data)
    return path
