"""What is kept in memory, what goes first, and that no two threads load the same."""

import gc
import threading
import time
import weakref

import pytest

from retrieval.encoders.shelf import Shelf


class Thing:
    """Something of a size."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size, self.itself = name, size, self  # like networks, which refer to themselves


def take(shelf: Shelf, name: str, size: int = 10, *, room: int = 30, needed: int | None = None, device: str = "cpu"):
    thought = size if needed is None else needed
    return shelf.get(
        name, lambda: Thing(name, size), device=device, needed=thought, room=room, held=lambda thing: thing.size
    )


def test_the_same_key_gives_the_same_thing():
    shelf: Shelf = Shelf()
    assert take(shelf, "a") is take(shelf, "a")
    assert take(shelf, "b") is not take(shelf, "a")


def test_the_least_recently_used_goes_first():
    shelf: Shelf = Shelf()
    for name in ("a", "b", "c", "a", "d"):
        take(shelf, name)
    assert shelf.keys() == ("c", "a", "d")
    take(shelf, "large", 20)
    assert shelf.keys() == ("d", "large")


def test_one_larger_than_all_the_room_is_kept_alone():
    shelf: Shelf = Shelf()
    take(shelf, "a")
    giant = take(shelf, "giant", 1000)
    assert shelf.keys() == ("giant",)
    assert take(shelf, "giant", 1000) is giant
    take(shelf, "b")
    assert shelf.keys() == ("b",)


def test_room_is_made_before_the_new_one_is_built():
    shelf: Shelf = Shelf()
    old = weakref.ref(take(shelf, "old", 25))
    seen: list[object] = []

    def load() -> Thing:
        seen.append(old())
        return Thing("new", 25)

    gc.disable()
    try:
        shelf.get("new", load, device="cpu", needed=25, room=30, held=lambda thing: thing.size)
    finally:
        gc.enable()
    assert seen == [None]


def test_what_turns_out_larger_than_thought_displaces_as_well():
    shelf: Shelf = Shelf()
    take(shelf, "a")
    take(shelf, "b", 25, needed=1)
    assert shelf.keys() == ("b",)


def test_each_device_has_its_own_room():
    shelf: Shelf = Shelf()
    take(shelf, "a", 25)
    take(shelf, "b", 25, device="cuda")
    assert shelf.keys() == ("a", "b")
    take(shelf, "c", 25, device="cuda")
    assert shelf.keys() == ("a", "c")


def test_what_cannot_be_loaded_is_not_kept_and_may_be_tried_again():
    shelf: Shelf = Shelf()

    def fail() -> Thing:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        shelf.get("a", fail, device="cpu", needed=1, room=30, held=lambda thing: thing.size)
    assert shelf.keys() == ()
    assert take(shelf, "a").name == "a"


def test_many_threads_load_a_thing_once_and_do_not_wait_for_another():
    shelf: Shelf = Shelf()
    kept = take(shelf, "kept")
    loads, given, started, go_on = [], [], threading.Event(), threading.Event()

    def load() -> Thing:
        loads.append("slow")
        started.set()
        assert go_on.wait(30)
        return Thing("slow", 10)

    def ask() -> None:
        given.append(shelf.get("slow", load, device="cpu", needed=10, room=30, held=lambda thing: thing.size))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert started.wait(30)
    time.sleep(0.05)
    assert take(shelf, "kept") is kept  # while the other is being loaded
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert loads == ["slow"]
    assert len(given) == 8 and len(set(map(id, given))) == 1
