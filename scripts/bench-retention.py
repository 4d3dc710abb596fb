#!/usr/bin/env python3
"""Measures what retention costs, and whether points go when they expire.

    scripts/bench-retention.py --server target/release/hyperbytedb [--only NAME]

Each part prints its figures and its bar; the exit code tells whether all bars hold.

    drop    a policy with 90 days of points is made 60 days long: until 30 days' shard groups and their disk are gone, and what a
            writer waits meanwhile
    expiry  10,000 points that expire within four seconds, counted all the time, answered from memory and by the engine
"""
import argparse
import contextlib
import itertools
import os
import statistics
import tempfile
import threading
import time

from bench import QUICK_FLUSH, Client, Report, wait_for_flush
from server import hyperbytedb, hyperbytedb_in

SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
HOUR_NS = 3_600 * SECOND_NS
DAYS, KEPT_DAYS = 90, 60
HOSTS, STEP_NS = 100, 300 * SECOND_NS
BODY_ROWS = 5_000
DROP_SECONDS_MAX = 60
EXPIRING, EXPIRE_OVER_NS = 10_000, 4 * SECOND_NS
# Between the write of the points and the first that expires.
BEFORE_EXPIRY_NS = 2 * SECOND_NS


def disk_bytes(folder):
    """Files go away while they are counted."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_blocks * 512
    return total


def batches(lines):
    lines = iter(lines)
    return iter(lambda: list(itertools.islice(lines, BODY_ROWS)), [])


def shard_groups(client):
    """Of all policies."""
    answer = client.query("SHOW SHARD GROUPS")["results"][0]["series"]
    return sum(len(one.get("values", [])) for one in answer)


class Writer(threading.Thread):
    """Writes present points until it is stopped; keeps how long each write took, in seconds."""

    def __init__(self, url):
        super().__init__()
        self.client, self.stopped, self.waits = Client(url), threading.Event(), []

    def run(self):
        while not self.stopped.wait(0.002):
            started = time.perf_counter()
            self.client.write(f"m,host=w{host} v=1i,w=0.5" for host in range(10))
            self.waits.append(time.perf_counter() - started)


def bench_drop(binary, report):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-retention-"))
        url, _ = stack.enter_context(hyperbytedb_in(folder, binary, QUICK_FLUSH))
        client = Client(url)
        client.query("CREATE DATABASE bench", db="")
        client.query(f"CREATE RETENTION POLICY r ON bench DURATION {DAYS}d REPLICATION 1 SHARD DURATION 1d DEFAULT")
        now = time.time_ns()
        # From the start of a shard group on, so that whole groups expire.
        first = (now - DAYS * DAY_NS) // DAY_NS * DAY_NS + DAY_NS
        times = range(first, now, STEP_NS)
        for body in batches(f"m,host=h{host} v={host}i,w={host}.5 {at}" for at in times for host in range(HOSTS)):
            client.write(body)
        wait_for_flush(url)
        engine = os.path.join(folder, "data", "chdb")
        groups, before = shard_groups(client), disk_bytes(engine)
        writer = Writer(url)
        writer.start()
        time.sleep(1)
        writer.waits.clear()
        started = time.perf_counter()
        client.query(f"ALTER RETENTION POLICY r ON bench DURATION {KEPT_DAYS}d")
        answered = time.perf_counter() - started
        # The group that a moment KEPT_DAYS ago falls into is kept, and today's.
        while shard_groups(client) > KEPT_DAYS + 1 and time.perf_counter() - started < DROP_SECONDS_MAX:
            time.sleep(0.005)
        gone = time.perf_counter() - started
        writer.stopped.set()
        writer.join()
        while disk_bytes(engine) > before * 0.75 and time.perf_counter() - started < DROP_SECONDS_MAX:
            time.sleep(0.02)
        freed = time.perf_counter() - started
        print(
            f"  {len(times) * HOSTS} points, {groups} shard groups: ALTER answered after {answered * 1e3:.0f} ms;"
            f" {shard_groups(client)} groups after {gone * 1e3:.0f} ms;"
            f" the engine's disk {before / 1e6:.1f} to"
            f" {disk_bytes(engine) / 1e6:.1f} MB after {freed * 1e3:.0f} ms; a writer waited"
            f" {statistics.median(writer.waits) * 1e3:.1f} ms, at most {max(writer.waits) * 1e3:.0f} ms"
        )
        report.bar("until 30 days are gone", gone * 1e3, 1000, "ms")
        report.bar("until their disk is freed", freed * 1e3, 1000, "ms")
        report.bar("longest wait of a writer", max(writer.waits) * 1e3, 100, "ms")


def visible(times, now):
    """How many points a policy of an hour still shows."""
    return sum(1 for at in times if at >= now - HOUR_NS)


def bench_expiry(binary, report):
    for name, settings in (("memory", {}), ("engine", {"FLUSH__HEAD_BYTES": "0"})):
        with hyperbytedb(binary, {**QUICK_FLUSH, **settings}) as url:
            client = Client(url)
            client.query("CREATE DATABASE bench", db="")
            client.query("CREATE RETENTION POLICY r ON bench DURATION 1h REPLICATION 1 DEFAULT")
            begin = time.time_ns() - HOUR_NS + BEFORE_EXPIRY_NS
            times = [begin + i * EXPIRE_OVER_NS // EXPIRING for i in range(EXPIRING)]
            for body in batches(f"m,host=h{i % 100} v={i}i {at}" for i, at in enumerate(times)):
                client.write(body)
            wait_for_flush(url)
            counts, wrong, last = 0, 0, EXPIRING
            while last and time.time_ns() < times[-1] + HOUR_NS + 5 * SECOND_NS:
                asked = time.time_ns()
                last = client.count("m")
                counts += 1
                wrong += not visible(times, time.time_ns()) <= last <= visible(times, asked)
            print(f"  {name}: {counts} counts of {EXPIRING} points that expired meanwhile, {last} left at the end")
            report.bar(f"wrong counts, {name}", wrong, 0, "counts")
            report.bar(f"points left, {name}", last, 0, "points")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--only", default="", help="only parts with this text in their name")
    arguments = parser.parse_args()
    report = Report()
    for name, run in {"drop": bench_drop, "expiry": bench_expiry}.items():
        if arguments.only in name:
            print(f"{name}:", flush=True)
            run(arguments.server, report)
    raise SystemExit(report.missed)


if __name__ == "__main__":
    main()
