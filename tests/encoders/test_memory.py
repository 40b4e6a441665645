"""How much memory there is, what limits it, and what a network fills."""

import dataclasses
import os
from pathlib import Path

import pytest

from retrieval.encoders import loading, memory
from retrieval.encoders.catalogue import find_encoder

GIGABYTE = 1 << 30


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(autouse=True)
def sixty_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 GiB."""
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 16 << 20}[name])


def test_without_control_groups_it_is_what_is_installed(tmp_path: Path):
    assert memory.machine_memory(tmp_path) == 64 * GIGABYTE


@pytest.mark.parametrize(
    ("files", "gigabytes"),
    [
        ({"sys/fs/cgroup/memory.max": "max"}, 64),
        ({"sys/fs/cgroup/memory.max": f"{8 * GIGABYTE}\n"}, 8),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIGABYTE}\n"}, 4),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 64),
        (
            {
                "proc/self/cgroup": "0::/user.slice/job\n",
                "sys/fs/cgroup/user.slice/memory.max": f"{2 * GIGABYTE}",
                "sys/fs/cgroup/user.slice/job/memory.max": "max",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/docker/a\n4:memory:/docker/a\n",
                "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": f"{3 * GIGABYTE}",
            },
            3,
        ),
    ],
)
def test_a_control_group_limits_it(tmp_path: Path, files: dict[str, str], gigabytes: int):
    for name, text in files.items():
        write(tmp_path / name, text)
    assert memory.machine_memory(tmp_path) == gigabytes * GIGABYTE


def test_networks_may_fill_a_quarter(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 16 * GIGABYTE)
    assert memory.room("cpu") == 4 * GIGABYTE


def test_what_a_network_will_fill_is_told_by_its_parameters_or_else_by_its_file():
    assert memory.needed(1_000_000, 77) == 4_000_000
    assert memory.needed(0, 77) == 77


def test_parameters_and_buffers_are_counted():
    import torch

    assert memory.held(torch.nn.BatchNorm2d(10)) == 4 * 40 + 8  # its counter is a whole number of 8 bytes


@pytest.mark.parametrize(
    ("room", "groups"),
    [
        (10_000, [["a", "b", "c", "d"]]),
        (2_500, [["a", "b"], ["c", "d"]]),
        (800, [["a"], ["b"], ["c"], ["d"]]),  # each is larger, and stands alone
        (4_100, [["a", "b", "c"], ["d"]]),
    ],
)
def test_networks_are_grouped_as_memory_has_room_for_them(
    room: int, groups: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    sizes = {"a": 250, "b": 300, "c": 400, "d": 201}  # parameters, of four bytes each
    specs = [dataclasses.replace(find_encoder("resnet50"), name=name, parameters=size) for name, size in sizes.items()]
    monkeypatch.setattr(loading.memory, "room", lambda device: room)
    found = loading.fitting(specs, device="cpu")
    assert [[spec.name for spec in group] for group in found] == groups
