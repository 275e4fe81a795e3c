"""redis-py's asyncio client, over RESP2 with hiredis or over RESP3 with its own parser."""

import asyncio
import os
import time

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, LockError, LockNotOwnedError, ResponseError, WatchError

from runs import FOLDER, PORT, main, run

RESP = int(os.environ.get("RESP", "2"))
PARSER = {2: redis.connection._AsyncHiredisParser, 3: redis.connection._AsyncRESP3Parser}[RESP]


def connect(**options):
    """A client with a pool of its own."""
    options = {"decode_responses": True, "socket_timeout": 60, **options}
    pool = redis.ConnectionPool(host="127.0.0.1", port=PORT, protocol=RESP, parser_class=PARSER, **options)
    return redis.Redis.from_pool(pool)


async def eventually(condition, seconds=20):
    """Waits until a condition holds, and returns what it gave."""
    until = time.monotonic() + seconds
    while True:
        value = await condition()
        if value:
            return value
        assert time.monotonic() < until, "never came"
        await asyncio.sleep(0.005)


async def fails(kind, text, awaitable):
    """Awaits what must raise an error of that kind whose message holds the text."""
    try:
        value = await awaitable
    except kind as e:
        assert text in str(e), f"{e!r} says nothing of {text!r}"
        return e
    raise AssertionError(f"{value!r} instead of {kind.__name__}")


async def blocked(r):
    return int((await r.info("clients"))["blocked_clients"])


@run
async def commands_of_each_type():
    async with connect(client_name="me") as r:
        assert (await r.client_info())["resp"] == str(RESP) and await r.client_getname() == "me"
        assert await r.set("s", "v", ex=100, nx=True) is True and await r.set("s", "w", nx=True) is None
        assert await r.get("s") == "v" and await r.incr("n") == 1 and await r.incrbyfloat("f", 0.5) == 0.5
        assert await r.hset("h", mapping={"a": 1}) == 1 and await r.hgetall("h") == {"a": "1"}
        assert await r.rpush("l", 1, 2, 3) == 3 and await r.lrange("l", 0, -1) == ["1", "2", "3"]
        assert await r.sadd("t", "a", "b") == 2 and await r.smembers("t") == {"a", "b"}
        assert await r.zadd("z", {"a": 1.5}) == 1
        assert [list(p) for p in await r.zrange("z", 0, -1, withscores=True)] == [["a", 1.5]]
        assert await r.xadd("x", {"f": "v"}) and await r.xlen("x") == 1 and await r.dbsize() == 8
        await fails(ResponseError, "WRONGTYPE", r.lpush("s", 1))


@run
async def many_at_once_on_one_pool():
    async with connect(max_connections=200) as r:
        assert sorted(await asyncio.gather(*[r.incr("n") for _ in range(100)])) == list(range(1, 101))
        assert await asyncio.gather(*[r.set(f"k{i}", i) for i in range(100)]) == [True] * 100
        assert await r.mget([f"k{i}" for i in range(100)]) == [str(i) for i in range(100)]
    one = redis.Redis(port=PORT, protocol=RESP, single_connection_client=True)
    assert sorted(await asyncio.gather(*[one.incr("one") for _ in range(100)])) == list(range(1, 101))
    await one.aclose()


@run
async def pipelines():
    async with connect() as r:
        async with r.pipeline(transaction=True) as p:
            assert await p.set("a", 1).incr("a").get("a").execute() == [True, 2, "2"]
        async with r.pipeline(transaction=False) as p:
            for i in range(5000):
                p.incr("n")
            assert await p.execute() == list(range(1, 5001))
        async with r.pipeline() as p:
            done = await p.set("a", "x").incr("a").get("a").execute(raise_on_error=False)
            assert done[0] is True and isinstance(done[1], ResponseError) and done[2] == "x"


@run
async def watched_keys():
    async with connect() as r:
        async with r.pipeline() as p:
            await p.watch("a")
            await r.set("a", "another's")
            p.multi()
            await fails(WatchError, "", p.set("a", "mine").execute())

        async def increments():
            for _ in range(25):
                while True:
                    async with r.pipeline() as p:
                        try:
                            await p.watch("n")
                            n = int(await p.get("n") or 0)
                            p.multi()
                            await p.set("n", n + 1).execute()
                            break
                        except WatchError:
                            pass

        await asyncio.gather(*[increments() for _ in range(4)])
        assert await r.get("n") == "100", "no increment is lost"


@run
async def scripts():
    async with connect() as r:
        add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        assert await add(keys=["n"], args=[2]) == 2
        await r.script_flush()
        assert await add(keys=["n"], args=[3]) == 5 and await r.script_exists(add.sha) == [True]
        await r.script_flush()
        async with r.pipeline() as p:
            await add(keys=["n"], args=[5], client=p)
            assert await p.get("n").execute() == [10, "10"]


@run(needs="FCALL")
async def functions():
    async with connect() as r:
        code = "#!lua name=l\nredis.register_function('add', function(k, a) return redis.call('INCRBY', k[1], a[1]) end)"
        assert await r.function_load(code) == "l" and await r.fcall("add", 1, "n", 4) == 4
        assert await r.function_delete("l")
        await fails(ResponseError, "Function not found", r.fcall("add", 1, "n", 4))


@run
async def channels():
    async with connect() as r, r.pubsub() as p:
        await p.subscribe("a")
        await p.psubscribe("b*")
        assert [(await anext_message(p))["data"] for _ in range(2)] == [1, 2]
        for i in range(500):
            assert await r.publish("a" if i % 2 else "bee", i) == 1
        got = [await anext_message(p) for _ in range(500)]
        assert [int(m["data"]) for m in got] == list(range(500))
        assert got[0]["type"] == "pmessage" and got[0]["pattern"] == "b*" and got[1]["type"] == "message"

        async def listen():
            async for m in p.listen():
                if m["data"] == "stop":
                    return m

        listener = asyncio.create_task(listen())
        assert await r.publish("a", "go") == 1 and await r.publish("a", "stop") == 1
        assert (await asyncio.wait_for(listener, 10))["channel"] == "a"
        await p.unsubscribe()
        await p.punsubscribe()
        assert [(await anext_message(p))["type"] for _ in range(2)] == ["unsubscribe", "punsubscribe"]
        assert not p.subscribed and await r.publish("a", 1) == 0


async def anext_message(p):
    async def message():
        return await p.get_message(timeout=1)

    return await eventually(message)


@run(needs="SSUBSCRIBE")
async def sharded_channels():
    async with connect() as r, r.pubsub(ignore_subscribe_messages=True) as p:
        await p.ssubscribe("orders")

        async def subscribed():
            return dict(await r.pubsub_shardnumsub("orders")) == {"orders": 1}

        await eventually(subscribed)
        assert await r.spublish("orders", "one") == 1
        m = await anext_message(p)
        assert m == {"type": "smessage", "pattern": None, "channel": "orders", "data": "one"}


@run
async def streams_with_groups():
    async with connect() as r:
        await r.xgroup_create("s", "g", "0", mkstream=True)
        seen = []

        async def work(name):
            while True:
                reply = await r.xreadgroup("g", name, {"s": ">"}, count=5, block=20_000)
                pairs = list(reply.items()) if isinstance(reply, dict) else reply
                batch = pairs[0][1]
                if isinstance(batch[0][0], (list, tuple)):
                    batch = batch[0]
                for entry, fields in batch:
                    if fields["n"] == "end":
                        return
                    seen.append(int(fields["n"]))
                    assert await r.xack("s", "g", entry) == 1

        workers = [asyncio.create_task(work(f"w{i}")) for i in range(4)]
        for i in range(200):
            await r.xadd("s", {"n": i})

        async def all_seen():
            return len(seen) == 200

        await eventually(all_seen)
        # Each worker waits for its own end: an entry is given to one of them.
        for left in range(4, 0, -1):
            await r.xadd("s", {"n": "end"})
            await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            done = [w for w in workers if w.done()]
            assert len(done) == 1
            await done[0]
            workers.remove(done[0])
        assert sorted(seen) == list(range(200)) and (await r.xpending("s", "g"))["pending"] == 4


@run
async def blocking_pops():
    async with connect() as r:
        waiting = [asyncio.create_task(r.blpop("l", 20))]
        for n in range(1, 5):

            async def all_wait():
                return await blocked(r) == n

            await eventually(all_wait)
            if n < 4:
                waiting.append(asyncio.create_task(r.blpop("l", 20)))
        assert await r.rpush("l", 0, 1, 2, 3) == 4
        got = await asyncio.gather(*waiting)
        assert [list(g) for g in got] == [["l", str(i)] for i in range(4)], "in the order in which they came"
        # A pop whose task is cancelled takes nothing afterwards.
        given_up = asyncio.create_task(r.blpop("l", 20))

        async def waits():
            return await blocked(r) == 1

        await eventually(waits)
        given_up.cancel()

        async def gone():
            return await blocked(r) == 0

        await eventually(gone)
        await r.rpush("l", "kept")
        assert await r.lrange("l", 0, -1) == ["kept"]


@run
async def locks():
    async with connect() as r:
        held, rounds = 0, 0

        async def work():
            nonlocal held, rounds
            for _ in range(10):
                async with r.lock("lock", timeout=20, sleep=0.001):
                    held += 1
                    assert held == 1, "two hold the lock"
                    await r.incr("rounds")
                    held -= 1
                    rounds += 1

        await asyncio.gather(*[work() for _ in range(5)])
        assert rounds == 50 and await r.get("rounds") == "50" and await r.exists("lock") == 0
        a, b = r.lock("lock", timeout=20), r.lock("lock", timeout=20, sleep=0.01)
        assert await a.acquire() and not await b.acquire(blocking_timeout=0.05) and await b.locked()
        assert await a.extend(20) and 39_000 < await r.pttl("lock") <= 40_000 and await a.reacquire()
        await fails(LockError, "", b.release())
        await a.release()
        short = r.lock("lock", timeout=0.03)
        assert await short.acquire() and await b.acquire(blocking_timeout=20)
        await fails(LockNotOwnedError, "", short.release())
        await b.release()


@run
async def scans():
    async with connect() as r:
        await r.mset({f"k:{i}": i for i in range(1000)})
        await r.hset("h", mapping={f"f{i}": i for i in range(1000)})
        assert sorted([k async for k in r.scan_iter("k:*", count=50)]) == sorted(f"k:{i}" for i in range(1000))
        assert {k: v async for k, v in r.hscan_iter("h")} == {f"f{i}": str(i) for i in range(1000)}


@run
async def keyspace_notifications():
    async with connect() as r, r.pubsub(ignore_subscribe_messages=True) as p:
        before = (await r.config_get("notify-keyspace-events"))["notify-keyspace-events"]
        await r.config_set("notify-keyspace-events", "Ex")
        await p.psubscribe("__keyevent@*__:*")

        async def subscribed():
            return await r.pubsub_numpat() == 1

        await eventually(subscribed)
        await r.set("a", 1, px=30)
        m = await anext_message(p)
        assert m["channel"] == "__keyevent@0__:expired" and m["data"] == "a"
        await r.config_set("notify-keyspace-events", before)


@run
async def a_killed_connection_is_made_again():
    async with connect(retry=Retry(NoBackoff(), 3)) as r, connect() as other:
        mine = await r.client_id()
        assert await other.client_kill_filter(_id=mine) == 1
        assert await r.get("a") is None and await r.client_id() != mine
    async with connect(retry=Retry(NoBackoff(), 0)) as strict, connect() as other:
        waiting = asyncio.create_task(strict.blpop("l", 20))

        async def waits():
            return [c for c in await other.client_list() if c["cmd"] == "blpop"]

        (found,) = await eventually(waits)
        assert await other.client_kill_filter(_id=found["id"]) == 1
        await fails(ConnectionError, "", waiting)
        assert await strict.ping()


@run
async def a_unix_socket():
    path = os.path.join(FOLDER, "socket")
    async with redis.from_url(f"unix://{path}?protocol={RESP}", decode_responses=True) as r:
        assert await r.set("a", "here") and await r.get("a") == "here"


@run
async def what_others_call_is_seen_by_monitor():
    async with connect() as r, r.monitor() as m:
        await r.set("a", "b")
        while (c := await m.next_command())["command"].split()[0] in ("HELLO", "CLIENT"):
            pass
        assert c["command"] == "SET a b" and c["db"] == 0


main()
