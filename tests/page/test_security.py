"""Who may ask: the page itself, whoever is led here, and programs; no page of another site."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from retrieval.page.security import outermost, sent_from_elsewhere

LAN = "http://scanner.lan:7860"
EVIL = "http://evil.example"
DIRECT = {"host": "scanner.lan:7860"}
CROSS = {"sec-fetch-site": "cross-site"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),  # a program, or a picture on a page over plain http
        ("POST", DIRECT),
        ("POST", {**DIRECT, "origin": LAN}),
        ("POST", {"host": "scanner.lan", "origin": "http://scanner.lan"}),
        ("POST", {"host": "scanner.lan", "origin": "http://scanner.lan:8080"}),  # a proxy left the port out
        ("POST", {"host": "127.0.0.1:7860", "x-forwarded-host": "scanner.lan:7860", "origin": LAN}),
        ("POST", {"host": "127.0.0.1:7860", "x-forwarded-host": "scanner.lan:7860, inner", "origin": LAN}),
        ("PUT", {"host": "10.0.0.1:7860", "origin": "https://scanner.lan", "sec-fetch-site": "same-origin"}),
        ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}),
        ("GET", {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}),  # a link
        ("GET", {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}),  # as a Space is shown
        ("HEAD", {**CROSS, "sec-fetch-mode": "navigate"}),
    ],
)
def test_the_page_itself_and_whoever_is_led_here_may_ask(method, headers):
    assert not sent_from_elsewhere(headers, method=method)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {**CROSS, "sec-fetch-mode": "cors"}),
        ("GET", {**CROSS, "sec-fetch-mode": "no-cors"}),
        ("POST", {**CROSS, "sec-fetch-mode": "navigate"}),  # a form
        ("GET", {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}),  # another port of this host
        ("PUT", {**DIRECT, **CROSS, "origin": LAN}),
        ("GET", {**DIRECT, "origin": EVIL}),
        ("POST", {**DIRECT, "origin": EVIL}),
        ("POST", {**DIRECT, "origin": "null"}),
        ("POST", {**DIRECT, "origin": "http://scanner.lan:9999"}),
        ("POST", {"origin": "null"}),
        ("POST", {**DIRECT, "origin": "http://["}),
    ],
)
def test_a_page_of_another_site_may_not(method, headers):
    assert sent_from_elsewhere(headers, method=method)


@pytest.fixture
def client() -> Iterator[TestClient]:
    """An application that lets every site ask and read, as Gradio's does on a network."""

    def private(request):
        return JSONResponse({"collections": ["mine"]})

    everyone = Middleware(
        CORSMiddleware, allow_origin_regex=".*", allow_methods=["*"], allow_headers=["*"], allow_credentials=True
    )
    app = Starlette(
        routes=[Route("/jobs", private, methods=["GET", "POST"])],
        middleware=[everyone],
        lifespan=outermost(framed=False),
    )
    with TestClient(app, base_url=LAN) as opened:
        yield opened


def test_what_lies_inside_cannot_let_another_site_in(client):
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "x-forwarded-host"}
    for answer in (
        client.options("/jobs", headers={"origin": EVIL, **asking}),
        client.get("/jobs", headers={"origin": EVIL}),
        client.post("/jobs", json={"do": "add"}, headers={"origin": EVIL}),
        client.get("/jobs", headers=CROSS),
    ):
        assert answer.status_code == 403 and "mine" not in answer.text
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_itself_is_answered_and_nobody_else_is_let_read(client):
    answer = client.post("/jobs", json={"do": "add"}, headers={"origin": LAN})
    assert answer.json() == {"collections": ["mine"]}
    assert not [name for name in answer.headers if name.startswith("access-control-")]
