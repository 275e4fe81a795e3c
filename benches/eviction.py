#!/usr/bin/env python3
"""Which keys are kept when memory is short: hit rates of Redkeep beside Redis under the same Zipf load.

    benches/eviction.py [--redkeep target/release/redkeep] [--redis redis-server] [--reads 400000]

Each run is a cache in front of something slow: a key is read, and set if it is not there. Both servers get the same
keys in the same order. Two comparisons are made for each policy: with the same `maxmemory`, where a server that needs
less for a key keeps more of them; and with as many resident keys, where `maxmemory` of each server is chosen so that
about the same number of keys fits. For volatile-ttl there is no hit rate to compare; what is measured is how many of the
keys that were evicted would not have been among the next to expire.
"""

import argparse
import bisect
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import time

KEYS = 100_000
VALUE = b"v" * 64
PIPELINE = 200
WARM = 0.5


class Server:
    """A server in a directory of its own, and a connection to it."""

    def __init__(self, binary):
        self.dir = tempfile.TemporaryDirectory()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [binary, "--port", str(self.port), "--dir", self.dir.name, "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait()
        self.dir.cleanup()

    def pipeline(self, commands):
        """Sends commands and gives their replies; errors are raised."""
        self.socket.sendall(b"".join(map(encode, commands)))
        return [self.reply() for _ in commands]

    def call(self, *command):
        return self.pipeline([command])[0]

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest

    def info(self):
        lines = self.call("INFO").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def encode(command):
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def zipf(count, skew, seed):
    """Numbers of keys by Zipf's law, the same ones for each server."""
    weights = itertools.accumulate(1 / (rank + 1) ** skew for rank in range(KEYS))
    weights = list(weights)
    rng = random.Random(seed)
    # What is popular is not what was created first.
    names = list(range(KEYS))
    rng.shuffle(names)
    return [names[bisect.bisect(weights, rng.random() * weights[-1])] for _ in range(count)]


def cache(binary, policy, maxmemory, load):
    """Reads through a cache: the share of hits once it is warm, and how many keys are resident in the end."""
    server = Server(binary)
    try:
        server.call("CONFIG", "SET", "maxmemory-policy", policy)
        base = int(server.info()["used_memory"])
        server.call("CONFIG", "SET", "maxmemory", base + maxmemory)
        hits = reads = 0
        for start in range(0, len(load), PIPELINE):
            keys = load[start : start + PIPELINE]
            found = server.pipeline([("GET", b"key:%08d" % key) for key in keys])
            missed = [key for key, value in zip(keys, found) if value is None]
            if missed:
                server.pipeline([("SET", b"key:%08d" % key, VALUE) for key in dict.fromkeys(missed)])
            if start >= len(load) * WARM:
                hits += len(keys) - len(missed)
                reads += len(keys)
        resident = server.call("DBSIZE")
        evicted = int(server.info()["evicted_keys"])
    finally:
        server.close()
    return hits / reads, resident, evicted


def ttl(binary, maxmemory, keys):
    """Fills with keys of random deadlines: the share of evicted keys that were among those to expire first."""
    server = Server(binary)
    try:
        server.call("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        base = int(server.info()["used_memory"])
        server.call("CONFIG", "SET", "maxmemory", base + maxmemory)
        rng = random.Random(3)
        deadlines = [10_000_000 + rng.randrange(100_000_000) for _ in range(keys)]
        for start in range(0, keys, PIPELINE):
            some = range(start, min(start + PIPELINE, keys))
            server.pipeline([("SET", b"key:%08d" % key, VALUE, "PX", deadlines[key]) for key in some])
        left = server.pipeline([("EXISTS", b"key:%08d" % key) for key in range(keys)])
    finally:
        server.close()
    gone = [key for key in range(keys) if not left[key]]
    # A key that came late may go at once, whoever was there before; so it is compared with all.
    first = set(sorted(range(keys), key=deadlines.__getitem__)[: len(gone)])
    return sum(key in first for key in gone) / max(len(gone), 1), keys - len(gone)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redkeep", default="target/release/redkeep")
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--reads", type=int, default=400_000)
    parser.add_argument("--memory", type=int, default=3_000_000, help="bytes of maxmemory beyond the empty server's")
    parser.add_argument("--skew", type=float, default=0.99)
    args = parser.parse_args()
    load = zipf(args.reads, args.skew, 1)
    names = {"redis": args.redis, "redkeep": os.path.abspath(args.redkeep)}
    print("| policy | compared at | Redis: hits | keys | Redkeep: hits | keys |")
    print("|---|---|---|---|---|---|")
    worse = []
    for policy in ("allkeys-lru", "allkeys-lfu"):
        theirs = cache(names["redis"], policy, args.memory, load)
        ours = cache(names["redkeep"], policy, args.memory, load)
        row(policy, "the same maxmemory", theirs, ours)
        # As many keys: bytes in proportion, corrected once.
        memory = args.memory
        for _ in range(3):
            memory = int(memory * theirs[1] / ours[1])
            ours = cache(names["redkeep"], policy, memory, load)
            if abs(ours[1] - theirs[1]) < theirs[1] / 50:
                break
        row(policy, "as many keys", theirs, ours)
        if ours[0] < theirs[0] - 0.002:
            worse.append(policy)
    theirs, ours = (ttl(names[name], args.memory, KEYS) for name in ("redis", "redkeep"))
    row("volatile-ttl", "evicted keys that were the next to expire", theirs, ours)
    if worse:
        sys.exit(f"fewer hits than Redis: {', '.join(worse)}")


def row(policy, how, theirs, ours):
    print(f"| {policy} | {how} | {theirs[0]:.2%} | {theirs[1]:,} | {ours[0]:.2%} | {ours[1]:,} |", flush=True)


if __name__ == "__main__":
    main()
