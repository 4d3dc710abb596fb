#!/usr/bin/env python3
"""Measures deletes, new measurements and the orderly stop, beside a real influxd in the same run.

    scripts/bench-deletes.py --server target/release/hyperbytedb [--only NAME] [--rows 2000000]

Each part prints its figures and its bar; the exit code tells whether all bars hold.

    waits       a DELETE of one tag value of many rows: what writers of the same and of another measurement wait meanwhile
    measurements  2,000 new measurements of five series in requests of 500 lines
    stop        SIGTERM with 6,000 small measurements that are not flushed; nothing may be missing afterwards
    partitions  a DELETE of 960 rows in six weekly partitions, and what writers wait meanwhile
"""
import argparse
import contextlib
import os
import signal
import statistics
import tempfile
import threading
import time

from bench import Client, Report, send_all
from server import free_port, hyperbytedb, influxd, running

START_NS = 1_735_689_600 * 10**9  # a Wednesday; shard groups of a week begin on Mondays
WEEK_NS = 7 * 86_400 * 10**9
BODY_ROWS = 5_000
LOADERS = 4
# What a writer sends during a DELETE, and how often.
WRITE_ROWS = 10
WRITE_PAUSE = 0.002
# Writers go on for so long before and after the DELETE.
AROUND_SECONDS = 1.0
REPEATS = 5


def load(url, rows):
    """Rows of 1,000 series, a tenth of them with each value of `dc`, within one shard group."""
    # The week that holds START_NS has more than three days left.
    step = 3 * 86_400 * 10**9 // rows

    def lines(start):
        for i in range(start, min(start + BODY_ROWS, rows)):
            yield f"m,dc=dc{i % 10},host=h{i % 1000} v={i}i,w={i % 97}.5 {START_NS + i * step}"

    send_all(url, map(lines, range(0, rows, BODY_ROWS)), Client.write, LOADERS)


class Writer(threading.Thread):
    """Writes to a measurement until it is stopped; keeps when each write began and how long it took."""

    def __init__(self, url, measurement):
        super().__init__()
        self.client, self.measurement = Client(url), measurement
        self.stopped = threading.Event()
        self.waits = []

    def run(self):
        number = 0
        while not self.stopped.wait(WRITE_PAUSE):
            lines = [
                f"{self.measurement},dc=dc0,host=w{i} v={number}i {START_NS + number * 1_000_000 + i}"
                for i in range(WRITE_ROWS)
            ]
            started = time.perf_counter()
            self.client.write(lines)
            self.waits.append((started, time.perf_counter() - started))
            number += 1

    def longest_ms(self, begin, end):
        """Of writes that were on their way between the two moments."""
        waits = [wait for started, wait in self.waits if started < end and started + wait > begin]
        return max(waits, default=0) * 1e3


def delete_under_writers(url, statement):
    """Milliseconds of a statement, and the longest waits of a writer of `m` and of one of `other`: during it and the second
    behind it, and without it."""
    writers = [Writer(url, "m"), Writer(url, "other")]
    for writer in writers:
        writer.start()
    time.sleep(AROUND_SECONDS)
    begin = time.perf_counter()
    Client(url).query(statement)
    end = time.perf_counter()
    time.sleep(AROUND_SECONDS)
    for writer in writers:
        writer.stopped.set()
        writer.join()
    during = [writer.longest_ms(begin, end + AROUND_SECONDS) for writer in writers]
    before = [writer.longest_ms(begin - AROUND_SECONDS, begin) for writer in writers]
    return (end - begin) * 1e3, during, before


def bench_waits(ours, report, rows):
    for name, url in (("influxd", contextlib.nullcontext(None)), ("hyperbytedb", ours())):
        server = influxd() if name == "influxd" else url
        with server as url:
            client = Client(url)
            client.query("CREATE DATABASE bench", db="")
            load(url, rows)
            assert client.count("m") == rows
            took, (same, other), before = delete_under_writers(url, "DELETE FROM m WHERE dc = 'dc3'")
            assert client.count("m WHERE dc = 'dc3'") == 0
            print(
                f"  {name}: {took:.0f} ms; longest wait of a writer of the same measurement {same:.0f} ms (before it"
                f" {before[0]:.0f} ms), of another {other:.0f} ms ({before[1]:.0f} ms)"
            )
    report.bar("another measurement", other, 100, "ms")
    report.bar("the same measurement", same, 250, "ms")


def write_measurements(url, count, series, body_lines=500):
    """Seconds for writing five points, each of a series of its own, to each of many new measurements."""
    client = Client(url)
    lines = [f"n{m},host=h{s} v={m}i {START_NS}" for m in range(count) for s in range(series)]
    started = time.perf_counter()
    for start in range(0, len(lines), body_lines):
        client.write(lines[start : start + body_lines])
    return time.perf_counter() - started


def bench_measurements(ours, report):
    seconds = {}
    for name in ("influxd", "hyperbytedb"):
        with influxd() if name == "influxd" else ours() as url:
            Client(url).query("CREATE DATABASE bench", db="")
            seconds[name] = write_measurements(url, 2_000, 5)
            started = time.perf_counter()
            assert Client(url).count("/.*/") == 10_000
            print(f"  {name}: {seconds[name]:.2f} s; count over all {time.perf_counter() - started:.2f} s")
    report.bar("ratio", seconds["hyperbytedb"] / seconds["influxd"], 5, "x")


def bench_stop(binary, report, count=6_000):
    with tempfile.TemporaryDirectory(prefix="bench-stop-") as directory:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environment = {
            "HYPERBYTEDB__SERVER__PORT": str(port),
            "HYPERBYTEDB__STORAGE__DATA_DIR": os.path.join(directory, "data"),
            "HYPERBYTEDB__LOGGING__LEVEL": "warn",
        }
        with running([binary, "serve"], environment, url, directory) as process:
            Client(url).query("CREATE DATABASE bench", db="")
            print(f"  {count} measurements written in {write_measurements(url, count, 1):.1f} s")
            started = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            code = process.wait(120)
            seconds = time.perf_counter() - started
            assert code == 0, open(os.path.join(directory, "server.log")).read()[-2000:]
        with running([binary, "serve"], environment, url, directory):
            started = time.perf_counter()
            assert Client(url).count("/.*/") == count
            print(f"  after the start anew all are there; count over all {time.perf_counter() - started:.1f} s")
        report.bar("stop", seconds, 5, "s")


def bench_partitions(ours, report):
    took = {}
    for name in ("influxd", "hyperbytedb"):
        with influxd() if name == "influxd" else ours() as url:
            client = Client(url)
            client.query("CREATE DATABASE bench", db="")
            times, waits, before = [], [], []
            for repeat in range(REPEATS):
                client.write(
                    f"m,host={host}{repeat} v={i}i {START_NS + i * 6 * WEEK_NS // 960}"
                    for host in "ab"
                    for i in range(960)
                )
                # Flushed, as points of past weeks are.
                assert client.count(f"m WHERE host = 'a{repeat}'") == 960
                ms, during, without = delete_under_writers(url, f"DELETE FROM m WHERE host = 'a{repeat}'")
                assert client.count(f"m WHERE host = 'a{repeat}'") == 0
                assert client.count(f"m WHERE host = 'b{repeat}'") == 960
                times.append(ms)
                waits.extend(during)
                before.extend(without)
            took[name] = statistics.median(times)
            print(
                f"  {name}: median {took[name]:.1f} ms of {', '.join(f'{t:.0f}' for t in times)};"
                f" longest wait of a writer {max(waits):.0f} ms, without a DELETE {max(before):.0f} ms"
            )
    report.bar("ratio", took["hyperbytedb"] / took["influxd"], 10, "x")
    report.bar("longest wait of a writer", max(waits), 100, "ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--only", default="", help="only parts with this text in their name")
    arguments = parser.parse_args()

    def ours():
        return hyperbytedb(arguments.server)

    report = Report()
    parts = {
        "waits": lambda: bench_waits(ours, report, arguments.rows),
        "measurements": lambda: bench_measurements(ours, report),
        "stop": lambda: bench_stop(arguments.server, report),
        "partitions": lambda: bench_partitions(ours, report),
    }
    for name, run in parts.items():
        if arguments.only in name:
            print(f"{name}:", flush=True)
            run()
    raise SystemExit(report.missed)


if __name__ == "__main__":
    main()
