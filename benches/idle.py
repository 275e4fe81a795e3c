#!/usr/bin/env python3
"""Resident bytes of a server for each client that is connected and does nothing, side by side.

    benches/idle.py [--clients N] [--rounds R] NAME=COMMAND...

In every round each server gets a fresh process for each kind of client, the servers one after the other; what the process
has resident more than before is divided by the number of clients. What the kernel holds for their sockets is not in it.
The median of the rounds is printed, as a row of Markdown for each kind.
"""
import argparse
import resource
import shlex
import socket
import statistics
import subprocess
import tempfile
import time


def encode(words):
    words = [w.encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


# What each client does before it is idle, and the length of what it gets for it (by its number).
KINDS = [
    ("just connected", None),
    ("after a PING", lambda n: (encode(["PING"]), 7)),
    ("after ECHO of 10 KB", lambda n: (encode(["ECHO", "x" * 10_000]), 10_010)),
    ("after half a command of 100 B", lambda n: (encode(["ECHO", "x" * 200])[:100], 0)),
    ("with a name, in MULTI", lambda n: (encode(["CLIENT", "SETNAME", f"client{n:06d}"]) + encode(["MULTI"]), 10)),
    ("subscribed to one channel", lambda n: (encode(["SUBSCRIBE", f"channel:{n:06d}"]), 44)),
    ("waiting in BLPOP", lambda n: (encode(["BLPOP", f"list:{n:06d}", "0"]), 0)),
]


class Server:
    def __init__(self, command, clients):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = (f"--port {self.port} --bind 127.0.0.1 --save '' --appendonly no --maxclients {clients + 100} "
                   f"--tcp-backlog 4096 --dir {tempfile.mkdtemp()}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shlex.split(f"{command} {options}"), **quiet)
        for _ in range(500):
            try:
                self.admin = self.connect()
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise SystemExit(f"{command} does not answer")
        self.ask("PING", 7)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 60)

    def ask(self, line, size):
        self.admin.sendall(line.encode() + b"\r\n")
        got = b""
        while len(got) < size:
            got += self.admin.recv(65536)
        return got

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def end(self):
        self.process.kill()
        self.process.wait()


def measure(command, clients, kind):
    server = Server(command, clients)
    try:
        # Whatever is made for the first of all is there.
        warm = [server.connect() for _ in range(20)]
        for client in warm:
            client.sendall(encode(["ECHO", "x" * 10_000]))
            while len(client.recv(65536)) == 0:
                pass
            client.close()
        time.sleep(1)
        before = server.resident()
        idle = []
        for n in range(clients):
            client = server.connect()
            idle.append(client)
            if kind:
                request, size = kind(n)
                client.sendall(request)
                while size > 0:
                    size -= len(client.recv(65536))
        # Redis looks at the buffers of idle clients every now and then.
        server.ask("PING", 7)
        time.sleep(8)
        after = server.resident()
        for client in idle:
            client.close()
        return (after - before) / clients
    finally:
        server.end()


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--clients", type=int, default=10_000)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--only", type=int, action="append", help="the number of a kind, from 0")
    args.add_argument("servers", nargs="+")
    args = args.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = min(args.clients, hard - 200)
    servers = [server.split("=", 1) for server in args.servers]
    print(f"| {clients} clients | " + " | ".join(name for name, _ in servers) + " |")
    print("|---|" + "---:|" * len(servers))
    for number, (title, kind) in enumerate(KINDS):
        if args.only and number not in args.only:
            continue
        rounds = [[measure(command, clients, kind) for _, command in servers] for _ in range(args.rounds)]
        cells = [f"{statistics.median(of) / 1024:.2f} KiB" for of in zip(*rounds)]
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
