#!/usr/bin/env python3
"""Measures how fast a node of a cluster of three catches up that was away while the others took points.

    scripts/bench-cluster.py --server target/release/hyperbytedb [--points 2000000] [--fields 10]

Node 3 is stopped, node 1 takes the points in bodies of 5,000 lines, node 3 is started. From then on the time is taken until
node 3 has all of them; meanwhile node 1 answers a small query again and again.
"""
import argparse
import importlib
import os
import signal
import tempfile
import threading
import time

chaos = importlib.import_module("chaos-cluster")
LINES = 5_000


def body(first, fields):
    values = lambda n: ",".join(f"f{k}={(n * 31 + k * 7) % 1009 / 8}" for k in range(fields))
    return "\n".join(f"m,h=h{n % 1000} {values(n)} {n // 1000}" for n in range(first, first + LINES)).encode()


def count(node):
    series = node.rows("SELECT count(f0) FROM m")
    return series[0]["values"][0][1] if series else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--fields", type=int, default=10)
    options = parser.parse_args()
    chaos.end_in_order()
    chaos.SETTINGS = {key: value for key, value in chaos.SETTINGS.items() if not key.startswith("FLUSH")}
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as directory:
        cluster = chaos.Cluster(os.path.abspath(options.server), directory, 3)
        first, _, away = cluster.nodes
        try:
            first.ask("POST", "/query", {"q": "CREATE DATABASE db"})
            while first.ask("POST", "/write", {"db": "db", "consistency": "all"}, b"m,h=h0 f0=0 0")[0] != 204:
                time.sleep(0.1)
            away.signal(signal.SIGTERM)
            away.process.wait()
            begun = time.monotonic()
            for number in range(0, options.points, LINES):
                status, answer = first.ask(
                    "POST", "/write", {"db": "db", "precision": "s", "consistency": "one"}, body(number, options.fields))
                while status == 503:
                    time.sleep(0.1)
                    status, answer = first.ask("POST", "/write", {"db": "db", "precision": "s"}, body(number, options.fields))
                if status != 204:
                    raise SystemExit(f"a write failed: {status} {answer[:200]}")
            expected = count(first)
            print(f"node 1 took {expected} points in {time.monotonic() - begun:.1f} s")
            over, times = threading.Event(), []

            def ask():
                while not over.is_set():
                    asked = time.monotonic()
                    first.rows("SELECT mean(f0) FROM m WHERE h = 'h7' AND time >= 0 AND time < 100s")
                    times.append(time.monotonic() - asked)
                    time.sleep(0.02)

            asking = threading.Thread(target=ask)
            begun = time.monotonic()
            away.start()
            asking.start()
            listening = None
            while True:
                try:
                    if count(away) == expected:
                        break
                    listening = listening or time.monotonic()
                except OSError:
                    pass
                time.sleep(0.05)
            seconds = time.monotonic() - begun
            over.set()
            asking.join()
            times.sort()
            print(f"node 3 had all {expected} points {seconds:.1f} s after its start: {expected / seconds:,.0f} points/s")
            if times:
                print(f"queries to node 1 meanwhile: p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms")
        finally:
            cluster.kill()


if __name__ == "__main__":
    main()
