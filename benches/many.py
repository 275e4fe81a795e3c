#!/usr/bin/env python3
"""Many clients that each wait for their reply before they ask again, and connections per second, side by side.

    benches/many.py [--clients N] [--requests N] [--rounds R] NAME=COMMAND...

`redis-benchmark -c N -P 1 --csv` measures each server in turn, and so on for each round, all in the same minutes. Then a
process of its own connects, asks PING once and goes, again and again, in turn for each server as well. Medians of the
rounds are printed, as rows of Markdown.
"""
import argparse
import csv
import io
import resource
import shlex
import socket
import statistics
import struct
import subprocess
import tempfile
import time


class Server:
    def __init__(self, command, clients):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = (f"--port {self.port} --bind 127.0.0.1 --save '' --appendonly no --maxclients {max(clients, 1000) + 100} "
                   f"--tcp-backlog 4096 --dir {tempfile.mkdtemp()}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shlex.split(f"{command} {options}"), **quiet)
        for _ in range(500):
            try:
                return socket.create_connection(("127.0.0.1", self.port), 60).close()
            except OSError:
                time.sleep(0.01)
        raise SystemExit(f"{command} does not answer")

    def benchmark(self, clients, requests):
        command = ["redis-benchmark", "-p", self.port, "-c", clients, "-n", requests, "-P", 1, "-t", "set,get", "--csv"]
        out = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout
        return {row["test"]: row for row in csv.DictReader(io.StringIO(out))}

    def connections(self, seconds=2.0):
        """Connections per second of one client: connect, PING, its reply, gone by a reset (ports are few)."""
        reset = struct.pack("ii", 1, 0)
        count, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            client = socket.create_connection(("127.0.0.1", self.port), 60)
            client.sendall(b"*1\r\n$4\r\nPING\r\n")
            client.recv(64)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            client.close()
            count += 1
        return count / (time.monotonic() - began)

    def flood(self, batches=20, size=500):
        """Connections per second where hundreds come at once, and each is answered when all are there."""
        reset, spent = struct.pack("ii", 1, 0), 0.0
        for _ in range(batches):
            began, clients = time.monotonic(), []
            for _ in range(size):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", self.port))
                clients.append(client)
            for client in clients:
                client.setblocking(True)
                client.sendall(b"*1\r\n$4\r\nPING\r\n")
            for client in clients:
                client.recv(64)
            spent += time.monotonic() - began
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                client.close()
        return batches * size / spent

    def end(self):
        self.process.kill()
        self.process.wait()


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--clients", type=int, default=1000)
    args.add_argument("--requests", type=int, default=200_000)
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("servers", nargs="+")
    args = args.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    args.clients = min(args.clients, hard - 200)
    names, commands = zip(*(server.split("=", 1) for server in args.servers))
    servers = [Server(command, args.clients) for command in commands]
    figures = {}

    def note(title, name, value):
        figures.setdefault(title, {}).setdefault(name, []).append(float(value))

    try:
        for number in range(args.rounds):
            # Whoever is measured first is so once only.
            turn = list(zip(names, servers))
            turn = turn[number % len(turn):] + turn[:number % len(turn)]
            for name, server in turn:
                for test, row in server.benchmark(args.clients, args.requests).items():
                    note(f"{test}, requests per second", name, row["rps"])
                    note(f"{test}, median, ms", name, row["p50_latency_ms"])
                    note(f"{test}, 99%, ms", name, row["p99_latency_ms"])
                    note(f"{test}, longest, ms", name, row["max_latency_ms"])
            for name, server in turn:
                note("connect, PING, gone: per second", name, server.connections())
                note("500 connect at once, PING: per second", name, server.flood())
    finally:
        for server in servers:
            server.end()
    print(f"| {args.clients} clients, {args.rounds} rounds | " + " | ".join(names) + " |")
    print("|---|" + "---:|" * len(names))
    for title, of in figures.items():
        median = [statistics.median(of[name]) for name in names]
        print(f"| {title} | " + " | ".join(f"{m:,.0f}" if m > 1000 else f"{m:.2f}" for m in median) + " |")


if __name__ == "__main__":
    main()
