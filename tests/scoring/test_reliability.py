"""How often the first neighbour is right, by either class, and where a score lies."""

import numpy as np
import pytest

from retrieval.scoring.reliability import by_first_neighbour, by_true_class, percentile_of


def test_by_true_class_and_by_first_neighbour_are_recall_and_precision(make_dataset):
    dataset = make_dataset("classes", 3)
    test = np.array([[0], [0], [0], [1], [1], [2]])
    first = np.array([[0], [1], [0], [1], [0], [0]])
    labels = {"test_labels": test, "first_labels": first}
    assert [by_true_class(dataset, **labels, label=label) for label in range(3)] == [(2, 3), (1, 2), (0, 1)]
    assert [by_first_neighbour(dataset, **labels, label=label) for label in range(3)] == [(2, 4), (1, 2), (0, 0)]


def test_a_finding_and_the_lack_of_any_are_counted_alike(make_dataset):
    dataset = make_dataset("findings", 2)
    test = np.array([[1, 1], [1, 0], [0, 0], [0, 0]])
    first = np.array([[1, 0], [0, 0], [0, 0], [1, 1]])
    labels = {"test_labels": test, "first_labels": first}
    assert by_true_class(dataset, **labels, label=0) == (1, 2)
    assert by_true_class(dataset, **labels, label=1) == (0, 1)
    assert by_true_class(dataset, **labels, label=2) == (1, 2)
    assert by_first_neighbour(dataset, **labels, label=0) == (1, 2)


def test_numbers_over_all_classes_add_up_to_the_queries(make_dataset):
    dataset, rng = make_dataset("ordinal", 5), np.random.default_rng(0)
    test, first = rng.integers(0, 5, size=(200, 1)), rng.integers(0, 5, size=(200, 1))
    for count in (by_true_class, by_first_neighbour):
        counted = [count(dataset, test_labels=test, first_labels=first, label=label) for label in range(5)]
        assert sum(hits for hits, _ in counted) == int((test == first).sum())
        assert sum(n for _, n in counted) == 200


@pytest.mark.parametrize(("score", "percent"), [(0.5, 0), (1, 25), (2.5, 50), (3, 75), (9, 100)])
def test_a_distance_is_beyond_all_that_are_at_least_as_near(score, percent):
    reference = np.array([4.0, 1.0, 3.0, 2.0])
    assert percentile_of(score, reference, lower_is_nearer=True) == percent
    assert percentile_of(-score, -reference, lower_is_nearer=False) == percent


def test_the_lowest_similarity_is_beyond_all():
    reference = np.array([0.9, 0.8, 0.95])
    assert percentile_of(0.1, reference, lower_is_nearer=False) == 100
    assert percentile_of(0.99, reference, lower_is_nearer=False) == 0


def test_without_a_reference_nothing_is_said():
    assert percentile_of(1.0, np.array([]), lower_is_nearer=True) is None
