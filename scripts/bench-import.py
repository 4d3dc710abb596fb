#!/usr/bin/env python3
"""Measures `import influxdb`: the data folder of a real influxd into a new server.

    scripts/bench-import.py --server target/release/hyperbytedb [--points 2000000] [--runs 3] [--folder DIR]

A point has 10 tags and 10 fields, as those of `make bench-peers`; there are 4,000 series. An influxd takes the points and is
stopped; with --folder its data folder is kept there, and used again when it is there already. Each run imports it into a server with
a new data folder. Printed are points a second and the CPU time of a point, of the command and of the server. Every run compares the
number of points and a sum.
"""
import argparse
import contextlib
import json
import os
import random
import resource
import subprocess
import tempfile
import time

import bench
import server

SERIES = 4_000
BATCH_POINTS = 5_000
LOADERS = 2
START_NS = 1_735_689_600 * 10**9
STEP_NS = 10 * 10**9
TAGS = ("region", "datacenter", "rack", "os", "arch", "team", "service", "service_version", "service_environment")
FIELDS = ("user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")


def tags(series):
    others = ",".join(f"{key}={key[:2]}{series % (3 + at)}" for at, key in enumerate(TAGS))
    return f"cpu,hostname=host_{series},{others}"


def lines(first):
    numbers = random.Random(first)
    points = []
    for number in range(first, first + BATCH_POINTS):
        fields = ",".join(f"usage_{name}={numbers.randrange(100)}" for name in FIELDS)
        points.append(f"{tags(number % SERIES)} {fields} {START_NS + number // SERIES * STEP_NS}")
    return points


def load(url, points):
    bench.Client(url).query("CREATE DATABASE bench")
    bench.send_all(url, map(lines, range(0, points, BATCH_POINTS)), bench.Client.write, LOADERS)


def totals(url):
    answer = bench.Client(url).query("SELECT count(usage_user), sum(usage_user), sum(usage_guest_nice) FROM cpu")
    return answer["results"][0]["series"][0]["values"][0]


def prepare(folder, points):
    """What the points come to, kept beside them."""
    expected = os.path.join(folder, "expected.json")
    if not os.path.exists(expected):
        with server.influxd_in(folder) as url:
            load(url, points)
            result = totals(url)
        with open(expected, "w", encoding="ascii") as file:
            json.dump(result, file)
    with open(expected, encoding="ascii") as file:
        return json.load(file)


def run(binary, folder, expected):
    with server.hyperbytedb_process(binary) as (url, process):
        before, children = server.cpu_seconds(process.pid), resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        command = [binary, "import", "influxdb", "--url", url, "--database", "bench", folder]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        of_server = server.cpu_seconds(process.pid) - before
        of_command = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
        found = totals(url)
    if found != expected:
        raise SystemExit(f"{found} instead of {expected}")
    points = found[1]
    us = 1e6 / points
    print(
        f"{points} points in {seconds:.2f} s: {points / seconds:,.0f} points/s; CPU a point: "
        f"command {of_command * us:.2f} us, server {of_server * us:.2f} us",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="influxd-"))
        os.makedirs(folder, exist_ok=True)
        expected = prepare(folder, arguments.points)
        for _ in range(arguments.runs):
            run(os.path.abspath(arguments.server), folder, expected)


if __name__ == "__main__":
    main()
