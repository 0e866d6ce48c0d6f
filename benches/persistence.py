#!/usr/bin/env python3
"""What it takes to save, load, copy and move data: our node beside redis-server, in one run.

    make persistence      # or: benches/persistence.py [--rounds 3] [--keys 1000000] NODE REDIS

Servers take turns, round by round. Keys are strings of 64 bytes; settings are the
defaults, but that a full sync does not wait for further replicas.

    SAVE, BGSAVE      until the file is there
    load              from the start of the process until it answers with all keys
    full sync         from REPLICAOF until the link is up and the replica has all keys
    MIGRATE           a tenth as many keys, 100 at a time, to another server of the same kind

Of each there is the time that passes, and the processor time of all processes that take part,
which a busy machine hardly changes; medians of all rounds. A ratio above 1 says that the first
server is better.

Then, of each server: a background snapshot of `--snapshot-keys` keys, while redis-benchmark
overwrites them as fast as it is answered. By how much the memory grows that the process and its
children take (proportional set size, against the most that the same load takes without a snapshot),
and the longest that a command ran meanwhile (INFO latencystats at the 100th percentile), with and
without the snapshot.

The server that is measured runs on one core, its peer and the client on the other.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from memory import Server, command  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
KEY = "key:%012d"
LONGEST = 600  # seconds that anything may take


def strings(n):
    return [command("SET", KEY % n, "v" * 64)]


def processor_seconds(pid):
    """User and system time of a process, its threads, and the children that it has waited for."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(child) for child in file.read().split()]


def memory_taken(pid):
    """Bytes that a process and its children take together: what they share counts once."""
    total = 0
    for one in [pid, *children(pid)]:
        try:
            with open("/proc/%d/smaps_rollup" % one) as file:
                total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1)) * 1024
        except (FileNotFoundError, ProcessLookupError):
            pass  # the child has ended since
    return total


def info(server, section):
    """A section of INFO, which a server also gives while it loads."""
    server.send("INFO", section)
    data = server.reply()
    length = int(re.match(rb"\$(\d+)\r\n", data).group(1))
    # The bulk string has a line before it, and one end of a line behind it.
    whole = len("$%d\r\n\r\n" % length) + length
    while len(data) < whole:
        data += server.reply()
    return data.decode(errors="replace")


def wait(what, fact):
    deadline = time.monotonic() + LONGEST
    while not fact():
        if time.monotonic() > deadline:
            raise SystemExit("%s takes more than %d seconds" % (what, LONGEST))
        time.sleep(0.005)


def timed(work, *processes):
    """Seconds that pass and seconds of processor time while `work` runs."""
    before = sum(processor_seconds(pid) for pid in processes)
    begin = time.perf_counter()
    work()
    passed = time.perf_counter() - begin
    return passed, sum(processor_seconds(pid) for pid in processes) - before


def has(server, keys):
    return server.ask("DBSIZE") == b":%d\r\n" % keys


def saved(server):
    return "rdb_bgsave_in_progress:0" in info(server, "persistence")


def bgsave(server):
    server.ask("BGSAVE")
    wait("BGSAVE", lambda: saved(server))
    if "rdb_last_bgsave_status:ok" not in info(server, "persistence"):
        raise SystemExit("BGSAVE failed")


def round_of(binary, options):
    """Every figure once, on fresh processes."""
    core, other = (["taskset", "-c", str(n)] for n in (options.server_core, options.client_core))
    keys, moved = options.keys, options.keys // 10
    figures = {}
    server = Server(binary, core)
    server.fill(strings, keys)
    figures["SAVE"] = timed(lambda: server.ask("SAVE"), server.process.pid)
    figures["BGSAVE"] = timed(lambda: bgsave(server), server.process.pid)
    folder = server.folder
    server.process.kill()
    server.process.wait()

    started = []

    def load():
        started.append(Server(binary, core, folder))
        wait("loading", lambda: has(started[0], keys))

    passed, _ = timed(load)
    server = started[0]
    figures["load"] = passed, processor_seconds(server.process.pid)

    peer = Server(binary, other)
    # Both wait five seconds for further replicas otherwise.
    server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")

    def sync():
        peer.ask("REPLICAOF", "127.0.0.1", str(server.port))
        up = lambda: "master_link_status:up" in info(peer, "replication")
        wait("the sync", lambda: up() and has(peer, keys))

    pids = server.process.pid, peer.process.pid
    figures["full sync"] = timed(sync, *pids)
    peer.ask("REPLICAOF", "NO", "ONE")
    peer.ask("FLUSHALL")

    def migrate():
        for first in range(0, moved, 100):
            names = [KEY % n for n in range(first, first + 100)]
            to = ["127.0.0.1", str(peer.port), "", "0", "10000", "KEYS"]
            if server.ask("MIGRATE", *to, *names) != b"+OK\r\n":
                raise SystemExit("MIGRATE failed")

    figures["MIGRATE"] = timed(migrate, *pids)
    if not has(peer, moved) or not has(server, keys - moved):
        raise SystemExit("MIGRATE lost keys")
    peer.stop()
    server.stop()
    return figures


def longest_command(server):
    stats = info(server, "latencystats")
    rows = re.findall(r"latency_percentiles_usec_(\S+):p100=([\d.]+)", stats)
    asked = [row for row in rows if not row[0].startswith(("config", "info", "bgsave"))]
    return max((float(worst), name) for name, worst in asked)


def under_load(binary, options):
    """The most memory and the longest command with a load alone, and with a snapshot beside it."""
    launcher = ["taskset", "-c", str(options.server_core)]
    if options.nice:
        launcher = ["nice", "-n", str(options.nice), *launcher]
    server = Server(binary, launcher)
    pid, keys = server.process.pid, options.snapshot_keys
    most, ended = [0], threading.Event()

    def watch():
        while not ended.wait(0.1):
            most[0] = max(most[0], memory_taken(pid))

    load = watcher = None
    try:
        server.fill(strings, keys)
        server.ask("CONFIG", "SET", "latency-tracking-info-percentiles", "100")
        bench = ["taskset", "-c", str(options.client_core), "redis-benchmark", "-p", str(server.port)]
        bench += ["-q", "-n", "2000000000", "-P", "16", "-r", str(keys), "-d", "64", "-t", "set"]
        load = subprocess.Popen(bench, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watcher = threading.Thread(target=watch)
        watcher.start()
        time.sleep(5)
        server.ask("CONFIG", "RESETSTAT")
        time.sleep(5)
        alone = most[0], longest_command(server)
        server.ask("CONFIG", "RESETSTAT")
        most[0] = 0
        begin = time.perf_counter()
        bgsave(server)
        passed = time.perf_counter() - begin
        return alone, (most[0], longest_command(server)), passed
    finally:
        ended.set()
        if watcher:
            watcher.join()
        if load:
            load.kill()
            load.wait()
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--snapshot-keys", type=int, default=5_000_000, help="0: no load")
    parser.add_argument("--nice", type=int, help="of a server under load: -20 on a busy machine, as root")
    parser.add_argument("--server-core", type=int, default=1)
    parser.add_argument("--client-core", type=int, default=0)
    parser.add_argument("servers", nargs=2)
    options = parser.parse_args()
    names = [os.path.basename(binary) for binary in options.servers]
    figures = [{}, {}]
    for _ in range(options.rounds):
        for place, binary in enumerate(options.servers):
            for what, figure in round_of(binary, options).items():
                figures[place].setdefault(what, []).append(figure)
    if options.rounds:
        print("| %d keys | %s, s | %s, s | time | processor, s | processor, s | processor |" % (options.keys, *names))
        print("|---|---|---|---|---|---|---|")
        for what in figures[0]:
            ours, theirs = ([statistics.median(c) for c in zip(*side[what])] for side in figures)
            ratios = [theirs[n] / ours[n] if ours[n] else float("inf") for n in range(2)]
            row = what, ours[0], theirs[0], ratios[0], ours[1], theirs[1], ratios[1]
            print("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |" % row, flush=True)
    if options.snapshot_keys:
        print("\n| a snapshot of %d keys under load | memory | grows by | longest command | without | takes |" % options.snapshot_keys)
        print("|---|---|---|---|---|---|")
        for binary, name in zip(options.servers, names):
            (memory, (idle, _)), (most, (worst, which)), passed = under_load(binary, options)
            grown = (most - memory) / memory * 100
            row = name, memory / 2**20, grown, worst / 1000, which, idle / 1000, passed
            print("| %s | %.0f MiB | %.1f %% | %.2f ms %s | %.2f ms | %.1f s |" % row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
