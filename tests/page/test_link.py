from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.answers import ItemQuery
from retrieval.cells import grid
from retrieval.errors import RetrievalError
from retrieval.page.desk import PREFERRED
from retrieval.page.link import Link, item_at, parse, to_words

TOKEN = "0123456789abcdef" * 2


def read(text: str) -> Link:
    return parse(dict(parse_qsl(text)), PREFERRED)


@given(where=st.sampled_from(grid()), k=st.integers(1, 20), split=st.sampled_from(["train", "test"]), data=st.data())
def test_what_is_written_is_read_back(where, k, split, data):
    index = data.draw(st.integers(0, where.data.counts[split] - 1))
    link = Link(cell=where, k=k, item=ItemQuery(split=split, index=index))
    assert read(to_words(link)) == link


def test_an_empty_address_is_the_default():
    assert read("") == Link(cell=PREFERRED)


def test_what_does_not_fit_the_dataset_gives_way_to_what_does():
    link = read("dataset=adrenalmnist3d")
    assert link.cell.dataset == "adrenalmnist3d"
    assert link.cell.size in link.cell.data.sizes
    assert link.cell.spec.takes(3)


def test_an_uploads_token_is_never_in_an_address_to_share():
    link = Link(cell=PREFERRED, token=TOKEN, uploaded=True)
    assert TOKEN not in to_words(link)
    assert TOKEN in to_words(link, private=True)
    shared, private = read(to_words(link)), read(to_words(link, private=True))
    assert (shared.uploaded, shared.token) == (True, None)
    assert private == link


@pytest.mark.parametrize(
    "text",
    [
        "dataset=brestmnist",
        "size=29",
        "size=nan",
        "size=twenty",
        "encoder=resnet",
        "protocol=euclid",
        "k=0",
        "k=21",
        "k=5.5",
        "k=1e99",
        "k=inf",
        "item=val-3",
        "item=test-156",
        "item=test--1",
        "item=train-99999999999999",
        "item=<script>alert(1)</script>",
        "upload=../../etc/passwd",
        "upload=ABC",
        "dataset=adrenalmnist3d&encoder=histogram",
    ],
)
def test_a_bad_link_is_refused_with_a_sentence_and_a_remedy(text):
    with pytest.raises(RetrievalError) as refusal:
        read(text)
    assert refusal.value.message.endswith(".")
    assert refusal.value.remedy.endswith(".")


@given(
    words=st.dictionaries(st.sampled_from(["dataset", "size", "encoder", "protocol", "k", "item", "upload"]), st.text())
)
def test_no_link_raises_anything_else(words):
    try:
        parse(words, PREFERRED)
    except RetrievalError as refusal:
        assert refusal.message


@pytest.mark.parametrize("index", [True, None, "3.5", [], "x", -1, 156])
def test_only_pictures_that_exist_can_be_asked_with(index):
    with pytest.raises(RetrievalError):
        item_at("test", index, PREFERRED)
