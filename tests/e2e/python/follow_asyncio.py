"""redis-py's asyncio Sentinel client, while leaders come and go: see follow.py."""

import asyncio
import uuid

from redis.asyncio.sentinel import Sentinel

from follow import FLEET, GROUP, HELD, LOCK, NOTE, PACE, RESP, SENTINELS, STREAM, Work, entries, lines

# One client for all workers, as a program has it: its pool of connections follows.
sentinel = Sentinel(SENTINELS, socket_timeout=1, protocol=RESP, decode_responses=True)
leader, replica = sentinel.master_for(FLEET), sentinel.slave_for(FLEET)
work = Work(["locker a", "locker b", "adder", "reader"])


async def port(client):
    return (await client.info("server"))["tcp_port"]


async def take_and_release(me):
    async with leader.lock(LOCK, timeout=HELD, sleep=PACE, blocking_timeout=HELD):
        work.enters()
        try:
            at = await port(leader)
        finally:
            work.leaves()
    work.done(me, at)


async def add(me):
    pipe = leader.pipeline(transaction=False)
    # WAIT is about what its own connection wrote.
    pipe.xadd(STREAM, {"n": uuid.uuid4().hex})
    pipe.execute_command("WAIT", work.copies, 100)
    pipe.info("server")
    entry, copies, server = await pipe.execute()
    work.added(entry, copies)
    work.done(me, server["tcp_port"])


# Whether something may have been handed out to a reader that it did not get.
again = True


async def read(me):
    global again
    reply = await leader.xreadgroup(GROUP, "me", {STREAM: "0" if again else ">"}, count=100, block=200)
    got = [entry for entry, _ in entries(reply)]
    work.read.update(got)
    if got:
        await leader.xack(STREAM, GROUP, *got)
    again = again and bool(got)
    work.done(me, await port(leader))


async def works(me, f):
    global again
    while not work.over or (f is read and work.unread()):
        try:
            await f(me)
        except Exception as error:
            work.met(me, error)
            again = True
        await asyncio.sleep(PACE)


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(PACE)


async def has_followed():
    return work.has_followed()


async def reads_at_a_replica():
    return await port(replica) != work.leader and await replica.get(NOTE) == "read me"


async def main():
    await leader.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await leader.set(NOTE, "read me")
    tasks = {"locker a": take_and_release, "locker b": take_and_release, "adder": add, "reader": read}
    running = [asyncio.create_task(works(*task)) for task in tasks.items()]
    told = lines()
    while words := await asyncio.to_thread(next, told, None):
        match words:
            case ["leader", *where]:
                work.moves_to(*where)
                try:
                    await until(has_followed)
                except TimeoutError:
                    raise SystemExit(f"not followed: {work.rounds}, {work.faults}")
            case ["read"]:
                await until(reads_at_a_replica)
            case ["change"]:
                work.change()
    work.over = True
    await asyncio.wait(running, timeout=20)
    work.tells()


asyncio.run(main())
