#!/usr/bin/env python3
"""Replication of servers of the Redis protocol, side by side.

    benches/replication.py [--keys N] [--rounds N] [--scale F] [--only REGEX] [--dir DIR] NAME=COMMAND...

COMMAND starts a server, as leader or as replica; port, directory and what keeps it off the disk are appended. The parts,
which --only selects by name:

    full sync          from REPLICAOF until the link is up and the replica has all keys, without a disk and without a
                       delay at the leader; pairs of two kinds of servers are there for information
    load set, xadd     redis-benchmark at 50 connections and 16 commands in flight each, without and with a replica.
                       CPU is that of the leader, and of the replica, until the replica has everything. Behind is what
                       the leader has written and the replica has not applied yet, asked of both at once meanwhile
    sync-replicas      the same load, with replies that wait for one replica (CONFIG SET sync-replicas 1)

The rows of a table take turns, round by round and in changing order, so that a drift of the machine hits all alike. Medians
are printed, as tables in Markdown, and of what is called most the worst of all rounds. In brackets is the ratio to the first
server's row of the same kind (of sync-replicas: to the same server without it), where above 1 is better. What a server
refuses is said in its row.
"""
import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from persistence import NO_LOG, SET, XADD, Server

# Operations and arguments of redis-benchmark.
WORKLOADS = {"set": (1_500_000, SET), "xadd": (1_000_000, XADD)}
# Seconds between two looks at a synchronization, and at how far behind a replica is.
SYNC_PACE, LAG_PACE = 0.01, 0.02
# Seconds that anything may take without getting on.
PATIENCE = 60

# Of a column: what it is, its form, which direction is better (0: no ratio), what is made of the rounds.
SYNC = [
    ("seconds", "{:.2f}", -1, statistics.median),
    ("CPU of the leader, s", "{:.2f}", -1, statistics.median),
    ("CPU of the replica, s", "{:.2f}", -1, statistics.median),
]
LOAD = [
    ("op/s", "{:,.0f}", 1, statistics.median),
    ("p99, ms", "{:.2f}", -1, statistics.median),
    ("leader, µs CPU/op", "{:.2f}", -1, statistics.median),
    ("replica, µs CPU/op", "{:.2f}", -1, statistics.median),
    ("most behind, KiB", "{:,.0f}", -1, max),
    ("behind, KiB", "{:,.0f}", -1, statistics.median),
    ("all there after, ms", "{:,.1f}", 0, statistics.median),
]


class Refused(Exception):
    """Why a row has no numbers."""


class Node(Server):
    """A server that keeps nothing on the disk."""

    def __init__(self, command, directory):
        try:
            super().__init__(command, directory, NO_LOG)
        except BaseException:
            if hasattr(self, "process"):
                self.process.kill()
            raise

    def demand(self, *words):
        reply = self.call(*words)
        if not reply.startswith("+"):
            raise Refused(f"{' '.join(words)}: {reply}")

    def lead(self):
        """Full syncs straight to the socket, and at once."""
        self.demand("CONFIG", "SET", "repl-diskless-sync", "yes")
        self.demand("CONFIG", "SET", "repl-diskless-sync-delay", "0")

    def follow(self, leader, patience):
        """From now on a copy, and a whole one when this returns."""
        self.demand("REPLICAOF", "127.0.0.1", str(leader.port))
        deadline = time.monotonic() + patience
        while not (self.info("master_link_status") == "up" and self.call("DBSIZE") == leader.call("DBSIZE")):
            if time.monotonic() > deadline:
                raise Refused(f"no copy after {patience} s, master_link_status is {self.info('master_link_status')}")
            time.sleep(SYNC_PACE)

    def serve(self, replica):
        """Waits until a write gets to the replica: that the link is up does not say that the leader knows."""
        self.demand("SET", "key:000000000000", "x")
        deadline = time.monotonic() + PATIENCE
        while behind(self, replica) > 0:
            if time.monotonic() > deadline:
                raise Refused(f"no write gets to the replica for {PATIENCE} s, slave0 is {self.info('slave0')}")
            time.sleep(SYNC_PACE)

    def cpu(self):
        """User and system time, in seconds, with that of children that have ended."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def offset(info, field):
    found = re.search(rf"^{field}:(\d+)", info, re.M)
    if not found:
        raise Refused(f"INFO replication has no {field}")
    return int(found.group(1))


def behind(leader, replica):
    """Bytes that the replica has not applied, by what both say at about the same time."""
    for node in (leader, replica):
        node.send("INFO", "replication")
    # Both are read before one is looked at: no reply is left behind.
    theirs, ours = leader.reply(), replica.reply()
    return max(0, offset(theirs, "master_repl_offset") - offset(ours, "slave_repl_offset"))


class Contest:
    def __init__(self, options, directory):
        self.options = options
        self.keys = options.keys
        self.commands = dict(server.split("=", 1) for server in options.servers)
        self.names = list(self.commands)
        self.directory = directory
        self.started = 0

    def wants(self, part):
        return re.search(self.options.only, part)

    @contextlib.contextmanager
    def node(self, name):
        self.started += 1
        path = os.path.join(self.directory, f"{name}-{self.started}")
        os.makedirs(path)
        with Node(self.commands[name], path) as node:
            yield node
        shutil.rmtree(path)

    def table(self, what, columns, rows, measure):
        """Measures the rows, each a name, the name of the row that it is compared with, and what `measure` is told."""
        runs, refused = {name: [] for name, *_ in rows}, {}
        for i in range(self.options.rounds):
            for name, _, told in rows if i % 2 == 0 else rows[::-1]:
                if name not in refused:
                    try:
                        runs[name].append(measure(*told))
                    except Refused as why:
                        refused[name] = str(why).replace("|", "/")
        got = {}
        for name in runs.keys() - refused.keys():
            rounds = zip(columns, zip(*runs[name]))
            got[name] = [None if None in column else middle(column) for (*_, middle), column in rounds]
        print(f"| {what} | " + " | ".join(title for title, *_ in columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
        for name, base, _ in rows:
            if name in refused:
                print(f"| {name} | not measured: {refused[name]}" + " |" * len(columns))
                continue
            values = zip(columns, got[name], got.get(base, got[name]))
            cells = [cell(form, better, value, beside) for (_, form, better, _), value, beside in values]
            print(f"| {name} | " + " | ".join(cells) + " |")
        print(flush=True)

    # ---- full sync

    def full_sync(self):
        if not self.wants("full sync"):
            return
        # Those of one kind come first; the first of all is the reference.
        pairs = sorted(((a, b) for a in self.names for b in self.names), key=lambda pair: pair[0] != pair[1])
        name = "leader {}, replica {}".format
        rows = [(name(*pair), name(*pairs[0]), pair) for pair in pairs]
        with contextlib.ExitStack() as stack:
            leaders = {name: stack.enter_context(self.node(name)) for name in self.names}
            for leader in leaders.values():
                leader.feed(sets(self.keys), self.keys)
            for load in ("disabled", "swapdb"):
                what = f"full sync of {self.keys:,} keys, repl-diskless-load {load}"
                self.table(what, SYNC, rows, lambda a, b: self.sync_once(leaders[a], b, load))

    def sync_once(self, leader, name, load):
        with self.node(name) as replica:
            leader.lead()
            replica.demand("CONFIG", "SET", "repl-diskless-load", load)
            leader.settle("rdb_bgsave_in_progress")
            before, began = (leader.cpu(), replica.cpu()), time.monotonic()
            replica.follow(leader, PATIENCE + self.keys // 20_000)
            took = time.monotonic() - began
            # A child's time counts when it has ended.
            leader.settle("rdb_bgsave_in_progress")
            return took, leader.cpu() - before[0], replica.cpu() - before[1]

    # ---- under load

    def load(self):
        for workload in WORKLOADS:
            if self.wants(f"load {workload}"):
                name = "{}, {} replica".format
                rows = [(name(server, replicas), name(self.names[0], replicas), (server, workload, replicas, None))
                        for replicas in ("no", "one") for server in self.names]
                self.table(f"{workload}, 50 connections, P16", LOAD, rows, self.drive)

    def synchronous(self):
        if self.wants("sync-replicas"):
            name = "{}, sync-replicas {}".format
            rows = [(name(server, n), name(server, 0), (server, "set", "one", n)) for server in self.names for n in (0, 1)]
            self.table("set, 50 connections, P16, one replica", LOAD, rows, self.drive)

    def drive(self, name, workload, replicas, synchronous):
        with contextlib.ExitStack() as stack:
            leader, replica = stack.enter_context(self.node(name)), None
            if replicas == "one":
                replica = stack.enter_context(self.node(name))
                leader.lead()
                replica.follow(leader, PATIENCE)
                leader.serve(replica)
            if synchronous is not None:
                leader.demand("CONFIG", "SET", "sync-replicas", str(synchronous))
            n, arguments = WORKLOADS[workload]
            n = int(n * self.options.scale)
            before = [node.cpu() for node in (leader, replica) if node]
            rate, p99, *lag = benchmark(leader, replica, n, arguments)
            after = [node.cpu() for node in (leader, replica) if node]
            cpu = [(b - a) / n * 1e6 for a, b in zip(before, after)]
            return rate, p99, *(cpu if replica else [*cpu, None]), *lag


def benchmark(leader, replica, n, arguments):
    """Operations per second and the p99 in ms, and with a replica how far it was behind meanwhile, at most and in the
    middle, in KiB, and after how many ms it had everything."""
    syncs = leader.info("sync_full")
    command = f"redis-benchmark -p {leader.port} -c 50 -n {n} -P 16 --csv".split()
    process = subprocess.Popen(command + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lags = []
    try:
        while process.poll() is None:
            # The leader is asked without a replica as well: that is a part of its load.
            lags.append(behind(leader, replica) if replica else leader.call("INFO", "replication"))
            time.sleep(LAG_PACE)
        ended = time.monotonic()
        said = process.stdout.read().strip().splitlines()
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0 or not said:
        raise Refused(f"redis-benchmark: {said[-1] if said else process.returncode}")
    row = said[-1].split('","')
    got = float(row[1].strip('"')), float(row[6].strip('"'))
    if not replica:
        return *got, None, None, None
    while behind(leader, replica) > 0:
        if time.monotonic() > ended + PATIENCE:
            raise Refused(f"the replica is {behind(leader, replica)} bytes behind {PATIENCE} s after the load")
        time.sleep(0.001)
    took = time.monotonic() - ended
    if leader.info("sync_full") != syncs or replica.info("master_link_status") != "up":
        raise Refused("the link was lost under the load")
    for question in (["DBSIZE"], ["XLEN", "st"]):
        if leader.call(*question) != replica.call(*question):
            raise Refused(f"leader and replica differ: {' '.join(question)}")
    return *got, max(lags) / 1024, statistics.mean(lags) / 1024, took * 1000


def cell(form, better, value, beside):
    if value is None:
        return "—"
    text = form.format(value)
    if better and value and beside:
        text += f" (×{value / beside if better > 0 else beside / value:.2f})"
    return text


def sets(keys):
    """SETs of as many keys, with 64 bytes each, in pieces; the keys are those that redis-benchmark uses."""
    one = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$64\r\n%064d\r\n"
    for start in range(0, keys, 2000):
        yield b"".join([one % (i, i) for i in range(start, min(start + 2000, keys))])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=2_000_000, help="of a full sync")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the operations under load")
    parser.add_argument("--only", default=".")
    parser.add_argument("--dir", help="where the directories are made (default: that of temporary files)")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    # Whatever ends this ends the servers.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        contest = Contest(options, directory)
        contest.full_sync()
        contest.load()
        contest.synchronous()


if __name__ == "__main__":
    main()
