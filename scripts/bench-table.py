#!/usr/bin/env python3
"""Prints one table of ratios to InfluxDB from the results of ../shared/bench/run_one.sh, and flags what got worse.

    scripts/bench-table.py [--results FOLDER] [--update]

A ratio is ours divided by InfluxDB's of the same run: below 1 is better, for points/s it is turned round. What is more than
half above docs/bench-baseline.json is marked and makes the exit code 1: machines are noisy, run it again before you believe it.
--update stores the ratios as the new baseline.
"""
import argparse
import json
import os
import re
import statistics
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
BASELINE = os.path.join(ROOT, "docs", "bench-baseline.json")
NOISE = 1.5
# Milliseconds below which a query's ratio says nothing.
LEAST_MS = 0.2


def load_figures(text):
    load = json.loads(re.search(r"^load: (\{.*\})$", text, re.M)[1])
    settled = re.search(r"^settled: .* rss_MiB (\d+) .* disk_MB ([\d.]+)", text, re.M)
    restart = re.search(r"^restart with data: .* up_ms (\d+)", text, re.M)
    return {
        "load: seconds a point": 1 / load["points_per_s"],
        "load: CPU a point": load["srv_cpu_us_per_point"],
        "load: most memory": load["hwm_MiB"],
        "settled: memory": float(settled[1]),
        "settled: disk": float(settled[2]),
        "start with data": float(restart[1]),
    }


def query_figures(queries):
    second = {name: query["ms"][len(query["ms"]) // 2 :] for name, query in queries.items()}
    return {f"query: {name}": max(statistics.median(ms), LEAST_MS) for name, ms in second.items() if ms}


def figures(folder, server):
    with open(os.path.join(folder, f"{server}.txt")) as text:
        found = load_figures(text.read())
    with open(os.path.join(folder, f"{server}-q.json")) as queries:
        return found | query_figures(json.load(queries))


def main():
    work = os.environ.get("BENCH_WORK", os.path.expanduser("~/.cache/hyperbytedb-bench"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=os.path.join(work, "results"))
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    ours, theirs = figures(options.results, "hyperbyte"), figures(options.results, "influxd")
    ratios = {name: ours[name] / theirs[name] for name in ours if theirs.get(name)}
    baseline = {}
    if os.path.exists(BASELINE):
        with open(BASELINE) as stored:
            baseline = json.load(stored)
    worse = [name for name, ratio in ratios.items() if ratio > baseline.get(name, ratio) * NOISE]
    print("| What | ratio to InfluxDB | baseline |\n| --- | --- | --- |")
    for name, ratio in ratios.items():
        stored = f"{baseline[name]:.3f}" if name in baseline else ""
        print(f"| {name} | {ratio:.3f}{' **worse**' if name in worse else ''} | {stored} |")
    if options.update:
        with open(BASELINE, "w") as stored:
            json.dump({name: round(ratio, 4) for name, ratio in ratios.items()}, stored, indent=1)
            stored.write("\n")
    elif worse:
        sys.exit(f"bench-table: worse than the baseline: {', '.join(worse)}")


if __name__ == "__main__":
    main()
