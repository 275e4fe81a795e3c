"""RQ: its worker as a process of its own, stopped in the ways it knows."""

import signal
import time
from datetime import timedelta

import redis
from rq import Callback, Queue, Retry
from rq.command import send_shutdown_command, send_stop_job_command
from rq.job import JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.worker import Worker

import rq_jobs
from rq_jobs import notes
from runs import URL, Process, eventually, main, run

conn = redis.Redis.from_url(URL, socket_timeout=60)


def work(*args):
    """A worker; with --burst it ends when nothing is left to do."""
    return Process("-c", "from rq.cli import main; main()", "worker", "--url", URL, *args)


def status(job):
    return job.get_status(refresh=True)


@run
def jobs_are_done_in_order():
    q, urgent = Queue("default", connection=conn), Queue("urgent", connection=conn)
    jobs = [q.enqueue(rq_jobs.add, i, i) for i in range(20)]
    for text in ("late", "b"):
        q.enqueue(rq_jobs.note, "notes", text)
    q.enqueue(rq_jobs.note, "notes", "first of default", at_front=True)
    urgent.enqueue(rq_jobs.note, "notes", "urgent")
    assert len(q) == 23 and q.job_ids[1] == jobs[0].id
    with work("--burst", "urgent", "default") as w:
        w.ends()
    assert [j.return_value(refresh=True) for j in jobs] == [2 * i for i in range(20)]
    assert all(status(j) == JobStatus.FINISHED for j in jobs) and len(q) == 0
    assert notes.lrange("notes", 0, -1) == ["urgent", "first of default", "late", "b"]
    assert FinishedJobRegistry(queue=q).count == 23 and Worker.count(connection=conn) == 0


@run
def a_job_that_fails():
    q = Queue(connection=conn)
    job = q.enqueue(rq_jobs.fail, "no luck")
    with work("--burst") as w:
        w.ends()
    assert status(job) == JobStatus.FAILED and job.id in FailedJobRegistry(queue=q)
    assert "ValueError: no luck" in job.latest_result().exc_string
    FailedJobRegistry(queue=q).requeue(job.id)
    assert status(job) == JobStatus.QUEUED and q.job_ids == [job.id]
    job.delete()
    assert len(q) == 0 and FailedJobRegistry(queue=q).count == 0


@run
def a_job_that_kills_its_process():
    q = Queue(connection=conn)
    job, after = q.enqueue(rq_jobs.die), q.enqueue(rq_jobs.add, 1, 2)
    with work("--burst") as w:
        w.ends()
    assert status(job) == JobStatus.FAILED and "signal 9" in job.latest_result().exc_string
    assert after.return_value(refresh=True) == 3


@run
def a_job_that_is_tried_again():
    q = Queue(connection=conn)
    job = q.enqueue(rq_jobs.third_time, "attempts", retry=Retry(max=3))
    lost = q.enqueue(rq_jobs.fail, "always", retry=Retry(max=1))
    with work("--burst") as w:
        w.ends()
    assert job.return_value(refresh=True) == 3 and notes.get("attempts") == "3"
    assert status(lost) == JobStatus.FAILED


@run
def jobs_that_depend_on_others():
    q = Queue(connection=conn)
    first = q.enqueue(rq_jobs.note, "notes", "first")
    second = q.enqueue(rq_jobs.note, "notes", "second", depends_on=first, on_success=Callback(rq_jobs.called_back))
    broken = q.enqueue(rq_jobs.fail, "no luck")
    never = q.enqueue(rq_jobs.note, "notes", "never", depends_on=broken)
    assert status(second) == JobStatus.DEFERRED
    with work("--burst") as w:
        w.ends()
    assert notes.lrange("notes", 0, -1) == ["first", "second"] and status(never) == JobStatus.DEFERRED
    assert notes.get("called back").startswith(second.id)


@run
def a_job_for_later():
    q = Queue(connection=conn)
    start = time.time()
    job = q.enqueue_in(timedelta(seconds=2), rq_jobs.note, "notes", "late")
    assert job.id in ScheduledJobRegistry(queue=q) and len(q) == 0
    with work("--with-scheduler") as w:
        eventually(lambda: status(job) == JobStatus.FINISHED)
        # RQ plans by whole seconds.
        assert job.return_value(refresh=True) >= start + 1 and ScheduledJobRegistry(queue=q).count == 0
        w.ends(signal.SIGTERM)


@run
def jobs_and_workers_are_stopped():
    q = Queue(connection=conn)
    with work("--name", "worker") as w:
        job = q.enqueue(rq_jobs.sleep, "sleeper")
        eventually(lambda: notes.get("sleeper"))
        assert StartedJobRegistry(queue=q).get_job_ids() == [job.id]
        (worker,) = Worker.all(connection=conn)
        assert worker.name == "worker" and worker.get_state() == "busy" and worker.get_current_job_id() == job.id
        send_stop_job_command(conn, job.id)
        eventually(lambda: status(job) == JobStatus.STOPPED)
        after = q.enqueue(rq_jobs.add, 2, 3)
        eventually(lambda: status(after) == JobStatus.FINISHED)
        assert after.return_value(refresh=True) == 5
        send_shutdown_command(conn, "worker")
        w.ends()
    assert Worker.count(connection=conn) == 0 and StartedJobRegistry(queue=q).count == 0


@run
def a_result_is_waited_for():
    q = Queue(connection=conn)
    job = q.enqueue(rq_jobs.add, 4, 5)
    with work() as w:
        result = job.latest_result(timeout=30)
        assert result.return_value == 9
        w.ends(signal.SIGTERM)


main()
