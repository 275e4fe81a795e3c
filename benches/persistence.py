#!/usr/bin/env python3
"""Saving and loading of servers of the Redis protocol, side by side.

    benches/persistence.py [--keys N] [--rounds N] [--scale F] [--only REGEX] [--dir DIR] NAME=COMMAND...

COMMAND starts a server; port, directory and what is to be kept on the disk are appended. Every server has a directory of
its own, on one disk. The parts, which --only selects by name:

    load rdb, load commands, load base     from exec until INFO says that nothing is loading any more
    everysec, always, off                  redis-benchmark at 50 connections and 16 commands in flight each
    save                                   BGSAVE under the same load: memory, and the latency of one more client

The servers take turns, round by round and in changing order, so that a drift of the machine hits all alike. Medians are
printed, as tables in Markdown, and of BGSAVE the most memory and the worst latency of all rounds. The first server is the
reference: ratios of speed, throughput and CPU above 1 are better than it, and those of BGSAVE are plain.
"""
import argparse
import contextlib
import multiprocessing
import os
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

XADD = ["XADD", "st", "MAXLEN", "~", "100000", "*", "recipient", "a@b.c", "subject", "Order Confirmed!"]
SET, GET = ["-r", "100000", "-d", "64", "-t", "set"], ["-r", "100000", "-d", "64", "-t", "get"]

# name, operations, and for each redis-benchmark that runs its share of the connections and its arguments
WORKLOADS = [
    ("set", 1_500_000, [(50, SET)]),
    ("xadd", 1_000_000, [(50, XADD)]),
    ("set and get", 2_000_000, [(25, SET), (25, GET)]),
]
POLICIES = {
    "off": ["--appendonly", "no"],
    "everysec": ["--appendonly", "yes", "--appendfsync", "everysec"],
    "always": ["--appendonly", "yes", "--appendfsync", "always"],
}
NO_LOG, LOG = POLICIES["off"], POLICIES["everysec"]
# What a load says in the log when it is over.
LOADED = re.compile(r"DB loaded from [a-z ]+: ([\d.]+) seconds")
# Between two commands of the client whose latency is measured.
PACE = 0.0005


def stat(pid):
    """User and system time of a process, in seconds."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    """Bytes of a process, and of those that a child of it has for itself: what it copied or had copied."""
    size = int(open(f"/proc/{pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    for child in children:
        with contextlib.suppress(OSError):
            private = re.findall(r"Private_\w+:\s+(\d+) kB", open(f"/proc/{child}/smaps_rollup").read())
            size += sum(map(int, private)) * 1024
    return size


class Server:
    """A process, ready to be asked as soon as it has loaded what is in its directory."""

    def __init__(self, command, directory, options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = os.path.join(directory, "log")
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.log)
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", directory, "--logfile", self.log,
                 "--auto-aof-rewrite-percentage", "0"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(shlex.split(command) + fixed + options)
        self.socket = self.connect()
        self.replies = self.socket.makefile("rb")
        while self.info("loading") != "0":
            time.sleep(0.01)
        self.took = time.monotonic() - self.began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.process.kill()
        self.process.wait()

    def connect(self):
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 600)
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"the server has ended: see {self.log}") from None
                time.sleep(0.002)

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def send(self, *words):
        self.socket.sendall(encode(words))

    def reply(self):
        """As text: a line, or what a bulk string holds."""
        line = self.replies.readline().decode()
        if not line.startswith("$") or line.startswith("$-"):
            return line.strip()
        return self.replies.read(int(line[1:]) + 2).decode()

    def info(self, field):
        found = re.search(rf"^{field}:(.*?)\r?$", self.call("INFO", "everything"), re.M)
        return found.group(1) if found else None

    def settle(self, *fields):
        """Waits until none of these jobs runs."""
        while any(self.info(field) not in ("0", None) for field in fields):
            time.sleep(0.05)

    def stop(self):
        """In good order: all that it was told is on the disk."""
        self.send("SHUTDOWN", "NOSAVE")
        self.process.wait()

    def feed(self, data, commands):
        """Sends commands that are answered with +OK as fast as they are taken."""
        with socket.create_connection(("127.0.0.1", self.port), 600) as feeder:
            sender = threading.Thread(target=lambda: [feeder.sendall(piece) for piece in data])
            sender.start()
            left = commands * len(b"+OK\r\n")
            while left > 0:
                got = feeder.recv(1 << 20)
                if not got or b"-" in got:
                    raise SystemExit(f"a command was refused: {got[:100]}")
                left -= len(got)
            sender.join()


def encode(words):
    words = [w.encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def sets(keys):
    """SETs of as many small keys, in pieces; the keys are those that redis-benchmark uses."""
    one = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$16\r\nvalue:%010d\r\n"
    for start in range(0, keys, 2000):
        yield b"".join([one % (i, i) for i in range(start, min(start + 2000, keys))])


class Contest:
    def __init__(self, options, directory):
        self.options = options
        self.keys = options.keys
        self.commands = dict(server.split("=", 1) for server in options.servers)
        self.names = list(self.commands)
        self.directory = directory
        self.appends = {name: self.can_append(name) for name in self.names}

    def wants(self, part):
        return re.search(self.options.only, part)

    def fresh(self, name, part):
        path = os.path.join(self.directory, name, part)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

    def start(self, name, directory, options):
        return Server(self.commands[name], directory, options)

    def can_append(self, name):
        with self.start(name, self.fresh(name, "try"), NO_LOG) as server:
            reply = server.call("CONFIG", "SET", "appendonly", "yes")
        if not reply.startswith("+"):
            print(f"{name} has no append-only file, its rows are left out: {reply}\n", flush=True)
        return reply.startswith("+")

    def rounds(self, names, measure, middle=lambda column, _: statistics.median(column)):
        """What `measure` gives for each of the names in turn, column by column as one: its median, if nothing else is
        asked for."""
        runs = {name: [] for name in names}
        for i in range(self.options.rounds):
            for name in names if i % 2 == 0 else names[::-1]:
                runs[name].append(measure(name))
        return {name: [middle(column, at) for at, column in enumerate(zip(*rows))] for name, rows in runs.items()}

    def header(self, what, columns, ratios):
        print(f"| {what} | " + " | ".join(f"{name}: {columns}" for name in self.names), end=" | ")
        print(" | ".join(f"{name}: {ratios}" for name in self.names[1:]) + " |")
        print("|---" * (2 * len(self.names)) + "|", flush=True)

    def row(self, what, got, cell, ratio):
        base = got.get(self.names[0])
        cells = [cell(got[name]) if name in got else "—" for name in self.names]
        cells += [ratio(base, got[name]) if base and name in got else "—" for name in self.names[1:]]
        print(f"| {what} | " + " | ".join(cells) + " |", flush=True)

    # ---- loading

    def load(self):
        parts = [part for part in ("rdb", "commands", "base") if self.wants(f"load {part}")]
        if not parts:
            return
        self.header(f"load of {self.keys:,} keys", "seconds, in its log, CPU", "speed, CPU")
        for part in parts:
            names = [name for name in self.names if part == "rdb" or self.appends[name]]
            made = {name: self.make(name, part) for name in names}
            got = self.rounds(names, lambda name: self.load_once(name, *made[name]))
            files = ", ".join(f"{size(path) / 2**20:,.0f}" for path, _ in made.values())
            what = {"rdb": "RDB", "commands": "log of commands", "base": "log with an RDB base"}[part]
            self.row(f"{what} ({files} MiB)", got, lambda v: "{:.2f}, {:.2f}, {:.2f}".format(*v),
                     lambda b, v: f"×{b[0] / v[0]:.2f}, ×{b[2] / v[2]:.2f}")
            for path, _ in made.values():
                shutil.rmtree(path)
        print()

    def make(self, name, part):
        """A directory with the data set, and the options to load it with."""
        path = self.fresh(name, part)
        options = NO_LOG if part == "rdb" else LOG
        with self.start(name, path, options) as server:
            server.feed(sets(self.keys), self.keys)
            if part == "rdb":
                server.call("SAVE")
            elif part == "base":
                server.call("BGREWRITEAOF")
                server.settle("aof_rewrite_scheduled", "aof_rewrite_in_progress")
            server.stop()
        return path, options

    def load_once(self, name, path, options):
        with self.start(name, path, options) as server:
            cpu = stat(server.process.pid)
            loaded = server.call("DBSIZE")
            if loaded != f":{self.keys}":
                raise SystemExit(f"{name} has loaded {loaded} of {self.keys} keys")
            said = LOADED.search(open(server.log).read())
            return server.took, float(said.group(1)) if said else 0.0, cpu

    # ---- throughput

    def throughput(self):
        policies = [policy for policy in POLICIES if self.wants(policy)]
        if not policies:
            return
        self.header("50 connections, P16", "op/s, µs CPU/op", "throughput, CPU")
        for policy in policies:
            names = [name for name in self.names if policy == "off" or self.appends[name]]
            for what, n, shares in WORKLOADS:
                n = int(n * self.options.scale * (0.4 if policy == "always" else 1))
                got = self.rounds(names, lambda name: self.drive(name, policy, n, shares))
                self.row(f"{what}, {policy}", got, lambda v: "{:,.0f}, {:.2f}".format(*v),
                         lambda b, v: f"×{v[0] / b[0]:.2f}, ×{b[1] / v[1]:.2f}")
        print()

    def drive(self, name, policy, n, shares):
        with self.start(name, self.fresh(name, "drive"), POLICIES[policy]) as server:
            before, began = stat(server.process.pid), time.monotonic()
            each = n // len(shares)
            load = [benchmark(server, clients, each, arguments) for clients, arguments in shares]
            for process in load:
                if process.wait() != 0:
                    raise SystemExit(f"redis-benchmark failed on {name}")
            took = time.monotonic() - began
            return each * len(shares) / took, (stat(server.process.pid) - before) / n * 1e6

    # ---- BGSAVE under load

    def save(self):
        if not self.wants("save"):
            return
        path = {name: self.fresh(name, "save") for name in self.names}
        for name in self.names:
            with self.start(name, path[name], NO_LOG) as server:
                server.feed(sets(self.keys), self.keys)
                server.call("SAVE")
        # What must never be more than something is that of the worst round.
        rows = [
            ("resident before, MiB", "{:,.0f}", statistics.median), ("most resident, MiB", "{:,.0f}", max),
            ("most by before", "{:.3f}", max), ("seconds", "{:.1f}", statistics.median),
            ("SETs per second before", "{:,.0f}", statistics.median),
            ("SETs per second meanwhile", "{:,.0f}", statistics.median),
            ("p99.9 of a SET before, ms", "{:.2f}", statistics.median), ("worst before, ms", "{:.2f}", max),
            ("p99.9 of a SET meanwhile, ms", "{:.2f}", statistics.median), ("worst meanwhile, ms", "{:.2f}", max),
        ]
        got = self.rounds(self.names, lambda name: self.save_once(name, path[name]), lambda column, at: rows[at][2](column))
        self.header(f"BGSAVE of {self.keys:,} keys while SETs go on", "value", "against it")
        for column, (what, form, _) in enumerate(rows):
            self.row(what, {name: [v[column]] for name, v in got.items()}, lambda v: form.format(*v),
                     lambda b, v: f"×{v[0] / b[0]:.2f}")
        print()

    def save_once(self, name, path):
        with self.start(name, path, NO_LOG) as server, Paced(server.port) as paced:
            pid = server.process.pid
            # Without an end: it is stopped.
            load = benchmark(server, 50, 1_000_000, ["-r", str(self.keys), "-d", "16", "-t", "set", "-l"])
            try:
                time.sleep(1)
                before = self.watch(server, pid, paced, time.monotonic() + 4)
                if not server.call("BGSAVE").startswith("+"):
                    raise SystemExit(f"{name} does not save")
                during = self.watch(server, pid, paced, None)
            finally:
                load.kill()
                load.wait()
            if server.info("rdb_last_bgsave_status") != "ok":
                raise SystemExit(f"{name} could not save")
        was, most = before[0], during[0]
        return was / 2**20, most / 2**20, most / was, during[1], before[2], during[2], *before[3:], *during[3:]

    def watch(self, server, pid, paced, until):
        """Until a time, or else the end of the save: most bytes resident, seconds, commands per second, and of the
        paced client's latencies the p99.9 and the worst, in milliseconds."""
        paced.begin()
        began, commands = time.monotonic(), int(server.info("total_commands_processed"))
        most, asked = resident(pid), began
        while True:
            time.sleep(0.02)
            most = max(most, resident(pid))
            now = time.monotonic()
            if until is not None and now >= until:
                break
            if until is None and now > asked + 0.2:
                asked = now
                if server.info("rdb_bgsave_in_progress") == "0":
                    break
        took = time.monotonic() - began
        commands = int(server.info("total_commands_processed")) - commands
        latencies = sorted(paced.end())
        return most, took, commands / took, latencies[int(len(latencies) * 0.999)] * 1e3, latencies[-1] * 1e3


class Paced:
    """A client, in a process of its own, that sends one small SET after the other and notes how long each takes."""

    def __init__(self, port):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=Paced.run, args=(port, theirs), daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()

    def begin(self):
        self.pipe.send("begin")

    def end(self):
        self.pipe.send("end")
        return self.pipe.recv()

    @staticmethod
    def run(port, pipe):
        with contextlib.suppress(PermissionError):
            # It is the server that is to be measured, not how soon this process is let run.
            os.nice(-15)
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        command, took = encode(["SET", "paced", "x" * 16]), []
        while True:
            if pipe.poll():
                if pipe.recv() == "end":
                    pipe.send(took)
                took = []
            began = time.perf_counter()
            connection.sendall(command)
            connection.recv(64)
            took.append(time.perf_counter() - began)
            time.sleep(PACE)


def benchmark(server, clients, n, arguments):
    command = f"redis-benchmark -p {server.port} -c {clients} -n {n} -P 16 -q".split()
    return subprocess.Popen(command + arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def size(path):
    return sum(os.path.getsize(os.path.join(at, file)) for at, _, files in os.walk(path) for file in files)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the operations of everysec, always and off")
    parser.add_argument("--only", default=".")
    parser.add_argument("--dir", help="where the directories are made (default: that of temporary files)")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        contest = Contest(options, directory)
        contest.load()
        contest.throughput()
        contest.save()


if __name__ == "__main__":
    main()
