"""The pool of connections: never too many, and first come, first served."""

import asyncio

import pytest

from joulemark.agents.client.address import Address
from joulemark.agents.client.connections import Connections


def with_pool(limit, work):
    """Run ``work(pool)`` against a server that takes connections and says nothing."""

    async def main():
        async def hold(reader, writer):
            await reader.read()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = Connections(Address.parse(f"http://127.0.0.1:{port}"), limit=limit)
        await pool.prepare()
        try:
            return await asyncio.wait_for(work(pool), 30)
        finally:
            pool.close()
            server.close()

    return asyncio.run(main())


def test_who_comes_later_does_not_go_first():
    async def work(pool):
        connection = await pool.get()
        early = asyncio.create_task(pool.get())
        await asyncio.sleep(0)
        pool._let_go(connection, True)
        # The early one has been called, and has not run yet.
        late = asyncio.create_task(pool.get())
        assert await early is connection
        await asyncio.sleep(0.05)
        assert not late.done()
        pool._let_go(connection, True)
        assert await late is connection
        return pool.made

    assert with_pool(1, work) == 1


@pytest.mark.parametrize("lost", [False, True])
def test_one_who_gives_up_passes_it_on(lost):
    async def work(pool):
        connection = await pool.get()
        leaving, staying = asyncio.create_task(pool.get()), asyncio.create_task(pool.get())
        await asyncio.sleep(0)
        if lost:
            connection.abort()
            await asyncio.sleep(0)
        else:
            pool._let_go(connection, True)
        leaving.cancel()
        got = await staying
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return got is connection, pool.made

    assert with_pool(1, work) == ((False, 2) if lost else (True, 1))


def test_a_fresh_one_takes_the_place_of_a_free_one():
    async def work(pool):
        first, second = await pool.get(), await pool.get()
        waiting = asyncio.create_task(pool.get(fresh=True))
        await asyncio.sleep(0)
        pool._let_go(second, True)
        got = await waiting
        assert second.lost
        assert not first.lost
        return got in (first, second), pool.made

    assert with_pool(2, work) == (False, 3)
