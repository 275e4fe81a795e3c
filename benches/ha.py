#!/usr/bin/env python3
"""Drills of whole fortresses: a leader, two replicas and three sentinels of any make, broken under load.

    benches/ha.py [--seconds N] [--outage N] [--clients N] [--rounds N] [--only REGEX] [--sync] [--timeline]
                  [--drill PROGRAM] NAME=SERVER[,SENTINEL]...

SERVER is started as a server, and SENTINEL (or SERVER again) with a file and `--sentinel`. The scenarios, which --only
selects by name, are held by `PROGRAM drill` and are

    kill-leader        SIGKILL; started anew, empty, when the outage is over
    partition-leader   nothing gets through between the leader and the other five
    freeze-leader      SIGSTOP, and SIGCONT when the outage is over

Each server has an address of its own on the loopback interface, and so has each sentinel, also for the connections that it
makes. In front of each server stands a proxy, whose port the server announces as its own; by the address of the caller it
knows who wants to talk to whom. So any two can be cut from one another, as by a network that swallows everything: links of
replication, of sentinels to servers, and what sentinels tell one another through servers. Clients come from another
address and are not cut; those on the sentinels' side leave the isolated leader alone, since `drill` sees to that.

Rows are printed as a table in Markdown, one for each round, and with --timeline what happened when. Linux only: elsewhere
127.0.0.11 is no address of the machine.
"""
import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile

SCENARIOS = ["kill-leader", "partition-leader", "freeze-leader"]
NODES = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
SENTINELS = ["127.0.0.21", "127.0.0.22", "127.0.0.23"]
MASTER = "mymaster"
DOWN_AFTER = 1000
# Seconds that anything may take without getting on.
PATIENCE = 30
COLUMNS = "| scenario | servers | without leader, s | failed calls | acknowledged writes | lost | held by two | messages lost | delivered twice |"


def free_port(address):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


async def ask(address, port, *words):
    """The first bytes of a reply, for looks that need no more."""
    reader, writer = await asyncio.open_connection(address, port)
    with contextlib.closing(writer):
        command = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        writer.write(f"*{len(words)}\r\n{command}".encode())
        return (await asyncio.wait_for(reader.read(65536), 5)).decode()


async def until(what, condition):
    """Waits until a condition holds; who does not answer yet does not fulfil it."""
    for _ in range(PATIENCE * 20):
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            if await condition():
                return
        await asyncio.sleep(0.05)
    raise SystemExit(f"{what}: not within {PATIENCE} s")


class Network:
    """Proxies in front of servers, and who is cut off from everybody but clients."""

    def __init__(self):
        self.isolated = set()
        self.healed = asyncio.Event()
        self.tasks = set()

    def cut(self, address):
        self.isolated.add(address)
        self.healed.clear()

    def heal(self):
        self.isolated.clear()
        self.healed.set()

    async def way(self, caller, server):
        """Returns when bytes get from one to the other."""
        parties = {*NODES, *SENTINELS}
        while caller in parties and (caller in self.isolated) != (server in self.isolated):
            await self.healed.wait()

    async def stand_before(self, server, port, inner):
        async def connected(reader, writer):
            task = asyncio.current_task()
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            caller = writer.get_extra_info("peername")[0]
            await self.relay(caller, server, inner, reader, writer)

        return await asyncio.start_server(connected, server, port)

    async def relay(self, caller, server, inner, reader, writer):
        with contextlib.closing(writer):
            await self.way(caller, server)
            try:
                there, back = await asyncio.open_connection(server, inner)
            except OSError:
                return
            with contextlib.closing(back):
                ways = [self.pump(caller, server, reader, back), self.pump(caller, server, there, writer)]
                ways = [asyncio.ensure_future(way) for way in ways]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()

    async def pump(self, caller, server, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self.way(caller, server)
                writer.write(data)
                await writer.drain()
        # An end is a message, too.
        await self.way(caller, server)


class Fortress:
    def __init__(self, server, sentinel, sync, network, directory):
        self.server, self.sentinel = server.split(), sentinel.split()
        self.sync, self.network, self.directory = sync, network, directory
        self.inner = {node: free_port(node) for node in NODES}
        self.outer = {node: free_port(node) for node in NODES}
        self.ports = {sentinel: free_port(sentinel) for sentinel in SENTINELS}
        self.running = {}
        self.proxies = []

    async def spawn(self, name, command):
        directory = os.path.join(self.directory, name)
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, "log"), "ab") as log:
            self.running[name] = await asyncio.create_subprocess_exec(*command, cwd=directory, stdout=log, stderr=log)

    async def start_node(self, node, follows):
        options = {
            "bind": node, "port": self.inner[node], "bind-source-addr": node, "protected-mode": "no",
            "replica-announce-ip": node, "replica-announce-port": self.outer[node],
            "save": "", "appendonly": "no", "repl-diskless-sync-delay": 0,
        }
        if self.sync:
            options |= {"sync-replicas": 1, "sync-replicas-timeout": 500, "min-replicas-to-write": 1}
        command = [*self.server, *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
        if follows:
            command += ["--replicaof", f"{follows} {self.outer[follows]}"]
        await self.spawn(node, command)

    async def start_sentinel(self, sentinel):
        directory = os.path.join(self.directory, sentinel)
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, "sentinel.conf")
        with open(path, "w") as out:
            out.write(
                f"port {self.ports[sentinel]}\nbind {sentinel}\nbind-source-addr {sentinel}\nprotected-mode no\n"
                f"sentinel monitor {MASTER} {NODES[0]} {self.outer[NODES[0]]} 2\n"
                f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}\n"
                f"sentinel failover-timeout {MASTER} 10000\n"
            )
        await self.spawn(sentinel, [*self.sentinel, path, "--sentinel"])

    async def start(self):
        for node in NODES:
            self.proxies.append(await self.network.stand_before(node, self.outer[node], self.inner[node]))
            await self.start_node(node, None if node == NODES[0] else NODES[0])
        for node in NODES[1:]:
            await until(f"{node} follows", lambda: self.says(node, "master_link_status:up", "INFO", "replication"))
        for sentinel in SENTINELS:
            await self.start_sentinel(sentinel)
        for sentinel in SENTINELS:
            await until(f"{sentinel} knows all", lambda: self.knows_all(sentinel))

    async def says(self, node, text, *words):
        return text in await ask(node, self.inner[node], *words)

    async def knows_all(self, sentinel):
        return "slaves=2,sentinels=3" in await ask(sentinel, self.ports[sentinel], "INFO", "sentinel")

    async def stop(self):
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self.running.values():
            await process.wait()
        for proxy in self.proxies:
            proxy.close()
        for task in list(self.network.tasks):
            task.cancel()

    def fault(self, scenario):
        leader = NODES[0]
        if scenario == "partition-leader":
            self.network.cut(leader)
        else:
            self.running[leader].send_signal(signal.SIGKILL if scenario == "kill-leader" else signal.SIGSTOP)

    async def heal(self, scenario):
        leader = NODES[0]
        if scenario == "partition-leader":
            self.network.heal()
        elif scenario == "freeze-leader":
            self.running[leader].send_signal(signal.SIGCONT)
        else:
            await self.running[leader].wait()
            await self.start_node(leader, None)


async def drill(program, fortress, scenario, args):
    """Holds a drill, and returns its report. Its fault and its heal command are signals to this process."""
    loop = asyncio.get_running_loop()
    healing = []
    loop.add_signal_handler(signal.SIGUSR1, fortress.fault, scenario)
    loop.add_signal_handler(signal.SIGUSR2, lambda: healing.append(loop.create_task(fortress.heal(scenario))))
    command = [program, "drill", "--json", "--yes", "--scenario", scenario, "--master", MASTER]
    command += ["--seconds", str(args.seconds), "--outage", str(args.outage), "--clients", str(args.clients)]
    for sentinel in SENTINELS:
        command += ["--sentinel", f"{sentinel}:{fortress.ports[sentinel]}"]
    command += ["--fault-command", f"kill -USR1 {os.getpid()}", "--heal-command", f"kill -USR2 {os.getpid()}"]
    if args.sync:
        command.append("--sync")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        out, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await asyncio.gather(*healing)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{scenario}: no drill")
    report = json.loads(out)
    if report["kept"] != (process.returncode == 0):
        raise SystemExit(f"{scenario}: status {process.returncode} does not fit the report")
    return report


def row(name, report):
    writes, messages = report["writes"], report["messages"]
    cells = [
        report["scenario"], name, f"{report['without_leader_ms'] / 1000:.2f}", f"{report['calls']['failed']:,}",
        f"{writes['acknowledged']:,}", f"{writes['lost']:,}", f"{report['locks']['held_by_two']:,}",
        f"{messages['lost']:,}", f"{messages['delivered_twice']:,}",
    ]
    return f"| {' | '.join(cells)} |"


async def measure(args):
    rows, times = [], []
    for scenario in filter(re.compile(args.only).search, SCENARIOS):
        for _ in range(args.rounds):
            for name, command in args.servers:
                server, _, sentinel = command.partition(",")
                directory = tempfile.mkdtemp(prefix="ha-")
                fortress = Fortress(server, sentinel or server, args.sync, Network(), directory)
                try:
                    await fortress.start()
                    report = await drill(args.drill, fortress, scenario, args)
                finally:
                    await fortress.stop()
                    shutil.rmtree(directory, ignore_errors=True)
                rows.append(row(f"{name}, {report['server']}", report))
                times.append((f"{scenario}, {name}", report))
                print(rows[-1], file=sys.stderr)
    print(COLUMNS)
    print(re.sub(r"[^|]+", "---", COLUMNS))
    print("\n".join(rows))
    if args.timeline:
        for title, report in times:
            print(f"\n{title}, errors {report['calls']['errors']}, searches {report['calls']['searches']}\n")
            for mark in report["timeline"]:
                print(f"    {mark['ms'] / 1000:+9.3f}  {mark['what']}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--outage", type=int, default=10)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--sync", action="store_true")
    parser.add_argument("--timeline", action="store_true")
    parser.add_argument("--drill", default="target/release/redkeep")
    parser.add_argument("servers", nargs="+", type=lambda text: text.split("=", 1))
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
