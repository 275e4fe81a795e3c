"""The tasks that the worker of celery_runs.py works on."""

import time

import redis
from celery import Celery

from runs import URL

app = Celery("jobs", broker=f"{URL}/0", backend=f"{URL}/0")
app.conf.update(
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
notes = redis.Redis.from_url(f"{URL}/1", decode_responses=True)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=5)
def third_time(self, name):
    if notes.incr(name) < 3:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
def at():
    return time.time()


@app.task(bind=True)
def sleep(self, name):
    notes.set(name, self.request.id)
    time.sleep(60)
