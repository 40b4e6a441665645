"""A zip that is sent to the page: kept, added in the background, told of, removed; and refused in words."""

import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import packed
import pytest
from own_pictures import write_classes
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from retrieval import evaluation
from retrieval.cells import cell
from retrieval.datasets.collections import adding, received, records
from retrieval.page import arrivals as on_their_way
from retrieval.page import collections_tab, own_pictures
from retrieval.page.arrivals import Arrivals
from retrieval.page.security import SecurityHeaders
from retrieval.roots import Roots

OCTETS = {"content-type": "application/octet-stream"}


def zipped(classes: dict[str, int], *, more: dict[str, bytes] | None = None) -> bytes:
    """A zip of class folders."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for place, (label, count) in enumerate(classes.items()):
            for number in range(count):
                archive.writestr(f"{label}/{number}.png", packed.picture(1000 * place + number))
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.fixture
def client(empty_roots: Roots) -> Iterator[TestClient]:
    app = Starlette(routes=collections_tab.routes(empty_roots), middleware=[Middleware(SecurityHeaders)])
    with TestClient(app) as opened:
        yield opened


@pytest.fixture
def send(client: TestClient) -> Callable[..., dict]:
    """Send a zip and wait until it is a collection or is refused; what is then told of it."""

    def go(data: bytes, name: str = "mine", file: str = "My pictures.zip") -> dict:
        headers = {**OCTETS, "x-file-name": quote(file)}
        answer = client.put("/collections", params={"name": name}, content=data, headers=headers).json()
        return over(client, answer["id"]) if "id" in answer else answer

    return go


def over(client: TestClient, key: str) -> dict:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        (one,) = [one for one in client.get("/collections.json").json()["arrivals"] if one["id"] == key]
        if not one["live"]:
            return one
        time.sleep(0.02)
    pytest.fail("it was not over in a minute")


def under(roots: Roots) -> list[str]:
    """Files under the cache, without the locks."""
    files = (path for path in roots.cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(str(path.relative_to(roots.cache)) for path in files)


def test_a_zip_becomes_a_collection_that_is_searched_and_removed(send, client, empty_roots):
    told = send(zipped({"dark": 20, "light": 20}, more={"light/notes.txt": b"x", "light/broken.png": b"\x89PNG"}))
    assert (told["state"], told["message"]) == ("added", "")
    (line,) = client.get("/collections.json").json()["collections"]
    assert line["words"] == "40 pictures in 2 classes: 28 to search in, 8 to ask with, 4 set aside."
    assert line["received"] and line["sizes"][0] == 0

    held = client.get("/collections/mine.json").json()
    assert held["classes"] == [["dark", 14, 4, 2], ["light", 14, 4, 2]]
    assert held["pictures"] == (
        "40 pictures of your own, from My pictures.zip. They are grey, of 7 to 9 pixels a side."
    )
    assert held["duplicates"] == "No exact duplicates." and held["groups"] == ""
    assert {each["name"] for each in held["left_out"]} == {"light/broken.png", "*.txt"}
    assert held["more_left_out"] == 0

    source = records.find("mine", empty_roots).source
    assert source.is_relative_to(empty_roots.cache) and source.name == "My pictures.zip"
    evaluation.evaluate(cell("mine", None, "histogram", roots=empty_roots), empty_roots)
    assert client.post("/collections", json={"do": "remove", "name": "mine"}).json() == {}
    assert under(empty_roots) == []
    assert not any("My pictures" in os.readlink(each) for each in _descriptors()), "its bytes are freed"
    assert client.get("/collections/mine.json").status_code == 404


def _descriptors() -> list[Path]:
    places = Path("/proc/self/fd")
    return [each for each in places.iterdir() if each.is_symlink()] if places.is_dir() else []


def test_duplicates_and_what_is_left_out_are_told_and_counted(send, client):
    twice = packed.picture(1)
    more = {f"dark/broken{number}.png": b"\x89PNG" for number in range(90)}
    told = send(zipped({"dark": 20, "light": 20}, more={"light/again.png": twice, **more}))
    assert told["state"] == "added"
    held = client.get("/collections/mine.json").json()
    assert held["duplicates"].startswith("Exact duplicates: 1 set, 2 files; each on one side; 1 with different labels")
    assert held["same"] == [["dark/1.png", "light/again.png"]]
    assert len(held["left_out"]) == 20 and held["more_left_out"] == 70


def test_more_than_is_listed_is_counted_too(tmp_path, empty_roots):
    files = packed.as_zip(tmp_path, {f"a/{number}.png": packed.picture(number) for number in range(9)})
    with zipfile.ZipFile(files, "a") as archive:
        for number in range(300):
            archive.writestr(f"a/../{number}.png", b"x")
    held = own_pictures.outcome(adding.add("mine", files, empty_roots), about="")
    assert len(held["left_out"]) + held["more_left_out"] == 300


HOSTILE = {
    "no zip": (b"not a zip at all", "neither a folder nor a zip"),
    "cut short": (zipped({"a": 9})[:-30], "no whole zip"),
    "empty": (zipped({}), "holds no picture"),
    "two pictures": (zipped({"a": 2}), "holds 2 pictures"),
    "a bomb": (b"", "as a bomb does"),
    "leading out": (zipped({}, more={f"../{n}.png": packed.picture(n) for n in range(9)}), "leads out of the source"),
    "nothing": (b"", "neither a folder nor a zip"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_cannot_be_used_is_refused_in_its_own_words_and_nothing_is_kept(send, empty_roots, what):
    data, said = HOSTILE[what]
    if what == "a bomb":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/zeros.png", bytes(60_000_000))
        data = stream.getvalue()
    told = send(data)
    assert told["state"] == "refused" and said in told["message"]
    assert under(empty_roots) == []
    assert send(zipped({"a": 9}))["state"] == "added", "the name is free"


@pytest.mark.parametrize(
    ("name", "said"),
    [("Mine", "cannot be the name"), ("../x", "cannot be the name"), ("breastmnist", "name of a dataset already")],
)
def test_a_name_is_checked_before_anything_is_sent(client, empty_roots, name, said):
    sent = client.put("/collections", params={"name": name}, content=b"PK", headers=OCTETS).json()
    assert said in sent["message"] and sent["remedy"]
    assert client.post("/collections", json={"do": "check", "name": name, "bytes": 1}).json() == sent
    assert under(empty_roots) == []


def test_a_name_that_is_taken_is_refused_and_its_collection_stays(send, empty_roots, tmp_path):
    assert send(zipped({"a": 9, "b": 9}))["state"] == "added"
    before = under(empty_roots)
    assert "collection mine already" in send(zipped({"c": 9}))["message"]
    assert under(empty_roots) == before


def test_bounds_hold_for_what_arrives_whatever_was_said(empty_roots, monkeypatch):
    data, small = zipped({"a": 9}), Arrivals(empty_roots, most_bytes=1000)
    with pytest.raises(collections_tab.BadInput, match="larger than 1.0 kB"):
        small.receive("mine", "a.zip", iter([data[:600], data[600:1200], data]))
    with pytest.raises(collections_tab.BadInput, match="larger than 1.0 kB"):
        small.check("mine", 1001)
    assert under(empty_roots) == [] and small.all() == ()
    few = Arrivals(empty_roots, most_bytes=10**6, most_files=8)
    few.receive("mine", "a.zip", [data])
    (one,) = ended(few)
    assert one.error and "holds 9 files, and 8 are taken here" in one.error.message
    assert under(empty_roots) == []


def ended(arrivals: Arrivals) -> tuple:
    until = time.monotonic() + 60
    while any(one.live for one in arrivals.all()) and time.monotonic() < until:
        time.sleep(0.02)
    return arrivals.all()


def test_a_large_one_is_never_whole_in_memory(empty_roots):
    """Sixty megabytes arrive in pieces; what Python holds of them at a time is a few."""
    import tracemalloc

    arrivals = Arrivals(empty_roots, most_bytes=10**9)
    tracemalloc.start()
    arrivals.receive("mine", "a.zip", (bytes(1_000_000) for _ in range(60)))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000
    assert [one.state for one in ended(arrivals)] == ["refused"]


def test_who_goes_away_half_way_leaves_nothing(empty_roots):
    def broken():
        yield b"PK\x03\x04"
        raise ConnectionResetError

    arrivals = Arrivals(empty_roots, most_bytes=10**6)
    with pytest.raises(ConnectionResetError):
        arrivals.receive("mine", "a.zip", broken())
    assert under(empty_roots) == [] and arrivals.all() == ()


def test_it_says_how_far_it_is_and_can_be_stopped(client, empty_roots, monkeypatch):
    going, go_on = threading.Event(), threading.Event()

    def slow(name, path, roots, *, progress):
        progress("Looking at mine: 64 of 128 files", 0.5)
        going.set()
        go_on.wait(30)
        progress("Looking at mine: 128 of 128 files", 1.0)

    monkeypatch.setattr(on_their_way.adding, "add", slow)
    put = {"params": {"name": "mine"}, "content": zipped({"a": 9}), "headers": OCTETS}
    key, secret = client.put("/collections", **put).json().values()
    assert going.wait(30)
    (one,) = client.get("/collections.json").json()["arrivals"]
    assert secret not in one.values(), "nobody else is told by what it is stopped"
    assert (one["words"], one["share"], one["state"]) == ("Looking at mine: 64 of 128 files.", 0.5, "adding")
    assert "mine already" in client.put("/collections", **put).json()["message"]
    client.post("/collections", json={"do": "stop", "secret": secret})
    go_on.set()
    assert over(client, key)["state"] == "stopped"
    assert under(empty_roots) == []


def test_only_who_sent_it_can_stop_it(client, empty_roots, monkeypatch):
    going, go_on = threading.Event(), threading.Event()

    def slow(name, path, roots, *, progress):
        going.set()
        go_on.wait(30)
        progress("Looking at mine: 128 of 128 files", 1.0)

    monkeypatch.setattr(on_their_way.adding, "add", slow)
    key = client.put("/collections", params={"name": "mine"}, content=zipped({"a": 9}), headers=OCTETS).json()["id"]
    assert going.wait(30)
    for words in ({"id": key}, {"secret": key}, {"secret": ""}, {}):
        client.post("/collections", json={"do": "stop", **words})
    go_on.set()
    assert over(client, key)["state"] == "added"


def test_what_a_killed_server_left_goes_and_what_is_in_use_stays(send, empty_roots, monkeypatch):
    send(zipped({"a": 9}), name="kept")
    left = received.place_for("mine", "a.zip", empty_roots)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PK")
    assert received.sweep(empty_roots) == 0, "it may still arrive"
    monkeypatch.setattr(received, "QUIET_SECONDS", -1)
    with received.artifacts.lock(records.lock_file("mine", empty_roots), what="a test"):
        assert received.sweep(empty_roots) == 0, "it is being added"
    assert received.sweep(empty_roots) == 1
    assert not left.parent.parent.exists()
    assert records.names(empty_roots) == ["kept"] and records.find("kept", empty_roots).source.exists()


def test_what_was_not_sent_here_is_not_removed_here(client, empty_roots, tmp_path):
    write_classes(tmp_path / "mine", {"a": 9})
    adding.add("mine", tmp_path / "mine", empty_roots)
    assert not client.get("/collections.json").json()["collections"][0]["received"]
    said = client.post("/collections", json={"do": "remove", "name": "mine"}).json()
    assert "was not sent to this page" in said["message"]
    assert records.names(empty_roots) == ["mine"]


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}])
def test_another_site_can_neither_send_nor_steer_nor_read(client, empty_roots, headers):
    answers = [
        client.put("/collections", params={"name": "mine"}, content=zipped({"a": 9}), headers=headers),
        client.post("/collections", json={"do": "remove", "name": "mine"}, headers=headers),
        client.get("/collections.json", headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    form = client.post("/collections", data={"do": "remove"}, headers={"content-type": "text/plain"})
    assert form.status_code == 415 and under(empty_roots) == []
    own = client.post("/collections", json={"do": "stop"}, headers={"origin": "http://testserver"})
    assert own.json() == {}


def test_switched_off_it_is_refused_in_a_sentence(client, empty_roots, monkeypatch):
    monkeypatch.setenv("RETRIEVAL_JOBS", "off")
    sent = client.put("/collections", params={"name": "mine"}, content=zipped({"a": 9}), headers=OCTETS)
    steered = client.post("/collections", json={"do": "remove", "name": "mine"})
    assert (sent.status_code, steered.status_code) == (403, 403)
    assert "no pictures can be added" in sent.json()["message"] == steered.json()["message"]
    assert under(empty_roots) == []


@pytest.mark.parametrize("asked", [None, [], {}, {"do": 3}, {"do": "check"}, {"do": "remove", "name": "nowhere"}])
def test_whatever_is_asked_there_is_a_sentence(client, asked):
    sent = {"content": json.dumps(asked), "headers": {"content-type": "application/json"}}
    assert client.post("/collections", **sent).json()["message"].endswith(".")
