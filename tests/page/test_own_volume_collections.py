"""A collection of volumes on the page: found by a link without a size, answered with sliders, its slices drawn."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from volume_files import axial_nifti

from retrieval import search
from retrieval.answers import ItemQuery
from retrieval.cells import cell
from retrieval.datasets.collections import adding
from retrieval.datasets.opening import open_split
from retrieval.page.desk import PHANTOMS, Desk
from retrieval.page.link import fitting_cell, parse, to_words
from retrieval.page.routes import routes
from retrieval.page.uploads import open_uploads
from retrieval.roots import Roots

ASKED = {"dataset": "mine", "encoder": "pixels"}


def write_volumes(folder: Path, *, seed: int) -> None:
    for number in range(20):
        volume = np.random.default_rng((seed, number)).integers(0, 256, (8, 10, 9), np.uint8)
        path = folder / "ab"[number % 2] / f"{number:02d}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(axial_nifti(volume))


@pytest.fixture
def desk(tmp_path: Path, empty_roots: Roots) -> Desk:
    write_volumes(tmp_path / "mine", seed=1)
    adding.add("mine", tmp_path / "mine", empty_roots, ndim=3)
    search.prepare(cell("mine", None, "pixels", roots=empty_roots), empty_roots)
    return Desk(roots=empty_roots, uploads=open_uploads(empty_roots.cache), start=PHANTOMS)


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(desk))) as opened:
        yield opened


def test_a_link_without_a_size_leads_to_cubes_of_28(desk: Desk):
    link = parse(ASKED, PHANTOMS, desk.roots)
    assert (link.cell.size, link.cell.data.ndim) == (28, 3)
    assert parse(dict(part.split("=") for part in to_words(link).split("&")), PHANTOMS, desk.roots) == link
    assert fitting_cell("mine", PHANTOMS, desk.roots).size == 28


def test_cards_are_drawn_slice_by_slice(desk: Desk, client: TestClient):
    value = desk.handle(ASKED)
    assert value["kind"] == "answer" and len(value["cards"]) == 5
    figure, index = value["cards"][0]["figure"], value["cards"][0]["index"]
    assert (figure["slices"], figure["size"]) == (28, "28 × 28 × 28 voxels")
    split = open_split(cell("mine", None, "pixels", roots=desk.roots).data, 28, "train", desk.roots)
    drawn = client.get("/" + figure["src"].replace("{z}", "13"))
    assert drawn.status_code == 200
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(drawn.content))), split.images[index][13])
    (offered,) = value["collections"]
    assert (offered["name"], offered["ndim"], offered["sizes"]) == ("mine", 3, [28, 64])


def test_a_volume_sent_finds_itself(desk: Desk, client: TestClient, tmp_path: Path):
    split = open_split(cell("mine", None, "pixels", roots=desk.roots).data, 28, "train", desk.roots)
    data = (tmp_path / "mine" / split.images.files[3].name).read_bytes()
    token = client.put("/upload", content=data, headers={"X-File-Name": "gland.nii"}).json()["token"]
    value = desk.handle({**ASKED, "upload": token})
    assert value["cards"][0]["index"] == 3
    assert value["query"]["original"]["size"] == "9 × 10 × 8 voxels"


def test_what_the_extractor_sees_is_of_the_collection_as_it_now_is(desk: Desk, client: TestClient, tmp_path: Path):
    def seen() -> np.ndarray:
        answer = client.get("/seen-slice/mine/28/pixels/train/3/13.png")
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    before = seen()
    write_volumes(tmp_path / "mine", seed=2)
    adding.update("mine", desk.roots)
    after = seen()
    now = cell("mine", None, "pixels", roots=desk.roots)
    assert np.array_equal(after, search.sees(ItemQuery(split="train", index=3), now, desk.roots)[13])
    assert not np.array_equal(after, before)
