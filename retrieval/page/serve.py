"""Serve the page: for app.py and for the command line."""

import os
import signal
import socket
from collections.abc import Mapping

from retrieval.datasets.collections import received
from retrieval.errors import Unavailable
from retrieval.jobs import worker
from retrieval.roots import Roots, queueing_allowed

PORT = 7860

# Read by Gradio and its companions when they are imported: the page looks nothing up elsewhere, and tells nobody.
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "DISABLE_TELEMETRY": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # torch's spinning threads collapse on a busy machine
    "NO_PROXY": "127.0.0.1,localhost",  # Gradio asks its own server whether it has started
}


def serve(roots: Roots, *, host: str | None = None, port: int | None = None) -> None:
    """Serve the page until interrupted.

    Args:
        roots: Where data, weights, precomputed and cache lie.
        host: Address to listen on; None leaves it to Gradio (GRADIO_SERVER_NAME, else this machine only).
        port: None takes GRADIO_SERVER_PORT or PORT, else 7860.

    Raises:
        Unavailable: Nobody can listen there.
    """
    port = wanted_port() if port is None else port
    _check_address(wanted_host() if host is None else host, port)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    from retrieval.page.desk import Desk, start_cell
    from retrieval.page.frame import build, launch_options
    from retrieval.page.uploads import open_uploads

    desk = Desk(roots=roots, uploads=open_uploads(roots.cache), start=start_cell(roots))
    over = desk.uploads.keep_swept()
    if queueing_allowed():
        received.sweep(roots)
        worker.supervise(roots, over)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being stopped is no reason to leave uploads behind
    try:
        build(desk).launch(server_name=host, server_port=port, **launch_options(desk))
    finally:
        over.set()
        desk.uploads.empty()


def wanted_port(environ: Mapping[str, str] = os.environ) -> int:
    """The port that the environment asks for, else 7860."""
    named = environ.get("GRADIO_SERVER_PORT") or environ.get("PORT") or ""
    return int(named) if named.isdecimal() else PORT


def wanted_host(environ: Mapping[str, str] = os.environ) -> str:
    """The address that the environment asks to listen on, as Gradio reads it, else this machine's own."""
    return environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"


def _check_address(host: str, port: int) -> None:
    """Asked before anything is loaded: Gradio would say it late, and not why."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # as servers do: a port whose last connections are only dying is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address[0], port, *address[2:]))  # an address has the port cut to 16 bits
    except (OSError, OverflowError) as error:
        raise Unavailable(
            f"The page cannot be served at {host}, port {port}: {_why(error)}.",
            remedy="Name another port or address: python -m retrieval serve --port 7861 --host 127.0.0.1, or "
            "GRADIO_SERVER_PORT and GRADIO_SERVER_NAME.",
        ) from error


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")
