#!/usr/bin/env python3
"""Publishing through the proxy: does every listener hear each message once, and how many a second?

    benches/publish.py [--load] target/dist/keyway redis-server [VALKEY]

Three servers form a cluster, a proxy before them; 1,000 channels, each of which 2 of 20 clients listen to; four
clients publish in pipelines of 32. With --load redis-benchmark asks the same proxy for other things meanwhile.
Every listener compares what it heard with what it should have: each message once, those of one publisher in
their order. For each kind of server: messages published and delivered per second, and the processor time of
the proxy and of each node per message published.
"""

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node_speed import processor_nanos  # noqa: E402

CHANNELS, LISTENERS, PUBLISHERS, DEPTH = 1000, 20, 4, 32
MESSAGE = re.compile(rb"\*3\r\n\$7\r\nmessage\r\n\$7\r\n(ch:\d{4})\r\n\$9\r\n(\d:\d{7})\r\n")


def free_port():
    while True:
        port = random.randrange(12000, 28000)
        try:
            for of in (port, port + 10000):
                socket.create_server(("127.0.0.1", of)).close()
            return port
        except OSError:
            pass


def connect(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def encode(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word.encode() if isinstance(word, str) else word
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def await_reply(port, words, found):
    for _ in range(600):
        try:
            with connect(port) as client:
                client.sendall(encode(*words))
                if found(client.recv(65536)):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("%s on port %d never answered as expected" % (" ".join(words), port))


def channel(publisher, number):
    return "ch:%04d" % ((number * 31 + publisher * 7) % CHANNELS)


def listens(listener, number):
    return listener in (number % LISTENERS, (number * 7 + 3) % LISTENERS)


class Listener(threading.Thread):
    def __init__(self, port, number, count):
        super().__init__()
        self.number, self.client = number, connect(port)
        own = {"ch:%04d" % at for at in range(CHANNELS) if listens(number, at)}
        self.client.sendall(encode("SUBSCRIBE", *sorted(own)))
        held = b""
        while not held.endswith(b":%d\r\n" % len(own)):
            held += self.client.recv(65536)
        self.expected = [list(own_of(publisher, own, count)) for publisher in range(PUBLISHERS)]
        self.wrong = None

    def run(self):
        expected = sum(map(len, self.expected))
        size = len(b"*3\r\n$7\r\nmessage\r\n$7\r\nch:0000\r\n$9\r\n0:0000000\r\n")
        self.client.settimeout(30)
        held = bytearray()
        try:
            while len(held) < expected * size:
                held += self.client.recv(1 << 20)
        except OSError as error:
            self.wrong = "%d of %d messages, then %s" % (len(held) // size, expected, error)
            return
        self.ended = time.monotonic()
        heard = [[] for _ in range(PUBLISHERS)]
        for name, text in MESSAGE.findall(bytes(held)):
            heard[int(text[:1])].append((name.decode(), int(text[2:])))
        if len(held) != expected * size or heard != self.expected:
            self.wrong = "listener %d heard something else than was published" % self.number


def own_of(publisher, own, count):
    for number in range(count):
        name = channel(publisher, number)
        if name in own:
            yield name, number


def publish(port, publisher, count, wrong):
    client = connect(port)
    replies = client.makefile("rb")
    for start in range(0, count, DEPTH):
        numbers = range(start, min(start + DEPTH, count))
        client.sendall(b"".join(
            encode("PUBLISH", channel(publisher, number), "%d:%07d" % (publisher, number)) for number in numbers))
        for number in numbers:
            heard = replies.readline()
            at = int(channel(publisher, number)[3:])
            count_of = len({at % LISTENERS, (at * 7 + 3) % LISTENERS})
            if heard != b":%d\r\n" % count_of:
                wrong.append("PUBLISH was answered %r, and not %d" % (heard, count_of))


def measure(binary, server, count, load):
    started = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            ports = [free_port() for _ in range(3)]
            for port in ports:
                own = os.path.join(folder, str(port))
                os.mkdir(own)
                started.append(subprocess.Popen(
                    [server, "--port", str(port), "--dir", own, "--cluster-enabled", "yes", "--save", "",
                     "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL))
                await_reply(port, ["PING"], lambda reply: reply == b"+PONG\r\n")
            nodes = ["127.0.0.1:%d" % port for port in ports]
            subprocess.run(["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"], check=True,
                           stdout=subprocess.DEVNULL)
            for port in ports:
                await_reply(port, ["CLUSTER", "INFO"], lambda reply: b"cluster_state:ok" in reply)
            port = free_port()
            proxy = subprocess.Popen([binary, "proxy", "--listen", "127.0.0.1:%d" % port, "--http",
                                      "127.0.0.1:0", nodes[0]],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            started.append(proxy)
            await_reply(port, ["DBSIZE"], lambda reply: reply.startswith(b":"))
            listeners = [Listener(port, number, count) for number in range(LISTENERS)]
            for listener in listeners:
                listener.start()
            bench = None
            if load:
                bench = subprocess.Popen(["redis-benchmark", "-p", str(port), "-t", "set,get,lpush", "-r", "100000",
                                          "-P", "4", "-c", "20", "-l", "-q"], stdout=subprocess.DEVNULL)
                started.append(bench)
            before = [processor_nanos(of.pid) for of in started[:4]]
            wrong, begun = [], time.monotonic()
            publishers = [threading.Thread(target=publish, args=(port, number, count, wrong))
                          for number in range(PUBLISHERS)]
            for thread in publishers:
                thread.start()
            for thread in publishers + listeners:
                thread.join()
            took = time.monotonic() - begun
            spent = [processor_nanos(of.pid) - then for of, then in zip(started[:4], before)]
            wrong += [listener.wrong for listener in listeners if listener.wrong]
            if wrong:
                sys.exit("%s: %d wrong: %s" % (server, len(wrong), "; ".join(wrong[:5])))
            total = count * PUBLISHERS
            delivered = sum(len(of) for listener in listeners for of in listener.expected)
            print("%s%s: %d messages, %d deliveries, each once and in order; %.0f published/s, %.0f delivered/s; "
                  "processor time per message: nodes %s us, proxy %.1f us" % (
                      os.path.basename(server), " under load" if load else "", total, delivered, total / took,
                      delivered / took, "/".join("%.1f" % (of / total / 1000) for of in spent[:3]),
                      spent[3] / total / 1000))
        finally:
            for of in reversed(started):
                of.kill()
                of.wait()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--messages", type=int, default=25000, help="of each publisher")
    options.add_argument("--load", action="store_true")
    options.add_argument("binary")
    options.add_argument("servers", nargs="+")
    options = options.parse_args()
    for server in options.servers:
        measure(options.binary, server, options.messages, options.load)


if __name__ == "__main__":
    main()
