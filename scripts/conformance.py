#!/usr/bin/env python3
"""Runs the InfluxDB corpus of ../shared/conformance against the built server.

Fails when a query of tests/conformance/passing.txt no longer passes, or when fewer than the bars pass. The list only
grows: --update adds what newly passes.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

from server import hyperbytedb

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORPUS = os.path.join(ROOT, "..", "shared", "conformance")
LIST = os.path.join(ROOT, "tests", "conformance", "passing.txt")
FILES = ["influx1x.json", "golden167.json"]
BAR_PERCENT = 95


def run(url, name, directory):
    """Names of the queries that ran, and of those that failed, with the failures."""
    record, out = os.path.join(directory, "record.json"), os.path.join(directory, "failures.json")
    command = [sys.executable, os.path.join(CORPUS, "run.py"), "--url", url, "--record", record, "--out", out]
    done = subprocess.run(command + [os.path.join(CORPUS, name)], capture_output=True, text=True, timeout=1800)
    if not os.path.exists(out):
        raise SystemExit(f"the runner failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    failures = json.load(open(out))
    ran = {f"{name} {case} {q['i']}" for case, queries in json.load(open(record)).items() for q in queries if "pass" in q}
    failed = {f"{name} {f['case']} {f['query']}" for f in failures if "query" in f}
    return ran, failed, failures


def describe(failure):
    if "query" not in failure:
        return f"  {failure['case']} {failure['where']}: {failure['kind']} {failure.get('detail', '')} {failure['body'][:200]}"
    return (f"  {failure['case']} [{failure['query']}] {failure['command'][:160]}\n"
            f"      {failure['kind']} at {failure['path']}: expected {str(failure['exp'])[:160]}, got {str(failure['act'])[:160]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--failures", help="also write the failures to this file, as JSON")
    options = parser.parse_args()
    if not os.path.isdir(CORPUS):
        print("conformance: skipped, ../shared/conformance is not there")
        return
    ran, failed, failures = set(), set(), []
    for name in FILES:
        with tempfile.TemporaryDirectory() as directory, hyperbytedb(options.server) as url:
            results = run(url, name, directory)
        ran, failed, failures = ran | results[0], failed | results[1], failures + results[2]
    if options.failures:
        json.dump(failures, open(options.failures, "w"), indent=1)
    passed = ran - failed
    print("failures:\n" + "\n".join(describe(f) for f in failures) if failures else "no failures")
    percent = 100 * len(passed) / max(1, len(ran))
    print(f"conformance: {len(passed)} of {len(ran)} queries pass ({percent:.1f}%)")
    listed = set(open(LIST, encoding="utf-8").read().splitlines()) if os.path.exists(LIST) else set()
    if options.update:
        with open(LIST, "w", encoding="utf-8") as out:
            out.write("\n".join(sorted(listed | passed)) + "\n")
        print(f"{len(passed - listed)} queries added to the list")
    lost = sorted((listed & ran) - passed)
    for name in lost:
        print(f"no longer passes: {name}")
    if lost or percent < BAR_PERCENT:
        raise SystemExit(f"conformance: failed ({len(lost)} regressions, bar {BAR_PERCENT}%)")


if __name__ == "__main__":
    main()
