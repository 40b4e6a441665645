"""A collection in the browser: chosen from the menu, its neighbours on cards, as they are and at a size."""

import tarfile
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from conftest import SHARED
from own_pictures import write_classes

from retrieval import search
from retrieval.cells import cell
from retrieval.datasets.collections import adding
from retrieval.evaluation import evaluate


@pytest.fixture(scope="module")
def own_server(roots, serve, tmp_path_factory):
    """A page whose cache holds a collection of pictures of two shapes, evaluated, and a server that was up before."""
    folder = tmp_path_factory.mktemp("own")
    mine = replace(roots, cache=folder / "cache")
    with serve(mine, folder) as url:
        write_classes(folder / "mine", {"dark": 30}, shape=(20, 30))
        write_classes(folder / "mine", {"light": 30}, shape=(40, 40))
        adding.add("mine", folder / "mine", mine)
        evaluate(cell("mine", None, "histogram", roots=mine), mine)
        search.prepare(cell("mine", 28, "histogram", roots=mine), mine)
        yield url


def wait_for_cards(page) -> None:
    page.wait_for_function(
        """() => {
            const images = [...document.querySelectorAll('.cards .card img')];
            return images.length === 5 && images.every((image) => image.complete && image.naturalWidth > 0)
                && !document.querySelector('.found').hasAttribute('aria-busy');
        }"""
    )


def test_a_collection_is_chosen_and_its_neighbours_are_found(own_server, open_page):
    page = open_page(f"{own_server}/?dataset=mine&encoder=histogram")
    wait_for_cards(page)
    assert page.inner_text("select[name=dataset] optgroup[label='Your own'] option") == "mine"
    assert page.input_value("select[name=size]") == "0"
    assert "as they are" in page.inner_text("select[name=size]")
    assert "mine as they are" in page.inner_text(".now")
    serial = page.get_attribute(".found", "data-serial")
    page.select_option("select[name=size]", "28")
    page.wait_for_function("(before) => document.querySelector('.found').dataset.serial !== before", arg=serial)
    wait_for_cards(page)
    assert "size=28" in page.url


def test_it_has_its_rows_on_the_leaderboard(own_server, open_page):
    page = open_page(f"{own_server}/?dataset=mine&encoder=histogram")
    wait_for_cards(page)
    page.locator("button[role=tab]").filter(has_text="Leaderboard").click()
    page.wait_for_selector(".board[data-ready=yes] .board-body .board-name")
    page.select_option(".board select[name=dataset]", "mine")
    page.wait_for_function("() => document.querySelectorAll('.board-body .board-name').length === 3")
    assert "as they are" in page.inner_text(".board-body")


def a_few_of_mednist(path: Path, each: int) -> None:
    """A tar of the first pictures of each class of MedNIST."""
    with tarfile.open(SHARED / "collections" / "MedNIST-12000.tar") as whole, tarfile.open(path, "w") as few:
        members = sorted((member for member in whole if member.isfile()), key=lambda member: member.name)
        for _, of_class in groupby(members, key=lambda member: Path(member.name).parent):
            for member in list(of_class)[:each]:
                few.addfile(member, whole.extractfile(member))


def test_a_part_of_mednist_is_embedded_by_a_network_and_searched_from_the_page(roots, serve, tmp_path, open_page, need):
    need((SHARED / "collections" / "MedNIST-12000.tar").is_file(), "collections/MedNIST-12000.tar beside the checkout")
    a_few_of_mednist(tmp_path / "few.tar", 20)
    mine = replace(roots, cache=tmp_path / "cache")
    adding.add("mednist", tmp_path / "few.tar", mine)
    found = evaluate(cell("mednist", None, "efficientnet_lite0", roots=mine), mine)
    assert found.as_published.n_queries == 24
    assert found.as_published.hits["ACC@1"] >= 20  # of six very different kinds of pictures
    with serve(mine, tmp_path) as url:
        page = open_page(f"{url}/?dataset=mednist&encoder=efficientnet_lite0&item=test-3")
        wait_for_cards(page)
        assert page.inner_text("select[name=dataset] optgroup[label='Your own'] option") == "mednist"
        assert "84" in page.inner_text(".found")  # gallery pictures
