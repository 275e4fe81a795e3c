"""Huey: a consumer with threads that pops tasks from Redis."""

import os
import signal
import time

from huey.exceptions import TaskException

import huey_jobs
from huey_jobs import add, alone, fail, huey, note, notes, third_time
from runs import Process, eventually, fails, main, run

WAIT = {"blocking": True, "timeout": 30}


def consume(workers=2):
    options = ["--workers", str(workers), "--no-periodic", "--scheduler-interval=1"]
    return Process("-m", "huey.bin.huey_consumer", "huey_jobs.huey", *options)


@run
def tasks_and_results():
    with consume() as c:
        results = [add(i, i) for i in range(30)]
        assert [r.get(**WAIT) for r in results] == [2 * i for i in range(30)]
        assert add.map([(1, 2), (3, 4)]).get(**WAIT) == [3, 7]
        chain = huey.enqueue(add.s(1, 2).then(add, 3).then(add, 4))
        assert chain.get(**WAIT) == [3, 6, 10]
        assert third_time("attempts").get(**WAIT) == "3"
        fails(TaskException, "no luck", fail("no luck").get, **WAIT)
        c.ends(signal.SIGINT)
    assert len(huey) == 0 and huey.result_count() == 0


@run
def a_task_for_later_and_one_that_is_revoked():
    with consume() as c:
        assert note("now").get(**WAIT)
        start = time.time()
        later, never = note.schedule(("late",), delay=0.5), note.schedule(("never",), delay=0.5)
        never.revoke()
        assert later.get(**WAIT) >= start + 0.5
        eventually(lambda: huey.scheduled_count() == 0)
        c.ends(signal.SIGINT)
    assert notes.lrange("notes", 0, -1) == ["now", "late"]


@run
def the_order_of_tasks():
    priority = os.environ.get("HUEY") == "priority"
    ranks = (1, 9, 5) if priority else (None, None, None)
    for text, rank in zip("abc", ranks):
        huey.enqueue(note.s(text, priority=rank) if priority else note.s(text))
    with consume(workers=1) as c:
        eventually(lambda: notes.llen("notes") == 3)
        c.ends(signal.SIGINT)
    assert notes.lrange("notes", 0, -1) == (["b", "c", "a"] if priority else ["a", "b", "c"])


@run
def a_lock_of_a_task():
    with consume(workers=4) as c:
        results = [alone("holders") for _ in range(3)]
        got = []
        for r in results:
            try:
                got.append(r.get(**WAIT))
            except TaskException as e:
                assert "unable to acquire lock" in str(e)
        assert got and set(got) == {0}, "whoever held the lock held it alone"
        c.ends(signal.SIGINT)
    assert not huey.is_locked("one at a time")


main()
