"""Wilson's interval against SciPy's, and at its ends."""

import pytest
from scipy import stats

from retrieval.scoring.uncertainty import wilson


@pytest.mark.parametrize("n", [1, 2, 7, 49, 156, 7180])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_it_is_scipy_s(n, confidence):
    for hits in {0, 1, n // 3, n // 2, n - 1, n}:
        interval = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
        assert wilson(hits, n, confidence=confidence) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_nothing_is_known_from_no_queries():
    assert wilson(0, 0) is None


@pytest.mark.parametrize("n", [1, 3, 156, 22433])
def test_the_ends_are_exact_and_never_passed(n):
    none, all_of_them = wilson(0, n), wilson(n, n)
    assert none is not None and all_of_them is not None
    assert none[0] == 0 < none[1] <= 1
    assert 0 <= all_of_them[0] < all_of_them[1] == 1
    assert (1 - none[1], 1 - none[0]) == pytest.approx(all_of_them)


def test_more_queries_narrow_it():
    widths = [high - low for low, high in (wilson(n // 2, n) or (0.0, 0.0) for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > 0
