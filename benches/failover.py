#!/usr/bin/env python3
"""How long nobody leads when a leader is killed, and what sentinels cost meanwhile and otherwise, side by side.

    benches/failover.py [--runs N] [--idle SECONDS] [--seed N] [--dir DIR] NAME=SERVER,SENTINEL...

SERVER and SENTINEL are the programs of a system: a leader, two replicas and three sentinels (quorum 2,
down-after-milliseconds 1000) are started anew for every run. When all know each other, and after a moment more so that no
run meets the same point of anybody's period, the leader is killed by SIGKILL. From then on a client of redis-py (Sentinel,
without backing off) tries to write every 10 ms until it has written. What the sentinels say of it meanwhile tells the
phases: the times, since the kill, of the first +sdown and +odown of the leader, +elected-leader, +promoted-slave and
+switch-master of any of the three.

After the first run of a system its sentinels are left alone for a while: the processor time and the memory of one.

The systems take turns, run by run and in changing order, so that a drift of the machine hits all alike. Tables are printed in
Markdown. In brackets is the ratio to the first system, where above 1 is better. redis-py must be installed: the tests of
`tests/e2e` have it in target/tmp/python.
"""
import argparse
import contextlib
import glob
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from persistence import NO_LOG, Server, encode
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

NAME = "fleet"
CONF = f"""\
sentinel monitor {NAME} 127.0.0.1 {{leader}} 2
sentinel down-after-milliseconds {NAME} 1000
"""
# Of which event each phase is the first, and what it is told of.
PHASES = {"sdown": ("+sdown", "master"), "odown": ("+odown", "master"), "elected": ("+elected-leader", "master"),
          "promoted": ("+promoted-slave", "slave"), "switched": ("+switch-master", NAME)}
# Seconds between two tries to write, and two looks at what is to come.
PACE, LOOK = 0.01, 0.02
# Seconds that anything may take.
PATIENCE = 60
# What a fleet is known by when all is as it should be.
FLAGS = {"MASTER": "master", "REPLICAS": "slave", "SENTINELS": "sentinel"}


class Watcher:
    """A process of a sentinel."""

    def __init__(self, program, directory, leader):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        os.makedirs(directory)
        conf = os.path.join(directory, "sentinel.conf")
        with open(conf, "w") as file:
            file.write(f"port {self.port}\nbind 127.0.0.1\nlogfile {directory}/log\n" + CONF.format(leader=leader))
        self.process = subprocess.Popen([program, conf, "--sentinel"])
        self.heard = []

    def connect(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("a sentinel does not answer") from None
                time.sleep(LOOK)

    def ask(self, *words):
        """The words of a reply, however they are nested."""
        with self.connect() as link, link.makefile("rb") as replies:
            link.sendall(encode(words))
            return list(flat(replies))

    def listen(self):
        """Notes from now on when each event was heard."""
        link = self.connect()
        link.sendall(encode(["PSUBSCRIBE", "*"]))
        link.settimeout(None)
        replies = link.makefile("rb")
        list(flat(replies))

        def note():
            with contextlib.suppress(OSError, ValueError, IndexError):
                while True:
                    _, _, channel, text = flat(replies)
                    self.heard.append((time.monotonic(), channel, text))

        threading.Thread(target=note, daemon=True).start()

    def first(self, event, kind):
        """When an event of this kind of instance was heard first."""
        return next((at for at, channel, text in self.heard if channel == event and text.split()[0] == kind), None)

    def cpu(self):
        """Seconds of processor time, of all threads."""
        tasks = glob.glob(f"/proc/{self.process.pid}/task/*/schedstat")
        return sum(int(open(task).read().split()[0]) for task in tasks) / 1e9

    def resident(self):
        """Bytes."""
        return int(open(f"/proc/{self.process.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def flat(replies):
    line = replies.readline().decode()
    if line.startswith("*"):
        for _ in range(int(line[1:])):
            yield from flat(replies)
    elif line.startswith("$"):
        yield replies.read(int(line[1:]) + 2)[:-2].decode()
    elif line:
        yield line[1:].strip()


class Fleet:
    """A leader, two replicas and three sentinels."""

    def __init__(self, server, sentinel, directory):
        self.servers, self.sentinels = [], []
        try:
            for i in range(3):
                path = os.path.join(directory, f"server-{i}")
                os.makedirs(path)
                follows = ["--replicaof", "127.0.0.1", str(self.servers[0].port)] if i else []
                options = [*NO_LOG, "--repl-diskless-sync-delay", "0", *follows]
                self.servers.append(Server(server, path, options))
            for i in range(3):
                path = os.path.join(directory, f"sentinel-{i}")
                self.sentinels.append(Watcher(sentinel, path, self.servers[0].port))
            self.settle()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self.servers + self.sentinels:
            node.process.kill()
            node.process.wait()

    def settle(self):
        """Waits until every sentinel knows all others, and that all are well."""
        deadline = time.monotonic() + PATIENCE
        while not all(self.knows(sentinel, *kind) for sentinel in self.sentinels for kind in zip(FLAGS, (1, 2, 2))):
            if time.monotonic() > deadline:
                raise SystemExit("they do not get to know each other")
            time.sleep(LOOK)

    def knows(self, sentinel, kind, number):
        words = sentinel.ask("SENTINEL", kind, NAME)
        flags = [value for field, value in zip(words, words[1:]) if field == "flags"]
        links = [value for field, value in zip(words, words[1:]) if field == "master-link-status"]
        return flags == [FLAGS[kind]] * number and set(links) <= {"ok"}

    def fail_over(self, pause):
        """Kills the leader: seconds until each phase, and until a client has written."""
        places = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        directory = Sentinel(places, socket_timeout=1, retry=Retry(NoBackoff(), 0),
                             sentinel_kwargs={"socket_timeout": 1, "retry": Retry(NoBackoff(), 0)})
        client = directory.master_for(NAME, retry=Retry(NoBackoff(), 0))
        client.set("key", "before")
        for sentinel in self.sentinels:
            sentinel.listen()
        time.sleep(pause)
        began = time.monotonic()
        self.servers[0].process.kill()
        while True:
            try:
                client.set("key", "after")
                break
            except RedisError:
                if time.monotonic() > began + PATIENCE:
                    raise SystemExit("nobody leads") from None
                time.sleep(PACE)
        wrote = time.monotonic() - began
        phases = {}
        for phase, what in PHASES.items():
            # The client may be faster than who notes what it hears.
            while not (times := [at for at in (s.first(*what) for s in self.sentinels) if at]):
                if time.monotonic() > began + PATIENCE:
                    raise SystemExit(f"no {what[0]}")
                time.sleep(0.001)
            phases[phase] = min(times) - began
        return {**phases, "wrote": wrote}

    def idle(self, seconds):
        """Milliseconds of processor time per second, and MiB, of one sentinel."""
        before = [sentinel.cpu() for sentinel in self.sentinels]
        time.sleep(seconds)
        used = [sentinel.cpu() - was for sentinel, was in zip(self.sentinels, before)]
        memory = [sentinel.resident() for sentinel in self.sentinels]
        return statistics.mean(used) / seconds * 1000, statistics.mean(memory) / 2**20


def ratio(value, beside):
    return f" (×{beside / value:.2f})" if value else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--idle", type=float, default=10, help="seconds; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=7, help="of the moments when leaders are killed")
    parser.add_argument("--dir", help="where the directories are made (default: that of temporary files)")
    parser.add_argument("systems", nargs="+", metavar="NAME=SERVER,SENTINEL")
    options = parser.parse_args()
    # Whatever ends this ends the processes.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    systems = {name: re.split(",", programs, maxsplit=1) for name, programs in (s.split("=", 1) for s in options.systems)}
    runs, idle = {name: [] for name in systems}, {}
    pauses = random.Random(options.seed)
    for i in range(options.runs):
        pause = pauses.uniform(0, 2)
        for name in list(systems) if i % 2 == 0 else list(systems)[::-1]:
            with tempfile.TemporaryDirectory(dir=options.dir) as directory, Fleet(*systems[name], directory) as fleet:
                if options.idle and name not in idle:
                    idle[name] = fleet.idle(options.idle)
                runs[name].append(fleet.fail_over(pause))
                print(f"{name}: " + ", ".join(f"{k} {v:.2f}" for k, v in runs[name][-1].items()), file=sys.stderr)
    report(runs, idle)


def report(runs, idle):
    first = next(iter(runs))
    middle = {name: statistics.median(run["wrote"] for run in all_) for name, all_ in runs.items()}
    worst = {name: max(run["wrote"] for run in all_) for name, all_ in runs.items()}
    print(f"| {len(runs[first])} runs | first write, s | worst, s | " + " | ".join(f"{phase}, s" for phase in PHASES) + " |")
    print("|---" * (len(PHASES) + 3) + "|")
    for name, all_ in runs.items():
        write = f"{middle[name]:.2f}{ratio(middle[name], middle[first])}"
        last = f"{worst[name]:.2f}{ratio(worst[name], worst[first])}"
        phases = [f"{statistics.median(run[phase] for run in all_):.2f}" for phase in PHASES]
        print(f"| {name} | {write} | {last} | " + " | ".join(phases) + " |")
    if idle:
        print("\n| a sentinel that has nothing to do | ms CPU per s | resident, MiB |\n|---|---|---|")
        for name, (cpu, memory) in idle.items():
            beside = idle[first]
            print(f"| {name} | {cpu:.2f}{ratio(cpu, beside[0])} | {memory:.1f}{ratio(memory, beside[1])} |")


if __name__ == "__main__":
    main()
