#!/usr/bin/env python3
"""Backs up a server that takes points at full speed, restores elsewhere, and compares the series at the backup's sequence.

    scripts/bench-backup.py --server target/release/hyperbytedb [--points 10000000]

Writers send numbered batches of disjoint series until the backup is there. A restored server must have, of each writer, the
batches up to one: all that were acknowledged before the backup began, none that was begun after its end, none in part. Up to
there, count, sum and last value of each series must equal those of the server that was backed up. Then an incremental
backup is made, and both are verified.
"""
import argparse
import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from server import hyperbytedb

WRITERS = 2
SERIES = 500  # of each writer
BATCH_TIMES = 10  # points of each series in a batch
START_NS = 1_735_689_600 * 10**9
STEP_NS = 10**9


def batch(writer, number):
    lines = []
    for time_number in range(number * BATCH_TIMES, (number + 1) * BATCH_TIMES):
        at = START_NS + time_number * STEP_NS
        for series in range(SERIES):
            lines.append(f"cpu,writer=w{writer},host=h{series} usage={time_number + series}i,load={time_number * 0.5} {at}")
    return "\n".join(lines).encode()


class Writer(threading.Thread):
    def __init__(self, url, number, stop):
        super().__init__()
        self.address, self.number, self.stop = urllib.parse.urlsplit(url).netloc, number, stop
        self.begun = self.done = 0
        self.slowest = 0.0
        self.failure = None

    def run(self):
        try:
            connection = http.client.HTTPConnection(self.address)
            while not self.stop.is_set():
                body = batch(self.number, self.done)
                self.begun = self.done + 1
                started = time.monotonic()
                connection.request("POST", "/write?db=bench", body)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 204:
                    raise RuntimeError(f"{answer.status}: {text}")
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.done += 1
        except Exception as error:  # told by the main thread
            self.failure = error


def query(url, statement):
    body = urllib.parse.urlencode({"q": statement, "db": "bench", "epoch": "ns"}).encode()
    with urllib.request.urlopen(url + "/query", body, timeout=600) as answer:
        result = json.load(answer)["results"][0]
    if "error" in result:
        raise SystemExit(f"{statement}: {result['error']}")
    return result.get("series", [])


def run(binary, *arguments):
    started = time.monotonic()
    done = subprocess.run([binary, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments}: {done.stderr}")
    print(f"{time.monotonic() - started:6.1f} s  {done.stdout.strip()}", flush=True)


def compare(live, copy, writers, before, after):
    """Returns the points compared."""
    compared = 0
    for writer in writers:
        where = f"writer = 'w{writer.number}'"
        last = query(copy, f"SELECT last(usage) FROM cpu WHERE {where}")[0]["values"][0][0]
        times = (last - START_NS) // STEP_NS + 1
        batches, rest = divmod(times, BATCH_TIMES)
        low, high = before[writer.number], after[writer.number]
        if rest or not low <= batches <= high:
            raise SystemExit(f"writer {writer.number}: {batches} batches and {rest}, not {low} to {high}")
        checksums = f"SELECT count(usage), sum(usage), sum(load), last(load) FROM cpu WHERE {where} AND time <= {last} GROUP BY host"
        ours, theirs = query(copy, checksums), query(live, checksums)
        if ours != theirs or len(ours) != SERIES:
            raise SystemExit(f"writer {writer.number}: the checksums of the series differ")
        if any(series["values"][0][1] != times for series in ours):
            raise SystemExit(f"writer {writer.number}: a series has not one point each second")
        compared += times * SERIES
    return compared


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--points", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hyperbytedb-backup-") as folder, hyperbytedb(options.server) as live:
        query(live, "CREATE DATABASE bench")
        stop = threading.Event()
        writers = [Writer(live, number, stop) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        try:
            wanted = options.points // (WRITERS * SERIES * BATCH_TIMES)
            while any(writer.done < wanted for writer in writers):
                if any(writer.failure for writer in writers):
                    raise SystemExit(f"a writer failed: {[writer.failure for writer in writers]}")
                time.sleep(0.1)
            slowest_without = max(writer.slowest for writer in writers)
            for writer in writers:
                writer.slowest = 0.0
            before = [writer.done for writer in writers]
            first = os.path.join(folder, "first")
            run(options.server, "backup", "--url", live, "--output", first)
            after = [writer.begun for writer in writers]
            slowest = max(writer.slowest for writer in writers)
            print(f"slowest write {slowest * 1000:.0f} ms during the backup, {slowest_without * 1000:.0f} ms before it", flush=True)
            second = os.path.join(folder, "second")
            before_second = [writer.done for writer in writers]
            run(options.server, "backup", "--url", live, "--output", second, "--since", first)
            after_second = [writer.begun for writer in writers]
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        if any(writer.failure for writer in writers):
            raise SystemExit(f"a writer failed: {[writer.failure for writer in writers]}")
        for name, low, high in ((first, before, after), (second, before_second, after_second)):
            run(options.server, "backup", "verify", name)
            data = os.path.join(name + "-restored", "data")
            run(options.server, "restore", "--input", name, "--data-dir", data)
            with hyperbytedb(options.server, {"STORAGE__DATA_DIR": data}) as copy:
                points = compare(live, copy, writers, low, high)
            print(f"{points} points of {WRITERS * SERIES} series are equal", flush=True)


main()
