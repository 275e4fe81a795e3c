"""A pytest plugin: every test that asks for `redkeep` gets an empty server, whose clock it controls.

In your `conftest.py`:

    pytest_plugins = ["pytest_redkeep"]

and in a test, with redis-py or any other client:

    def test_greeting(redkeep):
        redkeep.client.set("greeting", "hello")
        my_service(redkeep.url).greet()

The program is `redkeep` of your PATH, or the one that the environment names as REDKEEP. It takes a port that is free,
prints its address, and ends with the process that started it, even if that is killed. So it needs no daemon, no container
and no port of its own, and runs beside as many others as pytest-xdist starts.
"""

import os
import subprocess
import tempfile

import pytest
import redis

PROGRAM = os.environ.get("REDKEEP", "redkeep")


class Redkeep:
    """A server in a process of its own. Options are those of redis-server: `Redkeep("--requirepass", "secret")`."""

    def __init__(self, *options):
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [PROGRAM, "--port", "0", "--print-addr", "--exit-with-parent", "--save", "",
             "--enable-test-commands", "yes", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )
        # The line comes when clients are served; there is nothing to try and no time to guess.
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"{PROGRAM} does not start:\n{self.log()}")
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        self.clock = Clock(self.client)

    def log(self):
        """What it has logged."""
        self._log.seek(0)
        return self._log.read()

    def reset(self):
        """As it was at the start: empty, and its clock goes on."""
        self.clock.thaw()
        self.client.flushall()

    def stop(self):
        """Ends it: from here on there is an outage."""
        self.client.close()
        self._process.terminate()
        self._process.wait()

    def close(self):
        self.stop()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class Clock:
    """The server's time. It stands still from the first `freeze` or `advance` on, and goes on with `thaw`."""

    def __init__(self, client):
        self._client = client

    def freeze(self):
        self._client.execute_command("REDKEEP", "CLOCK", "FREEZE")

    def advance(self, seconds):
        """All that so many seconds bring happens: keys expire, blocked clients time out, leases end."""
        self.freeze()
        self._client.execute_command("REDKEEP", "CLOCK", "ADVANCE", round(seconds * 1000))

    def thaw(self):
        self._client.execute_command("REDKEEP", "CLOCK", "THAW")


@pytest.fixture(scope="session")
def redkeep_server():
    """One server for all tests of a process: it starts once."""
    with Redkeep() as server:
        yield server


@pytest.fixture
def redkeep(redkeep_server):
    """That server, and nothing on it that another test has left."""
    yield redkeep_server
    redkeep_server.reset()


@pytest.fixture
def redkeep_factory():
    """Servers of the test's own, with options: `redkeep_factory("--maxmemory", "2mb")`."""
    servers = []

    def start(*options):
        servers.append(Redkeep(*options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
