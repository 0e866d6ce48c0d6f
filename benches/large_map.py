#!/usr/bin/env python3
"""What the largest map costs the proxy: 1,000 nodes, and no two slots side by side.

    benches/large_map.py [--readings 100] target/dist/keyway

Nodes that only answer what a proxy asks about the cluster are made up here, each on a port of its own. The
proxy reads the map ten times a second; first the same each time, then another each time (a slot has moved).
Per reading: the processor time of the whole proxy, from what the kernel has counted for its threads, less
what it spends with a small map; and the resident memory of both.
"""

import argparse
import multiprocessing
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node_speed import processor_nanos  # noqa: E402

SLOTS = 16384
TIMING = "workers: 1\ntiming:\n  refresh: 100ms\n  refresh_min: 100ms\n"


def answers(ports, owner):
    """CLUSTER NODES and CLUSTER SLOTS; in the first, flags and epochs are still to be filled in."""
    slots = [[] for _ in ports]
    for slot in range(SLOTS):
        slots[owner(slot)].append(slot)
    lines = []
    for node, (port, own) in enumerate(zip(ports, slots)):
        lines.append("%040x 127.0.0.1:%d@%d %%s - 0 0 %%d connected %s\n" % (
            node, port, port, spans(own)))
    ranges = []
    for node, own in enumerate(slots):
        at = "*4\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040x\r\n*0\r\n" % (ports[node], node)
        for span in spans(own).split():
            ends = span.split("-")
            ranges.append("*3\r\n:%s\r\n:%s\r\n%s" % (ends[0], ends[-1], at))
    return lines, ("*%d\r\n%s" % (len(ranges), "".join(ranges))).encode()


def spans(slots):
    """As CLUSTER NODES writes them."""
    found = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1][1] = slot
        else:
            found.append([slot, slot])
    return " ".join("%d-%d" % (a, b) if a < b else "%d" % a for a, b in found)


def serve(count, moving, told, asked):
    """Makes up `count` nodes; counts in `asked` how often the map was read."""
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    def owner(slot, by):
        if slot == 0 and by:
            return 1
        return slot % count if count > 3 else slot * count // SLOTS

    maps = [answers(ports, lambda slot, by=by: owner(slot, by)) for by in (0, 1)]
    selector = selectors.DefaultSelector()
    for node, listener in enumerate(listeners):
        selector.register(listener, selectors.EVENT_READ, (node, None))
    told.put(ports)

    def reply(node, words):
        words = [bytes(word) for word in words]
        name = words[0].upper()
        if name == b"CLUSTER" and words[1].upper() == b"NODES":
            asked.value += 1
            lines, _ = maps[asked.value % 2 if moving.value else 0]
            flags = ["master"] * count
            flags[node] = "myself,master"
            epoch = asked.value * count if moving.value else 0
            text = "".join(line % (of, epoch + at) for at, (line, of) in enumerate(zip(lines, flags))).encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
        if name == b"CLUSTER" and words[1].upper() == b"SLOTS":
            return maps[asked.value % 2 if moving.value else 0][1]
        if name == b"INFO":
            return b"$22\r\nredis_version:7.0.15\r\n\r\n"
        return {b"PING": b"+PONG\r\n", b"CLIENT": b":1\r\n"}.get(name, b"-ERR unknown command\r\n")

    while True:
        for key, _ in selector.select():
            node, held = key.data
            if held is None:
                client, _ = key.fileobj.accept()
                selector.register(client, selectors.EVENT_READ, (node, bytearray()))
                continue
            got = key.fileobj.recv(65536)
            if not got:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                continue
            held += got
            # Requests are whole here: the proxy's are short, and written at once.
            words, rest = [], held.split(b"\r\n")
            while len(rest) > 1:
                length = int(rest[0][1:])
                words, rest = rest[2:2 * length + 1:2], rest[2 * length + 1:]
                key.fileobj.setblocking(True)
                key.fileobj.sendall(reply(node, words))
            held.clear()


def resident(pid):
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def measure(binary, count, readings):
    """(ms per reading with nothing new, ms per reading with news, KiB), the whole process."""
    moving, asked = multiprocessing.Value("b", 0), multiprocessing.Value("l", 0)
    told = multiprocessing.Queue()
    nodes = multiprocessing.Process(target=serve, args=(count, moving, told, asked), daemon=True)
    nodes.start()
    ports = told.get()
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "proxy.yaml")
        with open(config, "w") as file:
            file.write(TIMING)
        proxy = subprocess.Popen(
            [binary, "proxy", "--config", config, "--listen", "127.0.0.1:0", "--http", "127.0.0.2:0",
             "127.0.0.1:%d" % ports[0]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            costs = []
            for news in (0, 1):
                moving.value = news
                await_readings(asked, 5, proxy)
                rounds = []
                for _ in range(5):
                    before, from_ = processor_nanos(proxy.pid), asked.value
                    await_readings(asked, readings // 5, proxy)
                    rounds.append((processor_nanos(proxy.pid) - before) / 1e6 / (asked.value - from_))
                costs.append(statistics.median(rounds))
            return costs + [resident(proxy.pid)]
        finally:
            proxy.kill()
            proxy.wait()
            nodes.kill()


def await_readings(asked, count, proxy):
    until, deadline = asked.value + count, time.monotonic() + 60 + count
    while asked.value < until:
        if proxy.poll() is not None or time.monotonic() > deadline:
            sys.exit("the proxy does not read the map")
        time.sleep(0.01)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--readings", type=int, default=100)
    options.add_argument("binary")
    options = options.parse_args()
    small = measure(options.binary, 3, options.readings)
    large = measure(options.binary, 1000, options.readings)
    same, news, kib = (many - few for many, few in zip(large, small))
    print("1,000 nodes, 16,384 ranges: a reading that tells the same %.2f ms, one with news %.2f ms; "
          "memory %.1f MiB more than with 3 nodes" % (same, news, kib / 1024))


if __name__ == "__main__":
    main()
