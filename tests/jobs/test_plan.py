from dataclasses import replace
from pathlib import Path

import pytest

from retrieval import artifacts, evaluation, results
from retrieval.cells import cell
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import is_at_hand
from retrieval.errors import Unavailable, UnknownName
from retrieval.jobs.plan import STUDY, Selection, cells_of, plan

PHANTOMS = Selection(datasets=("phantoms",), encoders=("pixels", "histogram"), protocols=("paper", "pca-16"))


def test_the_study_has_252_cells(empty_roots):
    cells = cells_of(STUDY, empty_roots)
    assert len({(one.dataset, one.size) for one in cells}) == 28
    assert len(cells) == 9 * 28
    assert {one.protocol for one in cells} == {"paper"}


def test_cells_that_share_vectors_follow_one_another(empty_roots):
    assert [(one.encoder, one.protocol) for one in cells_of(PHANTOMS, empty_roots)] == [
        ("pixels", "paper"),
        ("pixels", "pca-16"),
        ("histogram", "paper"),
        ("histogram", "pca-16"),
    ]


def test_all_datasets_are_the_real_ones_and_all_protocols_the_studys(empty_roots):
    cells = cells_of(Selection(encoders=("pixels",), sizes=(28,)), empty_roots)
    assert {one.protocol for one in cells} == {"paper"}
    assert "breastmnist" in {one.dataset for one in cells}
    assert not any(one.data.synthetic for one in cells)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(datasets=("breastmnits",)),
        Selection(sizes=(29,)),
        Selection(encoders=("pixel",)),
        Selection(protocols=("papers",)),
        Selection(datasets=("phantoms3d",), encoders=("histogram",)),
    ],
)
def test_a_name_that_is_none_says_which_are(selection, empty_roots):
    with pytest.raises(UnknownName, match="Valid"):
        cells_of(selection, empty_roots)


def test_what_cannot_be_had_says_why(empty_roots):
    with pytest.raises(Unavailable, match="t-SNE"):
        cells_of(Selection(protocols=("tsne-2",)), empty_roots)


def test_each_cell_says_where_it_stands(empty_roots):
    entries = {
        entry.cell.encoder: entry for entry in plan(Selection(("phantoms",), (), ("pixels", "uni")), empty_roots)
    }
    assert entries["pixels"].state == "to do"
    assert entries["pixels"].pictures == sum(
        cell("phantoms", 64, "pixels").data.counts[side] for side in ("train", "test")
    )
    assert entries["uni"].state == "unavailable"
    assert entries["uni"].cause and entries["uni"].remedy


def test_data_that_are_missing_make_a_cell_unavailable(empty_roots):
    (entry,) = plan(Selection(("pathmnist",), (224,), ("pixels",)), empty_roots)
    assert entry.state == "unavailable"
    assert "download" in entry.remedy


def test_shared_vectors_are_counted_once(empty_roots):
    first, second, *_ = plan(PHANTOMS, empty_roots)
    assert first.pictures > 0
    assert second.pictures == 0
    assert second.bytes < first.bytes


def test_a_result_alone_is_to_do_and_the_cause_says_which_part_lacks(empty_roots):
    selection = Selection(("phantoms",), (), ("pixels",))
    where = evaluation.evaluate(cell("phantoms", 64, "pixels"), empty_roots).cell
    artifacts.remove_folder(empty_roots.cache / "embeddings")
    (entry,) = plan(selection, empty_roots)
    cause = "Its result and neighbours are stored, the vectors of its gallery are not."
    assert (entry.state, entry.cause, entry.sides) == ("to do", cause, ("train",))
    assert entry.pictures == where.data.counts["train"] and entry.seconds > entry.embedding > 0
    assert entry.bytes == entry.pictures * 4 * 64 * 64, "no list is written again"
    artifacts.remove_file(empty_roots.cache / f"neighbours/{where.key}/test.json")
    (entry,) = plan(selection, empty_roots)
    assert (entry.state, entry.cause) == ("to do", "Its result is stored, its neighbours are not.")
    assert entry.sides == ("train", "test")
    artifacts.remove_folder(empty_roots.cache / "results")
    assert plan(selection, empty_roots)[0].cause == ""


def test_vectors_that_a_cell_before_makes_are_not_counted_again_and_others_are(empty_roots):
    """The first needs its gallery alone, the second ranks the queries besides."""
    evaluation.evaluate(cell("phantoms", 64, "pixels"), empty_roots)
    artifacts.remove_folder(empty_roots.cache / "embeddings")
    paper, reduced, *_ = plan(PHANTOMS, empty_roots)
    assert (paper.sides, reduced.sides) == (("train",), ("test",))
    assert reduced.cause == ""


def test_without_weights_a_shipped_result_is_done(roots, need, tmp_path):
    """Nothing more can be computed of it, also where its neighbours are not shipped."""
    need(is_at_hand(find_dataset("breastmnist"), 28, roots), "breastmnist at 28")
    bare = replace(roots, weights=None, cache=tmp_path)
    entries = plan(Selection(("breastmnist",), (28,), ("densenet121",), ("paper", "pca-256", "pca-64")), bare)
    assert [entry.state for entry in entries] == ["done", "done", "unavailable"]


def test_with_weights_it_is_to_do_where_a_search_would_have_to_wait(roots, need, tmp_path):
    need(is_at_hand(find_dataset("breastmnist"), 28, roots), "breastmnist at 28")
    anew = replace(roots, cache=tmp_path)
    entries = plan(Selection(("breastmnist",), (28,), ("pixels",), ("paper", "pca-256")), anew)
    assert [entry.state for entry in entries] == ["to do", "to do"]
    assert ["neighbours are stored" in entry.cause for entry in entries] == [True, False]


def test_what_was_computed_is_done_and_what_was_computed_otherwise_is_stale(empty_roots):
    selection = Selection(("phantoms",), (), ("pixels",))
    found = evaluation.evaluate(cell("phantoms", 64, "pixels"), empty_roots)
    assert [entry.state for entry in plan(selection, empty_roots)] == ["done"]
    path: Path = results.path_of(empty_roots.cache, found.cell)
    path.unlink()
    results.write(empty_roots.cache, type(found)(**{**vars(found), "fingerprint": "0" * 32}))
    (entry,) = plan(selection, empty_roots)
    assert entry.state == "stale"
    assert entry.cause and entry.remedy


def test_a_plan_unpacks_nothing(roots, need, tmp_path):
    need(is_at_hand(find_dataset("breastmnist"), 28, roots), "breastmnist at 28")
    anew = replace(roots, precomputed=tmp_path / "none", cache=tmp_path / "cache")
    (entry,) = plan(Selection(("breastmnist",), (28,), ("pixels",)), anew)
    assert entry.state == "to do" and entry.pictures == 546 + 156
    assert {path.name for path in (anew.cache / "data").iterdir()} == {"checked"}, "checksums alone"
