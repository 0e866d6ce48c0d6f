#!/usr/bin/env python3
"""What a command costs: our node beside redis-server, each pinned to one core.

    make speed                        # or: benches/node_speed.py [--rounds 5] [--only SADD] NODE REDIS

Servers take turns, test by test and round by round, in random order, so that both see the same machine. Per request:
the processor time of the server, from what the kernel has counted for its threads, which a busy
machine hardly changes; and requests per second, which need a quiet one. Each figure is the median
of all rounds; a ratio above 1 says that the first server is better. A server whose name is `keyway`
is started as a node; redis-benchmark is the client.
"""

import argparse
import glob
import os
import random
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from memory import Server, command  # noqa: E402

RANDOM = 100_000  # what redis-benchmark draws __rand_int__ below
RAND = "__rand_int__"


def keys(n):
    return [command("SET", "key:%012d" % n, "xxx")]


def elements(n):
    return [command("RPUSH", "mylist", "xxx")]


def members(n):
    return [command("SADD", "myset", "element:%012d" % n)]


def scored(n):
    return [command("ZADD", "myzset", n, "element:%012d" % n)]


POPS = None  # as many as requests

# What is asked, what is filled in before, how much of it, and requests as a share of the others.
TESTS = {
    "PING": (["PING"], None, 0, 1),
    "SET": (["SET", "key:" + RAND, "xxx"], keys, RANDOM, 1),
    "GET": (["GET", "key:" + RAND], keys, RANDOM, 1),
    "INCR": (["INCR", "counter:" + RAND], None, 0, 1),
    "LPUSH": (["LPUSH", "mylist", "xxx"], None, 0, 1),
    "RPUSH": (["RPUSH", "mylist", "xxx"], None, 0, 1),
    "LPOP": (["LPOP", "mylist"], elements, POPS, 1),
    "SADD": (["SADD", "myset", "element:" + RAND], None, 0, 1),
    "HSET": (["HSET", "myhash", "element:" + RAND, "xxx"], None, 0, 1),
    "SPOP": (["SPOP", "myset"], members, POPS, 1),
    "ZADD": (["ZADD", "myzset", RAND, "element:" + RAND], None, 0, 1),
    "ZPOPMIN": (["ZPOPMIN", "myzset"], scored, POPS, 1),
    "LRANGE_100": (["LRANGE", "mylist", "0", "99"], elements, 1000, 0.2),
    "LRANGE_600": (["LRANGE", "mylist", "0", "599"], elements, 1000, 0.05),
    "MSET (10)": (["MSET"] + ["key:" + RAND, "xxx"] * 10, keys, RANDOM, 0.2),
    "XADD": (["XADD", "mystream", "*", "field", "xxx"], None, 0, 1),
}


def processor_nanos(pid):
    total = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        try:
            with open(path) as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass  # the thread has ended since
    return total


def run(server, test, pipeline, requests, client_core):
    """Nanoseconds of processor time per request, and requests per second."""
    args, fill, filled, share = TESTS[test]
    requests = max(1000, int(requests * share)) // pipeline * pipeline
    server.ask("FLUSHALL")
    if fill:
        server.fill(fill, requests if filled is POPS else filled)
    before = processor_nanos(server.process.pid)
    bench = ["taskset", "-c", str(client_core), "redis-benchmark", "-p", str(server.port), "--csv"]
    bench += ["-n", str(requests), "-P", str(pipeline), "-r", str(RANDOM), *args]
    output = subprocess.run(bench, check=True, capture_output=True, text=True).stdout
    spent = processor_nanos(server.process.pid) - before
    # The last line: "name","requests per second",…; no field of ours has a quote in it.
    per_second = float(output.strip().splitlines()[-1].split('","')[1])
    return spent / requests, per_second


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000, help="with one in flight; 10 times as many with more")
    parser.add_argument("--pipeline", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--only", nargs="+", choices=list(TESTS), default=list(TESTS), metavar="TEST")
    parser.add_argument("--server-core", type=int, default=1)
    parser.add_argument("--client-core", type=int, default=0)
    parser.add_argument("servers", nargs=2)
    options = parser.parse_args()
    pinned = ["taskset", "-c", str(options.server_core)]
    servers = [Server(binary, pinned) for binary in options.servers]
    figures = {}
    try:
        for _ in range(options.rounds):
            for test in options.only:
                for pipeline in options.pipeline:
                    requests = options.requests * (1 if pipeline == 1 else 10)
                    # Neither is always the one that follows the other.
                    for place, server in random.sample(list(enumerate(servers)), 2):
                        figure = run(server, test, pipeline, requests, options.client_core)
                        figures.setdefault((test, pipeline, place), []).append(figure)
    finally:
        for server in servers:
            server.stop()
    names = [os.path.basename(binary) for binary in options.servers]
    for pipeline in options.pipeline:
        print("\n| `-P %d` | %s, ns | %s, ns | CPU | requests/s |" % (pipeline, *names))
        print("|---|---|---|---|---|")
        for test in options.only:
            ours, theirs = (
                [statistics.median(column) for column in zip(*figures[test, pipeline, place])]
                for place in range(2)
            )
            ratios = theirs[0] / ours[0], ours[1] / theirs[1]
            print("| %s | %.0f | %.0f | %.2f | %.2f |" % (test, ours[0], theirs[0], *ratios))


if __name__ == "__main__":
    sys.exit(main())
