"""How often text in pixels is seen, and how often it is seen where there is none."""

import io
import random
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import SHARED
from PIL import Image, ImageDraw, ImageFont

from retrieval.pictures import burned_in
from retrieval.pictures.decoded import Picture
from retrieval.pictures.reading import decode_picture

WORDS = (
    "DOE^JOHN 1954-03-12",
    "ID 4711-0815",
    "SMITH, ANNA",
    "12.05.2021 14:33:07",
    "Mueller Hans M",
    "LEFT BREAST CC",
    "Se: 4 Im: 17",
)
# All of these radiographs that say PORTABLE or SUPINE, of those that were looked at because text was seen in them.
WRITTEN_ON = frozenset(
    f"{name}.jpg"
    for name in (
        *("00001362_014", "00001986_007", "00001992_016", "00002262_006", "00003005_002"),
        *("00003140_006", "00001018_005", "00001301_039", "00005681_006"),
    )
)


def uploads(kind: str, need: Callable) -> list[Path]:
    found = sorted((SHARED / "uploads" / kind).rglob("*.jpg")) + sorted((SHARED / "uploads" / kind).rglob("*.png"))
    need(found, f"the pictures of {kind} are not at hand")
    return found


def pixels(path: Path) -> np.ndarray:
    return np.asarray(decode_picture(path.read_bytes(), name=path.name).image)


@pytest.fixture
def fonts(need: Callable) -> list[Path]:
    names = ("DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf")
    found = sorted(path for path in Path("/usr/share/fonts").rglob("DejaVu*.ttf") if path.name in names)
    need(found, "the DejaVu fonts are not installed (Debian: apt-get install fonts-dejavu-core)")
    return found


@pytest.mark.parametrize(("kind", "seen"), [("blood", set()), ("fundus", set()), ("chest_xray", WRITTEN_ON)])
def test_text_is_seen_where_it_is(kind: str, seen: set[str], need: Callable):
    found = {path.name for path in uploads(kind, need) if burned_in.lines(pixels(path))}
    assert found == seen


def mednist(every: int, need: Callable) -> Iterator[np.ndarray]:
    path = SHARED / "collections" / "MedNIST-12000.tar"
    need(path.exists(), "MedNIST is not at hand")
    with tarfile.open(path) as archive:
        files = (member for member in archive if member.isfile() and member.name.endswith(".jpeg"))
        for member in islice(files, 0, None, every):
            stream = archive.extractfile(member)
            assert stream is not None
            yield np.asarray(Image.open(io.BytesIO(stream.read())))


def test_false_alarms_are_rare(need: Callable):
    seen = [bool(burned_in.lines(each)) for each in mednist(12, need)]
    assert len(seen) == 1000
    assert sum(seen) <= 3


def test_small_pictures_hold_no_text(roots, need: Callable):
    found = [folder / "breastmnist.npz" for folder in roots.data if (folder / "breastmnist.npz").exists()]
    need(found, "BreastMNIST is not at hand")
    assert not any(burned_in.lines(each) for each in np.load(found[0])["train_images"])


def written_on(path: Path, size: int, font: Path | None, chance: random.Random) -> np.ndarray | None:
    """The picture with a line of white text on ground that is dark enough for it; None where none was found."""
    ground, text = pixels(path).copy(), chance.choice(WORDS)
    for _ in range(8):
        left, top = chance.randint(3, 60), chance.randint(3, ground.shape[0] - size - 10)
        under = ground[top - 2 : top + size + 6, left : left + round(0.62 * size * len(text))]
        if np.percentile(under, 95) < 150:
            break
    else:
        return None
    if font is None:
        colour = (255,) * (3 if ground.ndim == 3 else 1)
        thick = max(1, round(size / 20))
        cv2.putText(ground, text, (left, top + size), cv2.FONT_HERSHEY_SIMPLEX, size / 30, colour, thick, cv2.LINE_AA)
        return ground
    image = Image.fromarray(ground)
    ImageDraw.Draw(image).text((left, top), text, fill="white", font=ImageFont.truetype(font, size))
    return np.asarray(image)


@pytest.mark.parametrize("size", [9, 12, 16, 24])
def test_most_lines_that_can_be_read_are_seen(size: int, fonts: list[Path], need: Callable):
    chance = random.Random(size)
    paths = [
        path for kind in ("fundus", "chest_xray") for path in uploads(kind, need)[::6] if path.name not in WRITTEN_ON
    ]
    drawn = [written_on(path, size, chance.choice([None, *fonts]), chance) for path in paths]
    seen = [bool(burned_in.lines(each)) for each in drawn if each is not None]
    assert len(seen) >= 20
    assert np.mean(seen) >= 0.6


def test_dark_text_on_light_ground_and_large_pictures(fonts: list[Path]):
    image = Image.new("L", (3000, 2000), 230)
    ImageDraw.Draw(image).text((200, 300), WORDS[0], fill=0, font=ImageFont.truetype(fonts[0], 48))
    (line, *_) = burned_in.lines(np.asarray(image))
    assert 195 < line.left < 500  # in pixels of the picture, though it is looked at smaller
    assert 290 < line.top < 340
    assert 25 < line.height < 60
    assert burned_in.lines(np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("shape", [(1, 1), (48, 48), (47, 3000), (60, 60, 3), (5000, 50)])
def test_any_shape_and_noise(shape: tuple[int, ...]):
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for each in (noise, np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)):
        assert burned_in.lines(each) == []


def test_the_warning_is_a_note(fonts: list[Path]):
    plain = Picture(Image.new("L", (200, 100), 20), ("A note.",))
    assert burned_in.warned(plain) is plain
    tagged = Picture(plain.image, ("A note.",), burned_in=True)
    assert burned_in.warned(tagged).notes == ("A note.", burned_in.TAGGED)
    assert burned_in.has_text(tagged)
    drawn = plain.image.copy()
    ImageDraw.Draw(drawn).text((5, 5), WORDS[2], fill=255, font=ImageFont.truetype(fonts[0], 16))
    assert burned_in.warned(Picture(drawn)).notes == (burned_in.SEEN,)
