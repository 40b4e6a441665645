"""A zip of somebody's own pictures on the page: sent, recognised, queued, searched, ranked, removed."""

import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SHARED
from own_pictures import write_picture

from retrieval.datasets.collections import adding, records
from retrieval.encoders import weights
from retrieval.encoders.catalogue import find_encoder
from retrieval.jobs import queue
from retrieval.roots import Roots

BLOOD = SHARED / "uploads" / "blood"
KINDS = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
LITE = "efficientnet_lite0"


def open_tab(page, name: str) -> None:
    page.locator("button[role=tab]").filter(has_text=name).click()


def choose(page, path: Path) -> None:
    page.wait_for_selector(".mine-none, .mine-item", state="attached")
    page.set_input_files(".mine-drop input", str(path))


def wait_for_cards(page) -> None:
    page.wait_for_function(
        """() => {
            const images = [...document.querySelectorAll('.cards .card img')];
            return images.length === 5 && images.every((image) => image.complete && image.naturalWidth > 0)
                && !document.querySelector('.answer').hidden
                && !document.querySelector('.found').hasAttribute('aria-busy');
        }""",
        timeout=120_000,
    )


@pytest.fixture(scope="module")
def blood(need, tmp_path_factory) -> Path:
    """Sixty pictures of four kinds of white cells in a zip of class folders, and two files that are no pictures."""
    need(BLOOD.is_dir(), "pictures of blood in class folders, in uploads/blood beside the checkout")
    path = tmp_path_factory.mktemp("zips") / "White blood cells.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind in KINDS:
            for picture in sorted((BLOOD / kind).iterdir())[:15]:
                archive.write(picture, f"blood/{kind}/{picture.name}")
        archive.writestr("blood/read me.txt", "fifteen of each")
        archive.writestr("blood/monocyte/torn.png", b"\x89PNG\r\n\x1a\n")
    return path


@pytest.fixture
def bare(roots, need, tmp_path) -> Iterator[Roots]:
    """The weights at hand, with nothing computed; no worker outlives the test."""
    need(weights.state(find_encoder(LITE), roots) == "ready", "the weights of EfficientNet-Lite0")
    shutil.copytree(roots.precomputed / "published", tmp_path / "precomputed" / "published")
    own = replace(roots, precomputed=tmp_path / "precomputed", cache=tmp_path / "cache")
    yield own
    for job in queue.jobs(own):
        queue.cancel(job.id, own)
    end = time.monotonic() + 60
    while queue.is_worked(own) and time.monotonic() < end:
        time.sleep(0.1)


def test_from_a_zip_to_neighbours_and_a_row(bare, blood, serve, open_page, axe, keep, menu, tmp_path):
    with serve(bare, tmp_path) as url:
        page = open_page(f"{url}?dataset=phantoms&size=64&encoder=pixels&tab=collections")
        choose(page, blood)
        assert page.input_value(".mine-name input") == "white_blood_cells"
        page.fill(".mine-name input", "cells")
        assert axe(page) == []
        page.keyboard.press("Enter")
        page.wait_for_selector(".mine-item[data-name=cells] .mine-table")
        rows = page.locator(".mine-table tbody tr").all_inner_texts()
        assert [row.split("\t")[0] for row in rows] == list(KINDS)
        assert [sum(map(int, row.split("\t")[1:])) for row in rows] == [15, 15, 15, 15]
        said = page.inner_text(".mine-item[data-name=cells]")
        assert "60 pictures in 4 classes: 40 to search in, 12 to ask with, 8 set aside." in said
        assert "blood/monocyte/torn.png" in said and "*.txt" in said
        assert "cells is there" in page.inner_text(".mine-said")
        assert page.is_hidden(".mine-underway") and axe(page) == []
        keep(page, "collections-added")

        open_tab(page, "Search")
        page.wait_for_selector(".problem:not([hidden])")
        assert page.input_value("select[name=dataset]") == "cells"
        assert "cells as they are" in page.inner_text(".now")
        assert page.input_value("input[name=encoder]") == "pixels"
        menu(page).choose(LITE)
        page.wait_for_function("() => document.querySelector('.now').textContent.includes('EfficientNet-Lite0')")
        assert page.is_visible(".compute") and axe(page) == []
        page.click(".later")  # queued, and the Jobs tab is open
        page.wait_for_selector(".jobs-job[data-state=done]", timeout=240_000)
        assert "cells, as they are" in page.inner_text(".jobs-job h3")
        assert page.input_value(".jobs select[name=dataset]")

        open_tab(page, "Search")
        page.click("#sample")
        wait_for_cards(page)
        assert "Nearest 5 of 40 gallery pictures" in page.inner_text("#cards-title")
        kind, name = records.find("cells", bare).of("train")[0].name.split("/")[1:]
        page.set_input_files(".drop input", str(BLOOD / kind / name))
        page.wait_for_function(
            "() => document.querySelector('#query-title').textContent === 'Your picture'", timeout=120_000
        )
        wait_for_cards(page)
        first = page.locator(".cards .card").first
        assert first.locator(".label").inner_text() == kind
        assert first.locator(".duplicate").inner_text() == "≈ exact duplicate", "it is one of the gallery"
        assert axe(page) == []

        open_tab(page, "Leaderboard")
        page.wait_for_selector(".board[data-ready=yes]")
        page.select_option(".board select[name=dataset]", "cells")
        page.wait_for_selector(".board-body .board-name:has-text('EfficientNet-Lite0')")

        open_tab(page, "Collections")
        page.click(".mine-item[data-name=cells] button:has-text('Remove')")
        page.wait_for_selector(".mine-dialog[open]")
        assert axe(page) == []
        page.click(".mine-keep")
        assert page.locator(".mine-item").count() == 1
        page.click(".mine-item[data-name=cells] button:has-text('Remove')")
        page.click(".mine-danger")
        page.wait_for_selector(".mine-none:has-text('There is none yet.')")
        open_tab(page, "Search")
        page.wait_for_function("() => document.querySelector('.menus select[name=dataset]').value !== 'cells'")
        assert page.locator(".menus select[name=dataset] option[value=cells]").count() == 0
        open_tab(page, "Leaderboard")
        page.wait_for_function("() => !document.querySelector('.board select[name=dataset] option[value=cells]')")
    assert records.names(bare) == [] and not list(bare.cache.rglob("*.zip"))


@pytest.fixture(scope="module")
def patients_server(roots, serve, tmp_path_factory):
    """A page with a collection of eight patients of five pictures each."""
    folder = tmp_path_factory.mktemp("patients")
    mine = replace(roots, cache=folder / "cache")
    for patient in range(8):
        for number in range(5):
            write_picture(
                folder / "mine" / "ab"[patient % 2] / f"p{patient}_{number}.png",
                seed=(patient, number),
                shape=(40, 40),
                low=20 * patient,
            )
    adding.add("patients", folder / "mine", mine, pattern=r"(p\d+)_")
    with serve(mine, folder, RETRIEVAL_ZIP_MB="1") as url:
        yield url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_one_card_per_patient(patients_server, open_page, axe, keep, width, scheme):
    page = open_page(
        f"{patients_server}?dataset=patients&encoder=histogram&item=test-0&k=5", width=width, scheme=scheme
    )
    wait_for_cards(page)
    assert "one card each" not in page.inner_text("#cards-title")
    if width == 390:
        page.click(".toggle")
    top = page.evaluate("document.querySelector('.columns').getBoundingClientRect().top + scrollY")
    serial = page.get_attribute(".found", "data-serial")
    page.check(".per-group input")
    page.wait_for_function("(before) => document.querySelector('.found').dataset.serial !== before", arg=serial)
    wait_for_cards(page)
    assert page.inner_text("#cards-title").endswith("gallery pictures, one card each")
    assert "cards=one-per-group" in page.url
    assert page.evaluate("document.querySelector('.columns').getBoundingClientRect().top + scrollY") == top, "no jump"
    keep(page, f"patients-{width}-{scheme}")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.reload()
    wait_for_cards(page)
    assert page.locator(".per-group input").is_checked()
    if width == 390:
        page.click(".toggle")
    page.select_option("select[name=dataset]", "phantoms")
    page.wait_for_function("() => document.querySelector('.now').textContent.includes('Phantoms')")
    assert page.is_hidden(".per-group") and "cards=" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_tab_reads_well_everywhere(patients_server, open_page, axe, keep, width, scheme):
    page = open_page(f"{patients_server}?tab=collections", width=width, scheme=scheme)
    page.click(".mine-item summary")
    page.wait_for_selector(".mine-table")
    assert "8 groups, such as patients" in page.inner_text(".mine-item")
    assert page.locator(".mine-item button:has-text('Remove')").count() == 0, "it was not sent here"
    keep(page, f"collections-{width}-{scheme}")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click("button:has-text('Search in it')")
    page.wait_for_function("() => document.querySelector('select[name=dataset]')?.value === 'patients'")


def test_what_cannot_be_used_is_told_and_the_way_is_free(patients_server, open_page, axe, tmp_path):
    page = open_page(f"{patients_server}?tab=collections", width=390)
    page.wait_for_selector(".mine-bounds:has-text('At most 1.0 MB')")
    page.click(".mine-add")
    page.wait_for_selector(".mine-refusal:has-text('Choose a zip first.')")
    (tmp_path / "large.zip").write_bytes(b"PK\x03\x04" + bytes(1_100_000))
    choose(page, tmp_path / "large.zip")
    page.click(".mine-add")
    page.wait_for_selector(".mine-refusal:has-text('larger than 1.0 MB')")
    with zipfile.ZipFile(tmp_path / "trap.zip", "w") as archive:
        archive.writestr("../../outside.png", b"\x89PNG")
    choose(page, tmp_path / "trap.zip")
    page.click(".mine-add")
    page.wait_for_selector(".mine-refusal:has-text('leads out of the source')")
    assert axe(page) == [] and page.is_hidden(".mine-underway")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.is_enabled(".mine-add")
    assert page.locator(".mine-item").count() == 1


def told(page, *arrivals: dict) -> list[dict]:
    """What the page is told to be on its way from now on, in the place of what is; the list may be changed."""
    usual = {"name": "ours", "words": "Looking at ours: 64 of 128 files.", "share": 0.5, "message": ""}
    said = [{**usual, **one} for one in arrivals]

    def answer(route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json={**reply.json(), "arrivals": said})

    page.route("**/collections.json", answer)
    return said


def look(page) -> None:
    """Make the page look once more."""
    with page.expect_response("**/collections.json"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_zip_of_another_page_is_told_of_and_left_alone(patients_server, open_page):
    page = open_page(f"{patients_server}?tab=collections")
    page.wait_for_selector(".mine-item")
    page.fill(".mine-name input", "mine")
    asked = []
    page.on("request", lambda sent: asked.append(sent.url) if sent.method == "POST" else None)
    said = told(page, {"id": "a", "live": True, "state": "adding"}, {"id": "b", "live": True, "state": "arriving"})
    look(page)
    page.wait_for_selector(".mine-others:has-text('Sent from another page: Looking at ours: 64 of 128 files.')")
    assert page.is_hidden(".mine-underway") and page.is_enabled(".mine-add")
    said[0].update(live=False, state="refused", message="It holds no picture.")
    said[1].update(live=False, state="added", name="patients")
    page.wait_for_function("() => !document.querySelector('.mine-others').textContent")  # it looks by itself
    assert page.inner_text(".mine-refusal") == page.inner_text(".mine-said") == ""
    assert page.input_value(".mine-name input") == "mine" and asked == []
    page.unroute_all(behavior="wait")


def test_a_page_that_is_loaded_again_follows_and_stops_what_it_sent(patients_server, open_page, tmp_path):
    page = open_page(f"{patients_server}?tab=collections")
    (tmp_path / "Nobody Really.zip").write_bytes(b"PK")
    choose(page, tmp_path / "Nobody Really.zip")
    page.fill(".mine-name input", "ours")
    said = told(page, {"id": "x", "live": True, "state": "adding"})
    page.route("**/collections?name=*", lambda route: route.fulfill(json={"id": "x", "secret": "s"}))
    with page.expect_request(lambda sent: sent.method == "PUT") as sent:
        page.click(".mine-add")
    assert sent.value.headers["x-file-name"] == "Nobody%20Really.zip" and "Nobody" not in sent.value.url
    page.wait_for_selector(".mine-words:has-text('64 of 128 files')")
    page.reload()
    page.wait_for_selector(".mine-words:has-text('64 of 128 files')")
    with page.expect_request(lambda sent: sent.method == "POST" and sent.url.endswith("/collections")) as stopped:
        page.click(".mine-stop")
    assert stopped.value.post_data_json == {"do": "stop", "secret": "s"}
    said.clear()  # as after a restart of the server
    page.wait_for_selector(".mine-refusal:has-text('knows nothing more of the zip')")
    assert page.is_hidden(".mine-underway") and page.is_enabled(".mine-add")
    page.unroute_all(behavior="wait")
