"""The jobs that the workers of rq_runs.py work on."""

import os
import signal
import time

import redis

from runs import URL

notes = redis.Redis.from_url(URL, decode_responses=True)


def add(a, b):
    return a + b


def fail(text):
    raise ValueError(text)


def third_time(name):
    n = notes.incr(name)
    if n < 3:
        raise RuntimeError(f"attempt {n}")
    return n


def note(list_name, text):
    notes.rpush(list_name, text)
    return time.time()


def sleep(name):
    notes.set(name, os.getpid())
    time.sleep(60)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def called_back(job, connection, result, *args):
    notes.set("called back", f"{job.id} {result}")
