#!/usr/bin/env python3
"""Throughput and CPU time per operation of servers of the Redis protocol, side by side.

    benches/side_by_side.py [--rounds N] [--scale F] [--only REGEX] [--tls] NAME=COMMAND...

COMMAND starts a server; the port and what keeps it off the disk are appended. redis-benchmark drives the servers in
turn, round by round and in changing order, so that a drift of the machine hits all alike; the median of the rounds is
printed as a row of Markdown. CPU per operation is user and system time of the server's process by the operations done.
The first server is the reference of the ratios: above 1 is better than it. `cargo run --release --example ceiling` is a server,
too: what it reaches nobody can pass who serves sockets in this way. With --tls everything goes over TLS, with a
certificate that openssl makes.
"""
import argparse
import os
import re
import shlex
import socket
import statistics
import subprocess
import tempfile
import time

RELEASE = 'if redis.call("get",KEYS[1])==ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end'
XADD = ["XADD", "st", "MAXLEN", "~", "100000", "*", "recipient", "a@b.c", "subject", "Order Confirmed!"]
READ = ["XREADGROUP", "GROUP", "g", "c1", "COUNT", "1", "NOACK", "STREAMS", "sg", ">"]
SET, GET = ["-r", "100000", "-d", "64", "-t", "set"], ["-r", "100000", "-d", "64", "-t", "get"]
LOCK = ["-r", "100000", "SET", "lock:__rand_int__", "token", "NX", "PX", "30000"]
UNLOCK = ["-r", "100000", "EVAL", RELEASE, "1", "lock:__rand_int__", "token"]

# All keys of the workloads "of 1M": `get` by itself mostly asks for keys that are not there.
FILL = "for i = 0, 999999 do redis.call('SET', string.format('key:%012d', i), string.rep('x', 64)) end"
FOUND = ["-r", "1000000", *SET[2:]], ["-r", "1000000", *GET[2:]]

# What a workload needs before it begins.
PREPARE = {
    "lrange100": lambda n: ["RPUSH", "mylist", *(f"element{i:02d}" for i in range(100))],
    "get of 1M": lambda n: ["EVAL", FILL, "0"],
    "set of 1M": lambda n: ["EVAL", FILL, "0"],
    "rpop": lambda n: ["EVAL", f"for i = 1, {n} do redis.call('RPUSH', 'mylist', 'xxxxxxxxxxxxxxxx') end", "0"],
}

# name, commands in flight per connection, operations, arguments of redis-benchmark
WORKLOADS = [
    ("set", 1, 200_000, SET), ("get", 1, 200_000, GET), ("lock", 1, 200_000, LOCK),
    ("unlock", 1, 200_000, UNLOCK), ("xadd", 1, 200_000, XADD), ("xreadgroup", 1, 200_000, READ),
    ("set", 16, 1_500_000, SET), ("get", 16, 1_500_000, GET), ("lock", 16, 1_000_000, LOCK),
    ("unlock", 16, 600_000, UNLOCK), ("xadd", 16, 1_000_000, XADD), ("xreadgroup", 16, 400_000, READ),
    ("incr", 16, 1_500_000, ["-r", "100000", "-t", "incr"]), ("mset10", 16, 200_000, ["-r", "100000", "-t", "mset"]),
    ("lpush", 16, 1_000_000, ["-d", "16", "-t", "lpush"]), ("rpop", 16, 1_000_000, ["-t", "rpop"]),
    ("lrange100", 16, 200_000, ["LRANGE", "mylist", "0", "99"]), ("sadd", 16, 1_000_000, ["-r", "100000", "-t", "sadd"]),
    ("hset", 16, 1_000_000, ["-r", "100000", "-t", "hset"]), ("zadd", 16, 1_000_000, ["-r", "100000", "-t", "zadd"]),
    ("set of 1M", 16, 1_500_000, FOUND[0]), ("get of 1M", 16, 1_500_000, FOUND[1]),
    ("set of 1M", 64, 3_000_000, FOUND[0]), ("get of 1M", 64, 3_000_000, FOUND[1]),
    ("set", 64, 3_000_000, SET), ("get", 64, 3_000_000, GET), ("lock", 64, 2_000_000, LOCK),
    ("unlock", 64, 600_000, UNLOCK), ("xadd", 64, 1_000_000, XADD), ("xreadgroup", 64, 400_000, READ),
]


class Certificate:
    """A certificate that signs itself, and what servers and clients have to be told of it."""

    def __init__(self):
        directory = tempfile.mkdtemp()
        self.cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", self.cert]
        subprocess.run(make.split() + names, check=True, capture_output=True)
        self.server = f"--tls-cert-file {self.cert} --tls-key-file {key} --tls-ca-cert-file {self.cert} --tls-auth-clients no"
        self.client = ["--tls", "--cacert", self.cert]


class Server:
    def __init__(self, command, certificate=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        directory = tempfile.mkdtemp()
        options = f"--bind 127.0.0.1 --save '' --appendonly no --dir {directory}"
        options += f" --port 0 --tls-port {self.port} {certificate.server}" if certificate else f" --port {self.port}"
        self.reach = ["-p", str(self.port), *(certificate.client if certificate else [])]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shlex.split(f"{command} {options}"), **quiet)
        for _ in range(500):
            try:
                self.cli("PING")
                return
            except (OSError, subprocess.CalledProcessError):
                time.sleep(0.01)
        raise SystemExit(f"{command} does not answer")

    def cli(self, *words, stdin=None):
        command = ["redis-cli", *self.reach, *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, name, depth, n, arguments):
        self.cli("FLUSHALL")
        if name == "xreadgroup":
            self.cli("XGROUP", "CREATE", "sg", "g", "0", "MKSTREAM")
            fill = f"for i = 1, {n + 1000} do redis.call('XADD', 'sg', i .. '-0', 'f', 'v') end"
            self.cli("EVAL", fill, "0")
        if name in PREPARE:
            self.cli(*PREPARE[name](n))
        before = self.cpu()
        command = ["redis-benchmark", *self.reach, *f"-c 50 -n {n} -P {depth} --csv".split()]
        out = subprocess.run(command + arguments, capture_output=True, text=True, check=True).stdout
        row = out.strip().splitlines()[-1].split('","')
        return float(row[1].strip('"')), (self.cpu() - before) / n * 1e6, float(row[6].strip('"'))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default=".")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    certificate = Certificate() if options.tls else None
    servers = {name: Server(command, certificate) for name, command in (s.split("=", 1) for s in options.servers)}
    names = list(servers)
    print("| workload | " + " | ".join(f"{n}: op/s, µs CPU/op, p99 ms" for n in names), end=" | ")
    print(" | ".join(f"{n}: throughput, CPU" for n in names[1:]) + " |")
    print("|---" * (2 * len(names)) + "|", flush=True)
    try:
        for name, depth, n, arguments in WORKLOADS:
            if not re.search(options.only, f"{name} P{depth}"):
                continue
            runs = {k: [] for k in names}
            for i in range(options.rounds):
                for k in names if i % 2 == 0 else reversed(names):
                    runs[k].append(servers[k].measure(name, depth, int(n * options.scale), arguments))
            got = {k: [statistics.median(column) for column in zip(*v)] for k, v in runs.items()}
            cells = [f"{got[k][0]:,.0f}, {got[k][1]:.2f}, {got[k][2]:.2f}" for k in names]
            base = got[names[0]]
            cells += [f"×{got[k][0] / base[0]:.2f}, ×{base[1] / got[k][1]:.2f}" for k in names[1:]]
            print(f"| {name} P{depth} | " + " | ".join(cells) + " |", flush=True)
    finally:
        for server in servers.values():
            server.process.terminate()
            server.process.wait()


if __name__ == "__main__":
    main()
