#!/usr/bin/env python3
"""Runs client libraries against the proxy, and writes docs/clients.md from what they saw.

Three stock redis-servers, a cluster made of them by `keyway cluster create`, a proxy in front, and
each library with its defaults: nothing is told to the library but the address. A library that is
not installed is left out; a check that fails fails the run.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHECKS = ["get/set", "pipeline", "transaction", "blocking pop", "pub/sub", "script", "scan"]


def free_port():
    """A port that is free, with its bus port (10000 above)."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 50000:
            return port


def wait_for(what, done):
    deadline = time.monotonic() + 30
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"waited for 30 s: {what}")
        time.sleep(0.05)


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100).startswith(b"+PONG")
    except OSError:
        return False


def serves(port):
    """Whether a key of every third of the slots can be set."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            for key in (b"a", b"b", b"c"):
                connection.sendall(b"SET matrix:" + key + b" 1\r\n")
                if not connection.recv(1000).startswith(b"+OK"):
                    return False
            return True
    except OSError:
        return False


def built(command, program):
    """A driver that has to be built first; nothing where that is not possible here."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(f"left out: {program.name} cannot be built here: {done.stdout.strip().splitlines()[-1:]}")
        return []
    return [[str(program)]]


def go(folder):
    """The libraries for Go that Debian packages."""
    for name, package in [("go_redis", "golang-gopkg-redis.v5-dev"),
                          ("redigo", "golang-github-gomodule-redigo-dev")]:
        query = subprocess.run(["dpkg-query", "-W", "-f", "${source:Upstream-Version}", package],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        if query.returncode or not query.stdout:
            continue
        command = ["env", "GO111MODULE=off", "GOPATH=/usr/share/gocode", f"GOCACHE={folder / 'gocache'}",
                   "go", "build", "-ldflags", f"-X main.version={query.stdout}", "-o", str(folder / name),
                   str(HERE / "go" / f"{name}.go"),
                   str(HERE / "go" / "report.go")]
        yield from built(command, folder / name)


def drivers(folder):
    """Each driver's command line."""
    yield [sys.executable, str(HERE / "redis_py.py")]
    for tool, file in [("node", "node.js"), ("ruby", "redis_rb.rb"), ("php", "phpredis.php"),
                       ("perl", "redis_pl.pl")]:
        if shutil.which(tool):
            yield [tool, str(HERE / file)]
    if shutil.which("gcc"):
        program = folder / "hiredis"
        command = ["gcc", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(HERE / "hiredis.c"), "-lhiredis"]
        yield from built(command, program)
    if shutil.which("go"):
        yield from go(folder)
    if shutil.which("cargo"):
        target = ROOT / "target" / "matrix"
        command = ["cargo", "build", "--quiet", "--manifest-path", str(HERE / "rust" / "Cargo.toml"),
                   "--target-dir", str(target)]
        yield from built(command, target / "debug" / "keyway-matrix")


def page(rows):
    lines = [
        "# Clients",
        "",
        "<!-- Written by `make matrix`. -->",
        "",
        "What each library saw of the proxy in front of three stock `redis-server`s, with the library's"
        " defaults and",
        "nothing but the proxy's address. The libraries' cluster classes work as well: the proxy shows"
        " itself as the",
        "one node that owns every slot, so they stay on it.",
        "",
        "| client | version | " + " | ".join(CHECKS) + " |",
        "|---|---|" + "---|" * len(CHECKS),
    ]
    for row in rows:
        seen = [row["checks"].get(check, "–") for check in CHECKS]
        lines.append(f"| {row['client']} | {row['version']} | " + " | ".join(seen) + " |")
    lines += ["", "`–`: the library has no such thing, or has it only for one node.", ""]
    return "\n".join(lines)


def main():
    keyway = pathlib.Path(os.environ.get("KEYWAY", ROOT / "target" / "debug" / "keyway"))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keyway-matrix-"))
    processes = []
    try:
        nodes = []
        for number in range(3):
            port = free_port()
            home = folder / str(number)
            home.mkdir()
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                       "--cluster-enabled", "yes", "--dir", str(home)]
            processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            nodes.append(port)
        for port in nodes:
            wait_for("a node answers", lambda port=port: answers(port))
        addresses = [f"127.0.0.1:{port}" for port in nodes]
        create = [str(keyway), "cluster", "create", *addresses, "--yes"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
        proxy = free_port()
        command = [str(keyway), "proxy", *addresses, "--listen", f"127.0.0.1:{proxy}"]
        processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        wait_for("the proxy answers", lambda: answers(proxy))
        wait_for("every node is reached", lambda: serves(proxy))

        rows, failed = [], []
        for driver in drivers(folder):
            done = subprocess.run([*driver, str(proxy)], stdout=subprocess.PIPE, text=True, timeout=120,
                                  check=False)
            if done.returncode:
                failed.append(f"{driver[-1]} ended with {done.returncode}")
            for line in done.stdout.splitlines():
                row = json.loads(line)
                rows.append(row)
                for check, seen in row["checks"].items():
                    print(f"{row['client']} {row['version']}: {check}: {seen}")
                    if seen != "yes":
                        failed.append(f"{row['client']}: {check}: {seen}")
        if failed:
            sys.exit("\n".join(failed))
        if os.environ.get("KEYWAY_REWRITE"):
            (ROOT / "docs" / "clients.md").write_text(page(rows), encoding="utf-8")
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
