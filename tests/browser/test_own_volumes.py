"""A file from a hospital dragged onto the page: a DICOM picture, and a NIfTI volume against volumes."""

import base64

import numpy as np
import pytest
import volume_files as files

from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.roots import Roots

DROP = """([name, data]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name));
    document.body.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: transfer}));
}"""


def drop(page, name: str, data: bytes) -> None:
    page.evaluate(DROP, [name, base64.b64encode(data).decode()])


def wait_for(page, title: str) -> None:
    page.wait_for_function(
        "(title) => document.querySelector('#query-title')?.textContent === title"
        " && !document.querySelector('.found[aria-busy]')"
        " && [...document.querySelectorAll('.answer img')].every((img) => img.complete && img.naturalWidth > 0)",
        arg=title,
    )


def item(name: str, roots: Roots, split: str, index: int) -> np.ndarray:
    return np.array(open_split(find_dataset(name), 28, split, roots).images[index])


@pytest.fixture(scope="module")
def at_hand(roots: Roots, need) -> Roots:
    for name in ("breastmnist", "adrenalmnist3d"):
        need(is_at_hand(find_dataset(name), 28, roots), f"{name} at 28")
    return roots


def test_a_dicom_file_dragged_in_is_asked_with_and_not_kept(server, open_page, at_hand, keep):
    page = open_page(f"{server}/?dataset=breastmnist&size=28&encoder=pixels&item=test-1")
    wait_for(page, "Test picture 1")
    values = item("breastmnist", at_hand, "train", 17).astype(np.uint16) * 16
    made = files.dicom_dataset(values, WindowCenter=2040.5, WindowWidth=4081)
    drop(page, "scan", files.dicom_bytes(made))
    wait_for(page, "Your picture")
    assert "exact duplicate" in page.locator(".card").first.inner_text()
    assert page.inner_text(".notes") == "Its window (center 2040.5, width 4081) is applied."
    shown = page.content() + page.evaluate("document.body.innerText")
    kept = b"".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        for path in at_hand.cache.rglob("uploads/**/*")
    )
    assert [word for word in files.PRIVATE if word in shown or word.encode() in kept] == []
    keep(page, "search-dicom-1400-light")


@pytest.mark.parametrize("width", [1400, 390])
def test_a_nifti_volume_against_volumes(server, open_page, at_hand, axe, keep, width):
    page = open_page(f"{server}/?dataset=adrenalmnist3d&size=28&encoder=pixels&item=test-1", width=width)
    wait_for(page, "Test volume 1")
    assert page.inner_text(".drop strong") == "Choose a volume"
    volume = item("adrenalmnist3d", at_hand, "train", 40)
    page.set_input_files(
        "#upload input[type=file]",
        [{"name": "gland.nii", "mimeType": "application/octet-stream", "buffer": files.axial_nifti(volume)}],
    )
    wait_for(page, "Your volume")
    assert "exact duplicate" in page.locator(".card").first.inner_text()
    assert page.inner_text(".original figcaption span") == "28 × 28 × 28 voxels"
    slider = page.locator(".answer .slices input")
    slider.focus()
    slider.press("Home")
    for _ in range(13):
        slider.press("ArrowRight")
    wait_for(page, "Your volume")
    assert slider.get_attribute("aria-valuetext") == "slice 14 of 28"
    assert page.inner_text(".answer .slices output") == "14 of 28"
    assert page.locator(".original img").get_attribute("alt") == "Your volume, slice 14 of 28"
    assert page.locator(".seen img").get_attribute("alt").endswith("slice 14 of 28")
    assert page.locator(".cards img").nth(2).get_attribute("alt") == "slice 14 of 28"
    keep(page, f"search-own-volume-{width}-light")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if width == 390:
        box = slider.bounding_box()
        page.touchscreen.tap(box["x"] + 2, box["y"] + box["height"] / 2)
        page.wait_for_function("() => document.querySelector('.answer .slices output').textContent.startsWith('1 of')")


def test_a_larger_volume_keeps_its_own_slices_and_the_same_picture_asks_pictures(server, open_page, at_hand):
    page = open_page(f"{server}/?dataset=adrenalmnist3d&size=28&encoder=pixels&item=test-1")
    wait_for(page, "Test volume 1")
    drop(page, "scan.npy", files.npy_bytes(np.repeat(item("adrenalmnist3d", at_hand, "train", 3), 2, axis=0)))
    wait_for(page, "Your volume")
    assert page.locator(".answer .slices input").get_attribute("max") == "55"
    page.select_option("select[name=dataset]", "breastmnist")
    wait_for(page, "Your picture")
    assert "middle one of its 56 slices" in page.inner_text(".notes")
    page.select_option("select[name=dataset]", "adrenalmnist3d")
    wait_for(page, "Your volume")
    kept = set(at_hand.cache.rglob("slices.npy"))
    page.click(".forget")
    page.wait_for_function("() => document.querySelector('#query-title').textContent.startsWith('Test volume')")
    assert len(kept - set(at_hand.cache.rglob("slices.npy"))) == 1


def test_a_picture_dropped_on_volumes_gets_a_sentence(server, open_page, at_hand):
    page = open_page(f"{server}/?dataset=adrenalmnist3d&size=28&encoder=pixels&item=test-1")
    wait_for(page, "Test volume 1")
    drop(page, "one.npy", files.npy_bytes(item("breastmnist", at_hand, "train", 3)))
    page.wait_for_selector(".problem:not([hidden])")
    assert "holds one picture, and this dataset holds volumes" in page.inner_text(".problem")
    page.click("#sample")
    page.wait_for_function("() => document.querySelector('#query-title').textContent.startsWith('Test volume')")
