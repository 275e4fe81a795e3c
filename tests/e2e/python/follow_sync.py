"""redis-py's Sentinel client, while leaders come and go: see follow.py."""

import threading
import time
import uuid

from redis.sentinel import Sentinel

from follow import FLEET, GROUP, HELD, LOCK, NOTE, PACE, RESP, SENTINELS, STREAM, Work, entries, lines, until

sentinel = Sentinel(SENTINELS, socket_timeout=1, protocol=RESP, decode_responses=True)
# One client for all workers, as a program has it: its pool of connections follows.
leader, replica = sentinel.master_for(FLEET), sentinel.slave_for(FLEET)
work = Work(["locker a", "locker b", "adder", "reader"])


def port(client):
    return client.info("server")["tcp_port"]


def take_and_release(me):
    with leader.lock(LOCK, timeout=HELD, sleep=PACE, blocking_timeout=HELD):
        work.enters()
        try:
            at = port(leader)
        finally:
            work.leaves()
    work.done(me, at)


def add(me):
    pipe = leader.pipeline(transaction=False)
    # WAIT is about what its own connection wrote.
    pipe.xadd(STREAM, {"n": uuid.uuid4().hex}).wait(work.copies, 100).info("server")
    entry, copies, server = pipe.execute()
    work.added(entry, copies)
    work.done(me, server["tcp_port"])


# Whether something may have been handed out to a reader that it did not get.
again = True


def read(me):
    global again
    reply = leader.xreadgroup(GROUP, "me", {STREAM: "0" if again else ">"}, count=100, block=200)
    got = [entry for entry, _ in entries(reply)]
    work.read.update(got)
    if got:
        leader.xack(STREAM, GROUP, *got)
    again = again and bool(got)
    work.done(me, port(leader))


def works(me, f):
    global again
    while not work.over or (f is read and work.unread()):
        try:
            f(me)
        except Exception as error:
            work.met(me, error)
            again = True
        time.sleep(PACE)


leader.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
leader.set(NOTE, "read me")
tasks = {"locker a": take_and_release, "locker b": take_and_release, "adder": add, "reader": read}
threads = [threading.Thread(target=works, args=task, daemon=True) for task in tasks.items()]
for thread in threads:
    thread.start()
for words in lines():
    match words:
        case ["leader", *where]:
            work.moves_to(*where)
            assert until(work.has_followed), f"not followed: {work.rounds}, {work.faults}"
        case ["read"]:
            assert until(lambda: port(replica) != work.leader and replica.get(NOTE) == "read me")
        case ["change"]:
            work.change()
work.over = True
for thread in threads:
    thread.join(20)
work.tells()
