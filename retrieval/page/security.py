"""What other sites' pages cannot ask for, and the headers that every answer carries."""

import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

# Gradio's own scripts need 'unsafe-inline' and 'unsafe-eval'; what guards against injected text is that the page draws
# all data with textContent. Everything else comes from this server alone.
_POLICY = (
    "default-src 'self'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; "
    "font-src 'self' data:; "
    "connect-src 'self'; "
    "worker-src 'self' blob:; "
    "object-src 'none'; "
    "base-uri 'self'; "
    "form-action 'self'"
)


_FROM_ELSEWHERE = PlainTextResponse(
    "Only this page itself can ask for that. A proxy before it has to pass on Host, or to name it in X-Forwarded-Host.",
    status_code=403,
    headers={"Cache-Control": "no-store"},
)
# Gradio's own ways to send files, which this page does not use: how much they leave on the disk is bounded by nothing.
_UNUSED = ("upload", "process_recording", "component_server")
_PORT = re.compile(r":\d+$")


class SecurityHeaders:
    """Pure ASGI middleware: answers 403 to pages of other sites, and adds the headers as any answer starts.

    Streamed events pass through untouched. No answer lets another site read it.
    """

    def __init__(self, app: Any, *, framed: bool = False) -> None:
        """`framed`: the page may be shown inside another site's frame, as Spaces does."""
        self.app = app
        self.headers = security_headers(framed=framed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
                message = {**message, "headers": [*kept, *self.headers]}
            await send(message)

        elsewhere = sent_from_elsewhere(Headers(scope=scope), method=scope["method"])
        await (_FROM_ELSEWHERE if elsewhere else self.app)(scope, receive, send_with_headers)


def closed() -> list[Route]:
    """Routes that stand before those of Gradio that the page does not use, and answer 404."""
    paths = [f"/gradio_api/{name}{end}" for name in _UNUSED for end in ("", "/")]
    return [Route(path, _not_here, methods=["POST"]) for path in paths]


def outermost(*, framed: bool) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    """A lifespan that puts SecurityHeaders around all of an application.

    Gradio puts a middleware of its own around those that it is given, and that one lets every site ask for, send and
    read everything once the page is not served as localhost.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        app.middleware_stack = SecurityHeaders(app.middleware_stack, framed=framed)
        yield

    return lifespan


def security_headers(*, framed: bool) -> list[tuple[bytes, bytes]]:
    """Names and values as ASGI takes them."""
    policy = _POLICY if framed else f"{_POLICY}; frame-ancestors 'self'"
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    ]


def sent_from_elsewhere(headers: Mapping[str, str], *, method: str) -> bool:
    """Whether a page of another site asks for this, other than by leading a visitor here, in a frame or not.

    Browsers say so by Sec-Fetch-Site; where they do not, over plain http, by Origin with all that such a page could
    read or change. A proxy may have put another Host, or left out its port.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        led = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("same-origin", "none") and not led
    if origin is None:
        return False
    place = origin.partition("://")[2]
    own = {headers.get("host"), *(name.strip() for name in headers.get("x-forwarded-host", "").split(","))}
    return not place or own.isdisjoint((place, _PORT.sub("", place)))


def shown_in_a_frame(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a host shows the page inside a frame of its own site: Spaces says so by SPACE_ID."""
    return bool(environ.get("SPACE_ID"))


def _not_here(request: Request) -> Response:
    return PlainTextResponse("No files are taken here.", status_code=404, headers={"Cache-Control": "no-store"})
