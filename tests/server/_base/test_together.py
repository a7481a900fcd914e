import asyncio
import threading

import pytest

from servers import until
from streamdocs_server._base.together import Together


class Work:
    """Squares numbers, in groups that are kept, once it may go on; of a negative one it fails."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_go_on = threading.Event()

    def __call__(self, group: list[int]) -> list[int]:
        self.groups.append(group)
        assert self.may_go_on.wait(10) and threading.current_thread() is not threading.main_thread()
        if min(group) < 0:
            raise ValueError("negative")
        return [number**2 for number in group]


def test_what_comes_meanwhile_is_done_together_and_each_gets_its_own():
    async def work() -> None:
        squares = Work()
        together = Together(squares)
        tasks = [asyncio.create_task(together.do(0))]
        await until(lambda: squares.groups)
        tasks += [asyncio.create_task(together.do(number)) for number in range(1, 5)]
        await asyncio.sleep(0)
        squares.may_go_on.set()
        assert await asyncio.gather(*tasks) == [0, 1, 4, 9, 16]
        assert squares.groups == [[0], [1, 2, 3, 4]]
        assert await together.do(5) == 25

    asyncio.run(work())


def test_a_failure_is_that_of_its_group():
    async def work() -> None:
        squares = Work()
        together = Together(squares)
        first = asyncio.create_task(together.do(3))
        await until(lambda: squares.groups)
        others = [asyncio.create_task(together.do(number)) for number in (1, -1)]
        await asyncio.sleep(0)
        squares.may_go_on.set()
        assert await first == 9
        for each in others:
            with pytest.raises(ValueError, match="negative"):
                await each
        assert await together.do(2) == 4

    asyncio.run(work())


def test_who_gives_up_is_in_nobodys_way_and_flush_waits_for_all():
    async def work() -> None:
        squares = Work()
        together = Together(squares)
        await together.flush()
        given_up, other = (asyncio.create_task(together.do(number)) for number in (1, 2))
        await until(lambda: squares.groups)
        given_up.cancel()
        flushed = asyncio.create_task(together.flush())
        await asyncio.sleep(0.05)
        assert not flushed.done()
        squares.may_go_on.set()
        await flushed
        assert await other == 4 and given_up.cancelled()

    asyncio.run(work())
