"""What is clicked or arrives while something else is on its way belongs to what is shown, or is dropped."""

from pathlib import Path

import pytest
from PIL import Image

PHANTOMS = "dataset=phantoms&size=64&encoder=pixels&item=test-0"
CARDS = "() => document.querySelectorAll('.answer:not([hidden]) .card').length === 5"


@pytest.fixture
def page(server, open_page):
    """Five cards of the phantoms."""
    opened = open_page(f"{server}?{PHANTOMS}")
    opened.wait_for_function(CARDS, timeout=120_000)
    return opened


def test_a_card_is_asked_with_in_the_dataset_that_it_is_of(page):
    asked = []

    def refuse(route) -> None:
        asked.append(route.request.post_data_json["words"])
        route.fulfill(json={"kind": "refusal", "message": f"Not now, {len(asked)}.", "remedy": ""})

    page.route("**/ask", refuse)
    page.select_option("select[name=dataset]", "phantoms3d")
    page.wait_for_selector(".refusal:has-text('Not now, 1.')")
    page.locator(".cards .card").first.click()
    page.wait_for_selector(".refusal:has-text('Not now, 2.')")
    assert asked[0]["dataset"] == "phantoms3d"
    words = asked[1]
    assert (words["dataset"], words["size"], words["encoder"], words["k"]) == ("phantoms", "64", "pixels", "5")
    assert words["item"].startswith("train-") and words["v"]


def test_an_upload_that_ends_late_replaces_nothing_newer_and_is_deleted(page, tmp_path: Path):
    Image.linear_gradient("L").save(tmp_path / "mine.png")
    held, asked = [], []
    page.route("**/upload", lambda route: held.append(route))
    with page.expect_request("**/upload") as sent:
        page.set_input_files(".drop input", str(tmp_path / "mine.png"))
    assert sent.value.headers["x-file-name"] == "mine.png" and "mine" not in sent.value.url
    before = page.get_attribute(".found", "data-serial")
    page.click("#sample")
    page.wait_for_function("(before) => document.querySelector('.found').dataset.serial !== before", arg=before)
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/ask") else None)
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        held[0].continue_()
    assert deleted.value.status == 204
    assert page.request.get(f"{deleted.value.url}/picture.png").status == 404
    assert asked == [] and "Your picture" not in page.inner_text("#query-title")
