#!/usr/bin/env python3
"""Measures the engine behind a server: ingest, aggregates of what is not in memory, and a recent query. Run twice, it compares
ClickHouse servers with the embedded engine:

    scripts/bench-engine.py --server target/release/hyperbytedb --save embedded.json
    with-clickhouse 2 1 scripts/bench-engine.py --server target/release/hyperbytedb --against embedded.json

CPU is that of the server and of the ClickHouse servers that with-clickhouse has started. Of a query's times the least is taken:
both sides share their machine with whatever else runs there.

Every engine answers from the same state: after the load each partition is merged, so that none of them has to look for rows that
it has twice. How many rows come late, and with them how much is to be merged, is chance where several clients write.
"""
import argparse
import json
import os
import subprocess
import time

from bench import QUICK_FLUSH, Client, Report, send_all, wait_for_flush
from server import cpu_seconds, hyperbytedb_process

HOSTS, FIELDS = 4_000, 5
STEP_NS = 10 * 10**9
START_NS = 1_735_689_600 * 10**9
BODY_ROWS = 5_000
REPEATS = 5
MERGE_SECONDS_MAX = 120
# Of the embedded engine's speed.
BAR = 0.7
AGGREGATES = {
    "count": "SELECT count(f0) FROM cpu",
    "mean by hour and host": "SELECT mean(f0) FROM cpu WHERE {range} GROUP BY time(1h), host",
    "max of all fields by hour": "SELECT max(f0), max(f1), max(f2), max(f3), max(f4) FROM cpu WHERE {range} GROUP BY time(1h)",
    "percentile by region": "SELECT percentile(f1, 95) FROM cpu WHERE {part} GROUP BY region",
}
# Of all rows: what such queries may sort at one time is bounded.
PART = 5
RECENT = "SELECT mean(f0) FROM cpu WHERE host = 'h7' AND {range} GROUP BY time(1m)"


def body(number):
    """Rows in the order of their time."""
    lines = []
    for row in range(number * BODY_ROWS, (number + 1) * BODY_ROWS):
        host, at = row % HOSTS, START_NS + row // HOSTS * STEP_NS
        fields = ",".join(f"f{field}={(row * 7919 + field * 31) % 10_000 / 100}" for field in range(FIELDS))
        lines.append(f"cpu,host=h{host},region=r{host % 10} {fields} {at}")
    return "\n".join(lines).encode()


def post(client, body):
    status, answer = client.request("/write?db=bench", body)
    assert status == 204, answer


def all_cpu_seconds(server):
    """Of the server and of ClickHouse's, which have the same parent as this script."""
    siblings = subprocess.run(["pgrep", "-P", str(os.getppid()), "-x", "clickhouse-node"], capture_output=True, text=True)
    return sum(cpu_seconds(pid) for pid in [server, *map(int, siblings.stdout.split())])


def between(rows):
    return f"time >= {START_NS} AND time < {START_NS + rows // HOSTS * STEP_NS}"


def merge(client):
    """Returns when the rows are merged: one comes twice, and from then on scans say FINAL until that is done."""
    post(client, body(0).partition(b"\n")[0])
    explain = lambda: json.dumps(client.query("EXPLAIN SELECT max(f0) FROM cpu"))
    deadline = time.monotonic() + MERGE_SECONDS_MAX
    while "FINAL" not in explain():
        assert time.monotonic() < deadline, "the row that came twice is not flushed"
        time.sleep(0.05)
    while "FINAL" in explain():
        assert time.monotonic() < deadline, "not merged"
        time.sleep(0.05)


def query_ms(client, select, rows, server):
    """The least of the times that it takes, and the CPU that it takes on average."""
    statement = select.format(range=between(rows), part=between(rows // PART))
    took, cpu = [], all_cpu_seconds(server)
    for _ in range(REPEATS):
        started = time.perf_counter()
        answer = client.query(statement)
        took.append((time.perf_counter() - started) * 1e3)
        assert answer["results"][0].get("series"), select
    return min(took), (all_cpu_seconds(server) - cpu) / REPEATS * 1e3


def measure(binary, rows):
    bodies = [body(number) for number in range(rows // BODY_ROWS)]
    found = {}
    settings = {**QUICK_FLUSH, "FLUSH__HEAD_BYTES": "0", "FLUSH__MERGE_QUIET_SECS": "1"}
    with hyperbytedb_process(binary, settings) as (url, process):
        client = Client(url)
        client.query("CREATE DATABASE bench", db="")
        own, all_of_it = cpu_seconds(process.pid), all_cpu_seconds(process.pid)
        seconds = send_all(url, bodies, post)
        wait_for_flush(url)
        found["ingest, us a row"] = seconds / rows * 1e6
        found["ingest, server CPU us a row"] = (cpu_seconds(process.pid) - own) / rows * 1e6
        found["ingest, all CPU us a row"] = (all_cpu_seconds(process.pid) - all_of_it) / rows * 1e6
        merge(client)
        for name, select in AGGREGATES.items():
            found[f"{name}, ms"], found[f"{name}, CPU ms"] = query_ms(client, select, rows, process.pid)
    with hyperbytedb_process(binary, {**QUICK_FLUSH, "FLUSH__HEAD_BYTES": str(1 << 30)}) as (url, process):
        client = Client(url)
        client.query("CREATE DATABASE bench", db="")
        send_all(url, bodies[:40], post)
        found["recent, ms"], _ = query_ms(client, RECENT, 40 * BODY_ROWS, process.pid)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--save", help="file for the figures")
    parser.add_argument("--against", help="figures of an earlier run")
    options = parser.parse_args()
    found = measure(options.server, options.rows)
    if options.save:
        with open(options.save, "w") as out:
            json.dump(found, out)
    if not options.against:
        for name, value in found.items():
            print(f"{name}: {value:.2f}")
        return
    with open(options.against) as file:
        before = json.load(file)
    report = Report()
    for name, value in found.items():
        print(f"{name}: {before[name]:.2f}, here {value:.2f}")
        if "CPU" not in name:
            report.bar("ratio", value / before[name], 1 / BAR, "x")
    raise SystemExit(report.missed)


if __name__ == "__main__":
    main()
