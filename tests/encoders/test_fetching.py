"""Weights from a publisher's own address: the file, or a member of a zip file as MedCLIP's authors give theirs out."""

import dataclasses
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from retrieval.encoders import catalogue, places, weights
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.errors import Unavailable
from retrieval.roots import Roots

CONTENT = b"tensors of a sort" * 10_000


def zipped(name: str = "pytorch_model.bin", content: bytes = CONTENT) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], str]]:
    """A server on this machine; call it with what it is to serve to get the address; `.asked` counts."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    held: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serve.asked += 1  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Length", str(len(held["body"])))
            self.end_headers()
            self.wfile.write(held["body"])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def serve(body: bytes) -> str:
        held["body"] = body
        return f"http://127.0.0.1:{server.server_port}/weights.zip"

    serve.asked = 0  # type: ignore[attr-defined]
    yield serve
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def spec(tiny: EncoderSpec) -> Callable[..., EncoderSpec]:
    def make(url: str, **more) -> EncoderSpec:
        source = WeightsSource(filename="pytorch_model.bin", url=url, member="pytorch_model.bin", **more)
        return dataclasses.replace(tiny, weights=source)

    return make


def left(roots: Roots) -> list[str]:
    return [path.name for path in roots.cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "medclip-vit/pytorch_model.bin"])
def test_a_member_takes_the_place_of_its_zip_file(name: str, served: Callable, spec: Callable, weighted: Roots):
    made = spec(served(zipped(name)))
    assert weights.state(made, weighted) == "downloadable"
    seen: list[tuple[int, int | None]] = []
    path = weights.fetch(made, weighted, progress=lambda done, total: seen.append((done, total)))
    assert path == weighted.cache / "weights" / "tiny" / "pytorch_model.bin"
    assert path.read_bytes() == CONTENT
    assert left(weighted) == ["pytorch_model.bin"]
    assert seen[-1] == (len(zipped(name)), len(zipped(name)))
    assert weights.state(made, weighted) == "ready"
    assert weights.fetch(made, weighted) == path and served.asked == 1  # type: ignore[attr-defined]


def test_a_zip_file_that_came_whole_is_not_fetched_again(served: Callable, spec: Callable, weighted: Roots):
    made = spec(served(b""))
    came = weighted.cache / "weights" / "tiny" / "weights.zip"
    came.parent.mkdir(parents=True)
    came.write_bytes(zipped())  # by a process that was stopped before it unpacked
    path = weights.fetch(made, weighted)
    assert path is not None and path.read_bytes() == CONTENT
    assert served.asked == 0  # type: ignore[attr-defined]
    assert not came.exists()


def _damaged() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("pytorch_model.bin", CONTENT)
    body = bytearray(stream.getvalue())
    body[len(body) // 2] ^= 1
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>Not found</html>", "not a zip file"),
        (zipped()[:-30], "not a zip file"),
        (zipped("another.bin"), "it holds no pytorch_model.bin"),
        (_damaged(), "Bad CRC-32"),
    ],
    ids=["page", "cut", "without the member", "damaged"],
)
def test_of_a_wrong_zip_file_nothing_stays(body: bytes, why: str, served: Callable, spec: Callable, weighted: Roots):
    made = spec(served(body))
    with pytest.raises(Unavailable, match="is not the zip file with") as caught:
        weights.fetch(made, weighted)
    assert why in caught.value.message and made.weights.url in caught.value.message
    assert left(weighted) == []
    assert weights.locate(made, weighted) is None


def test_a_member_that_is_known_by_its_digest_has_to_have_it(served: Callable, spec: Callable, weighted: Roots):
    known = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    with pytest.raises(Unavailable, match="is not the file that is known"):
        weights.fetch(spec(served(zipped(content=b"other")), containers=(known,)), weighted)
    assert left(weighted) == []
    path = weights.fetch(spec(served(zipped()), containers=(known,)), weighted)
    assert path is not None
    found = weights.identify(spec("", containers=(known,)), weighted, lambda _: {})
    assert (found.path, found.verified) == (path, True)


def test_encoders_that_differ_in_their_pixels_share_one_file(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    first, second = find_encoder("medclip"), find_encoder("medclip_upscaled")
    assert first.weights is not None and first.weights == second.weights
    kept = places.kept(first, first.weights, weighted)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(CONTENT)
    assert weights.locate(second, weighted) == kept
    monkeypatch.setattr(catalogue, "ENCODERS", (second,))
    assert weights.locate(second, weighted) is None
