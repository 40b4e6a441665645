import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from retrieval.errors import BadInput, Busy
from retrieval.page.bodies import Bodies, read_bounded
from retrieval.pictures.decoded import MAX_VOLUME_BYTES


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """In a thread of its own: the browser tests' driver leaves a running loop in this one."""
    with ThreadPoolExecutor() as thread:
        return thread.submit(lambda: asyncio.run(asyncio.wait_for(work(), 20))).result()


async def sent(*pieces: bytes, then: asyncio.Event | None = None):
    """Pieces as they come of somebody who sends the last only once something has happened, if ever."""
    for piece in pieces[:-1]:
        yield piece
    if then is not None:
        await then.wait()
    yield pieces[-1]


async def read(bodies: Bodies, chunks) -> int:
    async with bodies.received(chunks) as data:
        return len(data)


def test_more_than_200_mb_is_refused_as_soon_as_it_is_known():
    taken = 0

    async def chunks():
        nonlocal taken
        while True:
            taken += 1
            yield bytes(2**20)

    with pytest.raises(BadInput, match="200 MB"):
        run(lambda: read_bounded(chunks()))
    assert taken == MAX_VOLUME_BYTES // 2**20 + 1


def test_who_sends_slowly_is_let_go_when_others_need_the_room():
    async def work():
        bodies, never = Bodies(most=100), asyncio.Event()
        slow = [asyncio.create_task(read(bodies, sent(bytes(40), b"", then=never))) for _ in range(2)]
        await asyncio.sleep(0)
        assert await read(bodies, sent(bytes(10), bytes(30))) == 40
        with pytest.raises(Busy, match="than it can hold"):
            await slow[0]
        assert not slow[1].done(), "of the two only who has been sending longest"
        assert await read(bodies, sent(bytes(60))) == 60
        assert await read(bodies, sent(bytes(100))) == 100
        with pytest.raises(Busy):
            await slow[1]

    run(work)


def test_what_is_being_read_counts_until_it_is_done_with():
    async def work():
        bodies = Bodies(most=100)
        async with bodies.received(sent(bytes(70))):
            with pytest.raises(Busy):
                await read(bodies, sent(bytes(20), bytes(20)))
            assert await read(bodies, sent(bytes(30))) == 30
        for _ in range(3):
            assert await read(bodies, sent(bytes(50), bytes(50))) == 100

    run(work)


def test_what_ends_early_or_is_refused_leaves_its_room():
    async def broken():
        yield bytes(90)
        raise ConnectionError

    async def work():
        bodies = Bodies(most=2 * MAX_VOLUME_BYTES)
        for _ in range(4):
            with pytest.raises(BadInput):
                await read(bodies, sent(bytes(MAX_VOLUME_BYTES + 1)))
        bodies.most = 100
        for _ in range(4):
            with pytest.raises(ConnectionError):
                await read(bodies, broken())
        assert await read(bodies, sent(bytes(100))) == 100

    run(work)
