#!/usr/bin/env python3
"""What many keys cost: by the number of keys, while they grow, are scanned, expire, are flushed and deleted, side by side.

    benches/growth.py [--keys N] [--large] [--only REGEX] [--rounds N] [--spikes] NAME=COMMAND...

COMMAND starts a server; the port and what keeps it off the disk are appended. Keys are `key:` and twelve digits, values have
8 bytes; one connection loads them in blocks of a thousand commands, two blocks in flight. What others wait for meanwhile is
measured by a process of its own, with a real-time priority if it may have one: it asks one GET each millisecond, and the
time in which it could not ask counts as questions that waited, too. CPU is user and system time of the server's process. Tables are
printed as Markdown, each as soon as it is there; `--only` takes the names of sections (cost, grow, scan, expiry, flush, delete).
"""
import argparse
import multiprocessing
import os
import random
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from array import array

MIB = 1024 * 1024
BLOCK = 1000
SET = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$8\r\nvvvvvvvv\r\n"
DEL = b"*2\r\n$3\r\nDEL\r\n$16\r\nkey:%012d\r\n"


def encode(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Server:
    def __init__(self, command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.directory = tempfile.mkdtemp()
        options = f"--port {self.port} --bind 127.0.0.1 --save '' --appendonly no --dir {self.directory}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shlex.split(f"{command} {options}"), **quiet)
        for _ in range(500):
            try:
                self.socket = self.connect()
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise SystemExit(f"{command} does not answer")
        self.replies = self.socket.makefile("rb", 1 << 20)
        self.call("PING")
        self.empty = self.resident()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 300)

    def call(self, *words):
        self.socket.sendall(encode(*words))
        return self.reply()

    def reply(self):
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise SystemExit(rest.decode())
        if kind == b"$" and int(rest) >= 0:
            return self.replies.read(int(rest) + 2)[:-2]
        return int(rest) if kind == b":" else rest

    def info(self, field):
        return int(re.search(rf"^{field}:(\d+)", self.call("INFO", "everything").decode(), re.M).group(1))

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send(self, blocks):
        """Sends blocks, given with the bytes of their replies, with two of them in flight."""
        due = 0
        for block, size in blocks:
            self.socket.sendall(block)
            self.skip(due)
            due = size
        self.skip(due)

    def skip(self, size):
        while size > 0:
            got = self.replies.read1(min(size, 1 << 20))
            if not got or b"-" in got:
                raise SystemExit(f"a command has failed: {got[:80]}")
            size -= len(got)

    def load(self, count, command=SET, first=0):
        template = command * BLOCK
        def blocks():
            for at in range(first, first + count, BLOCK):
                end = min(at + BLOCK, first + count)
                text = template if end - at == BLOCK else command * (end - at)
                yield text % tuple(range(at, end)), 5 * (end - at)
        self.send(blocks())

    def delete(self, numbers):
        def blocks():
            for at in range(0, len(numbers), BLOCK):
                some = numbers[at:at + BLOCK]
                yield DEL * len(some) % tuple(some), 4 * len(some)
        self.send(blocks())

    def benchmark(self, test, keys, operations):
        """CPU per operation in microseconds of redis-benchmark's random keys, 16 in flight on each of 50 connections."""
        before = self.cpu()
        words = f"redis-benchmark -p {self.port} -c 50 -P 16 -d 8 -r {keys} -n {operations} -t {test} --csv"
        subprocess.run(words.split(), capture_output=True, check=True)
        return (self.cpu() - before) / operations * 1e6


class Probe:
    """Asks one GET each millisecond, in a process of its own, from `with` until it ends."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=probe, args=(self.server.connect(), theirs), daemon=True)
        self.process.start()
        self.pipe.recv()
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.ended = time.monotonic()
        self.pipe.send(None)
        self.when, self.took = self.pipe.recv()
        self.process.join()

    def within(self, begin=None, end=None):
        """Milliseconds of all questions in that time, sorted. One that took three has kept two others waiting."""
        begin, end, found = begin or self.began, end or self.ended, array("d")
        for when, took in zip(self.when, self.took):
            if when + took >= begin and when <= end:
                took *= 1000
                while took > 0:
                    found.append(took)
                    took -= 1
        return sorted(found) or [float("nan")]

    def spikes(self, count=5):
        longest = sorted(zip(self.took, self.when), reverse=True)[:count]
        return ", ".join(f"{took * 1000:.1f} ms at {when - self.began:.2f} s" for took, when in longest)


def probe(client, pipe):
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    when, took, question = array("d"), array("d"), encode("GET", "nobody's")
    pipe.send(None)
    due = time.monotonic()
    while not pipe.poll():
        began = time.monotonic()
        client.sendall(question)
        client.recv(64)
        ended = time.monotonic()
        when.append(began)
        took.append(ended - began)
        due = max(due + 0.001, ended)
        time.sleep(max(0.0, due - time.monotonic()))
    pipe.send((when, took))


def at(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def show(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"


def table(title, columns):
    """Prints figures by name of the server: what differs is told as a ratio to the first."""
    names = list(columns)
    print(f"\n| {title} | " + " | ".join(names) + "".join(f" | {name} by {names[0]}" for name in names[1:]) + " |")
    print("|---|" + "---:|" * (2 * len(names) - 1))
    for row, base in columns[names[0]].items():
        values = [columns[name][row] for name in names]
        ratios = [f"{value / base:.2f}" if base else "" for value in values[1:]]
        print(f"| {row} | " + " | ".join([show(value) for value in values] + ratios) + " |", flush=True)


def waits(title, latencies):
    return {f"{title}: p99, ms": at(latencies, 0.99), f"{title}: worst, ms": latencies[-1]}


def cost(servers, options):
    sizes = [10_000, 1_000_000, 10_000_000] + ([50_000_000] if options.large else [])
    for keys in [options.size] if options.size else sizes:
        rows = {name: {} for name in servers}
        running = {name: Server(command) for name, command in servers.items()}
        try:
            for name, server in running.items():
                server.load(keys)
                rows[name]["resident bytes per key"] = (server.resident() - server.empty) / keys
            for test in ["get", "set"]:
                runs = {name: [] for name in servers}
                for number in range(options.rounds):
                    for name in list(servers)[::1 if number % 2 == 0 else -1]:
                        runs[name].append(running[name].benchmark(test, keys, options.operations))
                for name in servers:
                    rows[name][f"{test} P16, µs CPU/op"] = statistics.median(runs[name])
        finally:
            for server in running.values():
                server.__exit__()
        table(f"{keys:,} keys", rows)


def grow(servers, options):
    rows = {}
    for name, command in servers.items():
        with Server(command) as server:
            row = rows[name] = {}
            for title in [f"from none to {options.keys:,} keys", "the same SETs once more"]:
                began = time.monotonic()
                with Probe(server) as others:
                    server.load(options.keys)
                row[f"{title}: seconds"] = time.monotonic() - began
                found = others.within()
                row[f"{title}: p99.9 of others, ms"] = at(found, 0.999)
                row[f"{title}: worst of others, ms"] = found[-1]
                if options.spikes:
                    print(f"{name}, {title}: {others.spikes()}", file=sys.stderr)
    table("growing", rows)


def scan(servers, options):
    rows = {}
    for name, command in servers.items():
        with Server(command) as server:
            server.load(options.keys)
            cursor, bodies, calls = b"0", [], 0
            cpu, began = server.cpu(), time.monotonic()
            with Probe(server) as others:
                while calls == 0 or cursor != b"0":
                    server.socket.sendall(encode("SCAN", cursor, "COUNT", 1000))
                    server.replies.readline()
                    cursor, calls = server.reply(), calls + 1
                    # Each key is a line of its length and one of 16 bytes.
                    bodies.append(server.replies.read(23 * int(server.replies.readline()[1:])))
                spent, cpu = time.monotonic() - began, server.cpu() - cpu
            seen, total = bytearray(options.keys), 0
            for body in bodies:
                for key in body.split(b"\r\n")[1::2]:
                    seen[int(key[4:])] = 1
                    total += 1
            rows[name] = {"seconds": spent, "seconds of CPU": cpu, "calls": calls, "keys given": total,
                          "different keys given": seen.count(1), **waits("others", others.within())}
            if options.spikes:
                print(f"{name}, scan: {others.spikes()}", file=sys.stderr)
    table(f"SCAN of {options.keys:,} keys, COUNT 1000", rows)


def expiry(servers, options):
    rows, count = {}, min(1_000_000, options.keys)
    for name, command in servers.items():
        with Server(command) as server:
            began = time.time()
            server.load(count)
            due = time.time() + 5 + 4 * (time.time() - began)
            deadline = b"%d" % int(due * 1000)
            words = [b"SET", b"key:%012d", b"vvvvvvvv", b"PXAT", deadline]
            text = b"*5\r\n" + b"".join(b"$%d\r\n%s\r\n" % (16 if b"%" in w else len(w), w) for w in words)
            server.load(count, text)
            full, late = server.resident(), time.time() > due - 2
            if late:
                raise SystemExit("the keys were not loaded in time")
            with Probe(server) as others:
                time.sleep(due - time.time() - 0.005)
                begin = time.monotonic() + 0.005
                cpu, gone = server.cpu(), 0
                while gone < count and time.monotonic() < begin + 60:
                    time.sleep(0.01)
                    gone = server.info("expired_keys")
                end, cpu = time.monotonic(), server.cpu() - cpu
                time.sleep(5)
            left = server.call("DBSIZE")
            rows[name] = {"before: worst of others, ms": others.within(None, begin - 0.01)[-1],
                          **waits("others until all are gone", others.within(begin, end)),
                          "seconds until all are gone": end - begin, "seconds of CPU": cpu,
                          "expired_keys": gone, "keys left": left,
                          "resident before, MiB": full / MIB, "5 s after, MiB": server.resident() / MIB}
            if options.spikes:
                print(f"{name}, expiry: {others.spikes()}", file=sys.stderr)
    table(f"{count:,} keys that expire in one millisecond", rows)


def flush(servers, options):
    rows = {name: {} for name in servers}
    for how in ["SYNC", "ASYNC"]:
        for name, command in servers.items():
            with Server(command) as server:
                server.load(options.keys)
                full, row = server.resident(), rows[name]
                with Probe(server) as others:
                    time.sleep(1)
                    begin = time.monotonic()
                    server.call("FLUSHALL", how)
                    spent = time.monotonic() - begin
                    time.sleep(5)
                row[f"FLUSHALL {how}: seconds"] = spent
                row[f"FLUSHALL {how}: worst of others, ms"] = others.within(begin)[-1]
                row[f"FLUSHALL {how}: resident before, MiB"] = full / MIB
                row[f"FLUSHALL {how}: 5 s after, MiB"] = server.resident() / MIB
                if options.spikes:
                    print(f"{name}, flush {how}: {others.spikes()}", file=sys.stderr)
    table(f"{options.keys:,} keys", rows)


def delete(servers, options):
    rows, keep = {}, options.keys // 10
    numbers = array("I", range(options.keys))
    random.Random(1).shuffle(numbers)
    for name, command in servers.items():
        with Server(command) as server:
            server.load(options.keys)
            row = rows[name] = {"resident before, MiB": server.resident() / MIB}
            with Probe(server) as others:
                server.delete(numbers[keep:])
                end = time.monotonic()
                time.sleep(5)
            left = server.resident()
            assert server.call("DBSIZE") == keep
            if options.spikes:
                print(f"{name}, delete: {others.spikes()}", file=sys.stderr)
        with Server(command) as server:
            server.load(keep)
            fresh = server.resident()
        row.update(waits("others meanwhile", others.within(None, end)))
        row["resident 5 s after, MiB"] = left / MIB
        row[f"a fresh process with {keep:,}, MiB"] = fresh / MIB
        row["after by fresh"] = left / fresh
    table(f"nine of ten of {options.keys:,} keys deleted at random", rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000_000, help="all sections but cost")
    parser.add_argument("--large", action="store_true", help="cost with 50 million keys as well")
    parser.add_argument("--size", type=int, help="cost with this number of keys only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--operations", type=int, default=1_000_000, help="of each round of cost")
    parser.add_argument("--only", default=".")
    parser.add_argument("--spikes", action="store_true", help="tell on stderr when the longest waits were")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    servers = dict(s.split("=", 1) for s in options.servers)
    for section in [cost, grow, scan, expiry, flush, delete]:
        if re.search(options.only, section.__name__):
            section(servers, options)


if __name__ == "__main__":
    main()
