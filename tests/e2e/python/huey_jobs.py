"""The tasks that the consumer of huey_runs.py works on."""

import os
import time

import redis
from huey import PriorityRedisHuey, RedisHuey, crontab

from runs import PORT, URL

kind = {"list": RedisHuey, "priority": PriorityRedisHuey}[os.environ.get("HUEY", "list")]
huey = kind("jobs", host="127.0.0.1", port=PORT)
notes = redis.Redis.from_url(f"{URL}/1", decode_responses=True)


@huey.task()
def add(a, b):
    return a + b


@huey.task()
def fail(text):
    raise ValueError(text)


@huey.task(retries=3)
def third_time(name):
    if notes.incr(name) < 3:
        raise RuntimeError("not yet")
    return notes.get(name)


@huey.task()
def note(text):
    notes.rpush("notes", text)
    return time.time()


@huey.task()
@huey.lock_task("one at a time")
def alone(name):
    notes.incr(name)
    time.sleep(0.3)
    return notes.decr(name)


@huey.periodic_task(crontab(minute="*"))
def each_minute():
    notes.incr("minutes")
