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


def mixed_figures(rows):
    found = {}
    for row in rows:
        name = f"dashboard: {row['readers']} readers, {row['writers']} writers"
        found |= {f"{name}, {which}": row["query_ms"][which] for which in ("p50", "p99")}
    return found


def many_figures(row):
    return {f"2,000 measurements: {name}": value for name, value in row.items() if name.endswith("_ms")}


def series_figures(row):
    return {
        "1,000,000 series: seconds a series": 1 / row["series_per_s"],
        "1,000,000 series: CPU a series": row["cpu_us_per_series"],
        "1,000,000 series: memory": row["rss_MiB"],
    }


def restart_figures(row):
    return {"1,000,000 series: first answer after kill -9": row["first_answer_ms"]}


OTHERS = {"mixed": mixed_figures, "many": many_figures, "series": series_figures, "restart": restart_figures}


def other_figures(folder, server):
    found = {}
    for name, read in OTHERS.items():
        path = os.path.join(folder, f"{server}-{name}.json")
        if os.path.exists(path):
            with open(path) as text:
                found |= read(json.load(text))
    return found


def figures(folder, server):
    with open(os.path.join(folder, f"{server}.txt")) as text:
        found = load_figures(text.read())
    with open(os.path.join(folder, f"{server}-q.json")) as queries:
        return found | query_figures(json.load(queries)) | other_figures(folder, server)


def load_of_victoria_metrics(folder):
    """Its own line: it answers no InfluxQL."""
    path = os.path.join(folder, "vm.txt")
    if os.path.exists(path):
        with open(path) as text:
            print("VictoriaMetrics: " + ", ".join(f"{name} {value:.3g}" for name, value in load_figures(text.read()).items()))


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
    load_of_victoria_metrics(options.results)
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
