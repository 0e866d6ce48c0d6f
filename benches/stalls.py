#!/usr/bin/env python3
"""The longest that a command holds up all others while much is freed, as the server itself tells.

    make stalls                       # or: benches/stalls.py [--keys N] [--members N] BINARY ...

Each line is one way to free much: keys that expire all at once, a huge value of each type that is
deleted, unlinked, overwritten or expires, a group that is destroyed, a stream or list that is
trimmed. Meanwhile a client sends PING after PING. Of each line there is

    worst command   the longest that any command ran, from INFO latencystats at the 100th percentile
    worst event     the longest of what LATENCY noted in full milliseconds: the expire cycle and others
    worst PING      the longest that the client waited, the noise of the machine included

The first two are the server's own clock around the work itself; they still include what the
processor did for others in between, so leave it a core of its own (`--core`; the client keeps to the
others). How much the machine does by itself is in the line "nothing", which takes as long as the
keys take to expire. A BINARY whose name is `keyway` is started as a node.
"""

import argparse
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from memory import Server, command  # noqa: E402

# How one huge value of each type is made: the command for its n-th element.
BIG = {
    "list": lambda n: command("RPUSH", "big", "element:%012d" % n),
    "hash": lambda n: command("HSET", "big", "field:%012d" % n, "value"),
    "set": lambda n: command("SADD", "big", "member:%012d" % n),
    "sorted set": lambda n: command("ZADD", "big", n, "member:%012d" % n),
    "stream": lambda n: command("XADD", "big", "%d-1" % (n + 1), "field", "value"),
    "string": None,  # of as many bytes as the others about take
}

REMOVALS = {
    "UNLINK": [["UNLINK", "big"]],
    "DEL": [["DEL", "big"]],
    "SET over it": [["SET", "big", "small"]],
    "RENAME over it": [["SET", "small", "x"], ["RENAME", "small", "big"]],
    "expires": [["PEXPIRE", "big", "1"]],
}


class Run:
    def __init__(self, binary, launcher, options):
        self.server = Server(binary, launcher)
        self.name = os.path.basename(binary)
        self.keys, self.members = options.keys, options.members
        self.probe = self.server.connect()
        self.worst = self.worst_own = 0
        ask = self.server.ask
        ask("CONFIG", "SET", "latency-tracking-info-percentiles", "100")
        ask("CONFIG", "SET", "latency-monitor-threshold", "1")

    def ping(self):
        begin = time.perf_counter()
        self.probe.sendall(command("PING"))
        self.probe.recv(64)
        return time.perf_counter() - begin

    def all_of(self, *args):
        """The whole of a reply that may come in parts."""
        self.server.send(*args)
        self.server.send("PING", "the end")
        data = b""
        while not data.endswith(b"$7\r\nthe end\r\n"):
            data += self.server.reply()
        return data.decode(errors="replace")

    def measure(self, what, requests=(), ended=None, lasting=0.5):
        ask = self.server.ask
        ask("CONFIG", "RESETSTAT")
        ask("LATENCY", "RESET")
        for request in requests:
            ask(*request)
        begin, waits = time.monotonic(), []
        looked = begin
        while True:
            waits.append(self.ping())
            now = time.monotonic()
            if ended is None and now > begin + lasting:
                break
            if ended is not None and now > looked + 0.2:
                looked = now
                if ended():
                    break
        stats = self.all_of("INFO", "latencystats")
        percentiles = re.findall(r"latency_percentiles_usec_(\S+):p100=([\d.]+)", stats)
        # What it asks to measure is none of what is measured.
        asked = [row for row in percentiles if not row[0].startswith(("config", "latency", "dbsize"))]
        command_name, worst = max(asked, key=lambda row: float(row[1]))
        command_name = command_name.replace("|", " ")
        own = [float(row[1]) for row in asked if row[0] not in ("ping", "info")]
        self.worst_own = max([self.worst_own, *own])
        latest = self.all_of("LATENCY", "LATEST")
        # name, when, last, worst
        events = re.findall(r"\$\d+\r\n([\w-]+)\r\n:\d+\r\n:\d+\r\n:(\d+)", latest)
        event = max(events, key=lambda row: int(row[1]), default=("", "0"))
        self.worst = max(self.worst, float(worst))
        told = "%s ms %s" % (event[1], event[0]) if event[0] else "-"
        print(
            "| %s | %s | %.0f µs %s | %s | %.0f µs |"
            % (self.name, what, float(worst), command_name, told, max(waits) * 1e6),
            flush=True,
        )

    def fill(self, kind, many=None):
        members = many or self.members
        if kind == "string":
            self.server.ask("SETRANGE", "big", min(members * 64, 400_000_000), "x")
        else:
            self.server.fill(lambda n: [BIG[kind](n)], members)

    def is_gone(self):
        return self.server.ask("DBSIZE") == b":0\r\n"

    def all(self):
        lifetime = 20_000 + self.keys // 50
        self.measure("nothing", lasting=lifetime / 1000)
        expiring = lambda n: [command("SET", "e%d" % n, "v" * 20, "PX", lifetime + n % 1000)]
        self.server.fill(expiring, self.keys)
        self.measure("%d keys expire at once" % self.keys, (), self.is_gone)
        keys = lambda n: [command("SET", "k%d" % n, "v" * 20)]
        for flush in (["FLUSHALL", "ASYNC"], ["FLUSHALL"]):
            self.server.fill(keys, self.keys)
            self.measure("%s of %d keys" % (" ".join(flush), self.keys), [flush])
        for kind in BIG:
            for what, requests in REMOVALS.items():
                self.fill(kind)
                self.measure("%s of %d: %s" % (kind, self.members, what), requests)
                self.server.ask("FLUSHALL")
        for trim in (["XTRIM", "big", "MAXLEN", "1"], ["XTRIM", "big", "MINID", str(self.members)]):
            self.fill("stream")
            self.measure("stream of %d: %s" % (self.members, " ".join(trim)), [trim])
            self.server.ask("FLUSHALL")
        self.fill("list")
        self.measure("list of %d: LTRIM to 2" % self.members, [["LTRIM", "big", "-2", "-1"]])
        self.server.ask("FLUSHALL")
        last = str(self.members - 10)
        for what in (["ZREMRANGEBYRANK", "big", "5", last], ["ZREMRANGEBYSCORE", "big", "-inf", last]):
            self.fill("sorted set")
            self.measure("sorted set of %d: %s" % (self.members, " ".join(what)), [what])
            self.server.ask("FLUSHALL")
        for store in (["ZUNIONSTORE", "big", "1", "small"], ["SUNIONSTORE", "big", "few"]):
            self.fill("set" if store[0].startswith("S") else "sorted set")
            self.server.ask("ZADD", "small", "1", "x")
            self.server.ask("SADD", "few", "x")
            self.measure("%s over %d" % (store[0], self.members), [store])
            self.server.ask("FLUSHALL")
        # DELCONSUMER looks for what is pending for this one among all that is pending.
        for end in (["XGROUP", "DESTROY", "big", "group"], ["XGROUP", "DELCONSUMER", "big", "group", "c"]):
            self.fill("stream")
            self.server.ask("XGROUP", "CREATE", "big", "group", "0")
            reads = self.members // 1000
            self.server.fill(
                lambda n: [command("XREADGROUP", "GROUP", "group", "c", "COUNT", 1000, "STREAMS", "big", ">")],
                reads,
            )
            self.measure("%d pending: %s" % (reads * 1000, " ".join(end[:2])), [end])
            self.server.ask("FLUSHALL")
        print(
            "\n%s: no command that frees ran for more than %.0f µs, and no other beside them for "
            "more than %.0f µs\n" % (self.name, self.worst_own, self.worst),
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--members", type=int, default=1_000_000, help="of a huge value")
    parser.add_argument("--core", type=int, help="where the servers run")
    parser.add_argument("binaries", nargs="+")
    options = parser.parse_args()
    launcher = []
    if options.core is not None:
        launcher = ["taskset", "-c", str(options.core)]
        others = os.sched_getaffinity(0) - {options.core}
        os.sched_setaffinity(0, others or {options.core})
    print("| | while | worst command | worst event | worst PING |\n|---|---|---|---|---|")
    for binary in options.binaries:
        run = Run(binary, launcher, options)
        try:
            run.all()
        finally:
            run.server.stop()


if __name__ == "__main__":
    sys.exit(main())
