"""Labels become indicators, gains and words as each task says."""

import itertools

import numpy as np
import pytest

from retrieval.datasets import relevance
from retrieval.datasets.specs import Dataset, Task


def _dataset(task: Task, *classes: str) -> Dataset:
    return Dataset(
        name="small",
        title="Small",
        about="Labels only.",
        ndim=2,
        channels=1,
        task=task,
        classes=classes,
        counts={"train": 0, "val": 0, "test": 0},
        sizes=(28,),
        licence="CC0-1.0",
        url="https://example.org",
        citation="none",
    )


CLASSES = _dataset("classes", "malignant", "benign", "normal")
GRADES = _dataset("ordinal", "0", "1", "2", "3", "4")
FINDINGS = _dataset("findings", "effusion", "mass", "edema")


def test_a_class_is_one_hot_by_the_first_column():
    found = relevance.indicator(CLASSES, np.array([[2], [0]]))
    assert found.dtype == bool
    assert found.tolist() == [[False, False, True], [True, False, False]]


def test_findings_are_multi_hot_and_none_of_them_is_a_class_of_its_own():
    found = relevance.indicator(FINDINGS, np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]]))
    assert found.astype(int).tolist() == [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert len(relevance.class_names(FINDINGS)) == found.shape[1]
    assert relevance.class_names(FINDINGS)[-1] == "no finding"
    assert relevance.class_names(CLASSES) == CLASSES.classes


@pytest.mark.parametrize("dataset", [CLASSES, GRADES, FINDINGS])
def test_neighbours_of_queries_are_read_as_a_flat_list_of_items_is(dataset):
    rng = np.random.default_rng(1)
    columns = 3 if dataset is FINDINGS else 1
    labels = rng.integers(0, 2 if dataset is FINDINGS else len(dataset.classes), size=(4, 5, columns))
    stacked = relevance.indicator(dataset, labels)
    assert np.array_equal(stacked.reshape(20, -1), relevance.indicator(dataset, labels.reshape(20, columns)))


def test_every_item_has_at_least_one_class():
    every = np.array(list(itertools.product([0, 1], repeat=3)))
    assert relevance.indicator(FINDINGS, every).any(axis=1).all()


def test_sharing_one_finding_or_the_lack_of_any_is_a_gain_of_one():
    query = relevance.indicator(FINDINGS, np.array([[1, 1, 0], [0, 0, 0]]))
    neighbours = relevance.indicator(
        FINDINGS, np.array([[[0, 1, 1], [0, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 0, 0], [1, 1, 1]]])
    )
    found = relevance.gains(query, neighbours)
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_gains_of_single_labels_are_equality():
    rng = np.random.default_rng(2)
    query, neighbours = rng.integers(0, 5, size=(30, 1)), rng.integers(0, 5, size=(30, 7, 1))
    found = relevance.gains(relevance.indicator(GRADES, query), relevance.indicator(GRADES, neighbours))
    assert np.array_equal(found, neighbours[:, :, 0] == query)


def test_closeness_falls_by_a_quarter_a_grade_where_there_are_five():
    neighbours = np.array([[[0], [1], [2], [3], [4]]])
    assert relevance.closeness(GRADES, np.array([[0]]), neighbours).tolist() == [[1, 0.75, 0.5, 0.25, 0]]
    assert relevance.closeness(GRADES, np.array([[3]]), neighbours).tolist() == [[0.25, 0.5, 0.75, 1, 0.75]]


def test_closeness_does_not_wrap_around_in_unsigned_labels():
    close = relevance.closeness(GRADES, np.array([[0]], dtype=np.uint8), np.array([[[4], [1]]], dtype=np.uint8))
    assert close.tolist() == [[0, 0.75]]


@pytest.mark.parametrize(
    ("dataset", "labels", "words"),
    [
        (CLASSES, [1], "benign"),
        (GRADES, [4], "4"),
        (FINDINGS, [1, 1, 0], "effusion, mass"),
        (FINDINGS, [0, 0, 0], "no finding"),
    ],
)
def test_labels_in_words(dataset, labels, words):
    assert relevance.label_name(dataset, np.array(labels)) == words
