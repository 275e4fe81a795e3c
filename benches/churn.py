#!/usr/bin/env python3
"""What memory is worth after long use: resident bytes after churn beside those of a fresh process with the same data.

    benches/churn.py [--keys N] [--rounds N] [--only REGEX] NAME=COMMAND...

COMMAND starts a server; the port and what keeps it off the disk are appended. The number of keys stays the same. In a round as many
commands are sent as there are keys: half of them overwrite a key at random with a value of another random size, half delete one
and add a new one. Then a fresh process of the same server gets what is left, in another order. What is resident is told without
what the empty process has.
"""
import argparse
import random
import re
import time
from array import array

from growth import MIB, Server, table

# What is told apart: the sizes of values.
SIZES = {"values of 16 to 512 bytes": (16, 512), "values of 1 to 64 bytes": (1, 64), "values of 100 to 4,000 bytes": (100, 4000)}
BLOCK = 500


class Load:
    """The keys that there are and the sizes of their values, by place."""

    def __init__(self, keys, sizes):
        self.random = random.Random(keys)
        self.low, self.span = sizes[0], sizes[1] - sizes[0] + 1
        self.values = {n: b"$%d\r\n%s\r\n" % (n, b"v" * n) for n in range(sizes[0], sizes[1] + 1)}
        self.numbers = array("I", range(keys))
        self.sizes = array("H", (self.low + int(self.random.random() * self.span) for _ in range(keys)))
        self.next = keys

    def put(self, place):
        return b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n" % self.numbers[place] + self.values[self.sizes[place]]

    def all(self, places):
        for begin in range(0, len(places), BLOCK):
            some = places[begin:begin + BLOCK]
            yield b"".join(map(self.put, some)), 5 * len(some)

    def round(self):
        draw, keys = self.random.random, len(self.numbers)
        for _ in range(0, keys, BLOCK):
            words, size = [], 0
            for _ in range(BLOCK):
                place = int(draw() * keys)
                if draw() < 0.5:
                    words.append(b"*2\r\n$3\r\nDEL\r\n$16\r\nkey:%012d\r\n" % self.numbers[place])
                    self.numbers[place], self.next, size = self.next, self.next + 1, size + 4
                self.sizes[place] = self.low + int(draw() * self.span)
                words.append(self.put(place))
                size += 5
            yield b"".join(words), size


def measure(server, keys):
    time.sleep(2)
    resident, used = server.resident() - server.empty, server.info("used_memory")
    assert server.call("DBSIZE") == keys
    return resident, used


def churn(command, sizes, options):
    load, order = Load(options.keys, sizes), list(range(options.keys))
    with Server(command) as server:
        before = server.info("used_memory")
        server.send(load.all(order))
        loaded, _ = measure(server, options.keys)
        most = 0
        for _ in range(options.rounds):
            server.send(load.round())
            most = max(most, server.resident() - server.empty)
        resident, used = measure(server, options.keys)
        used -= before
    load.random.shuffle(order)
    with Server(command) as server:
        server.send(load.all(order))
        fresh, _ = measure(server, options.keys)
    data = sum(load.sizes) + 16 * options.keys
    return {"keys and values, MiB": data / MIB, "resident when loaded, MiB": loaded / MIB,
            "resident at most between rounds, MiB": most / MIB, "resident after churn, MiB": resident / MIB,
            "used_memory after churn, MiB": used / MIB, "a fresh process with the same, MiB": fresh / MIB,
            "after churn by used_memory": resident / used, "after churn by fresh": resident / fresh}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default=".")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    options.keys -= options.keys % BLOCK
    servers = dict(s.split("=", 1) for s in options.servers)
    for title, sizes in SIZES.items():
        if re.search(options.only, title):
            rows = {name: churn(command, sizes, options) for name, command in servers.items()}
            table(f"{title}, {options.keys:,} keys, {options.rounds} rounds", rows)


if __name__ == "__main__":
    main()
