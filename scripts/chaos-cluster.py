#!/usr/bin/env python3
"""Runs a cluster of real processes behind a proxy that cuts their connections, under writers, and checks that nothing is lost.

    scripts/chaos-cluster.py --server target/release/hyperbytedb [--faults 200] [--seed 1] [--nodes 3] [--namespaces]

Writers of each consistency level write points of their own, points that others write too, and new measurements, each time to some
node; another one makes databases. Meanwhile one fault follows the other: a node is killed, frozen, stopped in order, cut off from all
or from one, in both directions or in one: its requests do not arrive, or the answers to them. For root also: its disk is full, or
each sync of it takes long. From time to time all is made whole and left alone. Then, within some seconds, every point and database that was acknowledged must be on every node, and all nodes must
answer the same.

With --namespaces (root) each node has a network of its own, and packets are lost instead of requests.

The seed drives the choice of faults and writes, not their timing.
"""
import argparse
import asyncio
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from server import free_port

LEVELS = ("one", "quorum", "all")
WRITERS_OF_LEVEL = 2
SHARED_TIMES = 40
REQUEST_SECONDS = 6
START_SECONDS = 60
# What all nodes should agree within, once they are left alone; and what they must: the machine may be busy.
BAR_SECONDS = 10
QUIET_SECONDS = 30
# Of a node's disk, where it is one that can be full.
DISK_MB = 600
SYNC_DELAY_MS = 300
# Ended because it cannot go on.
FAILED = 70
SETTINGS = {
    "FLUSH__INTERVAL_SECS": "1",
    "FLUSH__SMALL_INTERVAL_SECS": "1",
    "FLUSH__MAX_ROWS": "400",
    "FLUSH__CHECKPOINT_INTERVAL_SECS": "1",
    "CLUSTER__ENABLED": "true",
    "CLUSTER__SECRET": "chaos",
    "CLUSTER__WRITE_TIMEOUT_SECS": "2",
    "CLUSTER__PROPOSE_TIMEOUT_SECS": "3",
    "LOGGING__LEVEL": "warn",
    # So that a full disk is one.
    "STORAGE__MIN_FREE_BYTES": "0",
    "STORAGE__WARN_FREE_BYTES": "0",
}
NODE_HEADER = re.compile(rb"^x-hyperbytedb-node: *(\d+)", re.I | re.M)


class Finding(Exception):
    """The cluster is wrong."""


class Links:
    """Between the nodes: a port in front of each, which knows who speaks and holds back what it is told to."""

    def __init__(self, targets):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.held = {}  # (from, to): what is held back, "requests" or "answers"
        self.connections = set()
        self.ports = {}
        for node, port in targets.items():
            self.ports[node] = self.call(self.listen(node, port))

    def call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def listen(self, node, target):
        async def serve(reader, writer):
            await self.serve(node, target, reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return server.sockets[0].getsockname()[1]

    async def serve(self, node, target, reader, writer):
        sockets = [writer]
        self.connections.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            sender = NODE_HEADER.search(head)
            link = (int(sender.group(1)) if sender else 0, node)
            if self.held.get(link) != "requests":
                there, there_writer = await asyncio.open_connection("127.0.0.1", target)
                sockets.append(there_writer)
                self.connections.add(there_writer)
                there_writer.write(head)
                await asyncio.wait(
                    [
                        asyncio.ensure_future(self.pass_on(link, "requests", reader, there_writer)),
                        asyncio.ensure_future(self.pass_on(link, "answers", there, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            else:
                await reader.read()
        for socket in sockets:
            self.connections.discard(socket)
            socket.close()

    async def pass_on(self, link, what, reader, writer):
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                # What was held back never comes: it is lost, and the connection with it, when the link is whole again.
                while self.held.get(link) == what:
                    await asyncio.sleep(0.05)
                    if self.held.get(link) != what:
                        return
                writer.write(piece)
                await writer.drain()

    def hold(self, links, what):
        self.held.update({link: what for link in links})

    def heal(self):
        self.held.clear()

        async def close():
            for writer in list(self.connections):
                writer.transport.abort()

        self.call(close())


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Namespaces:
    """Between the nodes: a network for each, on one bridge. What is held back are packets."""

    def __init__(self, numbers):
        self.id = os.getpid()
        self.numbers, self.lost = list(numbers), []
        self.bridge = f"chaos{self.id}"
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", "10.213.0.254/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        for number in self.numbers:
            name, outside = self.name(number), f"c{self.id}n{number}"
            run("ip", "netns", "add", name)
            run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", outside, "master", self.bridge, "up")
            run("ip", "-n", name, "address", "add", f"{self.host(number)}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")

    def name(self, number):
        return f"chaos{self.id}-{number}"

    def host(self, number):
        return f"10.213.0.{number}"

    def hold(self, links, what):
        for link in links:
            source, target = link if what == "requests" else link[::-1]
            run("ip", "-n", self.name(source), "route", "add", "blackhole", self.host(target))
            self.lost.append((source, target))

    def heal(self):
        for source, target in self.lost:
            run("ip", "-n", self.name(source), "route", "del", "blackhole", self.host(target))
        self.lost = []

    def close(self):
        for number in self.numbers:
            run("ip", "netns", "del", self.name(number))
        run("ip", "link", "del", self.bridge)


class Disk:
    """Of a node, in memory: it can be full."""

    def __init__(self, directory):
        self.directory = directory
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", directory)

    def fill(self):
        with contextlib.suppress(OSError), open(os.path.join(self.directory, "ballast"), "wb", buffering=0) as ballast:
            while ballast.write(bytes(1 << 16)):
                pass

    def free(self):
        os.remove(os.path.join(self.directory, "ballast"))

    def close(self):
        run("umount", "-l", self.directory)


class Node:
    def __init__(self, number, binary, directory, host, cluster_port, prefix, environment):
        self.number, self.binary = number, binary
        self.directory = os.path.join(directory, str(number))
        self.log = f"{self.directory}.log"
        os.makedirs(self.directory)
        self.disk = None
        self.host, self.http, self.cluster_port = host, free_port(), cluster_port
        self.prefix, self.environment = prefix, environment
        self.process = None

    def start(self):
        settings = {
            **SETTINGS,
            **self.environment,
            "SERVER__BIND_ADDRESS": self.host,
            "SERVER__PORT": str(self.http),
            "STORAGE__DATA_DIR": os.path.join(self.directory, "data"),
            "CLUSTER__NODE_ID": str(self.number),
            "CLUSTER__BIND_ADDRESS": f"{self.host}:{self.cluster_port}",
        }
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, self.binary, "serve"],
                env={**os.environ, **{f"HYPERBYTEDB__{key}": value for key, value in settings.items()}},
                stdout=log, stderr=log,
            )

    def wait(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Finding(f"node {self.number} ended with {self.process.returncode} while it started")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/health/ready", {})[0] == 200:
                    return
            time.sleep(0.05)
        raise Finding(f"node {self.number} is not ready after {START_SECONDS} s")

    def ask(self, method, path, parameters, body=b""):
        connection = http.client.HTTPConnection(self.host, self.http, timeout=REQUEST_SECONDS)
        try:
            connection.request(method, f"{path}?{urllib.parse.urlencode(parameters)}", body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def rows(self, statement):
        status, answer = self.ask("GET", "/query", {"db": "db", "epoch": "ns", "q": statement})
        result = json.loads(answer)["results"][0] if status == 200 else {"error": answer.decode()}
        if "error" in result:
            raise OSError(f"node {self.number}: {statement}: {result['error']}")
        return result.get("series", [])

    def signal(self, number):
        self.process.send_signal(number)

    def is_healthy(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/health", {})[0] == 200
        return False


def end_in_order():
    """So that the nodes are ended, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


class Cluster:
    def __init__(self, binary, directory, count, has_namespaces=False, has_small_disks=False, has_links=True):
        numbers = range(1, count + 1)
        ports = {number: free_port() for number in numbers}
        self.links = None
        if has_links:
            self.links = Namespaces(numbers) if has_namespaces else Links(ports)
        self.nodes = []
        try:
            for number in numbers:
                node = self.node(number, binary, directory, ports, has_namespaces)
                self.nodes.append(node)
                if has_small_disks:
                    node.disk = Disk(node.directory)
                node.start()
                node.wait()
        except BaseException:
            self.end()
            raise

    def node(self, number, binary, directory, ports, has_namespaces):
        def address(number):
            if has_namespaces:
                return f"{self.links.host(number)}:{ports[number]}"
            return f"127.0.0.1:{(self.links.ports if self.links else ports)[number]}"

        environment = {
            "CLUSTER__ADVERTISE_ADDRESS": address(number),
            "CLUSTER__JOIN": json.dumps([] if number == 1 else [address(1)]),
        }
        host = self.links.host(number) if has_namespaces else "127.0.0.1"
        prefix = ["ip", "netns", "exec", self.links.name(number)] if has_namespaces else []
        return Node(number, binary, directory, host, ports[number], prefix, environment)

    def end(self):
        for node in self.nodes:
            if node.process:
                node.process.kill()
                node.process.wait()
            if node.disk:
                node.disk.close()
        if isinstance(self.links, Namespaces):
            self.links.close()


class Client(threading.Thread):
    """Asks some node for something, again and again, and pauses when it is told to."""

    def __init__(self, cluster, seed):
        super().__init__(daemon=True)
        self.cluster, self.random = cluster, random.Random(seed)
        self.pause, self.idle = threading.Event(), threading.Event()
        self.failed = 0

    def run(self):
        step = 0
        while True:
            if self.pause.is_set():
                self.idle.set()
                time.sleep(0.02)
                continue
            self.idle.clear()
            step += 1
            try:
                is_done = self.ask(self.random.choice(self.cluster.nodes), step)
            except (OSError, http.client.HTTPException):
                is_done = False
            self.failed += not is_done
            time.sleep(self.wait_seconds(is_done))


class Writer(Client):
    """Writes points and remembers what was acknowledged."""

    def __init__(self, cluster, number, level, seed):
        super().__init__(cluster, f"{seed} {number}")
        self.number, self.level = number, level
        self.acknowledged = {}

    def ask(self, node, step):
        lines = [f"m,w={self.number} v={step}i {step}"]
        lines.append(f"shared,k={self.random.randrange(3)} f{self.random.randrange(3)}={step}i {self.random.randrange(SHARED_TIMES)}")
        if self.random.random() < 0.02:
            lines.append(f"new{self.number}_{step} v=1i 1")
        status, answer = node.ask("POST", "/write", {"db": "db", "consistency": self.level}, "\n".join(lines).encode())
        if status == 204:
            self.acknowledged[step] = step
        elif 400 <= status < 500:
            raise Finding(f"a write is refused: {status} {answer[:200]}")
        return status == 204

    def wait_seconds(self, is_done):
        return self.random.random() * 0.02 + (0 if is_done else 0.05)


class Schemer(Client):
    """Makes databases and remembers which there are."""

    def __init__(self, cluster, seed):
        super().__init__(cluster, f"{seed} schema")
        self.acknowledged = set()

    def ask(self, node, step):
        status, answer = node.ask("POST", "/query", {"q": f"CREATE DATABASE made{step}"})
        is_done = status == 200 and b"error" not in answer
        if is_done:
            self.acknowledged.add(f"made{step}")
        return is_done

    def wait_seconds(self, _):
        return 0.3


def fill_disk(node, seconds):
    """A node that does not go on behind it is started again."""
    node.disk.fill()
    time.sleep(seconds)
    node.disk.free()
    ended = node.process.poll()
    if ended not in (None, FAILED):
        raise Finding(f"node {node.number} ended with {ended} on a full disk")
    if ended is None and not node.is_healthy():
        node.signal(signal.SIGKILL)
        node.process.wait()
    if node.process.poll() is not None:
        node.start()
        node.wait()


def slow_disk(node, seconds):
    syncs = "fsync,fdatasync"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(node.process.pid),
               "-e", f"trace={syncs}", "-e", f"inject={syncs}:delay_enter={SYNC_DELAY_MS}ms"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as slowing:
        time.sleep(seconds)
        slowing.terminate()


def fault(cluster, choices):
    """Does some harm and undoes it after a while."""
    node = choices.choice(cluster.nodes)
    others = [other for other in cluster.nodes if other is not node]
    other = choices.choice(others)
    seconds = 0.2 + 3 * choices.random()
    kinds = {"kill": 4, "freeze": 2, "stop": 1, "isolate": 2, "deaf": 1, "mute": 1, "cut": 2, "unanswered": 2}
    if node.disk:
        kinds["full disk"] = 2
    if node.disk and shutil.which("strace"):
        kinds["slow disk"] = 2
    kind = choices.choices(list(kinds), kinds.values())[0]
    number, pair = node.number, (node.number, other.number)
    to = [(number, other.number) for other in others]
    of = [(other.number, number) for other in others]
    print(f"  {kind} node {number}{f' and {other.number}' if kind in ('cut', 'unanswered') else ''} for {seconds:.1f} s", flush=True)
    if kind in ("kill", "stop"):
        node.signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
        node.process.wait(60)
        time.sleep(seconds)
        node.start()
        if choices.random() < 0.3:
            time.sleep(choices.random())
            node.signal(signal.SIGKILL)
            node.process.wait()
            node.start()
        node.wait()
        return None
    if kind == "full disk":
        return fill_disk(node, seconds)
    if kind == "slow disk":
        return slow_disk(node, seconds)
    if kind == "freeze":
        node.signal(signal.SIGSTOP)
    elif kind == "isolate":
        cluster.links.hold(to + of, "requests")
    elif kind == "deaf":
        cluster.links.hold(of, "requests")
    elif kind == "mute":
        cluster.links.hold(to, "requests")
    elif kind == "cut":
        cluster.links.hold([pair, pair[::-1]], "requests")
    else:
        cluster.links.hold([pair], "answers")
    time.sleep(seconds)
    if kind == "freeze":
        node.signal(signal.SIGCONT)
    else:
        cluster.links.heal()
    if choices.random() < 0.5:
        time.sleep(choices.random())


def check(cluster, writers, schemer):
    """Lets nobody write, and compares. Returns the seconds until all agreed."""
    for thread in [*writers, schemer]:
        if not thread.is_alive():
            raise Finding("a writer has ended: see above")
        thread.pause.set()
    for thread in [*writers, schemer]:
        thread.idle.wait()
    for node in cluster.nodes:
        node.wait()
    begun, wrong = time.monotonic(), None
    while time.monotonic() < begun + QUIET_SECONDS:
        try:
            wrong = differences(cluster, writers, schemer)
        except (OSError, http.client.HTTPException) as error:
            wrong = str(error)
        if not wrong:
            break
        time.sleep(0.1)
    if wrong:
        raise Finding(f"after {QUIET_SECONDS} s of quiet: {wrong}")
    seconds = time.monotonic() - begun
    for thread in [*writers, schemer]:
        thread.pause.clear()
    return seconds


def differences(cluster, writers, schemer):
    answers = {}
    for node in cluster.nodes:
        databases = {row[0] for row in node.rows("SHOW DATABASES")[0]["values"]}
        if missing := schemer.acknowledged - databases:
            return f"node {node.number} lacks databases {sorted(missing)[:5]}"
        points = {series["tags"]["w"]: {row[0]: row[1] for row in series["values"]} for series in node.rows("SELECT v FROM m GROUP BY w")}
        for writer in writers:
            there = points.get(str(writer.number), {})
            missing = [step for step, value in writer.acknowledged.items() if there.get(step) != value]
            if missing:
                return f"node {node.number} lacks {len(missing)} points acknowledged at {writer.level}: {missing[:5]}"
        answers[node.number] = (databases, points, node.rows("SELECT * FROM shared GROUP BY k"), node.rows("SHOW MEASUREMENTS"))
    first = answers[1]
    for number, answer in answers.items():
        for what, one, other in zip(("databases", "m", "shared", "measurements"), first, answer):
            if one != other:
                return f"nodes 1 and {number} differ in {what}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--namespaces", action="store_true")
    options = parser.parse_args()
    end_in_order()
    choices = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="chaos-cluster-") as directory:
        cluster = Cluster(os.path.abspath(options.server), directory, options.nodes, options.namespaces, os.geteuid() == 0)
        try:
            status, answer = cluster.nodes[0].ask("POST", "/query", {"q": "CREATE DATABASE db"})
            if status != 200 or b"error" in answer:
                raise Finding(f"CREATE DATABASE: {answer}")
            for node in cluster.nodes:
                while not any(row[0] == "db" for row in node.rows("SHOW DATABASES")[0]["values"]):
                    time.sleep(0.05)
            writers = [
                Writer(cluster, number, level, options.seed)
                for number, level in enumerate(LEVELS * WRITERS_OF_LEVEL)
            ]
            schemer = Schemer(cluster, options.seed)
            for thread in [*writers, schemer]:
                thread.start()
            quiet = []
            for number in range(1, options.faults + 1):
                fault(cluster, choices)
                if number % 5 == 0 or number == options.faults:
                    seconds = check(cluster, writers, schemer)
                    quiet.append(seconds)
                    points = sum(len(writer.acknowledged) for writer in writers)
                    print(f"{number} faults: {points} points acknowledged, all agree after {seconds:.1f} s", flush=True)
            for level in LEVELS:
                mine = [writer for writer in writers if writer.level == level]
                print(f"{level}: {sum(len(w.acknowledged) for w in mine)} writes acknowledged, {sum(w.failed for w in mine)} failed")
            print(f"{options.faults} faults, nothing lost; all agreed after {sorted(quiet)[len(quiet) // 2]:.1f} s of quiet (median), "
                  f"{max(quiet):.1f} s at the latest; {sum(seconds <= BAR_SECONDS for seconds in quiet)} of {len(quiet)} times within {BAR_SECONDS} s")
        except Finding as finding:
            print(f"FOUND: {finding}", file=sys.stderr)
            for node in cluster.nodes:
                with open(node.log, encoding="utf-8", errors="replace") as log:
                    print(f"--- node {node.number}\n{''.join(log.readlines()[-15:])}", file=sys.stderr)
            raise SystemExit(1) from None
        finally:
            for node in cluster.nodes:
                node.signal(signal.SIGCONT)
            cluster.end()


if __name__ == "__main__":
    main()
