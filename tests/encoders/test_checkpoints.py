"""Files of tensors: what is read, what is unwrapped, and that nothing in them is ever run."""

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from retrieval.encoders import checkpoints
from retrieval.encoders.specs import Layout
from retrieval.errors import BadInput

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def saved(content: Any, folder: Path, name: str = "file.pth", **how: Any) -> Path:
    torch.save(content, folder / name, **how)
    return folder / name


def same(found: dict[str, Any]) -> bool:
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


# --- what is read


def test_safetensors_are_read(tmp_path: Path):
    save_file(TENSORS, tmp_path / "file.safetensors")
    assert same(checkpoints.read(tmp_path / "file.safetensors", Layout()))


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("name", ["file.pth", "pytorch_model.bin", "teacher_checkpoint.pt"])
def test_both_containers_of_torch_are_read(how: dict, name: str, tmp_path: Path):
    path = saved(TENSORS, tmp_path, name, **how)
    assert zipfile.is_zipfile(path) == (not how)
    assert same(checkpoints.read(path, Layout()))


@pytest.mark.parametrize("kept", ["cpu", "parameter"])
def test_parameters_are_tensors(kept: str, tmp_path: Path):
    content = {name: torch.nn.Parameter(one) if kept == "parameter" else one for name, one in TENSORS.items()}
    assert same(checkpoints.read(saved(content, tmp_path), Layout()))


def test_arrays_are_the_same_numbers_and_bfloat16_is_widened(tmp_path: Path):
    path = saved({**TENSORS, "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, tmp_path)
    arrays = checkpoints.read_arrays(path, Layout(drop=(".*",), rename=(("a", "b"),)))
    assert sorted(arrays) == ["a.bias", "a.weight", "half"]  # before anything is dropped or renamed
    assert arrays["half"].dtype == np.float32 and arrays["half"].tolist() == [1.5, -2.0]
    assert np.array_equal(arrays["a.weight"], TENSORS["a.weight"].numpy())


# --- unwrapping


@pytest.mark.parametrize("content", [TENSORS, {"teacher": TENSORS, "iteration": 7}])
def test_a_file_is_unwrapped_where_it_is_wrapped(content: dict, tmp_path: Path):
    assert same(checkpoints.read(saved(content, tmp_path), Layout(unwrap=("teacher",))))


def test_unwrapping_goes_down_key_by_key(tmp_path: Path):
    content = {"state": {"model": TENSORS, "other": 1}, "epoch": 3}
    assert same(checkpoints.read(saved(content, tmp_path), Layout(unwrap=("state", "model"))))


def test_what_lies_beside_the_weights_is_left_alone(tmp_path: Path):
    content = {"model": TENSORS, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "lr": 0.1}, "epoch": 4}
    assert same(checkpoints.read(saved(content, tmp_path), Layout(unwrap=("model",))))


@pytest.mark.parametrize("content", [{"model": TENSORS}, [1, 2], {**TENSORS, "epoch": 4}, torch.ones(3), "weights"])
def test_other_than_tensors_by_name_is_refused(content: Any, tmp_path: Path):
    with pytest.raises(BadInput, match=r"file\.pth .* cannot be read .* other than tensors by name"):
        checkpoints.read(saved(content, tmp_path), Layout())


# --- classes


def test_arguments_are_read_only_where_the_layout_allows_it(tmp_path: Path):
    content = {"model": TENSORS, "args": argparse.Namespace(lr=0.1, name="run")}
    path = saved(content, tmp_path)
    assert same(checkpoints.read(path, Layout(unwrap=("model",), allow=("argparse.Namespace",))))
    with pytest.raises(BadInput, match=r"could run code, .*it asks for argparse\.Namespace"):
        checkpoints.read(path, Layout(unwrap=("model",)))


def test_what_one_layout_allows_the_next_does_not(tmp_path: Path):
    path = saved({"model": TENSORS, "args": argparse.Namespace()}, tmp_path)
    checkpoints.read(path, Layout(unwrap=("model",), allow=("argparse.Namespace",)))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_no_layout_can_allow_another_class(tmp_path: Path):
    with pytest.raises(BadInput):
        checkpoints.read(saved(TENSORS, tmp_path), Layout(allow=("builtins.eval",)))


class Runs:
    """Unpickled by a plain `pickle.load`, it would make the file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("allow", [(), ("argparse.Namespace",)])
@pytest.mark.parametrize("kind", ["zip", "old", "pickle alone"])
@pytest.mark.parametrize("where", ["beside", "inside", "as arguments"])
def test_a_malicious_pickle_runs_nothing(kind: str, where: str, allow: tuple[str, ...], tmp_path: Path):
    trace, path = tmp_path / "trace", tmp_path / "file.pth"
    evil: Any = Runs(trace)
    content = {
        "beside": {"model": TENSORS, "evil": evil},
        "inside": {"model": {**TENSORS, "b": evil}},
        "as arguments": {"model": TENSORS, "args": argparse.Namespace(evil=evil)},
    }[where]
    if kind == "pickle alone":
        path.write_bytes(pickle.dumps({"args": evil}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(BadInput, match="could run code"):
        checkpoints.read(path, Layout(unwrap=("model",), allow=allow))
    assert not trace.exists()
    if kind == "zip":
        torch.load(path, weights_only=False)  # what others do with it: the file does run something
        assert trace.exists()


class RunsCommand:
    """What most attacks are: a command for the system's shell."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (os.system, (f"touch {self.trace}",))


@pytest.mark.parametrize("kind", ["zip", "old"])
def test_a_pickled_command_is_named_and_not_run(kind: str, tmp_path: Path):
    trace = tmp_path / "trace"
    path = saved({"a": RunsCommand(trace)}, tmp_path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(BadInput, match=r"could run code.*it asks for (posix|nt)\.system") as caught:
        checkpoints.read(path, Layout())
    assert "Do not use it" in caught.value.remedy and not trace.exists()


# --- damage


@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
@pytest.mark.parametrize("damage", ["empty", "half", "text", "one byte"])
def test_a_damaged_file_is_refused_in_one_sentence(name: str, damage: str, tmp_path: Path):
    path = tmp_path / name
    (saved(TENSORS, tmp_path) if name.endswith(".pth") else save_file(TENSORS, path))
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "half": whole[: len(whole) // 2], "text": b"<html>not found</html>", "one byte": whole[:1]}[
            damage
        ]
    )
    with pytest.raises(BadInput, match=rf"The weights file {name} .* cannot be read") as caught:
        checkpoints.read(path, Layout())
    assert "\n" not in str(caught.value)
    assert "truncated" in str(caught.value.remedy)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="cannot be read"):
        checkpoints.read(tmp_path / "none.pth", Layout())


# --- tensors by name, and nothing stranger


@pytest.mark.parametrize("name", [1, None, ("a", "b")])
def test_names_that_are_no_words_are_refused(name: Any, tmp_path: Path):
    with pytest.raises(BadInput, match="something other than tensors by name"):
        checkpoints.read(saved({"a": torch.ones(2), name: torch.ones(2)}, tmp_path), Layout())


@pytest.mark.parametrize("kind", ["sparse", "nested", "without content", "float8", "complex"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_whose_numbers_are_not_all_there_are_refused(kind: str, tmp_path: Path):
    one = {
        "sparse": lambda: torch.eye(2).to_sparse(),
        "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        "without content": lambda: torch.ones(2, device="meta"),
        "float8": lambda: torch.ones(2).to(torch.float8_e4m3fn),
        "complex": lambda: torch.ones(2).to(torch.complex64),
    }[kind]()
    with pytest.raises(BadInput, match="b is no plain tensor of numbers"):
        checkpoints.read(saved({"a": torch.ones(2), "b": one}, tmp_path), Layout())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_single_bytes_that_are_wrong_end_in_a_sentence_or_in_other_numbers(zipped: bool, tmp_path: Path):
    path = saved({"a": torch.ones(3), "b": torch.ones(2, 2)}, tmp_path, _use_new_zipfile_serialization=zipped)
    sound, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(400):
        damaged = bytearray(sound)
        damaged[rng.integers(len(sound))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            dict(checkpoints.read_arrays(path, Layout()))
        except BadInput:
            refused += 1
    assert refused > 50


def test_an_empty_file_is_said_to_end_too_early(tmp_path: Path):
    path = tmp_path / "file.pth"
    path.touch()
    with pytest.raises(BadInput, match="it ends too early"):
        checkpoints.read(path, Layout())
