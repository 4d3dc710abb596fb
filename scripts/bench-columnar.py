#!/usr/bin/env python3
"""The speed of columnar writes beside line protocol: the same points, by turns, into one new server.

    scripts/bench-columnar.py --server target/release/hyperbytedb [--rows 2000000] [--shape wide|deep] [--no-flush]

Two shapes: "wide" is 4,000 series by turns, so that nearly each row of a body is of another one; "deep" is 20 series with 250
points each in a body, one after the other.

Prints points/s until the last answer and the server's CPU a point, for each form of the body, and the ratio to line protocol.
With --no-flush nothing goes on to the engine meanwhile, whose work is the same for all forms. Needs pyarrow and msgpack. What is sent is made before the clock starts.
"""

import argparse
import http.client
import os
import tempfile
import threading
import time

import msgpack
import pyarrow as pa

from server import cpu_seconds, free_port, running

FIELDS = [f"usage_{n}" for n in range(10)]
TAGS = [f"tag_{n}" for n in range(10)]
# Series, and how many points of one follow each other.
SHAPES = {"wide": (4000, 1), "deep": (20, 250)}
NO_FLUSH = {
    "HYPERBYTEDB__FLUSH__MAX_ROWS": "1000000000",
    "HYPERBYTEDB__FLUSH__MAX_BYTES": "500000000",
    "HYPERBYTEDB__FLUSH__INTERVAL_SECS": "3600",
    "HYPERBYTEDB__FLUSH__WAL_SIZE_BYTES": "8000000000",
    "HYPERBYTEDB__FLUSH__MEMORY_LIMIT_BYTES": "2000000000",
}
ARROW = "application/vnd.apache.arrow.stream"


def points(number, batch, shape, seconds=10):
    """Columns of one body: each series in turn, a value that changes slowly."""
    rows = range(number * batch, (number + 1) * batch)
    count, run = shape
    series = [row // run % count for row in rows]
    steps = [row // (count * run) * run + row % run for row in rows]
    times = [(1_700_000_000 + step * seconds) * 1_000_000_000 for step in steps]
    tags = {tag: [f"value-{tag}-{s // (n + 1)}" for s in series] for n, tag in enumerate(TAGS)}
    fields = {field: [((row * 37 + n * 11) % 10007) / 100 for row in rows] for n, field in enumerate(FIELDS)}
    return times, tags, fields


def as_lines(measurement, times, tags, fields):
    lines = []
    for row, stamp in enumerate(times):
        own = ",".join(f"{key}={values[row]}" for key, values in tags.items())
        values = ",".join(f"{key}={column[row]}" for key, column in fields.items())
        lines.append(f"{measurement},{own} {values} {stamp}")
    return "\n".join(lines).encode(), "text/plain"


def as_arrow(measurement, times, tags, fields):
    columns = {"time": pa.array(times, pa.timestamp("ns"))}
    columns.update({key: pa.array(values).dictionary_encode() for key, values in tags.items()})
    columns.update({key: pa.array(values, pa.float64()) for key, values in fields.items()})
    table = pa.table(columns).replace_schema_metadata({"measurement": measurement})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes(), ARROW


def as_msgpack(measurement, times, tags, fields):
    body = {"measurement": measurement, "time": times, "tags": tags, "fields": fields}
    return msgpack.packb(body), "application/msgpack"


def request(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def send(port, database, bodies, connections):
    lock, left, failures = threading.Lock(), list(bodies), []

    def work():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while True:
            with lock:
                if not left:
                    return
                body, content_type = left.pop(0)
            connection.request("POST", f"/write?db={database}", body, {"Content-Type": content_type})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 204:
                failures.append(text)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if failures:
        raise SystemExit(failures[0].decode())


def compare(port, pid, made, options):
    best = {}
    for turn in range(options.rounds):
        for name, bodies in made.items():
            database = f"d{turn}{name.replace(' ', '')}"
            request(port, "POST", f"/query?q=CREATE+DATABASE+{database}")
            started, used = time.monotonic(), cpu_seconds(pid)
            send(port, database, bodies, options.connections)
            elapsed, used = time.monotonic() - started, cpu_seconds(pid) - used
            status, text = request(port, "GET", f"/query?db={database}&q=SELECT+count(usage_9)+FROM+cpu")
            assert f",{options.rows}]" in text.decode(), text
            # What is flushed behind the answers is not the next one's.
            request(port, "POST", f"/query?q=DROP+DATABASE+{database}")
            rate, cpu = options.rows / elapsed, used / options.rows * 1e6
            print(f"{name:14} {rate:12,.0f} points/s {cpu:6.2f} us CPU a point", flush=True)
            best_rate, best_cpu = best.get(name, (0, 1e9))
            best[name] = (max(best_rate, rate), min(best_cpu, cpu))
    base = best["line protocol"]
    for name, (rate, cpu) in best.items():
        print(f"best of {name}: {rate:,.0f} points/s ({rate / base[0]:.2f}x), {cpu:.2f} us ({base[1] / cpu:.2f}x less)")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--server", required=True)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--batch", type=int, default=5_000)
    arguments.add_argument("--connections", type=int, default=4)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--shape", choices=SHAPES, default="wide")
    arguments.add_argument("--no-flush", action="store_true")
    options = arguments.parse_args()
    forms = {"line protocol": as_lines, "Arrow": as_arrow, "MessagePack": as_msgpack}
    made = {}
    for name, make in forms.items():
        bodies = [make("cpu", *points(n, options.batch, SHAPES[options.shape])) for n in range(options.rows // options.batch)]
        made[name] = bodies
        print(f"{name}: {sum(len(body) for body, _ in bodies) / options.rows:.0f} bytes a point", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-columnar-") as folder:
        port = free_port()
        environment = {
            "HYPERBYTEDB__SERVER__PORT": str(port),
            "HYPERBYTEDB__STORAGE__DATA_DIR": os.path.join(folder, "data"),
            "HYPERBYTEDB__HTTP__ACCESS_LOG": "off",
            "HYPERBYTEDB__LOGGING__LEVEL": "error",
            **(NO_FLUSH if options.no_flush else {}),
        }
        with running([options.server, "serve"], environment, f"http://127.0.0.1:{port}", folder) as server:
            compare(port, server.pid, made, options)


if __name__ == "__main__":
    main()
