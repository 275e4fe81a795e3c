"""Celery with Redis as its broker and for its results: a real worker with two processes."""

import signal
import time

from celery import chain, chord, group
from celery.exceptions import TaskRevokedError

from celery_jobs import add, app, at, fail, notes, sleep, third_time, total
from runs import Process, eventually, fails, main, run

WAIT = 60


@run
def fifty_tasks():
    results = [add.delay(i, i) for i in range(50)]
    assert [r.get(timeout=WAIT) for r in results] == [2 * i for i in range(50)]
    assert all(r.state == "SUCCESS" for r in results)
    assert group(add.s(i, 1) for i in range(10))().get(timeout=WAIT) == list(range(1, 11))


@run
def a_chord_and_a_chain():
    assert chord(add.s(i, i) for i in range(20))(total.s()).get(timeout=WAIT) == 380
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=WAIT) == 10
    nested = chord([chain(add.s(i, 1), add.s(1)) for i in range(5)], total.s())
    assert nested().get(timeout=WAIT) == 20


@run
def a_task_that_fails():
    result = fail.delay("no luck")
    fails(ValueError, "no luck", result.get, timeout=WAIT)
    assert result.state == "FAILURE" and "ValueError" in result.traceback
    broken = chord([add.s(1, 1), fail.s("in a chord")])(total.s())
    fails(Exception, "in a chord", broken.get, timeout=WAIT)


@run
def a_task_that_is_tried_again():
    assert third_time.delay("attempts").get(timeout=WAIT) == 2 and notes.get("attempts") == "3"


@run
def a_task_for_later():
    start = time.time()
    later = at.apply_async(countdown=1)
    now = at.delay()
    assert now.get(timeout=WAIT) < later.get(timeout=WAIT) and later.get() >= start + 1
    late = at.apply_async(expires=-1)
    fails(TaskRevokedError, "expired", late.get, timeout=WAIT)


@run
def a_task_that_is_revoked():
    waiting = at.apply_async(countdown=0.5)
    waiting.revoke()
    fails(TaskRevokedError, "revoked", waiting.get, timeout=WAIT)
    running = sleep.delay("sleeper")
    eventually(lambda: notes.get("sleeper") == running.id)
    running.revoke(terminate=True, signal="SIGKILL")
    fails(TaskRevokedError, "terminated", running.get, timeout=WAIT)
    assert add.delay(1, 1).get(timeout=WAIT) == 2, "the worker goes on"


@run
def the_worker_answers():
    seen = app.control.inspect(timeout=10, limit=1)
    ((name, pong),) = app.control.ping(timeout=10, limit=1)[0].items()
    assert pong == {"ok": "pong"}
    assert "celery_jobs.add" in seen.registered()[name]
    assert app.control.inspect(timeout=10, limit=1).active() == {name: []}


@run
def the_worker_ends_and_leaves_nothing_undone():
    broker = app.connection_for_write().default_channel.client
    eventually(lambda: broker.hlen("unacked") == 0)
    worker.ends(signal.SIGTERM)
    assert broker.llen("celery") == 0 and broker.hlen("unacked") == 0 and broker.zcard("unacked_index") == 0
    left = add.delay(20, 1)
    assert broker.llen("celery") == 1
    with start() as another:
        assert left.get(timeout=WAIT) == 21
        another.ends(signal.SIGTERM)


def start():
    return Process("-m", "celery", "-A", "celery_jobs", "worker", "--concurrency=2", "--loglevel=INFO", "--without-mingle")


with start() as worker:
    main(empty=False)
