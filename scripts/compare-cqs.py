#!/usr/bin/env python3
"""Runs the same continuous queries on the built server and on a real influxd, with the same points, and compares what they write.

    scripts/compare-cqs.py --server target/release/hyperbytedb [--seconds 60]

Points come in just before their time, those of the measurement `late` also after it: what looks back at them must count them, for
the others it would depend on the moment of the run. Compared are the windows that both had time to write: those that ended
a while before the points stopped, from the second window after the queries were made.
"""
import argparse
import json
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from server import hyperbytedb, influxd

DB = "cqs"
# Name, RESAMPLE, SELECT, interval in seconds, and how far back it looks.
QUERIES = [
    ("mean", "", "mean(v) AS x INTO t_mean FROM m GROUP BY time(2s)", 2, 0),
    ("sum_by_tag", "", "sum(v) AS x INTO t_sum FROM m GROUP BY time(5s), host", 5, 0),
    ("all_tags", "", "max(v) AS x, min(v) AS y INTO t_all FROM m GROUP BY time(3s), *", 3, 0),
    ("again", "RESAMPLE EVERY 1s FOR 12s", "count(v) AS x INTO t_again FROM late GROUP BY time(3s)", 3, 12),
    ("long", "RESAMPLE FOR 20s", "sum(n) AS x INTO t_long FROM late GROUP BY time(4s), host", 4, 20),
    ("seldom", "RESAMPLE EVERY 6s", "sum(v) AS x INTO t_seldom FROM m GROUP BY time(2s)", 2, 6),
    ("moved", "", "sum(v) AS x INTO t_offset FROM m GROUP BY time(4s, 1s)", 4, 0),
    ("zeros", "RESAMPLE EVERY 1s FOR 10s", "count(v) AS x INTO t_zeros FROM late WHERE host = 'b' GROUP BY time(1s) fill(0)", 1, 10),
    ("condition", "", "last(v) AS x INTO t_last FROM m WHERE n > 3 AND host != 'a' GROUP BY time(2s), host", 2, 0),
    ("several", "", "percentile(v, 50) AS x, stddev(v) AS y INTO t_several FROM m GROUP BY time(5s)", 5, 0),
    ("names", "", f'mean(v) AS x INTO {DB}.other.:MEASUREMENT FROM /^m$/ GROUP BY time(5s), *', 5, 0),
    ("subquery", "", "max(s) AS x INTO t_sub FROM (SELECT sum(v) AS s FROM m GROUP BY time(1s), host) GROUP BY time(5s)", 5, 0),
]
# What is written late, and how late at most. Others are early.
LATE_PART, LATE_SECONDS, EARLY_SECONDS = 0.1, 5, 0.3
# After a window ends, until it must have been written.
GRACE_SECONDS = 4


def request(url, path, parameters, body=None):
    data = body.encode() if body is not None else b""
    try:
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(parameters)}", data, timeout=30) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{parameters}: {error.read().decode()}")


def query(url, statement):
    answer = json.loads(request(url, "/query", {"db": DB, "q": statement, "epoch": "ns"}))
    result = answer["results"][0]
    assert "error" not in result, (statement, result)
    return result.get("series", [])


def prepare(url):
    query(url, f"CREATE DATABASE {DB}")
    query(url, f"CREATE RETENTION POLICY other ON {DB} DURATION INF REPLICATION 1")
    for name, resample, select, _, _ in QUERIES:
        query(url, f"CREATE CONTINUOUS QUERY {name} ON {DB} {resample} BEGIN SELECT {select} END")


def feed(urls, seconds, random_):
    """Sends the same points to all, those that are late not before their time. Returns when the first and the last came."""
    waiting, number = [], 0
    start = time.time()
    while (now := time.time()) < start + seconds:
        for host in "abc":
            number += 1
            at = int((now + EARLY_SECONDS) * 1e9) + number
            point = f",host={host} v={random_.randrange(1000)},n={random_.randrange(9)}i {at}"
            late = random_.random() < LATE_PART
            waiting.append((now, "m" + point))
            waiting.append((now + (random_.random() * LATE_SECONDS if late else 0), "late" + point))
        due = [line for when, line in waiting if when <= now]
        waiting = [(when, line) for when, line in waiting if when > now]
        for url in urls:
            request(url, "/write", {"db": DB}, "\n".join(due))
        time.sleep(0.1)
    return start, time.time()


def target(url, select, first, last, interval):
    name = f'"{DB}"."other"."m"' if ":MEASUREMENT" in select else select.split(" INTO ")[1].split()[0]
    series = query(url, f"SELECT * FROM {name}")
    rows = [dict(zip(s["columns"], values)) for s in series for values in s["values"]]
    # The last digits of a float depend on the order of its sum.
    for row in rows:
        row.update({key: float(f"{value:.12g}") for key, value in row.items() if isinstance(value, float)})
    inside = [r for r in rows if r["time"] >= first * 1e9 and r["time"] + interval * 1e9 <= last * 1e9]
    return sorted(inside, key=lambda row: json.dumps(row, sort_keys=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    differences = 0
    with hyperbytedb(options.server) as ours, influxd() as theirs:
        for url in (ours, theirs):
            prepare(url)
        start, stop = feed((ours, theirs), options.seconds, random.Random(options.seed))
        for name, _, select, interval, back in QUERIES:
            # Late points are counted by some runs of one server and not of the other, unless all runs are over.
            first, last = start + 2 * interval + back, stop - GRACE_SECONDS - back
            a, b = (target(url, select, first, last, interval) for url in (ours, theirs))
            windows = len({row["time"] for row in b})
            if a == b and windows:
                print(f"{name}: {windows} windows, {len(a)} points, equal")
                continue
            differences += 1
            only = [row for row in a if row not in b][:3], [row for row in b if row not in a][:3]
            print(f"{name}: {len(a)} and {len(b)} points; only ours {only[0]}; only InfluxDB's {only[1]}")
    sys.exit(f"compare-cqs: {differences} queries differ" if differences else 0)


if __name__ == "__main__":
    main()
