#!/usr/bin/env python3
"""Keeps a materialized view of 1-minute means under late, overwritten and deleted points and kill -9, then compares.

    scripts/views.py --server target/release/hyperbytedb [--points 10000000] [--kills 20] [--seed 1]

Half of the points are there when the view is created WITH BACKFILL. Of all points 5% come late, 1% are written again with
another value, and now and then a range of a host is deleted. The server is killed at random moments, also while it
backfills. A request without an answer is sent again: each leaves the same points. At the end the target must equal what
the view's statement answers, value by value.
"""
import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse

from server import free_port, wait_until_up

SECOND = 10**9
START = 1_577_836_800 * SECOND
HOSTS = 50
LINES = 5_000
QUIET_SECONDS_MAX = 900
VIEW = "SELECT mean(v) INTO t FROM m GROUP BY time(1m), host"
DIRECT = "SELECT mean(v) FROM m WHERE host = '{host}' GROUP BY time(1m), host fill(none)"
TARGET = "SELECT mean FROM t WHERE host = '{host}' GROUP BY host"


class Server:
    """A server that is killed and started again on one folder."""

    def __init__(self, binary, directory):
        self.binary, self.directory, self.port, self.process = binary, directory, free_port(), None
        self.log = os.path.join(directory, "server.log")

    def start(self):
        environment = {
            **os.environ,
            "HYPERBYTEDB__SERVER__PORT": str(self.port),
            "HYPERBYTEDB__STORAGE__DATA_DIR": os.path.join(self.directory, "data"),
            "HYPERBYTEDB__LOGGING__LEVEL": "warn",
        }
        with open(self.log, "a") as out:
            self.process = subprocess.Popen([self.binary, "serve"], env=environment, stdout=out, stderr=out)
        wait_until_up(f"http://127.0.0.1:{self.port}", self.process, self.log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def send(self, path, parameters, body=b""):
        """Until there is an answer; the points of a request are the same each time."""
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
                connection.request("POST", f"{path}?{urllib.parse.urlencode(parameters)}", body)
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if answer.status == 503:
                time.sleep(0.5)
                continue
            if answer.status >= 300:
                raise SystemExit(f"{path}: {answer.status} {text}")
            return text

    def query(self, statement):
        text = self.send("/query", {"db": "db0", "q": statement, "epoch": "ns"})
        result = json.loads(text)["results"][0]
        if "error" in result and "already exists" not in result["error"]:
            raise SystemExit(f"{statement}: {result['error']}")
        return result.get("series", [])


def requests(points, rng):
    """Bodies and deletes, in the order in which they are sent."""
    seconds = points // HOSTS
    late = []
    per_body = max(1, LINES // HOSTS)
    for first in range(0, seconds, per_body):
        lines = []
        for n in range(first, min(first + per_body, seconds)):
            for host in range(HOSTS):
                line = f"m,host=h{host} v={rng.randrange(10**6)} {START + n * SECOND}"
                if rng.random() < 0.05:
                    late.append(line)
                else:
                    lines.append(line)
                if rng.random() < 0.01:
                    again = rng.randrange(n + 1)
                    lines.append(f"m,host=h{host} v={rng.randrange(10**6)} {START + again * SECOND}")
        if len(late) >= LINES and rng.random() < 0.5:
            rng.shuffle(late)
            lines += late[:LINES]
            del late[:LINES]
        yield "\n".join(lines)
        if rng.random() < 0.02:
            start = START + rng.randrange(first + 1) * SECOND
            end = start + rng.choice([1, 30, 300]) * SECOND
            yield f"DELETE FROM m WHERE host = 'h{rng.randrange(HOSTS)}' AND time >= {start} AND time < {end}"
    for first in range(0, len(late), LINES):
        yield "\n".join(late[first : first + LINES])


def is_quiet(server):
    stats = server.query("SHOW STATS FOR 'materializedView'")
    return bool(stats) and all(one["values"][0][:2] == [0, 0] for one in stats)


def wait_until_quiet(server):
    deadline = time.monotonic() + QUIET_SECONDS_MAX
    while not is_quiet(server):
        if time.monotonic() > deadline:
            raise SystemExit(f"not quiet in {QUIET_SECONDS_MAX} s: {server.query('SHOW MATERIALIZED VIEWS')}")
        time.sleep(0.2)


def compare(server):
    rows = 0
    for host in range(HOSTS):
        sides = [
            [(one.get("tags"), one["values"]) for one in server.query(text.format(host=f"h{host}"))]
            for text in (TARGET, DIRECT)
        ]
        if sides[0] != sides[1]:
            target, direct = (dict(map(tuple, side[0][1])) if side else {} for side in sides)
            times = sorted(t for t in target.keys() | direct.keys() if target.get(t) != direct.get(t))
            print([(t, target.get(t), direct.get(t)) for t in times[:5]])
            raise SystemExit(f"h{host}: {len(times)} windows of the target are not what the statement answers")
        rows += len(sides[0][0][1]) if sides[0] else 0
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng, chaos = random.Random(arguments.seed), random.Random(arguments.seed + 1)
    with tempfile.TemporaryDirectory(prefix="views-") as directory:
        server = Server(arguments.server, directory)
        server.start()
        server.query("CREATE DATABASE db0")
        total = arguments.points // LINES
        done, kills, finished = [0], [0], threading.Event()

        def kill():
            while not finished.is_set() and kills[0] < arguments.kills:
                due = total * (kills[0] + chaos.random()) / arguments.kills
                while done[0] < due and not finished.is_set():
                    time.sleep(0.01)
                server.kill()
                kills[0] += 1
                server.start()

        killer = threading.Thread(target=kill)
        started = time.monotonic()
        try:
            killer.start()
            for number, request in enumerate(requests(arguments.points, rng)):
                if number == total // 2:
                    server.query(f"CREATE MATERIALIZED VIEW v ON db0 WITH BACKFILL AS {VIEW}")
                if request.startswith("DELETE"):
                    server.query(request)
                elif request:
                    server.send("/write", {"db": "db0"}, request.encode())
                done[0] += 1
            finished.set()
            killer.join()
            written = time.monotonic()
            wait_until_quiet(server)
            quiet = time.monotonic()
            rows = compare(server)
        finally:
            finished.set()
            killer.join()
            server.kill()
    print(
        f"{arguments.points} points and {kills[0]} kills in {written - started:.0f} s, quiet {quiet - written:.1f} s later: "
        f"{rows} windows equal the direct query"
    )


if __name__ == "__main__":
    main()
