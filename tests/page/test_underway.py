import threading

import pytest

from retrieval.errors import Unavailable
from retrieval.page import underway

SOON = 10  # seconds in which a thread has surely gone on


def test_what_is_said_comes_in_order_and_then_it_ends():
    def work(say):
        say("one", 0.5)
        say("two", 1.0)

    assert list(underway.steps(work)) == [("one", 0.5), ("two", 1.0)]


def test_a_refusal_comes_after_what_was_said():
    def work(say):
        say("one", 0.5)
        raise Unavailable("It is not there.", remedy="Wait.")

    steps = underway.steps(work)
    assert next(steps) == ("one", 0.5)
    with pytest.raises(Unavailable, match="not there"):
        next(steps)


@pytest.mark.parametrize("stops", [True, False])
def test_work_that_nobody_follows_stops_only_where_it_is_asked_to(stops):
    left, over, ends = threading.Event(), threading.Event(), []

    def work(say):
        try:
            say("begun", 0.0)
            left.wait(SOON)
            say("more", 0.5)
            ends.append("all of it")
        finally:
            over.set()

    steps = underway.steps(work, stops=stops)
    next(steps)
    steps.close()
    left.set()
    assert over.wait(SOON)
    assert ends == ([] if stops else ["all of it"])
