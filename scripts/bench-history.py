#!/usr/bin/env python3
"""Measures queries over history that is not in memory, beside a real influxd in the same run.

    scripts/bench-history.py --server target/release/hyperbytedb [--days 90] [--hosts 100]

One point of a host a minute, in shard groups of a week. Asked is one host's day, each time another,
without a head, so that every answer comes from stored data. Prints medians in milliseconds and their ratios.
"""
import argparse
import random
import statistics
import time

from bench import Client, Report
from server import hyperbytedb, influxd

MINUTE_NS = 60 * 10**9
DAY_MINUTES = 24 * 60
START_NS = 1_735_689_600 * 10**9
BODY_ROWS = 5_000
QUERIES = 200
# All points are in the engine by then.
SETTLE_SECONDS_MAX = 120
SELECTS = {
    "mean by 10 minutes": "SELECT mean(v) FROM m WHERE host = '{host}' AND {range} GROUP BY time(10m)",
    "max of three fields by hour": "SELECT max(v), max(w), max(x) FROM m WHERE host = '{host}' AND {range} GROUP BY time(1h)",
    "raw points": "SELECT v FROM m WHERE host = '{host}' AND {range}",
    "last": "SELECT last(v) FROM m WHERE host = '{host}' AND {range}",
}


def load(client, days, hosts):
    """Points in the order of their time, as agents send them."""
    rng = random.Random(1)
    lines = []
    for minute in range(days * DAY_MINUTES):
        at = START_NS + minute * MINUTE_NS
        for host in range(hosts):
            lines.append(f"m,host=h{host},dc=dc{host % 5} v={rng.random() * 100:.3f},w={minute % 97}i,x={host}.5 {at}")
            if len(lines) == BODY_ROWS:
                client.write(lines)
                lines.clear()
    if lines:
        client.write(lines)


def medians(client, days, hosts):
    rng = random.Random(2)
    found = {}
    for name, select in SELECTS.items():
        took = []
        for _ in range(QUERIES):
            start = START_NS + rng.randrange(days) * DAY_MINUTES * MINUTE_NS
            between = f"time >= {start} AND time < {start + DAY_MINUTES * MINUTE_NS}"
            statement = select.format(host=f"h{rng.randrange(hosts)}", range=between)
            started = time.perf_counter()
            answer = client.query(statement)
            took.append((time.perf_counter() - started) * 1e3)
            assert answer["results"][0].get("series"), statement
        took.sort()
        found[name] = (statistics.median(took), took[len(took) * 99 // 100])
    return found


def measure(url, options):
    client = Client(url)
    client.query("CREATE DATABASE bench", db="")
    load(client, options.days, options.hosts)
    expected, deadline = options.days * options.hosts * DAY_MINUTES, time.monotonic() + SETTLE_SECONDS_MAX
    while client.count("m") != expected:
        assert time.monotonic() < deadline, "points are missing"
        time.sleep(1)
    time.sleep(options.settle)
    medians(client, options.days, options.hosts)
    return medians(client, options.days, options.hosts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--settle", type=float, default=30, help="seconds between load and queries")
    options = parser.parse_args()
    with influxd() as url:
        theirs = measure(url, options)
    with hyperbytedb(options.server, {"FLUSH__HEAD_BYTES": "0"}) as url:
        ours = measure(url, options)
    report = Report()
    for name, (median, p99) in ours.items():
        their_median, their_p99 = theirs[name]
        print(f"{name}: influxd {their_median:.2f} ms (p99 {their_p99:.2f}), hyperbytedb {median:.2f} ms (p99 {p99:.2f})")
        report.bar("median", median, 6, "ms")
        report.bar("ratio of medians", median / their_median, 3, "x")
    raise SystemExit(report.missed)


if __name__ == "__main__":
    main()
