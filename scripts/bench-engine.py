#!/usr/bin/env python3
"""Measures the engine behind a server: ingest, aggregates of what is not in memory, and a recent query. Run twice, it compares
ClickHouse servers with the embedded engine:

    scripts/bench-engine.py --server target/release/hyperbytedb --save embedded.json
    with-clickhouse 2 1 scripts/bench-engine.py --server target/release/hyperbytedb --against embedded.json

CPU is that of the server, and of the whole machine while the load runs and is flushed.
"""
import argparse
import json
import os
import statistics
import time

from bench import QUICK_FLUSH, Client, Report, send_all, wait_for_flush
from server import cpu_seconds, hyperbytedb, hyperbytedb_process

ROWS, HOSTS, FIELDS = 2_000_000, 4_000, 5
STEP_NS = 10 * 10**9
START_NS = 1_735_689_600 * 10**9
BODY_ROWS = 5_000
REPEATS = 9
# Of the embedded engine's speed.
BAR = 0.7
AGGREGATES = {
    "count": "SELECT count(f0) FROM cpu",
    "mean by hour and host": "SELECT mean(f0) FROM cpu WHERE {range} GROUP BY time(1h), host",
    "max of all fields by hour": "SELECT max(f0), max(f1), max(f2), max(f3), max(f4) FROM cpu WHERE {range} GROUP BY time(1h)",
    "percentile by region": "SELECT percentile(f1, 95) FROM cpu GROUP BY region",
}
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


def machine_cpu_seconds():
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system = map(int, stat.readline().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def median_ms(client, select):
    time_range = f"time >= {START_NS} AND time < {START_NS + ROWS // HOSTS * STEP_NS}"
    took = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        answer = client.query(select.format(range=time_range))
        took.append((time.perf_counter() - started) * 1e3)
        assert answer["results"][0].get("series"), select
    return statistics.median(took)


def measure(binary):
    bodies = [body(number) for number in range(ROWS // BODY_ROWS)]
    found = {}
    with hyperbytedb_process(binary, {**QUICK_FLUSH, "FLUSH__HEAD_BYTES": "0"}) as (url, process):
        client = Client(url)
        client.query("CREATE DATABASE bench", db="")
        own, all_of_it = cpu_seconds(process.pid), machine_cpu_seconds()
        seconds = send_all(url, bodies, post)
        wait_for_flush(url)
        found["ingest, us a row"] = seconds / ROWS * 1e6
        found["ingest, server CPU us a row"] = (cpu_seconds(process.pid) - own) / ROWS * 1e6
        found["ingest, machine CPU us a row"] = (machine_cpu_seconds() - all_of_it) / ROWS * 1e6
        for name, select in AGGREGATES.items():
            found[f"{name}, ms"] = median_ms(client, select)
    with hyperbytedb(binary, {**QUICK_FLUSH, "FLUSH__HEAD_BYTES": str(1 << 30)}) as url:
        client = Client(url)
        client.query("CREATE DATABASE bench", db="")
        send_all(url, bodies[:40], post)
        found["recent, ms"] = median_ms(client, RECENT)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--save", help="file for the figures")
    parser.add_argument("--against", help="figures of an earlier run")
    options = parser.parse_args()
    found = measure(options.server)
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
