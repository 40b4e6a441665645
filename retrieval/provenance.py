"""What ran, where and when: recorded beside numbers, never part of their key."""

import datetime
import functools
import importlib.metadata
import platform

import retrieval

_PACKAGES = {
    "keras": ("keras", "torch"),
    "timm": ("timm", "torch"),
    "open_clip": ("open_clip_torch", "timm", "torch"),
    "transformers": ("transformers", "torch"),
    "builtin": (),
}


def versions(library: str = "builtin") -> dict[str, str]:
    """Versions of this product, Python, numpy and what the encoder's library needs, with today's date (UTC)."""
    named = {package: _version(package) for package in ("numpy", *_PACKAGES[library])}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"retrieval": retrieval.__version__, "python": platform.python_version(), **named, "date": today}


@functools.cache  # looking a package up takes milliseconds, and every answer names some
def _version(package: str) -> str:
    return importlib.metadata.version(package)


def exporter() -> dict[str, str]:
    """Versions of what makes stored graphs and runs them."""
    return {package: _version(package) for package in ("onnx", "onnxscript", "onnxruntime")}
