#!/usr/bin/env python3
"""How long a command waits at worst while much is freed: expiry, UNLINK, DEL and FLUSHALL ASYNC.

    benches/stalls.py [--keys N] BINARY ...

A client sends PING after PING and notes how long each takes, first while nothing happens (that is
the machine's own noise) and then while each of these goes on beside it. What the server itself took
for a command is asked of SLOWLOG, which waiting for a processor does not count into. A BINARY whose
name is `keyway` is started as a node.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from memory import Server, command  # noqa: E402


class Probe:
    """A client that asks for one thing after the other, and waits for each."""

    def __init__(self, server):
        self.socket = server.connect()
        self.request = command("PING")

    def once(self):
        begin = time.perf_counter()
        self.socket.sendall(self.request)
        self.socket.recv(64)
        return time.perf_counter() - begin

    def until(self, ends):
        """The times of all PINGs until something ends, in seconds, sorted."""
        times, looked = [], time.monotonic()
        while True:
            times.append(self.once())
            if time.monotonic() - looked > 0.2:
                looked = time.monotonic()
                if ends():
                    return sorted(times)


def shown(times):
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1e6
    return "%8.0f %8.0f %8.0f" % (at(0.99), at(0.9999), times[-1] * 1e6)


def run(binary, keys):
    server = Server(binary)
    try:
        name = os.path.basename(binary)
        ask = server.ask
        ask("CONFIG", "SET", "slowlog-log-slower-than", "1000")
        probe = Probe(server)

        def report(what, times):
            slow = ask("SLOWLOG", "LEN").strip().lstrip(b":").decode()
            print("%-16s %-34s %s %6s" % (name, what, shown(times), slow), flush=True)
            ask("SLOWLOG", "RESET")

        wait = lambda seconds: (lambda end=time.monotonic() + seconds: time.monotonic() > end)
        report("nothing", probe.until(wait(3)))

        lifetime = 20_000 + keys // 50
        expiring = lambda n: [command("SET", "e%d" % n, "v" * 20, "PX", lifetime + n % 1000)]
        server.fill(expiring, keys)
        ask("SLOWLOG", "RESET")
        gone = lambda: ask("DBSIZE") == b":0\r\n"
        report("%d keys expire at once" % keys, probe.until(gone))

        for removal in (["UNLINK", "big"], ["DEL", "big"], ["FLUSHALL", "ASYNC"]):
            member = lambda n: [command("HSET", "big", "field%d" % n, "v" * 20)]
            server.fill(member, keys // 5)
            if removal[0] == "FLUSHALL":
                server.fill(lambda n: [command("SET", "k%d" % n, "v" * 20)], keys)
            ask("SLOWLOG", "RESET")
            server.send(*removal)
            times = probe.until(wait(2))
            server.reply()
            report(" ".join(removal), times)
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("binaries", nargs="+")
    options = parser.parse_args()
    print("%-16s %-34s %8s %8s %8s %6s" % ("", "while", "99% µs", "99.99%", "worst", ">1 ms"))
    for binary in options.binaries:
        run(binary, options.keys)


if __name__ == "__main__":
    sys.exit(main())
