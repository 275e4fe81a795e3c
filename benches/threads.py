#!/usr/bin/env python3
"""What `io-threads` are worth: throughput, CPU and p99 with 1, 2, 4 and 8 of them, on one processor and on all.

    benches/threads.py [--threads N,N...] [--rounds N] [--scale F] [--only REGEX] NAME=COMMAND...

COMMAND starts a server; the port, `io-threads` and what keeps it off the disk are appended. On one processor the server has the first
one, and redis-benchmark the others; on all, both have all. With more than three processors it has a thread for each second one. The servers are measured in turn,
round by round and in changing order; medians are printed, as a table of Markdown for each number of processors. Each cell has operations per
second, microseconds of CPU per operation and p99 in milliseconds.
"""
import argparse
import os
import re
import statistics
import subprocess

from growth import Server

WORKLOADS = [("set", 1, 200_000), ("get", 1, 200_000), ("set", 16, 1_500_000), ("get", 16, 1_500_000),
             ("set", 64, 3_000_000), ("get", 64, 3_000_000)]
KEYS = 1_000_000


def pinned(cpus, command):
    return f"taskset -c {','.join(map(str, cpus))} {command}"


def measure(server, cpus, name, depth, n):
    before = server.cpu()
    # With several threads it looks four times a second whether it is done: too seldom for little work, and two processors are full anyway.
    threads = f"--threads {len(cpus) // 2}" if len(cpus) > 3 else ""
    command = f"redis-benchmark -p {server.port} -c 50 -P {depth} -n {n} -r {KEYS} -d 64 -t {name} {threads} --csv"
    out = subprocess.run(pinned(cpus, command).split(), capture_output=True, text=True, check=True).stdout
    row = out.strip().splitlines()[-1].split('","')
    return float(row[1]), (server.cpu() - before) / n * 1e6, float(row[6].strip('"'))


def compare(title, ours, theirs, commands, options):
    servers = {}
    try:
        for name, command in commands.items():
            for threads in options.threads:
                servers[f"{name}, {threads}"] = Server(pinned(ours, f"{command} --io-threads {threads}"))
        for server in servers.values():
            server.load(KEYS)
        print(f"\n| {title} | " + " | ".join(servers) + " |\n|---" + "|---:" * len(servers) + "|", flush=True)
        for name, depth, n in WORKLOADS:
            if not re.search(options.only, f"{name} P{depth}"):
                continue
            runs = {k: [] for k in servers}
            for i in range(options.rounds):
                for k in list(servers)[::1 if i % 2 == 0 else -1]:
                    runs[k].append(measure(servers[k], theirs, name, depth, int(n * options.scale)))
            medians = [[statistics.median(column) for column in zip(*runs[k])] for k in servers]
            cells = [f"{rate:,.0f}, {cpu:.2f}, {p99:.2f}" for rate, cpu, p99 in medians]
            print(f"| {name} P{depth} | " + " | ".join(cells) + " |", flush=True)
    finally:
        for server in servers.values():
            server.__exit__()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2,4,8", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=0.5)
    parser.add_argument("--only", default=".")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    commands = dict(s.split("=", 1) for s in options.servers)
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        compare("one processor, the clients beside it", cpus[:1], cpus[1:], commands, options)
    compare(f"{len(cpus)} processors, shared with the clients", cpus, cpus, commands, options)


if __name__ == "__main__":
    main()
