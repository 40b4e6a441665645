"""A collection in the browser: chosen from the menu, its neighbours on cards, as they are and at a size."""

from dataclasses import replace

import pytest
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
