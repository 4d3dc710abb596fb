#!/usr/bin/env python3
"""Measures what a long answer costs: memory of the server over time, time to the first byte, temporary files.

    scripts/bench-stream.py --server target/release/hyperbytedb [--rows 50000000] [--series 1000] [--days 6] [--only TEXT]

Loads rows of two fields and three tags into a new server, starts it anew, and reads all of them in several ways.
"""
import argparse
import contextlib
import http.client
import os
import random
import tempfile
import threading
import time
import urllib.parse

from server import free_port, running

START_NS = 1_735_689_600 * 10**9
BODY_ROWS = 5_000
WRITERS = 4
SAMPLE_SECONDS = 0.1

ANSWERS = [
    ("by time", "SELECT * FROM m", "application/json"),
    ("by series", "SELECT * FROM m GROUP BY *", "application/json"),
    ("by time, descending", "SELECT * FROM m ORDER BY time DESC", "application/json"),
    ("half of the rows", "SELECT * FROM m WHERE v < 50", "application/json"),
    ("of a subquery", "SELECT v FROM (SELECT v FROM m)", "application/json"),
    ("CSV", "SELECT * FROM m", "application/csv"),
    ("MessagePack", "SELECT * FROM m", "application/x-msgpack"),
]


@contextlib.contextmanager
def server(binary, directory):
    """Yields (process id, port) of a server on the folder."""
    port = free_port()
    environment = {
        "HYPERBYTEDB__SERVER__PORT": str(port),
        "HYPERBYTEDB__STORAGE__DATA_DIR": os.path.join(directory, "data"),
        "HYPERBYTEDB__LOGGING__LEVEL": "warn",
        "HYPERBYTEDB__QUERY__TIMEOUT_SECS": "0",
    }
    with running([binary, "serve"], environment, f"http://127.0.0.1:{port}", directory) as process:
        yield process.pid, port


def load(port, rows, series, days):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/query?q=CREATE%20DATABASE%20bench")
    connection.getresponse().read()
    step = days * 86_400 * 10**9 * series // rows
    heads = [f"m,dc=dc{i % 10},host=host_{i},region=r{i % 4} v=" for i in range(series)]
    values = [f"{random.random() * 100:.3f},n={random.randrange(1000)}i " for _ in range(997)]
    starts, lock = iter(range(0, rows, BODY_ROWS)), threading.Lock()

    def line(i):
        turn, host = divmod(i, series)
        return heads[host] + values[i % 997] + str(START_NS + turn * step + host)

    def write():
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            body = "\n".join(map(line, range(start, min(start + BODY_ROWS, rows))))
            status = 503
            while status == 503:
                connection.request("POST", "/write?db=bench", body)
                response = connection.getresponse()
                answer, status = response.read(), response.status
            assert status == 204, answer

    writers = [threading.Thread(target=write) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS"))


def temporary_mb(directory):
    size = 0
    for folder, _, files in os.walk(os.path.join(directory, "data", "chdb", "tmp")):
        for name in files:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(folder, name)).st_size
    return size >> 20


def read(pid, port, directory, statement, accept):
    """Reads an answer while looking at the server."""
    samples, done, started = [], threading.Event(), time.monotonic()

    def sample():
        while not done.wait(SAMPLE_SECONDS):
            samples.append((resident_mb(pid), temporary_mb(directory)))

    idle = resident_mb(pid)
    sampler = threading.Thread(target=sample)
    sampler.start()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    parameters = {"db": "bench", "q": statement, "epoch": "ns", "chunked": "true", "chunk_size": "10000"}
    connection.request("GET", "/query?" + urllib.parse.urlencode(parameters), headers={"Accept": accept})
    response = connection.getresponse()
    size, first, tail = 0, None, b""
    while data := response.read1(1 << 20):
        first = first or time.monotonic() - started
        size += len(data)
        tail = (tail + data)[-200:]
    seconds = time.monotonic() - started
    done.set()
    sampler.join()
    assert b'"error"' not in tail, tail
    return idle, samples, first, seconds, size >> 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=6, help="span of the rows; a shard is 7 days")
    parser.add_argument("--only", default="", help="only answers with this text in their name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-stream-") as directory:
        with server(arguments.server, directory) as (_, port):
            started = time.monotonic()
            load(port, arguments.rows, arguments.series, arguments.days)
            print(f"{arguments.rows} rows of {arguments.series} series loaded in {time.monotonic() - started:.0f} s")
        with server(arguments.server, directory) as (pid, port):
            for name, statement, accept in ANSWERS:
                if arguments.only not in name:
                    continue
                idle, samples, first, seconds, size = read(pid, port, directory, statement, accept)
                memory = [resident for resident, _ in samples]
                print(
                    f"{name}: {size} MB in {seconds:.0f} s, first byte {first:.2f} s; memory {idle} MB idle,"
                    f" {max(memory)} MB at most; temporary files {max(t for _, t in samples)} MB at most"
                )
                print("  memory over time, MB:", *memory[:: max(1, len(memory) // 20)], flush=True)


if __name__ == "__main__":
    main()
