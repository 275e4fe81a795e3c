#!/usr/bin/env python3
"""Resident bytes per element of servers of the Redis protocol, side by side.

    benches/memory.py [--scale F] [--only REGEX] NAME=COMMAND...

Every data set is loaded into a fresh process over one connection; what the process has resident more than before, by
the number of elements, is printed as a row of Markdown. The first server is the reference: below 1 is less than it.
"""
import argparse
import re
import shlex
import socket
import subprocess
import tempfile
import time

MILLION = 1_000_000
FIELDS = [(f"field{n}", f"value{n:06d}") for n in range(10)]

# name, elements, command that adds number i
DATA = [
    ("strings of 64 bytes", MILLION, lambda i: ["SET", f"key:{i:012d}", "v" * 64]),
    ("strings of 8 bytes", MILLION, lambda i: ["SET", f"key:{i:012d}", f"{i:08d}"]),
    ("strings of 8 bytes with a time to live", MILLION, lambda i: ["SET", f"key:{i:012d}", f"{i:08d}", "EX", "100000"]),
    ("a list of 1,000,000", MILLION, lambda i: ["RPUSH", "l", f"item:{i:012d}"]),
    ("a set of 1,000,000", MILLION, lambda i: ["SADD", "s", f"member:{i:012d}"]),
    ("a hash of 1,000,000", MILLION, lambda i: ["HSET", "h", f"field:{i:012d}", f"{i:08d}"]),
    ("a sorted set of 1,000,000", MILLION, lambda i: ["ZADD", "z", str(i * 7919 % 1000003), f"member:{i:012d}"]),
    ("hashes of 10 fields", 200_000, lambda i: ["HSET", f"user:{i:09d}"] + [w for pair in FIELDS for w in pair]),
    ("stream entries with two fields", MILLION,
     lambda i: ["XADD", "st", "*", "recipient", f"user{i:07d}@x.org", "subject", "Order Confirmed!"]),
    ("pending entries", 300_000, None),
]


def encode(words):
    words = [w.encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Server:
    def __init__(self, command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"--port {port} --bind 127.0.0.1 --save '' --appendonly no --dir {tempfile.mkdtemp()}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shlex.split(f"{command} {options}"), **quiet)
        for _ in range(500):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), 60)
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise SystemExit(f"{command} does not answer")
        self.replies = self.socket.makefile("rb", 1 << 20)
        self.run([["PING"]])

    def run(self, commands):
        """Sends commands in batches and reads their replies; returns the last line of the last one."""
        last, batch = b"", []
        for command in commands:
            batch.append(encode(command))
            if len(batch) == 500:
                last, batch = self.flush(batch), []
        return self.flush(batch) if batch else last

    def flush(self, batch):
        self.socket.sendall(b"".join(batch))
        line = b""
        for _ in batch:
            line = self.replies.readline()
            if line.startswith(b"-"):
                raise SystemExit(line.decode())
            if line.startswith(b"$"):
                self.replies.readline()
        return line

    def resident(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measure(command, n, add):
    server = Server(command)
    try:
        if add is None:
            server.run(["XADD", "st", "*", "f", str(i)] for i in range(n))
            server.run([["XGROUP", "CREATE", "st", "g", "0"]])
        before = server.resident()
        if add is None:
            read = "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', '1000', 'STREAMS', 'st', '>')"
            server.run([["EVAL", f"while {read} do end return 0", "0"]])
        else:
            server.run(add(i) for i in range(n))
        time.sleep(0.3)
        return (server.resident() - before) / n
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default=".")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    servers = [s.split("=", 1) for s in options.servers]
    print("| data | " + " | ".join(f"{name}: bytes" for name, _ in servers), end=" | ")
    print(" | ".join(f"{name}: ratio" for name, _ in servers[1:]) + " |")
    print("|---" * (2 * len(servers)) + "|", flush=True)
    for name, n, add in DATA:
        if re.search(options.only, name):
            got = [measure(command, int(n * options.scale), add) for _, command in servers]
            cells = [f"{bytes_:.1f}" for bytes_ in got] + [f"{bytes_ / got[0]:.2f}" for bytes_ in got[1:]]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
