#!/usr/bin/env python3
"""Publishing to many and keeping many idle, servers of the Redis protocol side by side.

    benches/pubsub.py [--rounds N] [--scale F] [--only REGEX] NAME=COMMAND...

COMMAND starts a server; the port and what keeps it off the disk are appended. Two tables of Markdown are printed.

Messages: one connection publishes so many at once (P) as soon as all subscribers have got those before. The servers have
their turns round by round; medians are printed. CPU is user and system time of the server's process, by message and by
delivery.

Idle connections: what the process has resident more than before, by the number of connections.

The first server is the reference of the ratios: above 1 is better than it for messages, below 1 is less memory.
"""
import argparse
import os
import re
import resource
import select
import shlex
import socket
import statistics
import subprocess
import tempfile
import time

IDLE = 10_000
SINK = [bytearray(1 << 20)]

# name, messages, their bytes, published at once, subscribers, what each subscribes to
MESSAGES = [
    ("1,000 subscribers, 64 bytes, P1", 1000, 64, 1, 1000, lambda i: ["SUBSCRIBE", "news"]),
    ("1,000 subscribers, 64 bytes, P16", 3000, 64, 16, 1000, lambda i: ["SUBSCRIBE", "news"]),
    ("1,000 subscribers, 4 KiB, P1", 500, 4096, 1, 1000, lambda i: ["SUBSCRIBE", "news"]),
    ("1,000 subscribers to a pattern, 64 bytes, P1", 1000, 64, 1, 1000, lambda i: ["PSUBSCRIBE", "n*s"]),
    ("1 subscriber, 64 bytes, P16", 200_000, 64, 16, 1, lambda i: ["SUBSCRIBE", "news"]),
    ("1 subscriber, 1,000 patterns that do not match, P16", 20_000, 64, 16, 2,
     lambda i: ["SUBSCRIBE", "news"] if i == 0 else ["PSUBSCRIBE", *(f"user:{n}:*" for n in range(1000))]),
    ("nobody, 64 bytes, P16", 200_000, 64, 16, 0, None),
]

# name, what each connection sends first
CONNECTIONS = [
    ("that have sent PING", ["PING"]),
    ("that have read 64 KiB", ["GET", "big"]),
    ("that are subscribed to a channel", ["SUBSCRIBE", "news"]),
    ("that are each subscribed to a channel of their own", ["SUBSCRIBE", "news:{}"]),
]


def encode(words):
    words = [w.encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Server:
    def __init__(self, command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        directory = tempfile.mkdtemp()
        options = f"--port {self.port} --bind 127.0.0.1 --save '' --appendonly no --dir {directory}"
        options += f" --maxclients {IDLE + 1000} --tcp-backlog 4096 --disable-thp yes"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shlex.split(f"{command} {options}"), **quiet)
        for _ in range(500):
            try:
                self.connect().close()
                return
            except OSError:
                time.sleep(0.01)
        raise SystemExit(f"{command} does not answer")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), 60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def publish(self, count, size, depth, subscribers, words):
        """Messages per second, and CPU seconds per message."""
        readers = []
        for i in range(subscribers):
            reader = self.connect()
            call = words(i)
            reader.sendall(encode(call))
            read_lines(reader, 6 * (len(call) - 1))
            readers.append(reader)
        poll = select.epoll()
        for reader in readers:
            reader.setblocking(False)
            poll.register(reader.fileno(), select.EPOLLIN)
        text = "x" * size
        pattern = readers and words(0)[0] == "PSUBSCRIBE"
        message = encode(["pmessage", words(0)[1], "news", text] if pattern else ["message", "news", text])
        hearing = sum(1 for i in range(subscribers) if words(i)[0] == "SUBSCRIBE" or pattern)
        publisher = self.connect()
        batch = encode(["PUBLISH", "news", text]) * depth
        rounds = count // depth
        before, began = self.cpu(), time.monotonic()
        for _ in range(rounds):
            publisher.sendall(batch)
            left = hearing * len(message) * depth
            while left > 0:
                left -= drain(poll, 10)
            read_lines(publisher, depth)
        took, cpu = time.monotonic() - began, self.cpu() - before
        for connection in [publisher, *readers]:
            connection.close()
        sent = rounds * depth
        return sent / took, cpu / sent * 1e6, cpu / (sent * max(hearing, 1)) * 1e6

    def idle(self, call):
        """Resident bytes per idle connection."""
        connections = [self.connect() for _ in range(200)]
        big = encode(["SET", "big", "x" * 65536])
        for connection in connections:
            connection.sendall(big)
            read_lines(connection, 1)
            connection.close()
        time.sleep(0.5)
        before = self.resident()
        connections = []
        for i in range(IDLE):
            connection = self.connect()
            connection.sendall(encode([word.format(i) for word in call]))
            read_lines(connection, {"PING": 1, "GET": 2, "SUBSCRIBE": 6}[call[0]])
            connections.append(connection)
        # Some seconds for what servers do about idle clients.
        time.sleep(8)
        used = (self.resident() - before) / IDLE
        for connection in connections:
            connection.close()
        return used


def read_lines(connection, lines):
    got = 0
    while got < lines:
        data = connection.recv(1 << 20)
        if not data:
            raise SystemExit("the server closed a connection")
        got += data.count(b"\n")


def drain(poll, timeout):
    got = 0
    for fd, _ in poll.poll(timeout):
        try:
            read = os.readv(fd, SINK)
        except BlockingIOError:
            continue
        if not read:
            raise SystemExit("the server closed a subscriber")
        got += read
    return got


def head(names, columns, ratios):
    print("| | " + " | ".join(f"{n}: {columns}" for n in names), end=" | ")
    print(" | ".join(f"{n}: {ratios}" for n in names[1:]) + " |")
    print("|---" * (2 * len(names)) + "|", flush=True)


def messages(commands, options):
    servers = {name: Server(command) for name, command in commands.items()}
    names = list(servers)
    head(names, "messages/s, µs CPU/message, µs CPU/delivery", "throughput, CPU")
    try:
        for name, count, size, depth, subscribers, words in MESSAGES:
            if not re.search(options.only, name):
                continue
            runs = {k: [] for k in names}
            for i in range(options.rounds):
                for k in names if i % 2 == 0 else reversed(names):
                    runs[k].append(servers[k].publish(int(count * options.scale), size, depth, subscribers, words))
            got = {k: [statistics.median(column) for column in zip(*v)] for k, v in runs.items()}
            cells = [f"{got[k][0]:,.0f}, {got[k][1]:,.2f}, {got[k][2]:.2f}" for k in names]
            base = got[names[0]]
            ratio = lambda a, b: f"×{a / b:.2f}" if b else "-"
            cells += [f"{ratio(got[k][0], base[0])}, {ratio(base[1], got[k][1])}" for k in names[1:]]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    finally:
        for server in servers.values():
            server.stop()


def connections(commands, options):
    names = list(commands)
    head(names, "bytes each", "memory")
    for name, call in CONNECTIONS:
        name = f"{IDLE:,} connections {name}"
        if not re.search(options.only, name):
            continue
        got = {}
        for k in names:
            server = Server(commands[k])
            try:
                got[k] = server.idle(call)
            finally:
                server.stop()
        cells = [f"{got[k]:,.0f}" for k in names] + [f"×{got[k] / got[names[0]]:.2f}" for k in names[1:]]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default=".")
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, IDLE * 2), most))
    commands = dict(s.split("=", 1) for s in options.servers)
    messages(commands, options)
    print()
    connections(commands, options)


if __name__ == "__main__":
    main()
