"""What the programs of this folder share: how their runs are told, started and limited in time.

A program marks its runs with `@run` and ends with `main()`. Every run begins on an empty server and says what its user
relies on by `assert`. The program ends well if none failed.
"""

import asyncio
import faulthandler
import inspect
import os
import subprocess
import sys
import tempfile
import time
import traceback

import redis

PORT = int(os.environ["REDIS_PORT"])
URL = f"redis://127.0.0.1:{PORT}"
# Where the server's Unix socket and other files of it are.
FOLDER = os.environ["REDIS_FOLDER"]
# Set when the server is another one than Redkeep: only there may a run be left out because a command is not known.
OTHER_SERVER = "REDKEEP_E2E_SERVER" in os.environ

_runs = []


def run(needs=None):
    """Marks a run; `needs` names a command that older servers do not have."""
    if callable(needs):
        _runs.append((needs, None))
        return needs
    return lambda f: _runs.append((f, needs)) or f


def main(empty=True):
    """Calls the runs whose names hold the first argument, if there is one, unless told otherwise each on an empty server."""
    faulthandler.dump_traceback_later(100, exit=True)
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    admin = redis.Redis(port=PORT, protocol=2, decode_responses=True)
    failed, done = [], 0
    for f, needs in _runs:
        if only not in f.__name__:
            continue
        if OTHER_SERVER and needs and not admin.command_list(category=None, pattern=needs.lower()):
            print(f"{f.__name__}: left out, for want of {needs}", flush=True)
            continue
        if empty:
            admin.flushall()
        start = time.monotonic()
        try:
            result = f()
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except Exception:
            failed.append(f.__name__)
            traceback.print_exc(file=sys.stdout)
        print(f"{f.__name__}: {time.monotonic() - start:.2f} s", flush=True)
        done += 1
    assert done, "no run of that name"
    print(f"{done} runs, failed: {', '.join(failed) or 'none'}", flush=True)
    sys.exit(bool(failed))


class Process:
    """A process of this Python beside the program; what it prints is shown when it did not end as it should."""

    def __init__(self, *args, **env):
        self.log = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(
            [sys.executable, *args],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=os.path.dirname(os.path.abspath(__file__)),
            env={**os.environ, **env},
        )

    def ends(self, signal=None, code=0, seconds=30):
        """Waits for its end, after having sent it a signal."""
        if signal is not None:
            self.child.send_signal(signal)
        try:
            ended = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            ended = self.child.wait()
        assert ended == code, f"{self.child.args} ended with {ended}\n{self.text()}"

    def text(self):
        """What it has printed."""
        self.log.seek(0)
        return self.log.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        if error and getattr(error, "code", True):
            print(self.text())


def at_least(*version):
    """Whether the server says it is of that version of Redis, or a later one."""
    text = redis.Redis(port=PORT).info("server")["redis_version"]
    return tuple(map(int, text.split("."))) >= version


def eventually(condition, seconds=30):
    """Waits until a condition holds, and returns what it gave."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"never came: {inspect.getsource(condition).strip()}"
        time.sleep(0.005)


def fails(kind, text, f, *args, **kwargs):
    """Calls what must raise an error of that kind whose message holds the text."""
    try:
        value = f(*args, **kwargs)
    except kind as e:
        assert text in str(e), f"{e!r} says nothing of {text!r}"
        return e
    raise AssertionError(f"{f} gave {value!r} instead of raising {kind.__name__}")
