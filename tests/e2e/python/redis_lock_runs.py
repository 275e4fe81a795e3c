"""python-redis-lock: locks that wait by BLPOP and release by scripts."""

import threading
import time

import redis
import redis_lock
from redis_lock import AlreadyAcquired, Lock, NotAcquired, NotExpirable

from runs import URL, eventually, fails, main, run



def connect():
    """A client that waits for a reply as long as a blocked call may last."""
    return redis.Redis.from_url(URL, socket_timeout=None)


conn = connect()


@run
def one_holder_at_a_time():
    inside, most = [], []

    def work():
        mine = connect()
        for _ in range(25):
            with Lock(mine, "busy", expire=30):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(most) == 100 and set(most) == {1}
    assert not Lock(conn, "busy").locked()


@run
def acquire_and_release():
    a, b = Lock(conn, "l", expire=30), Lock(conn, "l", expire=30)
    assert a.acquire(blocking=False) and not b.acquire(blocking=False)
    assert a.locked() and a.get_owner_id() == a.id == b.get_owner_id()
    assert 0 < conn.ttl("lock:l") <= 30
    fails(AlreadyAcquired, "", a.acquire)
    fails(NotAcquired, "", b.release)
    start = time.monotonic()
    assert not b.acquire(timeout=1) and time.monotonic() - start >= 0.9
    a.release()
    assert b.acquire(timeout=1)
    b.release()
    assert not b.locked() and conn.exists("lock:l") == 0


@run
def a_waiter_is_woken_by_the_release():
    a, b = Lock(conn, "l", expire=30), Lock(connect(), "l", expire=30)
    a.acquire()
    got = []
    t = threading.Thread(target=lambda: got.append(b.acquire(timeout=30)), daemon=True)
    t.start()
    eventually(lambda: conn.info("clients")["blocked_clients"] == 1)
    assert not got
    start = time.monotonic()
    a.release()
    t.join(30)
    assert got == [True] and time.monotonic() - start < 5 and b.get_owner_id() == b.id


@run
def a_lock_that_runs_out():
    # Nobody wakes who waits for a lock whose holder is gone: it looks again after the time of its own lock.
    a, b = Lock(conn, "l", expire=1), Lock(conn, "l", expire=1)
    a.acquire()
    start = time.monotonic()
    assert b.acquire() and 0.5 < time.monotonic() - start < 10
    fails(NotAcquired, "", a.release)
    fails(NotAcquired, "", a.extend)
    assert b.get_owner_id() == b.id
    b.extend(expire=100)
    assert 90 < conn.ttl("lock:l") <= 100
    forever = Lock(conn, "forever")
    forever.acquire()
    fails(NotExpirable, "", forever.extend, expire=5)


@run
def a_lock_that_is_renewed():
    with Lock(conn, "l", expire=1, auto_renewal=True) as a:
        calls = lambda: conn.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
        before = calls()
        eventually(lambda: calls() >= before + 2)
        assert a.get_owner_id() == a.id and not Lock(conn, "l").acquire(blocking=False), "held beyond its second"
    assert conn.exists("lock:l") == 0


@run
def locks_are_reset():
    held = [Lock(conn, f"l{i}") for i in range(5)]
    for lock in held:
        assert lock.acquire(blocking=False)
    held[0].reset()
    assert not held[0].locked() and held[1].locked()
    redis_lock.reset_all(conn)
    assert not any(lock.locked() for lock in held) and Lock(conn, "l1").acquire(blocking=False)


main()
