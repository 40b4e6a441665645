"""Which devices there are, and which of them answer."""

import pytest

from retrieval.encoders import devices

ABSENT = "cuda:77"  # stands for a card that fell off its bus: torch refuses whatever is asked of it


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has worked on a GPU."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)


def test_a_gpu_that_answers_no_more_is_lost(begun: None):
    lost = devices.lost(ABSENT)
    assert lost is not None
    assert lost.message.startswith("The GPU was lost in the middle of the work: it answers no more (")
    assert "\n" not in lost.message and "--device cpu" in lost.remedy


def test_a_gpu_that_is_full_is_not_lost(begun: None, monkeypatch: pytest.MonkeyPatch):
    import torch

    def full(*_args: object, **_named: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "zeros", full)
    assert devices.lost(ABSENT) is None


def test_where_no_gpu_was_worked_on_none_is_lost(monkeypatch: pytest.MonkeyPatch):
    import torch

    assert devices.lost("cpu") is None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert devices.lost("auto") is devices.lost(ABSENT) is None


def test_of_several_devices_the_first_that_can_be_used_is_taken():
    assert devices.usable((ABSENT, "cpu")) == "cpu"
    assert devices.usable((ABSENT, ABSENT)) == ABSENT
