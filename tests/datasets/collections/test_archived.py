"""Pictures written into a real Orthanc come back as a collection; nothing of a person comes with them."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orthanc
import pytest
from orthanc import Orthanc, dicom_file, patient
from PIL import Image

from retrieval.datasets.collections import adding, archived, records
from retrieval.datasets.collections.archive_address import Address, parse_address
from retrieval.datasets.collections.dicomweb import Archive, Withheld
from retrieval.datasets.collections.records import Collection
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots, archive_login

COUNT, OF_ONE = 200, 4  # pictures, and pictures of one patient
FEW = 24  # of them are of another modality, for tests that do not need all
LOGIN = archive_login({"RETRIEVAL_DICOMWEB_USER": orthanc.USER, "RETRIEVAL_DICOMWEB_PASSWORD": orthanc.PASSWORD})
PARTS = ("BREAST", "CHEST")


def part_of(number: int) -> str:
    return PARTS[number // OF_ONE % len(PARTS)]


@pytest.fixture(scope="module")
def files(roots: Roots, need: Callable) -> dict[str, bytes]:
    """DICOM files of real pictures by SOPInstanceUID, four of each patient."""
    found = [folder / "breastmnist.npz" for folder in roots.data if (folder / "breastmnist.npz").exists()]
    need(found, "BreastMNIST is not at hand")
    pictures = np.load(found[0])["train_images"]
    return dict(
        dicom_file(
            pictures[number],
            patient(number // OF_ONE),
            number=number,
            part=part_of(number),
            modality="DX" if number < FEW else "CR",
        )
        for number in range(COUNT)
    )


@pytest.fixture(scope="module")
def server(files: dict[str, bytes], need: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    need(orthanc.program(), orthanc.MISSING)
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as running:
        running.store(list(files.values()))
        yield running


@pytest.fixture
def address(server: Orthanc) -> Address:
    return parse_address(f"dicomweb:{server.url}")


@pytest.fixture
def few(server: Orthanc) -> Address:
    return parse_address(f"dicomweb:{server.url}", ["Modality=DX"])


def sop_of(name: str) -> str:
    return Path(name).stem


def by_uid(made: Collection) -> dict[str, tuple[str, str | None]]:
    return {sop_of(file.name): (file.pixels, file.label) for file in made.files}


def together(made: Collection) -> set[frozenset[str]]:
    """Which pictures are of one group."""
    groups: dict[str | None, set[str]] = {}
    for file in made.files:
        groups.setdefault(file.group, set()).add(sop_of(file.name))
    return {frozenset(group) for group in groups.values()}


def test_the_collection_is_the_one_of_the_same_files_in_a_folder(
    address: Address, files: dict[str, bytes], empty_roots: Roots, tmp_path: Path
):
    for number, (sop, data) in enumerate(files.items()):
        path = tmp_path / "folder" / part_of(number) / f"{sop}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder = adding.add("folder", tmp_path / "folder", empty_roots)
    made = adding.add_archive("archive", address, empty_roots, label_tag="BodyPartExamined", login=LOGIN)
    assert made.kind == "dicomweb"
    assert made.left_out == ()
    assert len(made.files) == COUNT
    assert by_uid(made) == by_uid(folder)
    assert {sop_of(file.name): file.split for file in made.files} == {
        sop_of(file.name): file.split for file in folder.files
    }
    uids = list(files)
    assert (
        together(folder)
        == together(made)
        == {frozenset(uids[start : start + OF_ONE]) for start in range(0, COUNT, OF_ONE)}
    )
    sides = {file.group: file.split for file in made.files}
    assert all(sides[file.group] == file.split for file in made.files)
    assert {file.split for file in made.files} == {"train", "val", "test"}


def test_a_server_that_stops_half_way_is_gone_on_with(
    server: Orthanc, address: Address, files: dict[str, bytes], empty_roots: Roots
):
    def stop_half_way(said: str, share: float) -> None:
        if said.startswith("Fetching") and share >= 0.5:
            server.stop()

    try:
        with pytest.raises(Unavailable, match="cannot be asked: there is no connection") as refusal:
            adding.add_archive("mine", address, empty_roots, login=LOGIN, progress=stop_half_way)
    finally:
        server.start()
    assert "what has come is kept" in refusal.value.remedy
    kept = {path.stem: path.stat().st_mtime_ns for path in empty_roots.cache.rglob("*.png")}
    assert len(kept) == COUNT // 2
    assert records.names(empty_roots) == []

    before = len(server.asked_for())
    made = adding.add_archive("mine", address, empty_roots, login=LOGIN)
    asked = server.asked_for()[before:]
    assert sorted(asked) == sorted(files.keys() - kept.keys())
    assert {sop_of(file.name) for file in made.files} == files.keys()
    after = {path.stem: path.stat().st_mtime_ns for path in empty_roots.cache.rglob("*.png")}
    assert kept.items() <= after.items()

    before = len(server.asked_for())
    changes = adding.update("mine", empty_roots, login=LOGIN)
    assert (changes.new, changes.changed, changes.vanished) == ((), (), ())
    assert server.asked_for()[before:] == []


def test_an_update_fetches_what_is_new_and_forgets_what_is_gone(
    server: Orthanc, few: Address, files: dict[str, bytes], empty_roots: Roots, caplog: pytest.LogCaptureFixture
):
    before = adding.add_archive("mine", few, empty_roots, login=LOGIN)
    gone = list(files)[:2]
    noise = np.random.default_rng(0).integers(0, 255, (3, 30, 40), np.uint8)
    new = dict(
        dicom_file(pixels, patient(number), number=900 + number, modality="DX") for number, pixels in enumerate(noise)
    )
    server.store(list(new.values()))
    for sop in gone:
        server.remove(sop)
    try:
        changes = adding.update("mine", empty_roots, login=LOGIN)
    finally:
        server.store([files[sop] for sop in gone])
        for sop in new:
            server.remove(sop)
    assert {sop_of(name) for name in changes.new} == new.keys()
    assert {sop_of(name) for name in changes.vanished} == set(gone)
    assert {path.stem for path in empty_roots.cache.rglob("*.png")} == (set(list(files)[:FEW]) - set(gone)) | new.keys()
    groups = {file.group: file.split for file in before.files}
    assert all(groups[file.group] == file.split for file in changes.collection.files if file.group in groups)


def test_no_trace_of_a_person_is_left(
    few: Address, empty_roots: Roots, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
):
    caplog.set_level(logging.DEBUG)
    adding.add_archive("mine", few, empty_roots, label_tag="Modality", login=LOGIN)
    written = b"".join(path.read_bytes() for path in empty_roots.cache.rglob("*") if path.is_file())
    names = "".join(str(path) for path in empty_roots.cache.rglob("*"))
    said = caplog.text + "".join(capfd.readouterr())
    assert len(caplog.records) > FEW
    secrets = {secret for number in range(FEW // OF_ONE) for secret in patient(number).secrets}
    secrets |= {"20210305", orthanc.PASSWORD, LOGIN.header if LOGIN else ""}
    everything = written.decode("latin-1") + names + said
    assert sorted(secret for secret in secrets if secret in everything) == []


def test_the_same_patient_is_another_group_in_another_collection(few: Address, empty_roots: Roots):
    made = [adding.add_archive(name, few, empty_roots, login=LOGIN) for name in ("one", "two")]
    assert together(made[0]) == together(made[1])
    assert not {file.group for file in made[0].files} & {file.group for file in made[1].files}
    splits = [{file.name: file.split for file in each.files} for each in made]
    assert splits[0] == splits[1]


def test_only_what_matches_is_fetched(server: Orthanc, empty_roots: Roots):
    address = parse_address(f"dicomweb:{server.url}", ["BodyPartExamined=CHEST", "StudyDate=20200101-"])
    made = adding.add_archive("chests", address, empty_roots, label_tag="BodyPartExamined", login=LOGIN)
    assert len(made.files) == COUNT // 2
    assert made.classes == ("CHEST",)
    none = parse_address(f"dicomweb:{server.url}", ["Modality=MR"])
    with pytest.raises(BadInput, match=r"has no pictures that match \(Modality=MR\)"):
        adding.add_archive("none", none, empty_roots, login=LOGIN)


def test_one_begun_in_another_way_is_not_mixed_up(server: Orthanc, address: Address, empty_roots: Roots):
    archived.begin(records.folder_of("mine", empty_roots), address, None)
    for other, label in ((address, "Modality"), (parse_address(f"dicomweb:{server.url}", ["Modality=CR"]), None)):
        with pytest.raises(BadInput, match="begun with another archive, query or label"):
            adding.add_archive("mine", other, empty_roots, label_tag=label, login=LOGIN)
    records.remove("mine", empty_roots)
    assert not records.folder_of("mine", empty_roots).exists()


def test_without_a_login_nothing_is_given(address: Address, empty_roots: Roots):
    wrong = archive_login({"RETRIEVAL_DICOMWEB_TOKEN": "not-this-one"})
    for login in (None, wrong):
        with pytest.raises(Unavailable, match="answered 401: it does not let in"):
            adding.add_archive("mine", address, empty_roots, login=login)


def test_a_picture_is_fetched_by_its_uid(address: Address, files: dict[str, bytes]):
    sop, data = next(iter(files.items()))
    with Archive(address, LOGIN) as archive:
        assert archive.fetch(archive.find(sop)) == data
        with pytest.raises(BadInput, match="has no picture with the UID"):
            archive.find("1.2.3")


def test_a_picture_that_is_gone_is_left_out_this_time_only(
    server: Orthanc, few: Address, files: dict[str, bytes], empty_roots: Roots, monkeypatch: pytest.MonkeyPatch
):
    gone = list(files)[7]
    fetch = Archive.fetch
    monkeypatch.setattr(
        Archive, "fetch", lambda self, each: Withheld("Not now.") if each.sop == gone else fetch(self, each)
    )
    made = adding.add_archive("mine", few, empty_roots, login=LOGIN)
    assert [(sop_of(each.name), each.reason) for each in made.left_out] == [(gone, "Not now.")]
    monkeypatch.undo()
    assert [sop_of(name) for name in adding.update("mine", empty_roots, login=LOGIN).new] == [gone]


def test_what_is_no_picture_is_asked_for_once(server: Orthanc, few: Address, empty_roots: Roots):
    sop, data = dicom_file(np.zeros((0, 0), np.uint8), patient(0), number=950, modality="DX")
    server.store([data])
    try:
        made = adding.add_archive("mine", few, empty_roots, login=LOGIN)
        assert [sop_of(each.name) for each in made.left_out] == [sop]
        assert "without a picture" in made.left_out[0].reason
        before = len(server.asked_for())
        assert adding.update("mine", empty_roots, login=LOGIN).collection.left_out == made.left_out
        assert server.asked_for()[before:] == []
    finally:
        server.remove(sop)


def test_a_damaged_file_is_fetched_again(server: Orthanc, few: Address, empty_roots: Roots):
    made = adding.add_archive("mine", few, empty_roots, login=LOGIN)
    path = made.source / made.files[0].name
    path.write_bytes(b"no picture any more")
    assert [each.name for each in adding.update("mine", empty_roots, login=LOGIN).collection.left_out] == [
        made.files[0].name
    ]
    again = adding.update("mine", empty_roots, login=LOGIN).collection
    assert by_uid(again) == by_uid(made)


def test_a_lost_key_is_said(few: Address, empty_roots: Roots):
    adding.add_archive("mine", few, empty_roots, login=LOGIN)
    (records.folder_of("mine", empty_roots) / archived.RECORD).write_text("{}")
    with pytest.raises(Unavailable, match="recorded of the archive of the collection mine is damaged"):
        adding.update("mine", empty_roots, login=LOGIN)


def test_the_tag_and_the_pixels_warn_of_text(server: Orthanc, few: Address, empty_roots: Roots, font: Path):
    from PIL import ImageDraw, ImageFont

    plain = np.full((120, 200), 30, np.uint8)
    drawn = Image.fromarray(plain)
    ImageDraw.Draw(drawn).text((5, 5), "DOE^JOHN 1954", fill=255, font=ImageFont.truetype(font, 16))
    marked = dicom_file(plain, patient(1), number=960, modality="DX", burned_in="YES")
    written = dicom_file(np.asarray(drawn), patient(2), number=961, modality="DX")
    server.store([marked[1], written[1]])
    try:
        made = adding.add_archive("mine", few, empty_roots, login=LOGIN)
    finally:
        server.remove(marked[0])
        server.remove(written[0])
    assert {sop_of(file.name) for file in made.files if file.burned_in} == {marked[0], written[0]}


def test_a_removed_collection_leaves_nothing(few: Address, empty_roots: Roots):
    adding.add_archive("mine", few, empty_roots, login=LOGIN)
    records.remove("mine", empty_roots)
    assert not records.folder_of("mine", empty_roots).exists()


@pytest.fixture
def font(need: Callable) -> Path:
    found = sorted(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"))
    need(found, "the font DejaVu Sans is not installed (Debian: apt-get install fonts-dejavu-core)")
    return found[0]
