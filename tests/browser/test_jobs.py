"""The Jobs tab as a person uses it, while the work goes on in another process."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from own_pictures import write_classes
from volume_files import axial_nifti, write

from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.collections import adding, records
from retrieval.datasets.opening import is_at_hand
from retrieval.encoders import weights
from retrieval.encoders.catalogue import find_encoder
from retrieval.jobs import queue
from retrieval.roots import Roots

CELL = {"dataset": "breastmnist", "size": "28", "encoder": "efficientnet_lite0", "protocol": "cosine"}


def open_tab(page, name: str) -> None:
    page.locator("button[role=tab]").filter(has_text=name).click()


def shows(page, state: str) -> None:
    page.wait_for_selector(f".jobs-job[data-state={state}]", timeout=240_000)


def press(page, what: str) -> None:
    page.click(f".jobs-job button[data-what={what}]")


@pytest.fixture
def bare(roots, need, tmp_path) -> Iterator[Roots]:
    """The data and weights at hand, with nothing computed; no worker outlives the test."""
    data, spec = find_dataset("breastmnist"), find_encoder("efficientnet_lite0")
    need(is_at_hand(data, 28, roots) and weights.state(spec, roots) == "ready", "BreastMNIST 28 and EfficientNet-Lite0")
    shutil.copytree(roots.precomputed / "published", tmp_path / "precomputed" / "published")
    own = replace(roots, precomputed=tmp_path / "precomputed", cache=tmp_path / "cache")
    yield own
    for job in queue.jobs(own):
        queue.cancel(job.id, own)
    end = time.monotonic() + 60
    while queue.is_worked(own) and time.monotonic() < end:
        time.sleep(0.1)


def kill_worker(roots: Roots) -> None:
    for job in queue.jobs(roots):
        if job.progress.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.progress.pid, signal.SIGKILL)


def test_a_missing_cell_is_queued_watched_steered_and_found_on_the_leaderboard(bare, serve, open_page, axe, tmp_path):
    with serve(bare, tmp_path) as url:
        page = open_page(f"{url}?dataset=phantoms&size=64&encoder=pixels&protocol=paper")  # computes nothing of ours
        open_tab(page, "Leaderboard")
        page.wait_for_selector(".board[data-ready=yes]")
        assert page.locator(".board select[name=encoder] option[value=efficientnet_lite0]").count() == 0

        open_tab(page, "Jobs")
        for name, value in CELL.items():
            page.select_option(f".jobs select[name={name}]", value)
        page.wait_for_selector(".jobs-plan:has-text('1 cell to compute')")
        page.click(".jobs-add")
        shows(page, "running")
        page.wait_for_function("() => Number(document.querySelector('.jobs-track').ariaValueNow) > 0", timeout=240_000)

        press(page, "pause")
        shows(page, "paused")
        press(page, "resume")
        shows(page, "running")
        kill_worker(bare)
        page.wait_for_function("() => /done/i.test(document.querySelector('.jobs-label').textContent)", timeout=240_000)
        assert axe(page) == []

        open_tab(page, "Leaderboard")
        page.wait_for_selector(".board select[name=encoder] option[value=efficientnet_lite0]", state="attached")
        page.select_option(".board select[name=encoder]", CELL["encoder"])
        page.wait_for_selector(".board-body .board-name:has-text('EfficientNet-Lite0')")

        open_tab(page, "Jobs")
        press(page, "remove")
        page.wait_for_selector(".jobs-none:has-text('No job is queued.')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_it_reads_well_everywhere(server, roots, open_page, axe, keep, width, scheme):
    page = open_page(f"{server}?tab=jobs", width=width, scheme=scheme)
    page.wait_for_selector(".jobs-plan p")
    keep(page, f"jobs-{width}-{scheme}")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.select_option(".jobs select[name=scope]", "study")
    page.wait_for_selector(".jobs-plan:has-text('cell')")
    assert page.is_hidden(".jobs select[name=dataset]")
    assert axe(page) == []


def test_switched_off_it_says_so_and_offers_nothing(bare, serve, open_page, axe, tmp_path):
    with serve(bare, tmp_path, RETRIEVAL_JOBS="off") as url:
        page = open_page(f"{url}?tab=jobs")
        page.wait_for_selector(".jobs-said:has-text('no jobs can be queued')")
        assert page.locator(".jobs button:visible").count() == 0
        assert page.locator("button[role=tab]").filter(has_text="Collections").count() == 0
        assert axe(page) == []


def test_collections_stand_in_the_menu_once_and_go_when_they_are_removed(empty_roots, serve, open_page, tmp_path):
    write_classes(tmp_path / "mine", {"dark": 6, "light": 6})
    adding.add("mine", tmp_path / "mine", empty_roots)
    for number in range(12):
        volume = np.random.default_rng(number).integers(0, 256, (8, 10, 9), np.uint8)
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, f"{number}.nii", axial_nifti(volume))
    adding.add("scans", tmp_path / "scans", empty_roots, ndim=3)
    with serve(empty_roots, tmp_path) as url:
        page = open_page(f"{url}?tab=jobs")
        page.select_option(".jobs select[name=dataset]", "scans")
        tell(page, "collectionadded", "mine")
        page.wait_for_function("() => document.querySelector('.jobs select[name=dataset]').value === 'mine'")
        offered = page.locator(".jobs select[name=dataset] option")
        before = offered.evaluate_all("(all) => all.map((one) => one.value)")
        assert len(set(before)) == len(before) and before[-2:] == ["mine", "scans"]
        records.remove("scans", empty_roots)
        tell(page, "collectionremoved", "scans")
        page.wait_for_selector(".jobs select[name=dataset] option[value=scans]", state="detached")
        assert offered.evaluate_all("(all) => all.map((one) => one.value)") == before[:-1]


def tell(page, event: str, name: str) -> None:
    """Say to all tabs what the Collections tab says."""
    page.evaluate("([event, detail]) => window.dispatchEvent(new CustomEvent(event, {detail}))", [event, name])


def test_a_published_row_that_was_not_measured_offers_to_be(bare, serve, open_page, axe, tmp_path):
    with serve(bare, tmp_path) as url:
        page = open_page(f"{url}?tab=leaderboard&dataset=phantoms&size=64&encoder=pixels&protocol=paper")
        page.wait_for_selector(".board[data-ready=yes]")
        page.select_option(".board select[name=dataset]", "breastmnist")
        page.select_option(".board select[name=encoder]", "densenet121")
        page.select_option(".board select[name=source]", "published")
        page.locator(".board-name").first.click()
        page.wait_for_selector(".board-offer:has-text('Not computed yet')")
        assert axe(page) == []
