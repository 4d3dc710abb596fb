#!/usr/bin/env python3
"""Measures `import influxdb`: the data folder of a real influxd into a new server.

    scripts/bench-import.py --server target/release/hyperbytedb [--points 2000000] [--runs 3] [--folder DIR]

A point has 10 tags and 10 fields, as those of `make bench-peers`; there are 4,000 series. An influxd takes the points and is
stopped; with --folder its data folder is kept there, and used again when it is there already. Each run imports it into a server with
a new data folder. Printed are points a second and the CPU time of a point, of the command and of the server. Every run compares the
number of points and a sum.
"""
import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import resource
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import server

SERIES = 4_000
BATCH_POINTS = 5_000
START_NS = 1_735_689_600 * 10**9
STEP_NS = 10 * 10**9
TAGS = ("region", "datacenter", "rack", "os", "arch", "team", "service", "service_version", "service_environment")
FIELDS = ("user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")


def tags(series):
    others = ",".join(f"{key}={key[:2]}{series % (3 + at)}" for at, key in enumerate(TAGS))
    return f"cpu,hostname=host_{series},{others}"


def body(first):
    numbers = random.Random(first)
    lines = []
    for number in range(first, first + BATCH_POINTS):
        fields = ",".join(f"usage_{name}={numbers.randrange(100)}" for name in FIELDS)
        lines.append(f"{tags(number % SERIES)} {fields} {START_NS + number // SERIES * STEP_NS}")
    return "\n".join(lines).encode()


def ask(url, statement):
    query = urllib.parse.urlencode({"db": "bench", "q": statement})
    with urllib.request.urlopen(f"{url}/query", query.encode()) as answer:
        return json.load(answer)


def load(url, points):
    ask(url, "CREATE DATABASE bench")

    def write(first):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        connection.request("POST", "/write?db=bench", body(first))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 204:
            raise RuntimeError(f"{answer.status}: {text}")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in pool.map(write, range(0, points, BATCH_POINTS)):
            pass


def prepare(folder, points):
    """What the points come to, kept beside them."""
    expected = os.path.join(folder, "expected.json")
    if not os.path.exists(expected):
        port = server.free_port()
        environment = {
            "INFLUXDB_META_DIR": f"{folder}/meta",
            "INFLUXDB_DATA_DIR": f"{folder}/data",
            "INFLUXDB_DATA_WAL_DIR": f"{folder}/wal",
            "INFLUXDB_DATA_INDEX_VERSION": "tsi1",
            "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
            "INFLUXDB_BIND_ADDRESS": f"127.0.0.1:{server.free_port()}",
            "INFLUXDB_REPORTING_DISABLED": "true",
            "INFLUXDB_HTTP_LOG_ENABLED": "false",
            "INFLUXDB_MONITOR_STORE_ENABLED": "false",
        }
        url = f"http://127.0.0.1:{port}"
        with server.running(["influxd"], environment, url, folder):
            load(url, points)
            result = totals(url)
        with open(expected, "w", encoding="ascii") as file:
            json.dump(result, file)
    with open(expected, encoding="ascii") as file:
        return json.load(file)


def totals(url):
    return ask(url, "SELECT count(usage_user), sum(usage_user), sum(usage_guest_nice) FROM cpu")["results"][0]["series"][0]["values"][0]


def pid_of(url):
    """The process that listens there: a child of this one."""
    port = urllib.parse.urlsplit(url).port
    children = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False).stdout.split()
    for pid in children:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            if f"HYPERBYTEDB__SERVER__PORT={port}".encode() in environ.read():
                return int(pid)
    raise SystemExit(f"no server on port {port}")


def run(binary, folder, expected):
    with server.hyperbytedb(binary) as url:
        pid = pid_of(url)
        server_before, before = server.cpu_seconds(pid), resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        command = [binary, "import", "influxdb", "--url", url, "--database", "bench", folder]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        of_server = server.cpu_seconds(pid) - server_before
        of_command = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
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
