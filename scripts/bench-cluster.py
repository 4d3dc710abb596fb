#!/usr/bin/env python3
"""Measures a cluster of three: how fast a node catches up that was away while the others took points, what replication costs, and how
soon the schema can be changed again when the leader is gone.

    scripts/bench-cluster.py --server target/release/hyperbytedb [--points 2000000] [--fields 10] [--only cost|catch-up|failover]

Cost: 60 bodies of 5,000 lines are written to a node of its own, and to one of three; the CPU of all processes is taken until each has
all points. Catch-up: node 3 is stopped, node 1 takes the points, node 3 is started, on another core. From then on the time is taken until
node 1 says that node 3 has all of them; then they are counted there. Meanwhile node 1 answers a small query again and again, as it did a moment before.

Failover: the leader is killed (-9), and another node is asked for a new database at once; the time is taken until it answers.
"""
import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from server import cpu_seconds

chaos = importlib.import_module("chaos-cluster")
LINES = 5_000
COST_POINTS = 300_000
COST_RUNS = 3
# Until what was written before is stored.
SETTLE_SECONDS = 15
FAILOVERS = 10


def body(first, fields):
    values = lambda n: ",".join(f"f{k}={(n * 31 + k * 7) % 1009 / 8}" for k in range(fields))
    return "\n".join(f"m,h=h{n % 1000} {values(n)} {n // 1000}" for n in range(first, first + LINES)).encode()


def count_of(node):
    series = node.rows("SELECT count(f0) FROM m")
    return series[0]["values"][0][1] if series else 0


def lacks_records(node, other):
    """As a node says of another one. To count its points would have all of them flushed, again and again."""
    with contextlib.suppress(OSError):
        status, answer = node.ask("GET", "/cluster/nodes", {})
        nodes = json.loads(answer)["nodes"] if status == 200 else []
        return not any(one["id"] == other.number and one["state"] == "ready" and one["lag_records"] == 0 for one in nodes)
    return True


def write(node, number, fields, level):
    while True:
        status, answer = node.ask("POST", "/write", {"db": "db", "precision": "s", "consistency": level}, body(number, fields))
        if status == 204:
            return
        if status != 503:
            raise SystemExit(f"a write failed: {status} {answer[:200]}")
        time.sleep(0.1)


def cpu_seconds_of(nodes):
    return sum(cpu_seconds(node.process.pid) for node in nodes)


@contextlib.contextmanager
def cluster_of(binary, count, **options):
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as directory:
        cluster = chaos.Cluster(os.path.abspath(binary), directory, count, **options)
        try:
            first = cluster.nodes[0]
            first.ask("POST", "/query", {"q": "CREATE DATABASE db"})
            while first.ask("POST", "/write", {"db": "db", "consistency": "all"}, b"m,h=h0 f0=0 0")[0] != 204:
                time.sleep(0.1)
            yield cluster.nodes
        finally:
            cluster.end()


def cost(options, count):
    """CPU of all nodes, and the median time of a body."""
    with cluster_of(options.server, count) as nodes:
        for number in range(0, COST_POINTS, LINES):  # the schema, series and connections
            write(nodes[0], number, options.fields, "one")
        time.sleep(SETTLE_SECONDS)
        begun, times = cpu_seconds_of(nodes), []
        for number in range(COST_POINTS, 2 * COST_POINTS, LINES):
            asked = time.monotonic()
            write(nodes[0], number, options.fields, "one")
            times.append(time.monotonic() - asked)
        expected = count_of(nodes[0])
        while any(count_of(node) != expected for node in nodes):
            time.sleep(0.1)
        return cpu_seconds_of(nodes) - begun, sorted(times)[len(times) // 2] * 1000


def measure_cost(options):
    runs = [(cost(options, 1), cost(options, 3)) for _ in range(COST_RUNS)]
    alone, of_three = (min(run[which][0] for run in runs) for which in (0, 1))
    print(f"{COST_POINTS} points: {alone:.2f} s of CPU on one node, {of_three:.2f} s on three: {of_three / alone:.2f} times")
    alone, of_three = (min(run[which][1] for run in runs) for which in (0, 1))
    print(f"a body takes {alone:.1f} ms on a node of its own, {of_three:.1f} ms at `one` of three")


def ask_until(node, over):
    """Times of a small query, in milliseconds."""
    times = []
    while not over():
        asked = time.monotonic()
        node.rows("SELECT mean(f0) FROM m WHERE h = 'h7' AND time >= 0 AND time < 100s")
        times.append((time.monotonic() - asked) * 1000)
        time.sleep(0.02)
    return sorted(times)


def percentiles(times):
    return f"p50 {times[len(times) // 2]:.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms"


def pin(node, core):
    """A cluster's nodes have machines of their own: the one that catches up and the one that answers share no core here."""
    subprocess.run(["taskset", "-a", "-c", "-p", str(core), str(node.process.pid)], check=True, stdout=subprocess.DEVNULL)


def catch_up(options):
    with cluster_of(options.server, 3) as (first, second, away):
        away.signal(signal.SIGTERM)
        away.process.wait()
        begun = time.monotonic()
        for number in range(0, options.points, LINES):
            write(first, number, options.fields, "one")
        expected = count_of(first)
        print(f"node 1 took {expected} points in {time.monotonic() - begun:.1f} s")
        pin(first, 0)
        pin(second, 1)
        away.prefix = ["taskset", "-c", "1"]
        time.sleep(5)
        until = time.monotonic() + 10
        print(f"queries to node 1 before: {percentiles(ask_until(first, lambda: time.monotonic() > until))}")
        over, times = threading.Event(), []
        asking = threading.Thread(target=lambda: times.extend(ask_until(first, over.is_set)))
        asking.start()
        begun = time.monotonic()
        away.start()
        while lacks_records(first, away):
            time.sleep(0.05)
        seconds = time.monotonic() - begun
        if count_of(away) != expected:
            raise SystemExit(f"node 3 has {count_of(away)} of {expected} points, and lacks no records")
        over.set()
        asking.join()
        print(f"node 3 had all {expected} points {seconds:.1f} s after its start: {expected / seconds:,.0f} points/s")
        print(f"queries to node 1 meanwhile: {percentiles(times)}")


def leader_of(nodes):
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            number = json.loads(nodes[0].ask("GET", "/cluster/leader", {})[1])["id"]
            return next(node for node in nodes if node.number == number)
        time.sleep(0.05)


def failover(options):
    # Without what stands in between, whose connections outlive a node.
    with cluster_of(options.server, 3, has_links=False) as nodes:
        seconds, on_their_way = [], 0
        for number in range(FAILOVERS):
            leader = leader_of(nodes)
            other = next(node for node in nodes if node is not leader)
            leader.signal(signal.SIGKILL)
            leader.process.wait()
            begun = time.monotonic()
            # It waits for a leader itself.
            status, answer = other.ask("POST", "/query", {"q": f"CREATE DATABASE failover{number}"})
            if b"may still take effect" in answer:
                on_their_way += 1  # to the leader that is gone: nobody knows what became of it
            elif status != 200 or b"error" in answer:
                raise SystemExit(f"no change of the schema: {status} {answer[:200]}")
            else:
                seconds.append(time.monotonic() - begun)
            leader.start()
            leader.wait()
        seconds.sort()
        print(f"the schema is changed {seconds[len(seconds) // 2]:.1f} s after a kill -9 of the leader, "
              f"{seconds[-1]:.1f} s at the latest of {len(seconds)}; {on_their_way} had gone to it and failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--fields", type=int, default=10)
    parser.add_argument("--only", choices=("cost", "catch-up", "failover"))
    options = parser.parse_args()
    chaos.end_in_order()
    # A change waits for a leader as long as a server lets it by default.
    chaos.REQUEST_SECONDS = 30
    chaos.SETTINGS = {key: value for key, value in chaos.SETTINGS.items() if not key.startswith(("FLUSH", "STORAGE", "CLUSTER__PROPOSE"))}
    for name, measure in (("cost", measure_cost), ("catch-up", catch_up), ("failover", failover)):
        if options.only in (None, name):
            measure(options)


if __name__ == "__main__":
    main()
