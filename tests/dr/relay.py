"""A line between two network namespaces, of which each packet takes its time: for kernels without netem.

Makes two tun devices, named by the first two arguments, and carries packets between them with a delay of so many
seconds (the third). Says "ready" when both are there. While standard input has said "cut", packets vanish; "heal" ends
that; at its end the line goes."""

import collections, fcntl, os, select, struct, sys, time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


ends = [tun(name) for name in sys.argv[1:3]]
delay = float(sys.argv[3])
waiting = collections.deque()
cut = False
print("ready", flush=True)
while True:
    patience = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    readable, _, _ = select.select(ends + [0], [], [], patience)
    if 0 in readable:
        said = os.read(0, 4096)
        if not said:
            break
        cut = said.split()[-1] == b"cut"
        waiting.clear()
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, to, packet = waiting.popleft()
        try:
            os.write(to, packet)
        except OSError:
            pass  # The device is down, or full: packets get lost.
    for n, end in enumerate(ends):
        if end in readable:
            try:
                packet = os.read(end, 65536)
            except OSError:
                continue
            if not cut:
                waiting.append((now + delay, ends[1 - n], packet))
