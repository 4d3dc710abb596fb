#!/usr/bin/env python3
"""Writes 1,000,000 new series of one measurement to a server, or asks for one of them after a start; prints a JSON line.

    scripts/bench-series.py URL --pid PID        # writes; the server's CPU and memory are those of PID
    scripts/bench-series.py URL --first-answer   # how long until a query of one series is answered; --started-ms is added
"""
import argparse
import http.client
import json
import threading
import time
import urllib.parse

from server import cpu_seconds

SERIES = 1_000_000
BODY_LINES = 5_000
WRITERS = 4
# Not `series`, which is a keyword.
DATABASE = "many_series"
TIME_NS = 1_735_689_600 * 10**9
PATIENCE_SECONDS = 300


def connect(url):
    return http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=PATIENCE_SECONDS)


def request(connection, path, body=b""):
    connection.request("POST", path, body)
    response = connection.getresponse()
    return response.status, response.read()


def query(connection, statement):
    return request(connection, "/query?" + urllib.parse.urlencode({"db": DATABASE, "q": statement}))


def body(start):
    lines = (f"disk,host=h{n // 100},path=/var/{n % 100} free={n}i {TIME_NS}" for n in range(start, start + BODY_LINES))
    return "\n".join(lines).encode()


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def write_all(url, bodies):
    bodies, lock, failures = iter(bodies), threading.Lock(), []

    def run():
        connection = connect(url)
        while not failures:
            with lock:
                body = next(bodies, None)
            if body is None:
                return
            status, answer = request(connection, f"/write?db={DATABASE}", body)
            if status != 204:
                failures.append((status, answer[:200]))

    writers = [threading.Thread(target=run) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures, failures[0]


def write(url, pid):
    status, answer = query(connect(url), f"CREATE DATABASE {DATABASE}")
    assert status == 200 and b"error" not in answer, answer
    # Made before the clock starts.
    bodies = [body(start) for start in range(0, SERIES, BODY_LINES)]
    started, cpu = time.perf_counter(), cpu_seconds(pid)
    write_all(url, bodies)
    seconds = time.perf_counter() - started
    return {
        "series_per_s": round(SERIES / seconds),
        "cpu_us_per_series": round((cpu_seconds(pid) - cpu) / SERIES * 1e6, 2),
        "rss_MiB": round(resident_mib(pid)),
    }


def first_answer(url, started_ms):
    started = time.perf_counter()
    while time.perf_counter() - started < PATIENCE_SECONDS:
        try:
            status, answer = query(connect(url), "SELECT free FROM disk WHERE host = 'h77' AND path = '/var/7'")
        except OSError:
            status, answer = 0, b""
        if status == 200 and b"7707" in answer:
            return {"first_answer_ms": round(started_ms + (time.perf_counter() - started) * 1e3, 1)}
        time.sleep(0.01)
    raise SystemExit(f"no answer: {status} {answer[:200]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--first-answer", action="store_true")
    parser.add_argument("--started-ms", type=float, default=0, help="what the start took until /ping was answered")
    options = parser.parse_args()
    answer = first_answer(options.url, options.started_ms) if options.first_answer else write(options.url, options.pid)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
