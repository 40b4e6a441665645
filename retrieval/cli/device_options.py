"""`--device`: the words it takes, checked before anything runs; whether there is such a device is found out later."""

import re
from typing import Annotated

import typer

_WORD = re.compile(r"auto|cpu|cuda(:\d+)?")


def _one(device: str) -> str:
    if not _WORD.fullmatch(device):
        raise typer.BadParameter(f"{device!r} names no device: write auto, cpu, cuda, or cuda:1 for the second GPU.")
    return device


def _several(devices: str) -> str:
    for device in devices.split(","):
        _one(device.strip())
    return devices


Device = Annotated[str, typer.Option("--device", callback=_one, help="auto, cpu, cuda, or cuda:1.")]
Devices = Annotated[
    str, typer.Option("--device", callback=_several, help="auto (each GPU, or the CPU), cpu, or cuda:0,cuda:1.")
]
