#!/usr/bin/env python3
"""64 clients that mix heavy and light queries, beside writers, on a server with little memory: does it stay alive and quick?

    scripts/limits.py --server target/release/hyperbytedb [--minutes 10] [--memory-mib 2048] [--cpus 0,1] [--clients 64]

The server runs in a cgroup with a memory limit (needs root; without it there is no limit, which is said) and on the
named CPUs. It passes when the server lives, its RSS stays below the limit, the 99th percentile of light queries is at most 250 ms, and what
was refused was refused by name: with a text that names a setting.
"""
import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
import urllib.parse

from server import free_port, running

HOSTS = 2_000
FIELDS = 5
STEP_S = 10
LIGHT_SHARE = 0.9
THINK_SECONDS = 0.25
LIGHT_P99_MS_MAX = 250
WRITERS = 2
WRITE_LINES = 500
WRITE_PAUSE_SECONDS = 0.5

HEAVY = [
    "SELECT median(f0), percentile(f1, 99), stddev(f2) FROM cpu GROUP BY time(1m), host",
    "SELECT * FROM cpu WHERE f0 > 10 LIMIT 300000",
    "SELECT top(f0, 100), host FROM cpu",
    "SELECT mean(/f/) FROM cpu GROUP BY time(1m), *",
    "SELECT count(distinct(f3)) FROM cpu GROUP BY region",
    "SELECT mode(f1) FROM cpu GROUP BY host",
    "SELECT derivative(mean(f4), 1s) FROM cpu WHERE host =~ /[13579]$/ GROUP BY time(1m), host fill(linear)",
    "SELECT max(m) FROM (SELECT mean(f0) AS m FROM cpu GROUP BY time(1m), host) GROUP BY time(10m)",
]


def light(rng, end_s):
    host = f"host_{rng.randrange(HOSTS)}"
    return rng.choice([
        f"SELECT mean(f0), max(f1) FROM cpu WHERE host = '{host}' AND time >= {end_s - 3600}s GROUP BY time(1m)",
        f"SELECT last(f2) FROM cpu WHERE host = '{host}'",
        f"SELECT f3 FROM cpu WHERE host = '{host}' AND time >= {end_s - 600}s",
        f"SELECT count(f4) FROM cpu WHERE host = '{host}' AND time >= {end_s - 1800}s",
        "SHOW TAG VALUES FROM cpu WITH KEY = region",
        "SHOW FIELD KEYS FROM cpu",
    ])


class Cgroup:
    """A cgroup with a memory limit, v1 or v2; it goes with the block."""

    def __init__(self, limit_bytes):
        self.is_v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        base = "/sys/fs/cgroup" if self.is_v2 else "/sys/fs/cgroup/memory"
        self.path = f"{base}/hyperbytedb-limits-{os.getpid()}"
        os.mkdir(self.path)
        self.write("memory.max" if self.is_v2 else "memory.limit_in_bytes", limit_bytes)

    def write(self, name, value):
        with open(f"{self.path}/{name}", "w") as file:
            file.write(str(value))

    def kills(self):
        name = "memory.events" if self.is_v2 else "memory.oom_control"
        with contextlib.suppress(OSError), open(f"{self.path}/{name}") as file:
            counts = dict(line.split() for line in file)
            return int(counts.get("oom_kill", 0))
        return 0

    def remove(self):
        for _ in range(100):
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
                return
            time.sleep(0.1)


class Results:
    def __init__(self):
        self.lock = threading.Lock()
        self.light_ms = []
        self.heavy_ms = collections.defaultdict(list)
        self.refused = collections.Counter()
        self.nameless = []

    def failed(self, kind, text):
        with self.lock:
            self.refused[f"{kind}: {text[:100]}"] += 1
            if "." not in text and "limit exceeded" not in text:
                self.nameless.append(text)


def ask(connection, statement):
    """The error of a statement, if it has one, once all of its answer has come."""
    query = urllib.parse.urlencode({"db": "bench", "q": statement, "epoch": "ms", "chunked": "true"})
    connection.request("GET", "/query?" + query)
    response = connection.getresponse()
    tail = b""
    while piece := response.read(1 << 16):
        tail = (tail + piece)[-600:]
    if b'"error":"' in tail:
        return tail.rsplit(b'"error":"', 1)[1].split(b'"')[0].decode()
    return None if response.status == 200 else f"{response.status} {tail.decode()}"


def client(number, port, end_s, stop, results):
    rng = random.Random(number)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while not stop.is_set():
        is_light = rng.random() < LIGHT_SHARE
        statement = light(rng, end_s) if is_light else rng.choice(HEAVY)
        started = time.monotonic()
        try:
            error = ask(connection, statement)
        except (OSError, http.client.HTTPException) as failure:
            error = f"connection: {failure!r}"
            connection.close()
        took_ms = (time.monotonic() - started) * 1000
        if error:
            results.failed("light" if is_light else "heavy", error)
        elif is_light:
            results.light_ms.append(took_ms)
        else:
            results.heavy_ms[statement].append(took_ms)
        stop.wait(THINK_SECONDS)


def line(host, time_s, rng):
    fields = ",".join(f"f{i}={rng.random() * 100:.2f}" for i in range(FIELDS))
    return f"cpu,host=host_{host},region=r{host % 8} {fields} {time_s}"


def write(port, lines):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for first in range(0, len(lines), 5_000):
        status = 503
        while status == 503:
            connection.request("POST", "/write?db=bench&precision=s", "\n".join(lines[first:first + 5_000]))
            response = connection.getresponse()
            answer, status = response.read(), response.status
        assert status == 204, answer


def load(port, points):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/query?q=CREATE%20DATABASE%20bench")
    connection.getresponse().read()
    rng = random.Random(0)
    turns = points // HOSTS
    # The newest point is from now: windows without points that a query fills would be many.
    end_s = int(time.time())
    start_s = end_s - turns * STEP_S
    for turn in range(0, turns, 10):
        steps = range(turn, min(turn + 10, turns))
        write(port, [line(host, start_s + step * STEP_S, rng) for step in steps for host in range(HOSTS)])
    return end_s


def writer(number, port, end_s, stop, results):
    rng, time_s = random.Random(1000 + number), end_s
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while not stop.is_set():
        time_s += STEP_S
        body = "\n".join(line(rng.randrange(HOSTS), time_s, rng) for _ in range(WRITE_LINES))
        connection.request("POST", "/write?db=bench&precision=s", body)
        response = connection.getresponse()
        answer = response.read().decode()
        if response.status != 204:
            results.failed("write", json.loads(answer)["error"])
        stop.wait(WRITE_PAUSE_SECONDS)


def rss_mib(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def report(results, process, cgroup, limit_mib, peak_mib):
    light = results.light_ms
    p99 = percentile(light, 0.99)
    print(f"light: {len(light)} answered, median {percentile(light, 0.5):.0f} ms, p95 {percentile(light, 0.95):.0f} ms, "
          f"p99 {p99:.0f} ms, max {max(light, default=0):.0f} ms")
    for statement, took in sorted(results.heavy_ms.items()):
        print(f"heavy: {len(took):4} answered, median {percentile(took, 0.5):6.0f} ms, max {max(took):6.0f} ms  {statement[:70]}")
    for text, count in results.refused.most_common():
        print(f"refused {count:5} x {text}")
    kills = cgroup.kills() if cgroup else 0
    print(f"RSS: {peak_mib:.0f} MiB at most of {limit_mib} MiB; killed for memory: {kills}")
    checks = {
        "the server lives": process.poll() is None and kills == 0,
        "its memory stays below the limit": peak_mib < limit_mib,
        f"p99 of light queries is at most {LIGHT_P99_MS_MAX} ms": p99 <= LIGHT_P99_MS_MAX,
        "what is refused is refused by name": not results.nameless,
        "light queries are not refused": not any(text.startswith("light") for text in results.refused),
    }
    for check, holds in checks.items():
        print(("ok      " if holds else "FAILED  ") + check)
    return all(checks.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--memory-mib", type=int, default=2048)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--cpus", default="0,1")
    arguments = parser.parse_args()
    cgroup = None
    try:
        cgroup = Cgroup(arguments.memory_mib << 20)
    except OSError as error:
        print(f"without a memory limit: {error}")
    # The server is this program's child; only it is to be in the cgroup.
    shell = f'echo $$ > {cgroup.path}/cgroup.procs && exec taskset -c {arguments.cpus} "$0" serve' if cgroup else 'exec "$0" serve'
    with tempfile.TemporaryDirectory(prefix="hyperbytedb-limits-") as directory:
        port = free_port()
        environment = {
            "HYPERBYTEDB__SERVER__PORT": str(port),
            "HYPERBYTEDB__STORAGE__DATA_DIR": os.path.join(directory, "data"),
            "HYPERBYTEDB__LOGGING__LEVEL": "warn",
        }
        command = ["sh", "-c", shell, arguments.server]
        with running(command, environment, f"http://127.0.0.1:{port}", directory) as process:
            end_s = load(port, arguments.points)
            print(f"{arguments.points} points of {FIELDS} fields loaded, RSS {rss_mib(process.pid):.0f} MiB", flush=True)
            stop, results = threading.Event(), Results()
            threads = [threading.Thread(target=client, args=(n, port, end_s, stop, results)) for n in range(arguments.clients)]
            threads += [threading.Thread(target=writer, args=(n, port, end_s, stop, results)) for n in range(WRITERS)]
            for thread in threads:
                thread.start()
            peak, deadline = 0, time.monotonic() + arguments.minutes * 60
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(OSError, StopIteration):
                    peak = max(peak, rss_mib(process.pid))
                time.sleep(0.1)
            stop.set()
            for thread in threads:
                thread.join()
            passed = report(results, process, cgroup, arguments.memory_mib, peak)
    if cgroup:
        cgroup.remove()
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
