#!/usr/bin/env python3
"""Kills the built server again and again under writers and deleters, and checks after each start what it holds.

    scripts/chaos.py --server target/release/hyperbytedb [--kills 100] [--seed 1] [--workers 4] [--drop-shards 0.2]

Each worker owns a measurement and the points with its tag in a shared one. It writes, deletes by tag and by time, drops
its series and its measurement, one operation after the other, and keeps what its points must be. From time to time all
pause while a shard is dropped. The server is killed (or stopped, or killed again while it starts) at random; each time
every worker compares: no acknowledged point is missing, none is there twice, nothing that was removed is back. The
operation that was on its way when the server died may have happened or not, but not in part.

The seed drives the choice of operations, not their timing.
"""
import argparse
import collections
import contextlib
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

WEEK = 7 * 86_400 * 10**9
START = 1_736_121_600 * 10**9  # a Monday: shard groups of a week begin there
WEEKS = 6
# Few places for points, so that writes meet what is there.
TIMES_PER_WEEK = 300
HOSTS = 6
HISTORY = 40
REQUEST_SECONDS = 60
UNAVAILABLE = b"the engine is unavailable"
LATE_SECONDS_MAX = 10

# Small memtables, quick checkpoints and merges: kills hit all of them.
SETTINGS = {
    "FLUSH__INTERVAL_SECS": "1",
    "FLUSH__SMALL_INTERVAL_SECS": "1",
    "FLUSH__MAX_ROWS": "400",
    "FLUSH__CHECKPOINT_INTERVAL_SECS": "1",
    "FLUSH__MERGE_QUIET_SECS": "1",
    "LOGGING__LEVEL": "warn",
}


# From the engine alone, from both tiers, from memory alone.
HEAD_BYTES = (0, 50_000, 1 << 30)


class Unclear(Exception):
    """No answer: the operation may have happened or not."""


class Finding(Exception):
    """The server is wrong."""


def answer_of(what, status, answer, is_good):
    if status == 503 or b"stopping" in answer:
        raise Unclear(f"{what}: {status} {answer[:300]}")
    if not is_good:
        raise Finding(f"{what}: {status} {answer[:300]}")
    return answer


class Server:
    def __init__(self, binary, directory, choices):
        self.binary, self.directory, self.random = binary, directory, choices
        self.port = free_port()
        self.process = None

    def start(self):
        environment = {
            **os.environ,
            "HYPERBYTEDB__SERVER__PORT": str(self.port),
            "HYPERBYTEDB__STORAGE__DATA_DIR": os.path.join(self.directory, "data"),
            "HYPERBYTEDB__CLICKHOUSE__DATABASE": f"hyperbyte{self.port}",
            **{f"HYPERBYTEDB__{key}": value for key, value in SETTINGS.items()},
            "HYPERBYTEDB__FLUSH__HEAD_BYTES": str(self.random.choice(HEAD_BYTES)),
        }
        self.log = os.path.join(self.directory, "server.log")
        with open(self.log, "a") as out:
            self.process = subprocess.Popen([self.binary, "serve"], env=environment, stdout=out, stderr=out)

    def wait_until_up(self):
        wait_until_up(f"http://127.0.0.1:{self.port}", self.process, self.log)

    def end(self, how):
        """The exit code."""
        self.process.send_signal(how)
        return self.process.wait(60)


class Client:
    """A keep-alive connection that is made anew after an error."""

    def __init__(self, port, is_patient=False):
        """is_patient: nobody kills the server, so an answer that breaks off is one of which a ClickHouse server went."""
        self.port, self.connection, self.is_patient = port, None, is_patient

    def request(self, path, body=None):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
            self.connection.request("POST", path, body)
            response = self.connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            raise Unclear(repr(error)) from error

    def query(self, statement):
        parameters = urllib.parse.urlencode({"db": "chaos", "q": statement, "epoch": "ns"})
        deadline = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                status, answer = self.request("/query?" + parameters)
            except Unclear:
                if not self.is_patient or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                continue
            if UNAVAILABLE not in answer:
                break
            # A ClickHouse server is away: what reads is asked again, what changes may have happened.
            if not statement.startswith(("SELECT", "SHOW")) or time.monotonic() > deadline:
                raise Unclear(f"{statement}: {answer[:300]}")
            time.sleep(0.1)
        answer_of(statement, status, answer, status == 200 and b'"error"' not in answer)
        return json.loads(answer)["results"][0].get("series", [])

    def write(self, body):
        status, answer = self.request("/write?db=chaos", body)
        answer_of("write", status, answer, status == 204)


def in_week(time_ns):
    return (time_ns - START) // WEEK


class Space:
    """The points of one worker in one measurement: (host, time) -> field -> value."""

    def __init__(self, measurement, worker):
        self.measurement, self.worker = measurement, worker
        self.points = {}
        # Another table after a drop may have another type.
        self.drops = 0

    def copy(self):
        other = Space(self.measurement, self.worker)
        other.points = {place: dict(fields) for place, fields in self.points.items()}
        other.drops = self.drops
        return other

    def condition(self):
        return f"w = 'w{self.worker}'"

    def without(self, gone):
        other = self.copy()
        other.points = {place: fields for place, fields in other.points.items() if not gone(*place)}
        return other

    def difference(self, rows):
        """How what the server answered differs; empty when it does not."""
        found, twice = {}, []
        for row in rows:
            place = (row.pop("h"), row.pop("time"))
            row.pop("w")
            if place in found:
                twice.append(place)
            found[place] = {name: value for name, value in row.items() if value is not None}
        missing = [place for place in self.points if place not in found]
        back = [place for place in found if place not in self.points]
        wrong = [p for p in found if p in self.points and found[p] != self.points[p]]
        texts = []
        for name, places in (("missing", missing), ("too many", back), ("twice", twice), ("other values", wrong)):
            if places:
                example = sorted(places)[0]
                weeks = collections.Counter(in_week(place[1]) for place in places)
                texts.append(
                    f"{len(places)} {name} (by week {dict(sorted(weeks.items()))}), such as {example}:"
                    f" expected {self.points.get(example)}, found {found.get(example)}"
                )
        return "; ".join(texts)


class Worker(threading.Thread):
    """Does one operation after the other until the server is gone."""

    def __init__(self, number, seed, port, counter):
        super().__init__(daemon=True)
        self.number, self.client, self.counter = number, Client(port), counter
        self.random = random.Random(f"{seed}/{number}")
        self.spaces = {name: Space(name, number) for name in (f"own{number}", "shared")}
        # Measurement -> its points if the unclear operation has happened.
        self.unclear = {}
        self.is_late = False
        self.history = collections.deque(maxlen=HISTORY)
        self.pause = threading.Lock()
        self.stopped = threading.Event()
        self.operations = 0
        self.finding = None

    def again(self):
        """A thread that goes on where this one has ended."""
        super().__init__(daemon=True)
        # The old connection is one to the server that was killed: the first operation over it would be unclear, and the last.
        self.client = Client(self.client.port)
        self.stopped.clear()
        self.start()

    def run(self):
        while not self.stopped.is_set() and not self.unclear:
            with self.pause:
                if self.unclear:
                    return
                try:
                    self.step()
                except Finding as finding:
                    self.finding = finding
                    return

    def step(self):
        space = self.random.choice(list(self.spaces.values()))
        kinds = {"write": 70, "delete by tag": 6, "delete by time": 6, "delete by both": 4, "drop series": 3, "check": 6}
        if space.measurement != "shared":
            kinds["drop measurement"] = 3
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        if kind == "check":
            try:
                self.check_rows(space, self.client)
            except Unclear:
                self.stopped.set()
            return
        after, run = self.write(space) if kind == "write" else self.remove(space, kind)
        self.operations += 1
        try:
            run()
        except Unclear as error:
            self.history.append(f"unclear: {error}")
            self.unclear = {space.measurement: after}
            self.is_late = UNAVAILABLE.decode() in str(error)
        else:
            self.spaces[space.measurement] = after

    def write(self, space):
        after, lines = space.copy(), []
        suffix = "i" if space.drops % 2 == 0 else ""
        for _ in range(self.random.choice((1, 5, 50, 200))):
            host = f"h{self.random.randrange(HOSTS)}"
            at = START + self.random.randrange(WEEKS) * WEEK + self.random.randrange(TIMES_PER_WEEK)
            value = next(self.counter)
            names = self.random.choice((("v",), ("v", "u"), ("v", "u"), ("u",)))
            fields = ",".join(f"{name}={value}{suffix}" for name in names)
            lines.append(f"{space.measurement},h={host},w=w{self.number} {fields} {at}")
            after.points.setdefault((host, at), {}).update(dict.fromkeys(names, value))
        self.history.append(f"write {len(lines)} to {space.measurement}: {lines[0]}")
        body = "\n".join(lines)
        return after, lambda: self.client.write(body)

    def remove(self, space, kind):
        clauses, gone = [], []
        if space.measurement == "shared":
            clauses.append(space.condition())
        if kind in ("delete by tag", "delete by both", "drop series"):
            host = f"h{self.random.randrange(HOSTS)}"
            operator = self.random.choice(("=", "!="))
            clauses.append(f"h {operator} '{host}'")
            gone.append(lambda h, _: (h == host) == (operator == "="))
        if kind in ("delete by time", "delete by both"):
            low, high = sorted(self.random.randrange(WEEKS + 1) for _ in range(2))
            # Whole weeks are whole partitions.
            low, high = (START + week * WEEK + self.random.choice((0, 0, TIMES_PER_WEEK // 2)) for week in (low, high))
            clauses.append(f"time >= {low} AND time < {high}")
            gone.append(lambda _, at: low <= at < high)
        after = space.without(lambda h, at: all(is_gone(h, at) for is_gone in gone))
        if kind == "drop measurement":
            statement = f"DROP MEASUREMENT {space.measurement}"
        else:
            verb = "DROP SERIES" if kind == "drop series" else "DELETE"
            statement = f"{verb} FROM {space.measurement} WHERE {' AND '.join(clauses)}"
        # The table of the last series goes with it.
        after.drops += space.measurement != "shared" and not after.points
        self.history.append(f"{statement}: {len(space.points)} -> {len(after.points)} points")
        return after, lambda: self.client.query(statement)

    def check_rows(self, space, client):
        if text := space.difference(self.rows(space, client)):
            raise Finding(self.text(space, text))

    def rows(self, space, client):
        series = client.query(f"SELECT * FROM {space.measurement} WHERE {space.condition()}")
        return [dict(zip(one["columns"], row)) for one in series for row in one["values"]]

    def text(self, space, text):
        operations = "\n  ".join(self.history)
        return f"worker {self.number}, {space.measurement}: {text}\nits last operations:\n  {operations}"

    def check(self):
        """Everything, when nobody writes. Settles whether the unclear operation has happened."""
        client = Client(self.client.port, is_patient=True)
        for name, space in list(self.spaces.items()):
            if (after := self.unclear.get(name)) and self.has_happened(after, client):
                self.history.append("the unclear operation has happened")
                space = self.spaces[name] = after
            self.check_rows(space, client)
            self.check_counts(space, client)
            self.check_series(space, client)
        self.unclear = {}

    def has_happened(self, after, client):
        """A removal that ended with the engine away is in the log: it is carried out when the engine is back."""
        deadline = time.monotonic() + (LATE_SECONDS_MAX if self.is_late else 0)
        while differs := after.difference(self.rows(after, client)):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.1)
        return not differs

    def check_counts(self, space, client):
        expected = collections.Counter(in_week(at) for (_, at), fields in space.points.items() if "v" in fields)
        ranges = [(f"AND time >= {START + w * WEEK} AND time < {START + (w + 1) * WEEK}", expected[w]) for w in range(WEEKS)]
        for range_, count in [("", sum(expected.values())), *ranges]:
            statement = f"SELECT count(v) FROM {space.measurement} WHERE {space.condition()} {range_}"
            found = sum(row[1] for one in client.query(statement) for row in one["values"])
            if found != count:
                raise Finding(self.text(space, f"{statement}: {found}, not {count}"))

    def check_series(self, space, client):
        if space.measurement != "shared":
            series = client.query(f"SHOW MEASUREMENTS WITH MEASUREMENT = {space.measurement}")
            if bool(series) != bool(space.points):
                raise Finding(self.text(space, f"SHOW MEASUREMENTS: {series} with {len(space.points)} points"))
        series = client.query(f"SHOW SERIES FROM {space.measurement} WHERE {space.condition()}")
        found = sorted(row[0] for one in series for row in one["values"])
        expected = sorted({f"{space.measurement},h={h},w=w{self.number}" for h, _ in space.points})
        if found != expected:
            raise Finding(self.text(space, f"SHOW SERIES: {found}, not {expected}"))


class Chaos:
    def __init__(self, arguments, directory):
        self.random = random.Random(f"{arguments.seed}/chaos")
        self.server = Server(arguments.server, directory, self.random)
        counter = iter(range(1, 10**12))
        self.workers = [Worker(n, arguments.seed, self.server.port, counter) for n in range(arguments.workers)]
        self.kills = arguments.kills
        self.drop_chance = arguments.drop_shards
        self.shards_dropped = self.drops_unclear = 0
        # In the middle of a DROP SHARD.
        self.killed = False

    def run(self):
        self.server.start()
        self.server.wait_until_up()
        Client(self.server.port).query("CREATE DATABASE chaos")
        for worker in self.workers:
            worker.start()
        kills = starts = 0
        while kills < self.kills:
            self.live()
            orderly = self.random.random() < 0.15
            kills += not orderly
            code = self.server.end(signal.SIGTERM if orderly else signal.SIGKILL)
            if orderly and code != (-signal.SIGKILL if self.killed else 0):
                raise Finding(f"a stop ended with {code}")
            for worker in self.workers:
                worker.stopped.set()
                worker.join()
                if worker.finding:
                    raise worker.finding
            self.server.start()
            while kills < self.kills and self.random.random() < 0.2:
                time.sleep(self.random.random() * 0.7)
                self.server.end(signal.SIGKILL)
                kills += 1
                self.server.start()
            self.server.wait_until_up()
            starts += 1
            for worker in self.workers:
                worker.check()
            if kills < self.kills:
                # While nothing is unclear, which it soon is where ClickHouse servers are killed.
                self.killed = False
                self.drop_shard_perhaps()
                for worker in self.workers:
                    worker.again()
        operations = sum(worker.operations for worker in self.workers)
        points = sum(len(space.points) for worker in self.workers for space in worker.spaces.values())
        print(
            f"{kills} kills, {starts} checked starts, {operations} operations, {self.shards_dropped} shards dropped,"
            f" {self.drops_unclear} more with an unclear outcome,"
            f" {points} points at the end: nothing missing, nothing twice, nothing back"
        )

    def live(self):
        """A random time, with shards dropped now and then."""
        end = time.monotonic() + self.random.uniform(0.05, 2.5)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.4))
            self.drop_shard_perhaps()

    def drop_shard_perhaps(self):
        if self.random.random() < self.drop_chance:
            # The kill comes in the middle of some.
            with contextlib.suppress(Unclear):
                self.drop_shard()

    def drop_shard(self):
        """While the workers pause."""
        with contextlib.ExitStack() as paused:
            for worker in self.workers:
                paused.enter_context(worker.pause)
            if any(worker.unclear for worker in self.workers):
                return
            client = Client(self.server.port)
            series = next((one for one in client.query("SHOW SHARDS") if one["name"] == "chaos"), {"values": []})
            if not series["values"]:
                return
            shard = dict(zip(series["columns"], self.random.choice(series["values"])))
            start = time.strptime(shard["start_time"], "%Y-%m-%dT%H:%M:%SZ")
            week = in_week(int(time.mktime(start) - time.timezone) * 10**9)
            after = [
                {name: space.without(lambda _, at: in_week(at) == week) for name, space in worker.spaces.items()}
                for worker in self.workers
            ]
            killer = None
            if self.random.random() < 0.3:
                killer = threading.Timer(self.random.random() * 0.02, self.server.process.kill)
                killer.start()
                self.killed = True
            try:
                client.query(f"DROP SHARD {shard['id']}")
                self.shards_dropped += 1
                for worker, spaces in zip(self.workers, after):
                    worker.spaces = spaces
            except Unclear as error:
                self.drops_unclear += 1
                for worker, spaces in zip(self.workers, after):
                    worker.unclear = spaces
                    worker.is_late = UNAVAILABLE.decode() in str(error)
            finally:
                for worker in self.workers:
                    worker.history.append(f"DROP SHARD {shard['id']}, week {week}; unclear: {bool(worker.unclear)}")
                if killer:
                    killer.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--drop-shards", type=float, default=0.2, metavar="CHANCE", help="by which a shard is dropped, 2.5 times a second")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.kills} kills", flush=True)
    directory = tempfile.mkdtemp(prefix="chaos-")
    chaos = Chaos(arguments, directory)
    try:
        chaos.run()
    except Finding as finding:
        raise SystemExit(f"{finding}\nthe data and the log of the server are in {directory}")
    finally:
        if chaos.server.process:
            chaos.server.process.kill()
            chaos.server.process.wait()
    subprocess.run(["rm", "-r", directory], check=True)


if __name__ == "__main__":
    main()
