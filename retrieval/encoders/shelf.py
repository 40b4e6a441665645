"""The encoders in memory: one large network at a time, unless there is room for more.

The networks that are kept fill at most a quarter of the machine's memory (of what a container is allowed; of the GPU's
for those on a GPU), counted in bytes of their parameters. The one least recently used goes first, before a new one is
built; a network larger than the bound is kept alone. What a search is still computing with goes when it has finished.
"""

import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class _Place(Generic[Kept]):
    """Something kept, where (on which device), and the bytes that it fills there."""

    content: Kept
    device: str
    bytes: int


@dataclass(eq=False)
class Shelf(Generic[Kept]):
    """What was loaded, by key, least recently used first; for any number of threads."""

    _places: dict[str, _Place[Kept]] = field(default_factory=dict)
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def get(
        self,
        key: str,
        load: Callable[[], Kept],
        *,
        device: str,
        needed: int,
        room: int,
        held: Callable[[Kept], int],
    ) -> Kept:
        """What is kept under a key; else what `load` gives, which is kept from now on.

        One is loaded at a time, and once, however many threads ask for it; what is kept is given out meanwhile.

        Args:
            key: Of what is wanted, its device included.
            load: Makes it. What it raises, the caller gets; nothing is kept then.
            device: Where it will lie; the bound is for each device.
            needed: Bytes that it will fill, roughly, so that room is made before it is built.
            room: Bytes that everything on this device may fill together; the newest is kept in any case.
            held: Bytes that it fills once it is there.
        """
        found = self._take(key)
        if found is not None:
            return found.content
        with self._loading:
            found = self._take(key)  # another thread may have loaded it meanwhile
            if found is not None:
                return found.content
            self._clear(device, room - needed)
            content = load()
            size = held(content)
            self._clear(device, room - size)  # where it was larger than thought
            with self._looking:
                self._places[key] = _Place(content, device, size)
            return content

    def find(self, key: str) -> Kept | None:
        """What is kept under a key, if anything is."""
        found = self._take(key)
        return None if found is None else found.content

    def keys(self) -> tuple[str, ...]:
        """What is kept, least recently used first."""
        with self._looking:
            return tuple(self._places)

    def _take(self, key: str) -> _Place[Kept] | None:
        with self._looking:
            found = self._places.pop(key, None)
            if found is not None:
                self._places[key] = found  # now the one most recently used
            return found

    def _clear(self, device: str, most: int) -> None:
        """Let go of what was not used for longest until the rest on a device fills at most so many bytes."""
        if self._let_go(device, most):
            _collect(device)

    def _let_go(self, device: str, most: int) -> bool:
        """Whether anything had to go."""
        with self._looking:
            there = {key: place.bytes for key, place in self._places.items() if place.device == device}
            filled, gone = sum(there.values()), False
            for key, size in there.items():
                if filled <= most:
                    break
                del self._places[key]
                filled, gone = filled - size, True
            return gone


def _collect(device: str) -> None:
    """Give the memory of networks back, which refer to themselves and would else stay for a while."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
