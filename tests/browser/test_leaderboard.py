"""The Leaderboard and About tabs as a person uses them: filter, sort, look closer, take the numbers along."""

import csv

import pytest

LOOKS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]
ACCURACY = "all:ACC@1"


def open_tab(page, name: str) -> None:
    page.locator("button[role=tab]").filter(has_text=name).click()


def open_board(page) -> None:
    open_tab(page, "Leaderboard")
    page.wait_for_selector(".board[data-ready=yes] .board-body .board-name")


def choose(page, **choices: str) -> None:
    for name, value in choices.items():
        page.select_option(f".board select[name={name}]", value)


def status(page) -> str:
    return page.inner_text(".board-status")


def column(page, heading: str) -> list[str]:
    """The first line of the drawn cells under a heading, without what is only for the ear; empty where blank."""
    return page.evaluate(
        """(heading) => {
            const heads = [...document.querySelectorAll('.board-head th')];
            const at = heads.findIndex((th) => th.textContent.startsWith(heading));
            return [...document.querySelectorAll('.board-body tr:not(.board-spacer)')].map((row) => {
                const cell = row.children[at], value = cell.querySelector('.board-value, .board-name') || cell;
                return value.firstChild ? value.firstChild.textContent : '';
            });
        }""",
        heading,
    )


def sort_by(page, identity: str) -> str:
    """Click a heading; what `aria-sort` says afterwards."""
    page.click(f'.board-sort[data-id="{identity}"]')
    return page.locator(f'th:has(.board-sort[data-id="{identity}"])').get_attribute("aria-sort")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_filter_sort_and_look_closer(server, open_page, axe, keep, width, scheme):
    page = open_page(server, width=width, scheme=scheme)
    open_board(page)
    everything = status(page)
    keep(page, f"leaderboard-{width}-{scheme}")
    assert axe(page) == []

    choose(page, dataset="adrenalmnist3d", size="64", source="published")
    assert status(page).startswith("17 of ")
    assert len(column(page, "Extractor")) == 17  # nine with raw vectors, eight with shortened ones

    assert sort_by(page, ACCURACY) == "descending"
    down = [float(value) for value in column(page, "ACC@1")]
    assert down == sorted(down, reverse=True)
    assert sort_by(page, ACCURACY) == "ascending"
    assert [float(value) for value in column(page, "ACC@1")] == sorted(down)
    assert page.evaluate("document.activeElement.classList.contains('board-sort')"), "the heading keeps the focus"
    keep(page, f"leaderboard-sorted-{width}-{scheme}")
    assert axe(page) == []

    page.locator(".board-name").first.click()
    page.wait_for_selector(".board-dialog[open]")
    assert "AdrenalMNIST3D, 64 pixels" in page.inner_text(".board-dialog h3")
    assert "of 298" in page.inner_text(".board-details")
    keep(page, f"leaderboard-row-{width}-{scheme}")
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.wait_for_selector(".board-dialog", state="hidden")

    page.click(".board-reset")
    assert status(page) == everything
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "only the table scrolls sideways"


def test_what_is_missing_is_blank_and_last_whichever_way_is_sorted(server, open_page):
    page = open_page(server)
    open_board(page)
    choose(page, dataset="adrenalmnist3d", size="64", reading="left")
    for expected in ("descending", "ascending"):
        assert sort_by(page, "left:ACC@1") == expected
        values = column(page, "ACC@1")
        known = [value for value in values if value]
        assert known, "the majority class has a number with duplicates left out"
        assert values == known + [""] * (len(values) - len(known))
        assert len(values) - len(known) >= 9, "the study's rows have none"


def test_rows_that_do_not_beat_the_majority_class_say_so(server, open_page):
    page = open_page(server)
    open_board(page)
    choose(page, dataset="adrenalmnist3d", size="28", source="published")
    cells = page.locator(".board-body .board-below")
    assert cells.count() >= 9
    assert "does not beat the majority class" in cells.first.text_content()
    assert "Does not beat always answering the most common class" in page.text_content(".board-mark-below")


def test_rows_near_the_best_cannot_be_told_apart(server, open_page):
    page = open_page(server)
    open_board(page)
    choose(page, dataset="breastmnist", size="28", source="published")
    near = page.locator(".board-body .board-near")
    assert near.count() > 1
    assert "not separable from the best" in near.first.text_content()
    sort_by(page, "all:mAP@5")
    assert page.locator(".board-body .board-near").count() == 0, "an average of averages has no such interval"


def test_both_readings_stand_side_by_side(server, open_page):
    page = open_page(server)
    open_board(page)
    one = page.locator(".board-head th").count()
    choose(page, reading="both")
    assert page.locator(".board-head th").count() == one + 5
    assert page.locator(".board-head").get_by_text("duplicates left out").count() == 5


def test_csv_holds_the_rows_that_are_shown(server, open_page, tmp_path):
    page = open_page(server)
    open_board(page)
    choose(page, dataset="retinamnist", size="28", source="published", encoder="densenet121")
    with page.expect_download() as download:
        page.click(".board-csv")
    download.value.save_as(tmp_path / "leaderboard.csv")
    with (tmp_path / "leaderboard.csv").open(newline="") as stream:
        (record,) = csv.DictReader(stream)
    assert (record["encoder"], record["ACC@1 hits"], record["n_queries"]) == ("densenet121", "181", "400")


def test_scrolling_draws_other_rows_and_keeps_few(server, open_page):
    page = open_page(server)
    open_board(page)
    total = int(page.get_attribute(".board-table", "aria-rowcount"))
    assert total > 250
    first = page.inner_text(".board-body tr:nth-child(2)")
    page.evaluate("() => { const box = document.querySelector('.board-scroller'); box.scrollTop = box.scrollHeight; }")
    page.wait_for_selector(f'.board-body tr[aria-rowindex="{total}"]')
    assert page.inner_text(".board-body tr:nth-child(2)") != first
    assert page.locator(".board-body tr").count() < 60


def test_the_address_remembers_what_is_chosen(server, open_page):
    page = open_page(server)
    open_board(page)
    choose(page, dataset="breastmnist", size="28", reading="both")
    sort_by(page, "all:mMV@5")
    said, address = status(page), page.evaluate("location.href")
    again = open_page(address)
    again.wait_for_selector(".board[data-ready=yes] .board-body .board-name")
    assert status(again) == said
    again.reload()
    again.wait_for_selector(".board[data-ready=yes] .board-body .board-name")
    assert status(again) == said


def test_an_answer_leaves_the_rows_in_the_address(server, open_page):
    page = open_page(server)
    open_board(page)
    choose(page, dataset="breastmnist")
    open_tab(page, "Search")
    before = page.get_attribute(".found", "data-serial")
    page.click("#sample")
    page.wait_for_function("(before) => document.querySelector('.found').dataset.serial !== before", arg=before)
    assert "item=test-" in page.evaluate("location.href")
    assert page.evaluate("new URLSearchParams(location.search).get('board')") == "dataset=breastmnist"


def test_a_row_leads_to_a_search_with_it(server, open_page):
    page = open_page(server)
    open_board(page)
    choose(page, dataset="breastmnist", size="28", encoder="densenet121", source="published")
    page.locator(".board-body .board-link").click()
    page.wait_for_url("**dataset=breastmnist&size=28&encoder=densenet121&protocol=paper**")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_about_reads_well(server, open_page, axe, keep, width, scheme):
    page = open_page(server, width=width, scheme=scheme)
    open_tab(page, "About")
    page.wait_for_selector(".about h2")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "only tables scroll sideways"
    keep(page, f"about-folded-{width}-{scheme}")
    page.evaluate("for (const node of document.querySelectorAll('.about details')) node.open = true")
    keep(page, f"about-{width}-{scheme}")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "only tables scroll sideways"


def test_the_leaderboard_leads_to_the_explanation(server, open_page):
    page = open_page(server)
    open_board(page)
    page.click(".board-to-about")
    page.wait_for_selector("#about-metrics")
    page.wait_for_function("document.querySelector('#about-metrics').getBoundingClientRect().top < window.innerHeight")
