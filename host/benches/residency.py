#!/usr/bin/env python3
"""What handlers cost that are deployed: start-up, memory, and service under Zipf traffic.

    cargo build --release --workspace --bins
    python3 host/benches/residency.py [--program target/release/wasmux] [PART…]

Parts: examples, many, zipf, fresh (Zipf, with modules that cannot be put back), idle; without any, all of them. Modules are made by adding a custom section to the example
`hello`, so that each has bytes, and code, of its own. CPU time is that of the server process, from /proc; everything
runs against a cache that an earlier start has filled, in target/residency (the first run compiles for minutes). Figures are
the lowest of several rounds: the machine is not alone.
"""

import argparse
import bisect
import contextlib
import itertools
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITES = ROOT / "target/residency"
HELLO = ROOT / "target/wasm32-wasip1/guest/hello.wasm"
MODULE = SITES / "hello.wasm"
IDLE_MAX = 12  # seconds, after which instances that nobody wants have gone
EXAMPLES = ["hello", "time", "bye", "users", "echo", "events", "upload", "report"]


def leb128(number):
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded + bytes([number]))


def distinct(wasm, number):
    """The module with a custom section that no other has."""
    name = b"number"
    content = leb128(len(name)) + name + str(number).encode()
    return wasm + b"\0" + leb128(len(content)) + content


def read_leb128(wasm, at):
    number = shift = 0
    while True:
        byte = wasm[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def not_restorable(wasm):
    """The module with a global that nobody can put back, so that each request gets an instance that is made for it."""
    at, changed = 8, bytearray(wasm[:8])
    while at < len(wasm):
        section = wasm[at]
        size, content = read_leb128(wasm, at + 1)
        data = wasm[content : content + size]
        if section == 6:
            count, first = read_leb128(data, 0)
            # A mutable funcref that is null.
            data = leb128(count + 1) + data[first:] + b"\x70\x01\xd0\x70\x0b"
        changed += bytes([section]) + leb128(len(data)) + data
        at = content + size
    return bytes(changed)


def site(count, restorable=True):
    """A folder with a deployment of so many distinct modules, each on a path of its own."""
    folder = SITES / f"{count}{'' if restorable else '-fresh'}"
    folder.mkdir(parents=True, exist_ok=True)
    wasm = MODULE.read_bytes() if restorable else not_restorable(MODULE.read_bytes())
    routes = ['[server]\ncache = "../cache"\nmax_connections = 20000']
    for number in range(count):
        (folder / f"{number}.wasm").write_bytes(distinct(wasm, number))
        routes.append(f'[handlers.h{number}]\nwasm = "{number}.wasm"')
    routes.append("[routes]")
    routes += [f'"GET /{number}/{{name}}" = "h{number}"' for number in range(count)]
    (folder / "routes.toml").write_text("\n".join(routes))
    return folder


def examples():
    """A folder with the sample deployment, of files."""
    folder = SITES / "examples"
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    text = (ROOT / "routes.toml").read_text()
    for name in EXAMPLES:
        shutil.copy(HELLO.with_name(f"{name}.wasm"), folder)
        text = text.replace(f'"examples/{name}"', f'"{name}.wasm"')
    (folder / "routes.toml").write_text(text.replace("[server]", '[server]\ncache = "../cache"'))
    return folder


class Server:
    """A running `wasmux serve`, and how long it took to listen."""

    def __init__(self, program, folder):
        self.began = time.perf_counter()
        command = [program, "serve", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.listening = time.perf_counter() - self.began
        host, port = line.rsplit("/", 1)[-1].strip().rsplit(":", 1)
        self.address = (host, int(port))

    def connect(self):
        return Client(self.address)

    def status(self, key):
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))

    def rss(self):
        """Resident memory, in KiB: all of it, and what is not backed by files (the code is)."""
        return self.status("VmRSS"), self.status("RssAnon") + self.status("RssShmem")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Client:
    """One connection that is kept alive."""

    def __init__(self, address):
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        self.socket.sendall(b"GET %s HTTP/1.1\r\nhost: bench\r\n\r\n" % path.encode())
        response = self.socket.recv(4096)
        # Small ones, which come in one piece.
        if not response.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{path}: {response!r}")


@contextlib.contextmanager
def serving(program, folder):
    server = Server(program, folder)
    try:
        yield server
    finally:
        server.end()


def start_up(program, folder, path, rounds):
    """The shortest times to the line `listening` and to the first response, in milliseconds."""
    listening, answered = [], []
    for _ in range(rounds):
        with serving(program, folder) as server:
            server.connect().get(path)
            answered.append(time.perf_counter() - server.began)
            listening.append(server.listening)
    return min(listening) * 1e3, min(answered) * 1e3


def part_examples(program, rounds):
    folder = examples()
    start_up(program, folder, "/hello/x", 1)
    listening, answered = start_up(program, folder, "/hello/x", rounds)
    print(f"examples: listening after {listening:.0f} ms, first response after {answered:.0f} ms")
    with serving(program, folder) as server:
        idle = server.rss()
        client = server.connect()
        for path in ["/hello/x", "/time/", "/bye", "/users/"]:
            client.get(path)
        print(f"examples: RSS {mib(idle)} idle, {mib(server.rss())} after one request to four of them")


def part_many(program, rounds, count=1000):
    folder = site(count)
    began = time.perf_counter()
    start_up(program, folder, "/0/x", 1)
    print(f"{count} modules: the first start took {time.perf_counter() - began:.1f} s")
    listening, answered = start_up(program, folder, "/0/x", rounds)
    print(f"{count} modules: listening after {listening:.0f} ms, first response after {answered:.0f} ms")
    with serving(program, folder) as server:
        client = server.connect()
        client.get("/0/x")
        before, times = server.rss(), []
        for number in range(1, count):
            began = time.perf_counter()
            client.get(f"/{number}/x")
            times.append(time.perf_counter() - began)
        used = server.rss()
        time.sleep(IDLE_MAX)
        idle = server.rss()
    times.sort()
    median, high = (times[int(len(times) * part)] * 1e6 for part in (0.5, 0.99))
    print(f"{count} modules: first request of each: median {median:.0f} µs, 99 % {high:.0f} µs")
    for state, rss in [("just used", used), ("idle", idle)]:
        each, anonymous = ((now - then) / (count - 1) for then, now in zip(before, rss))
        print(
            f"{count} modules: RSS {mib(before)} with one in use, {mib(rss)} with all {state}: {each:.0f} KiB each, "
            f"{anonymous:.0f} of them anonymous"
        )


def zipf(count, exponent=1.0):
    """Numbers below `count`, the smaller the more often."""
    sums = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(count)))
    choice = random.Random(1)
    while True:
        yield min(bisect.bisect(sums, choice.random() * sums[-1]), count - 1)


def part_fresh(program, rounds):
    part_zipf(program, rounds, restorable=False)


def part_zipf(program, rounds, counts=(1, 100, 1000), requests=20000, restorable=True):
    with contextlib.ExitStack() as stack:
        runs = []
        for count in counts:
            server = stack.enter_context(serving(program, site(count, restorable)))
            client = server.connect()
            for number in range(count):
                client.get(f"/{number}/x")
            paths = [f"/{number}/x" for number in itertools.islice(zipf(count), requests)]
            runs.append((count, server, client, paths, []))
        for _ in range(rounds):
            for _, server, client, paths, results in runs:
                cpu, began = server.cpu(), time.perf_counter()
                for path in paths:
                    client.get(path)
                results.append(((server.cpu() - cpu) / requests, (time.perf_counter() - began) / requests))
        for count, *_, results in runs:
            cpu, wall = (min(values) * 1e6 for values in zip(*results))
            made = "" if restorable else " (instances made for each request)"
            print(f"Zipf over {count} modules{made}: {cpu:.1f} µs of CPU a request, {wall:.1f} µs from end to end")


def part_idle(program, _rounds, count=10000):
    with serving(program, site(1)) as server:
        clients = [server.connect()]
        clients[0].get("/0/x")
        before = server.rss()
        for _ in range(count):
            client = server.connect()
            client.get("/0/x")
            clients.append(client)
        print(f"{count} idle connections: RSS {mib(before)} before, {mib(server.rss())} with them")


def mib(rss):
    return f"{rss[0] / 1024:.1f} MiB ({rss[1] / 1024:.1f} anonymous)"


def main():
    parts = {"examples": part_examples, "many": part_many, "zipf": part_zipf, "fresh": part_fresh, "idle": part_idle}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "target/release/wasmux", type=pathlib.Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], metavar="PART", help=", ".join(parts))
    args = parser.parse_args()
    if not HELLO.exists():
        raise SystemExit(f"{HELLO} is missing: build the examples first, `wasmux build`")
    SITES.mkdir(exist_ok=True)
    if not MODULE.exists():
        shutil.copy(HELLO, MODULE)  # whatever is built meanwhile: what was compiled from it is to be found again
    for part in args.parts or parts:
        parts[part](args.program.resolve(), args.rounds)


if __name__ == "__main__":
    main()
