#!/usr/bin/env python3
"""Bytes of resident memory per key, for every type: our node beside redis-server and valkey-server.

    make memory                       # or: benches/memory.py [--keys N] [--only streams] BINARY ...

Each figure is what the resident memory of a fresh process grew by while it was filled, divided by
the number of keys. A BINARY whose name is `keyway` is started as a node.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time


def command(*args):
    parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def strings(n):
    yield command("SET", "key:%012d" % n, "v" * 64)


def hashes(n):
    fields = [x for i in range(10) for x in ("field%d" % i, "value%d" % (n % 1000 + i))]
    yield command("HSET", "key:%012d" % n, *fields)


def sets(n):
    yield command("SADD", "key:%012d" % n, *range(n * 10, n * 10 + 10))


def sorted_sets(n):
    members = [x for i in range(10) for x in (i, "member%d" % (n % 1000 + i))]
    yield command("ZADD", "key:%012d" % n, *members)


def lists(n):
    yield command("RPUSH", "key:%012d" % n, *("item%d" % (n % 1000 + i) for i in range(10)))


def streams(n):
    for i in range(100):
        yield command("XADD", "key:%012d" % n, "*", "sensor", n % 1000, "value", "19.%d" % i)


# What is filled, and the share of the keys that it is filled with.
KINDS = [
    ("strings of 64 bytes", strings, 1),
    ("hashes of 10 fields", hashes, 1),
    ("sets of 10 integers", sets, 1),
    ("sorted sets of 10", sorted_sets, 1),
    ("lists of 10", lists, 1),
    ("streams of 100 entries", streams, 50),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, binary, launcher=(), folder=None):
        """Starts it, in a folder of its own or in that of one that ran before."""
        self.port = free_port()
        self.folder = folder or tempfile.TemporaryDirectory()
        node = ["node"] if os.path.basename(binary) == "keyway" else []
        arguments = ["--port", str(self.port), "--save", "", "--dir", self.folder.name]
        self.process = subprocess.Popen(
            [*launcher, binary, *node, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.socket = self.connect()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit("%s did not start" % binary)
                time.sleep(0.05)

    def resident(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            for line in status:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) * 1024
        raise SystemExit("the process has no resident memory")

    def fill(self, kind, keys):
        """Sends all commands, while another thread looks at the replies."""
        end, failures = b"$7\r\nthe end\r\n", []

        def drain():
            last = b""
            while not last.endswith(end):
                data = self.socket.recv(1 << 20)
                if not data:
                    failures.append(b"the connection was closed")
                    return
                if b"-ERR" in data or b"-OOM" in data:
                    failures.append(data[:200])
                last = (last + data)[-len(end):]

        reader = threading.Thread(target=drain)
        reader.start()
        buffer = []
        for n in range(keys):
            buffer.extend(kind(n))
            if len(buffer) >= 1000:
                self.socket.sendall(b"".join(buffer))
                buffer = []
        self.socket.sendall(b"".join(buffer) + command("PING", "the end"))
        reader.join()
        if failures:
            raise SystemExit("filling failed: %r" % failures[0])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port))

    def send(self, *args):
        self.socket.sendall(command(*args))

    def reply(self):
        return self.socket.recv(1 << 16)

    def ask(self, *args):
        self.send(*args)
        return self.reply()

    def stop(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def measure(binary, kind, keys):
    server = Server(binary)
    try:
        before = server.resident()
        server.fill(kind, keys)
        return (server.resident() - before) / keys
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--only", default="")
    parser.add_argument("binaries", nargs="+")
    options = parser.parse_args()
    print("| bytes per key | " + " | ".join(os.path.basename(b) for b in options.binaries) + " |")
    print("|---|" + "---|" * len(options.binaries))
    for name, kind, share in KINDS:
        if options.only not in name:
            continue
        keys, cells = options.keys // share, []
        for binary in options.binaries:
            cells.append("%.0f" % measure(binary, kind, keys))
        print("| %s (%d keys) | %s |" % (name, keys, " | ".join(cells)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
