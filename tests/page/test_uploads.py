import asyncio
import io
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from retrieval.errors import BadInput, Unavailable
from retrieval.page.uploads import MAX_BYTES, clean_name, open_uploads, read_bounded


def png(width: int = 40, height: int = 30) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_is_kept_as_it_came_with_a_preview(tmp_path):
    uploads = open_uploads(tmp_path)
    upload = uploads.open(uploads.keep(png(2000, 100), name="scan.png"))
    assert upload.path.read_bytes() == png(2000, 100)
    assert (upload.width, upload.height, upload.shrunk) == (2000, 100, True)
    with Image.open(upload.preview) as preview:
        assert preview.size == (1024, 51)


def test_only_this_user_can_read_it(tmp_path):
    uploads = open_uploads(tmp_path)
    token = uploads.keep(png(), name="scan.png")
    assert stat.S_IMODE((uploads.folder / token).stat().st_mode) == 0o700


def test_forgetting_deletes_all_of_it(tmp_path):
    uploads = open_uploads(tmp_path)
    token = uploads.keep(png(), name="scan.png")
    uploads.forget(token)
    assert list(uploads.folder.iterdir()) == []
    with pytest.raises(Unavailable):
        uploads.open(token)
    uploads.forget(token)


@pytest.mark.parametrize("data", [b"", b"no picture", png()[:40]])
def test_of_a_file_that_is_no_picture_nothing_is_left(tmp_path, data):
    uploads = open_uploads(tmp_path)
    with pytest.raises(BadInput, match=r"scan\.png"):
        uploads.keep(data, name="scan.png")
    assert list(uploads.folder.iterdir()) == []


def test_the_sweep_takes_what_is_over_of_every_server_and_nothing_else(tmp_path):
    uploads, killed = open_uploads(tmp_path), open_uploads(tmp_path)
    old, young, left = (each.keep(png(), name="a.png") for each in (uploads, uploads, killed))
    past = time.time() - 60 * uploads.keep_minutes - 5
    for place in (uploads.folder / old, killed.folder / left):
        os.utime(place, (past, past))
    with pytest.raises(Unavailable):
        uploads.open(old)
    assert uploads.sweep() == 2
    assert [place.name for place in uploads.folder.iterdir()] == [young]
    assert list(killed.folder.iterdir()) == []


@pytest.mark.parametrize("token", ["", "..", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 32 + "/.."])
def test_nothing_but_a_token_opens_or_deletes(tmp_path, token):
    uploads = open_uploads(tmp_path)
    uploads.keep(png(), name="a.png")
    with pytest.raises(Unavailable):
        uploads.open(token)
    uploads.forget(token)
    assert len(list(uploads.folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../x y<b>.html", "x yb.html"),
        ("C:\\pictures\\scan.png", "scan.png"),
        ("", "picture"),
        ("...", "picture"),
        ("scan (1).png", "scan (1).png"),
        ("Röntgen.png", "Röntgen.png"),
    ],
)
def test_names_are_made_fit_for_a_path_and_a_sentence(sent, kept):
    assert clean_name(sent) == kept


def test_more_than_50_mb_is_refused_as_soon_as_it_is_known():
    taken = 0

    async def chunks():
        nonlocal taken
        while True:
            taken += 1
            yield bytes(2**20)

    with ThreadPoolExecutor() as thread, pytest.raises(BadInput, match="50 MB"):
        # in a thread of its own: the browser tests' driver leaves a running loop in this one
        thread.submit(asyncio.run, read_bounded(chunks())).result()
    assert taken == MAX_BYTES // 2**20 + 1
