"""Archives and folders meant to do harm, or damaged: a sentence each, and nothing is written anywhere."""

import io
import os
import random
import resource
import struct
import tarfile
import warnings
import zipfile
import zlib

import pytest
from packed import as_folder, as_tar, as_zip, picture

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.sources import open_source
from retrieval.errors import BadInput

GOOD = {"cat/1.png": picture(1), "dog/2.png": picture(2)}


@pytest.fixture
def opened(listing):
    """`opened(path)`: entries and reasons; the disk is the same before and after, and every name fit for a screen."""

    def open_and_read(path):
        before = listing()
        try:
            with open_source(path) as source:
                for each in source.entries:
                    source.read(each.name)
                entries = {each.name: each.label for each in source.entries}
                reasons = {each.name: each.reason for each in source.left_out}
        finally:
            assert listing() == before
        assert all(name.isprintable() and name.encode() for name in reasons)
        assert all(reason.endswith(".") and reason.isprintable() for reason in reasons.values())
        return entries, reasons

    return open_and_read


def refused(path, opened) -> str:
    with pytest.raises(BadInput) as caught:
        opened(path)
    message = str(caught.value)
    assert message.isprintable() and message.encode() and caught.value.remedy.endswith((".", "%"))
    return message


NAMES = {
    "../escaped.png": "leads out",
    "cat/../../escaped.png": "leads out",
    "/tmp/escaped.png": "absolute",
    "//server/escaped.png": "absolute",
    "C:/escaped.png": "absolute",
    "c:escaped.png": "absolute",
    "cat\\..\\escaped.png": "backslash",
    "\\\\server\\escaped.png": "backslash",
    "cat/a\x1b[31m.png": "control",
    "cat/new\nline.png": "control",
    "cat/gnp.\u202epng.png": "control",
    "cat/con.png": "Windows",
    "cat/COM1.tar.png": "Windows",
    "cat./a.png": "Windows",
    "cat /a.png": "Windows",
    f"cat/{'n' * 1200}.png": "longer than",
}


@pytest.mark.parametrize("pack", [as_zip, as_tar])
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_that_are_a_trap_are_left_out(tmp_path, opened, pack, name):
    entries, reasons = opened(pack(tmp_path, {**GOOD, name: picture(3)}))
    assert entries == {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert [NAMES[name] in reason for reason in reasons.values()] == [True]


def test_the_same_names_in_a_folder(tmp_path, opened):
    names = [name for name in NAMES if not name.startswith(("..", "/", "cat/..")) and len(name) < 200]
    entries, reasons = opened(as_folder(tmp_path, {**GOOD, **{name: picture(3) for name in names}}))
    assert len(entries) == 2 and len(reasons) == len(names)


def test_names_that_are_odd_but_harmless_are_taken(tmp_path, opened):
    odd = ["12:30", "\u4e2d\u6587", "\u0645\u06cc\u200c\u062e", "\U0001f431", "'a b'"]
    names = [f"cat/{name}.png" for name in odd]
    for pack in (as_folder, as_zip, as_tar):
        entries, reasons = opened(pack(tmp_path, {**GOOD, **dict.fromkeys(names, picture(3))}))
        assert len(entries) == 7 and reasons == {}


def test_a_name_with_a_nul(tmp_path, opened):
    path = as_zip(tmp_path, {**GOOD, "cat/a!b.png": picture(3)})
    path.write_bytes(path.read_bytes().replace(b"cat/a!b", b"cat/a\0b"))
    entries, reasons = opened(path)
    assert len(entries) == 2 and "control characters" in reasons["cat/a\\x00b.png"]


def test_names_that_are_no_text(tmp_path, opened):
    path = as_tar(tmp_path, {**GOOD, "cat/a!b.png": picture(3)})
    data = path.read_bytes().replace(b"cat/a!b", b"cat/a\xffb")
    at = data.index(b"cat/a\xff")
    path.write_bytes(data[:at] + signed(data[at : at + 512]) + data[at + 512 :])
    assert opened(path)[1] == {"cat/a\\xffb.png": "Its name is not in UTF-8."}
    folder = as_folder(tmp_path, GOOD)
    with open(os.fsencode(folder) + b"/cat/a\xffb.png", "wb") as stream:
        stream.write(picture(3))
    assert opened(folder)[1] == {"cat/a\\udcffb.png": "Its name holds bytes that are no text."}


def signed(header: bytes) -> bytes:
    """A tar's header with its checksum made right."""
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    return header[:148] + b"%06o\0 " % total + header[156:]


def test_names_that_are_there_twice_or_differ_by_case(tmp_path, opened):
    for pack in (as_folder, as_zip, as_tar):
        names = ("cat/A.png", "cat/a.png", "cat/e\u0301.png", "cat/\u00e9.png")
        clash = {name: picture(3 + index) for index, name in enumerate(names)}
        entries, reasons = opened(pack(tmp_path, {**GOOD, **clash}))
        assert len(entries) == 2 and all("upper and lower case" in reason for reason in reasons.values())
        assert reasons.keys() == clash.keys()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "pictures.zip", "a") as archive:
            archive.writestr("cat/1.png", picture(9))
    assert "more than once" in opened(tmp_path / "pictures.zip")[1]["cat/1.png"]


def test_classes_that_differ_by_case_are_refused(tmp_path, opened):
    for pack in (as_folder, as_zip, as_tar):
        path = pack(tmp_path, {"Cat/1.png": picture(1), "cat/2.png": picture(2)})
        assert "differ by upper and lower case" in refused(path, opened)


LINKS = {
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "link",
    tarfile.CHRTYPE: "no plain file",
    tarfile.BLKTYPE: "no plain file",
    tarfile.FIFOTYPE: "no plain file",
    tarfile.GNUTYPE_SPARSE: "sparse",
    b"M": "no plain file",
    b"Z": "no plain file",
}


@pytest.mark.parametrize("kind", LINKS, ids=[kind.decode() for kind in LINKS])
@pytest.mark.parametrize("target", ["../../../etc/passwd", "/etc/passwd", "cat/1.png"])
def test_links_and_devices_in_a_tar(tmp_path, opened, kind, target):
    path = tmp_path / "pictures.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in GOOD.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("cat/link.png")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
    entries, reasons = opened(path)
    assert len(entries) == 2 and LINKS[kind] in reasons["cat/link.png"]


@pytest.mark.parametrize(
    ("mode", "why"), [(0o120777, "link"), (0o020666, "no plain file"), (0o010666, "no plain file")]
)
def test_links_and_devices_in_a_zip(tmp_path, opened, mode, why):
    path = as_zip(tmp_path, GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("cat/link.png")
        entry.external_attr = mode << 16
        archive.writestr(entry, "/etc/passwd")
    entries, reasons = opened(path)
    assert len(entries) == 2 and why in reasons["cat/link.png"]


def test_links_in_a_folder(tmp_path, opened):
    path = as_folder(tmp_path, GOOD)
    (tmp_path / "outside.png").write_bytes(picture(4))
    (path / "cat/out.png").symlink_to(tmp_path / "outside.png")
    (path / "cat/up").symlink_to(path)
    (path / "cat/circle.png").symlink_to("circle.png")
    (path / "cat/nowhere.png").symlink_to("absent.png")
    (path / "cat/within.png").symlink_to("1.png")
    os.mkfifo(path / "cat/pipe.png")
    entries, reasons = opened(path)
    assert list(entries) == ["cat/1.png", "cat/within.png", "dog/2.png"]
    assert "leads out" in reasons["cat/out.png"] and "link to a folder" in reasons["cat/up"]
    assert "nowhere" in reasons["cat/circle.png"] and "nowhere" in reasons["cat/nowhere.png"]
    assert "no plain file" in reasons["cat/pipe.png"]


def test_a_file_that_becomes_a_link_out_of_the_folder_is_not_read(tmp_path):
    path = as_folder(tmp_path, GOOD)
    (tmp_path / "outside.png").write_bytes(picture(1))
    with open_source(path) as source:
        (path / "cat/1.png").unlink()
        (path / "cat/1.png").symlink_to(tmp_path / "outside.png")
        with pytest.raises(BadInput, match="leads out of the folder"):
            source.read("cat/1.png")
        (path / "cat/1.png").unlink()
        os.mkfifo(path / "cat/1.png")
        with pytest.raises(BadInput, match="no plain file"):
            source.read("cat/1.png")


def test_a_link_to_the_folder_itself_is_followed(tmp_path, opened):
    as_folder(tmp_path, GOOD)
    (tmp_path / "mine").symlink_to("pictures")
    assert opened(tmp_path / "mine") == ({"cat/1.png": "cat", "dog/2.png": "dog"}, {})


def test_a_member_that_unpacks_to_hundreds_of_times_its_size(tmp_path, opened):
    noise = random.Random(1).randbytes(400_000)  # so that the archive as a whole is none
    path = as_zip(tmp_path, {**GOOD, "cat/bomb.png": bytes(30 << 20), "cat/noise.png": noise})
    entries, reasons = opened(path)
    assert "as a bomb does" in reasons["cat/bomb.png"] and len(entries) == 3


def test_an_archive_that_unpacks_to_hundreds_of_times_its_size(tmp_path, opened):
    path = as_zip(tmp_path, {**GOOD, **{f"cat/{index}.png": bytes(8 << 20) for index in range(9)}})
    assert "times its size, as a bomb does" in refused(path, opened)


def test_blank_pictures_are_no_bomb(tmp_path, opened):
    entries, _ = opened(as_zip(tmp_path, {**GOOD, "cat/blank.bmp": bytes(4 << 20)}))
    assert len(entries) == 3


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_packed_otherwise_are_left_out(tmp_path, opened, compression):
    path = as_zip(tmp_path, GOOD)
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr("cat/x.png", picture(3))
    entries, reasons = opened(path)
    assert len(entries) == 2 and "deflate" in reasons["cat/x.png"]


def directory_says(path, name: str, *, size: int | None = None, flags: int | None = None, offset: int | None = None):
    """Alter what a zip's directory says of a member."""
    data = bytearray(path.read_bytes())
    at = data.rindex(name.encode()) - 46
    assert data[at : at + 4] == b"PK\1\2"
    if size is not None:
        struct.pack_into("<I", data, at + 24, size)
    if flags is not None:
        struct.pack_into("<H", data, at + 8, flags)
    if offset is not None:
        struct.pack_into("<I", data, at + 42, offset)
    path.write_bytes(data)


@pytest.mark.parametrize("said", [10, 100_000])
def test_a_size_that_is_not_true_is_noticed_when_reading(tmp_path, said):
    path = as_zip(tmp_path, {**GOOD, "cat/long.png": bytes(5000) + picture(3)})
    directory_says(path, "cat/long.png", size=said)
    with open_source(path) as source, pytest.raises(BadInput, match="damaged|another length"):
        source.read("cat/long.png")


def test_reading_stops_at_the_bound_whatever_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval.datasets.collections.containers.MAX_BYTES", 1000)
    for pack in (as_folder, as_zip, as_tar):
        with open_source(pack(tmp_path, {**GOOD, "cat/long.png": bytes(5000)})) as source:
            with pytest.raises(BadInput, match="larger than 0 MB"):
                source.read("cat/long.png")
            assert source.read("cat/1.png") == GOOD["cat/1.png"]


def test_a_file_larger_than_a_picture_may_be_is_left_out(tmp_path, opened):
    folder = as_folder(tmp_path, {**GOOD, "cat/long.png": b""})
    os.truncate(folder / "cat/long.png", (50 << 20) + 1)
    assert opened(folder)[1] == {"cat/long.png": "It is larger than 50 MB."}


def test_members_that_lie_over_one_another(tmp_path, opened):
    path = as_zip(tmp_path, {"cat/1.png": picture(1) * 9, "cat/2.png": picture(2) * 9, "cat/3.png": picture(3)})
    directory_says(path, "cat/2.png", offset=0)
    assert "lie over one another" in refused(path, opened)


@pytest.mark.parametrize("flags", [0x01, 0x41])
def test_encrypted_members(tmp_path, opened, flags):
    path = as_zip(tmp_path, {**GOOD, "cat/secret.png": picture(3)})
    directory_says(path, "cat/secret.png", flags=flags)
    assert opened(path)[1] == {"cat/secret.png": "It is encrypted."}


def test_archives_in_archives_are_not_opened(tmp_path, opened):
    inner = as_zip(tmp_path, GOOD).read_bytes()
    for pack in (as_folder, as_zip, as_tar):
        entries, reasons = opened(pack(tmp_path, {**GOOD, "cat/inner.zip": inner, "more.tar.gz": b"x"}))
        assert len(entries) == 2 and len(reasons) == 2
        assert all("not opened" in reason for reason in reasons.values())


def test_ten_thousand_empty_files(tmp_path, opened):
    empty = {f"cat/e{index}.png": b"" for index in range(10_000)}
    for pack in (as_zip, as_tar):
        assert "It is empty." in refused(pack(tmp_path, empty), opened)
        some = dict.fromkeys(list(empty)[:2000], b"")
        entries, reasons = opened(pack(tmp_path, {**GOOD, **some}))
        assert len(entries) == 2 and reasons["(1,950 more)"] == "It is empty." and len(reasons) == 51


def test_a_zip_whose_directory_is_endless(tmp_path, opened, monkeypatch):
    monkeypatch.setattr("retrieval.datasets.collections.containers.MOST_READ", 100_000)
    path = as_zip(tmp_path, {f"cat/{'n' * 90}{index}.png": b"x" for index in range(1000)})
    assert "no whole zip, or damaged" in refused(path, opened)


def tar_with(kind: bytes, size: bytes, data: bytes = b"") -> bytes:
    """A header of this kind with this field for its size, then the data, then a member and the end mark."""
    header = bytearray(512)
    header[:9], header[124:136], header[156:157], header[257:265] = (
        b"cat/x.png",
        size.ljust(12, b"\0"),
        kind,
        b"ustar\00000",
    )
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("cat/1.png")
        entry.size = len(GOOD["cat/1.png"])
        archive.addfile(entry, io.BytesIO(GOOD["cat/1.png"]))
    return signed(bytes(header)) + data.ljust(-(-len(data) // 512) * 512, b"\0") + stream.getvalue()


HEADERS = {
    "negative size": tar_with(b"0", b"\xff" * 11 + b"\x00"),
    "huge size": tar_with(b"0", b"\x80" + b"\x7f" * 11),
    "no number": tar_with(b"0", b"12x"),
    "minus": tar_with(b"0", b"-0000000512"),
    "long header": tar_with(b"x", b"%011o" % (1 << 20), b"9" * (1 << 20)),
    "long name": tar_with(b"L", b"%011o" % (1 << 20), b"n" * (1 << 20)),
    "negative header": tar_with(b"x", b"\xff" * 11 + b"\x00"),
    "digits only": tar_with(b"x", b"%011o" % 60_000, b"1" * 60_000),
    "record of no length": tar_with(b"x", b"%011o" % 10, b"0 path=a\n\n"),
    "record too long": tar_with(b"x", b"%011o" % 12, b"999 path=a\n\n"),
    "record without key": tar_with(b"x", b"%011o" % 6, b"6 abc\n"),
    "path for all": tar_with(b"g", b"%011o" % 12, b"12 path=a/b\n"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lead_astray(tmp_path, opened, name):
    path = tmp_path / "pictures.tar"
    path.write_bytes(HEADERS[name])
    assert "damaged" in refused(path, opened)


def test_a_size_that_a_pax_header_overrides_is_held_against_the_archive(tmp_path, opened):
    record = b"22 size=999999999999\n"
    path = tmp_path / "pictures.tar"
    path.write_bytes(tar_with(b"x", b"%011o" % len(record), b"21" + record[2:]))
    assert "damaged or cut short" in refused(path, opened)


@pytest.mark.timeout(20)
def test_a_chain_of_long_names_ends(tmp_path, opened):
    path = tmp_path / "pictures.tar"
    header = tar_with(b"L", b"%011o" % 9, b"cat/y.png")[:1024]
    path.write_bytes(header * 5000 + as_tar(tmp_path, GOOD, name="other.tar").read_bytes())
    assert opened(path)[0] == {"cat/y.png": "cat", "dog/2.png": "dog"} or len(opened(path)[0]) == 2


@pytest.mark.parametrize("pack", [as_zip, as_tar])
def test_an_archive_cut_short_is_refused_wherever_it_is_cut(tmp_path, opened, pack):
    path = pack(tmp_path, GOOD)
    data = path.read_bytes().rstrip(b"\0") if pack is as_tar else path.read_bytes()
    for cut in {1, 5, 100, 511, 512, 513, 1024, 1500, 1536, len(data) // 2, len(data) - 1} - {len(data)}:
        if cut < len(data):
            path.write_bytes(data[:cut])
            refused(path, opened)


@pytest.mark.parametrize("pack", [as_zip, as_tar])
@pytest.mark.timeout(120)
def test_flipped_bytes_give_the_picture_or_a_sentence(tmp_path, pack):
    path = pack(tmp_path, GOOD)
    sound, chance = path.read_bytes(), random.Random(5)
    refusals = 0
    for _ in range(400):
        data = bytearray(sound)
        for _ in range(chance.choice([1, 1, 2, 6])):
            data[chance.randrange(len(data) if pack is as_zip else 2600)] = chance.choice(
                [0, 1, 127, 255, chance.randrange(256)]
            )
        path.write_bytes(data)
        try:
            with open_source(path) as source:
                for each in source.entries:
                    read = source.read(each.name)
                    assert pack is as_tar or read in GOOD.values()
        except BadInput as error:
            refusals += 1
            assert error.remedy and str(error).isprintable()
    assert refusals > 50


def test_a_member_damaged_inside_a_zip_is_refused_by_its_checksum(tmp_path):
    path = as_zip(tmp_path, GOOD, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(GOOD["cat/1.png"], GOOD["cat/1.png"][:-1] + b"!"))
    with open_source(path) as source:
        with pytest.raises(BadInput, match="it is damaged"):
            source.read("cat/1.png")
        assert source.read("dog/2.png") == GOOD["dog/2.png"]


def test_memory_stays_small_when_a_member_is_a_bomb(tmp_path):
    """A stream of 512 MB of zeros that is said to be of 49: reading stops there."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("cat/1.png", picture(1))
        archive.writestr("cat/bomb.png", packed)
    data = path.read_bytes()
    for at in (data.index(b"cat/bomb.png") - 30 + 8, data.rindex(b"cat/bomb.png") - 46 + 10):
        data = data[:at] + struct.pack("<H", zipfile.ZIP_DEFLATED) + data[at + 2 :]
    path.write_bytes(data)
    directory_says(path, "cat/bomb.png", size=49 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_source(path) as source, pytest.raises(BadInput, match="it is damaged"):
        source.read("cat/bomb.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_shown_names_are_bounded():
    assert len(naming.shown("n" * 5000)) < 210
    assert naming.shown("a\x00\udcff\u202e.png") == "a\\x00\\udcff\\u202e.png"
