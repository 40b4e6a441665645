import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import open_split
from retrieval.page.desk import PHANTOMS, Desk
from retrieval.page.routes import routes
from retrieval.page.security import SecurityHeaders
from retrieval.page.uploads import open_uploads
from retrieval.roots import Roots

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def desk(roots: Roots) -> Desk:
    return Desk(roots=roots, uploads=open_uploads(roots.cache), start=PHANTOMS)


@pytest.fixture(scope="module")
def client(desk: Desk) -> Iterator[TestClient]:
    app = Starlette(routes=routes(desk), middleware=[Middleware(SecurityHeaders)])
    with TestClient(app) as opened:
        yield opened


def pixels(body: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(body)) as picture:
        return np.asarray(picture)


def test_it_says_when_it_is_up(client):
    assert client.get("/healthz").json() == {"ok": True}


def test_questions_are_asked_in_json_only(client):
    """A form of another site cannot send JSON without asking first."""
    assert client.post("/ask", data={"words": "x"}).status_code == 415
    assert client.post("/ask", content=b"{", headers=JSON).status_code == 400
    assert client.post("/ask", content=b"[" * 15_000, headers=JSON).status_code == 400
    assert client.post("/ask", content=b'"' + b"x" * 30_000 + b'"', headers=JSON).status_code == 400


@pytest.mark.parametrize(
    "question",
    [
        None,
        [],
        "words",
        {"words": []},
        {"words": {"dataset": ["phantoms"]}},
        {"words": {"dataset": "phantoms", "size": {"a": 1}}, "history": 5, "address": "yes"},
        {"words": {"dataset": "phantoms", "sample": "99"}},
        {"words": {"dataset": "phantoms", "item": "${alert(1)}"}},
        {"words": {"dataset": "phantoms", "upload": "0" * 32, "forget": "../.."}},
    ],
)
def test_a_question_that_makes_no_sense_gets_a_sentence(client, question):
    reply = client.post("/ask", content=json.dumps(question), headers=JSON)
    assert reply.status_code == 200
    value = reply.json()
    assert value["kind"] in ("refusal", "problem", "answer")
    assert value["kind"] == "answer" or value["message"].endswith(".")
    assert "went wrong" not in value.get("message", "")


@pytest.mark.parametrize(("split", "index"), [("train", 0), ("train", 599), ("test", 149)])
def test_a_picture_is_the_datasets_own_pixel_for_pixel(client, roots, split, index):
    reply = client.get(f"/picture/phantoms/64/{split}/{index}.png?v=1")
    assert reply.headers["content-type"] == "image/png"
    assert "immutable" in reply.headers["cache-control"]
    assert np.array_equal(pixels(reply.content), open_split(find_dataset("phantoms"), 64, split, roots).images[index])


def test_a_slice_is_the_volumes_own(client, roots):
    volume = open_split(find_dataset("phantoms3d"), 28, "train", roots).images[3]
    assert np.array_equal(pixels(client.get("/slice/phantoms3d/28/train/3/9.png").content), volume[9])


def test_what_the_extractor_sees_has_its_size(client):
    assert pixels(client.get("/seen/phantoms/64/efficientnet_lite0/test/4.png").content).shape[:2] == (224, 224)
    assert pixels(client.get("/seen-slice/phantoms3d/28/densenet121/test/4/31.png").content).shape[:2] == (32, 32)


@pytest.mark.parametrize(
    "path",
    [
        "/picture/nothing/64/train/0.png",
        "/picture/phantoms/63/train/0.png",
        "/picture/phantoms/64/val/0.png",
        "/picture/phantoms/64/train/600.png",
        "/picture/phantoms/64/train/99999999999999999999.png",
        "/picture/phantoms3d/28/train/0.png",
        "/slice/phantoms/64/train/0/0.png",
        "/slice/phantoms3d/28/train/0/28.png",
        "/seen/phantoms/64/nothing/test/0.png",
        "/seen/phantoms/64/shape/test/0.png",
        "/seen-slice/phantoms3d/28/efficientnet_lite0/test/0/500.png",
        "/upload/0123/picture.png",
        f"/upload/{'0' * 32}/picture.png",
        f"/upload/{'0' * 32}/seen.png?dataset=phantoms&size=64&encoder=pixels",
        f"/upload/{'0' * 32}/seen.png",
        "/answer.csv",
        "/answer.csv?item=test-9999",
        "/answer.png?dataset=nothing&item=test-1",
        "/answer.csv?item=upload",
    ],
)
def test_what_is_not_there_is_404_with_a_sentence(client, path):
    reply = client.get(path)
    assert reply.status_code == 404
    assert reply.text.rstrip().endswith(".")
    assert "Traceback" not in reply.text
    assert reply.headers["cache-control"] == "no-store"


def test_an_upload_is_shown_and_answered_but_never_kept_by_browsers(client, desk):
    buffer = io.BytesIO()
    Image.new("L", (90, 60), 130).save(buffer, "PNG")
    token = client.put("/upload", content=buffer.getvalue()).json()["token"]
    reply = client.get(f"/upload/{token}/picture.png")
    assert pixels(reply.content).shape == (60, 90)
    assert reply.headers["cache-control"] == "no-store"
    seen = client.get(f"/upload/{token}/seen.png?dataset=phantoms&size=64&encoder=pixels")
    assert pixels(seen.content).shape == (64, 64)
    assert client.delete(f"/upload/{token}").status_code == 204
    assert client.get(f"/upload/{token}/picture.png").status_code == 404


def test_a_file_that_is_no_picture_is_answered_with_its_name_and_a_remedy(client):
    said = client.put("/upload", content=b"hello", headers={"X-File-Name": "%3Cb%3Enotes.txt"}).json()
    assert "bnotes.txt" in said["message"]
    assert said["remedy"]


def test_what_does_not_fit_in_memory_beside_others_is_refused_with_a_sentence(client, desk, monkeypatch):
    monkeypatch.setattr(desk.uploads.bodies, "most", 1000)
    reply = client.put("/upload", content=bytes(2000))
    assert reply.status_code == 503
    assert reply.json()["message"].endswith(".") and reply.json()["remedy"] == "Try again in a minute."
    assert client.put("/upload", content=b"hello").status_code == 200


def test_every_answer_carries_the_headers(client):
    for path in ("/healthz", "/picture/nothing/64/train/0.png", "/no/such/place"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'self'" in headers["content-security-policy"]
