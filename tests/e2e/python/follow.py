"""What becomes of the work of a client while leaders come and go, as `follow.rs` tells and asks.

Its lines come in, and each is answered with itself:

    leader PORT COPIES   when every worker has worked there, many times in a row; the leader has so many good replicas
    read                 when what was written has been read at a replica
    change               at once. From now on until the next leader is there, calls may fail and locks be lost; at other
                         times they may not

When no more comes, every entry that had reached all good servers has been read by the group, or it is said which was not.
"""

import faulthandler
import os
import sys
import threading
import time

from redis.exceptions import ConnectionError, LockError, ReadOnlyError, ResponseError, TimeoutError

SENTINELS = [("127.0.0.1", int(port)) for port in os.environ["SENTINELS"].split()]
FLEET = os.environ["FLEET"]
# A beginning of its own for the keys of each program.
PREFIX = os.environ["PREFIX"]
RESP = int(os.environ["RESP"])
LOCK, STREAM, GROUP, NOTE = (f"{PREFIX}:{name}" for name in ("lock", "stream", "group", "note"))
# So many times in a row each worker works at a leader before it counts as followed.
ROUNDS = 20
PACE = 0.01
# Of a lock, in seconds: whoever takes one and is not told so has to wait that long for it.
HELD = 5


class Work:
    """How far the workers are, and what they met."""

    def __init__(self, workers):
        self.rounds = dict.fromkeys(workers, 0)
        self.leader = None
        # Good replicas of the leader.
        self.copies = 0
        self.settled = False
        self.over = False
        self.faults = []
        self.failed = 0
        # Entries that have reached all good servers, and entries that the group has read.
        self.sure, self.read = set(), set()
        self.holders = 0
        self.lock = threading.Lock()

    def done(self, worker, port):
        with self.lock:
            if port == self.leader:
                self.rounds[worker] += 1
            elif self.settled:
                self.faults.append(f"{worker} works at {port}, not {self.leader}")

    def met(self, worker, error):
        with self.lock:
            self.rounds[worker] = 0
            self.failed += 1
            if self.settled or not passes(error):
                self.faults.append(f"{worker}: {error!r} {error}")

    def enters(self):
        with self.lock:
            self.holders += 1
            if self.holders > 1 and self.settled:
                self.faults.append("two hold the lock")

    def leaves(self):
        with self.lock:
            self.holders -= 1

    def moves_to(self, port, copies):
        with self.lock:
            self.rounds = dict.fromkeys(self.rounds, 0)
            self.leader, self.copies = int(port), int(copies)

    def added(self, entry, copies):
        with self.lock:
            if 0 < self.copies <= copies:
                self.sure.add(entry)

    def has_followed(self):
        with self.lock:
            self.settled = self.settled or all(n >= ROUNDS for n in self.rounds.values())
            return self.settled

    def change(self):
        with self.lock:
            self.settled, self.leader = False, None

    def unread(self):
        return self.sure - self.read

    def tells(self):
        """Says what became of it all, and ends the program."""
        if self.unread():
            self.faults.append(f"never read: {sorted(self.unread())}")
        print(f"{len(self.sure)} entries were sure, {len(self.read)} read, {self.failed} calls failed")
        print(*self.faults[:20], sep="\n")
        print("well" if not self.faults and self.sure else "not well", flush=True)
        os._exit(0)


def passes(error):
    """Whether a client may be told so while there is no leader."""
    if isinstance(error, (ConnectionError, TimeoutError, LockError, ReadOnlyError, OSError)):
        return True
    return isinstance(error, ResponseError) and str(error).startswith("UNBLOCKED")


def lines():
    """What is said to this program, each line answered when it has been dealt with."""
    faulthandler.dump_traceback_later(240, exit=True)
    for line in sys.stdin:
        yield line.split()
        print(line.strip(), flush=True)


def entries(reply):
    """The entries of one stream in the reply to XREADGROUP, which has another form over each protocol."""
    for stream in reply.values() if isinstance(reply, dict) else [stream[1] for stream in reply]:
        for part in stream:
            yield from part if isinstance(part, list) else [part]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(PACE)
    return True
