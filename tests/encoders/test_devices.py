"""Which devices there are, which of them answer, and how many cores there are."""

import os
from pathlib import Path

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


# --- cores


@pytest.fixture
def sixty_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "12800000 100000\n"}, 64),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (
            {
                "proc/self/cgroup": "0::/user.slice/job\n",
                "sys/fs/cgroup/user.slice/cpu.max": "300000 100000",
                "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/a\n5:cpu,cpuacct:/docker/a\nnone of the kind\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "50000",
            },
            3,
        ),
    ],
)
def test_cores_are_as_many_as_a_control_group_gives_time_for(
    sixty_four: None, tmp_path: Path, files: dict[str, str], cores: int
):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert devices.cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("allowed", "processes", "most", "shares"),
    [
        (range(64), 8, 64, [set(range(at, at + 8)) for at in range(0, 64, 8)]),
        (range(4, 14), 4, 10, [{4, 5}, {6, 7}, {9, 10}, {11, 12}]),
        (range(64), 2, 4, [{0, 1}, {32, 33}]),
        (range(2), 3, 2, [{0}, {0}, {1}]),
    ],
)
def test_several_processes_share_the_cores_of_one(allowed: range, processes: int, most: int, shares: list[set[int]]):
    assert devices.shared_out(allowed, processes, most=most) == shares


def test_torch_takes_no_more_threads_than_there_are_cores(monkeypatch: pytest.MonkeyPatch):
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr(devices, "cores", lambda: 1)
    try:
        devices.ready("cpu")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
