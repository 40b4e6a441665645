"""Headers that every answer carries, and the arguments that keep the web server to what the page needs."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

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


class SecurityHeaders:
    """Pure ASGI middleware: adds the headers as an answer starts, so that streamed events pass through untouched."""

    def __init__(self, app: Any, *, framed: bool = False) -> None:
        """`framed`: the page may be shown inside another site's frame, as Spaces does."""
        self.app = app
        self.headers = security_headers(framed=framed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self.headers]}
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def security_headers(*, framed: bool) -> list[tuple[bytes, bytes]]:
    """Names and values as ASGI takes them."""
    policy = _POLICY if framed else f"{_POLICY}; frame-ancestors 'self'"
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    ]


def sent_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site sends this. Browsers say so by Sec-Fetch-Site, or where not safe by Origin."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    own = (headers.get("host"), headers.get("x-forwarded-host"))
    return origin is not None and urlsplit(origin).netloc not in own


def shown_in_a_frame(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a host shows the page inside a frame of its own site: Spaces says so by SPACE_ID."""
    return bool(environ.get("SPACE_ID"))
