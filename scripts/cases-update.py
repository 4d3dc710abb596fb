#!/usr/bin/env python3
"""Rewrites the answers of all case files: those of a real influxd, started for it, and those of our own parsers and planner.

Look at the difference before it is committed. Blocks marked `differs` in tests/cases are left alone.
"""
import os
import subprocess
import sys

from server import influxd

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
FUNCTIONS = "crates/functions/tests/cases/generate.py"
END_TO_END = "package(hyperbytedb) & binary(cases) & test(cases_from_memory)"
SELECTS = "package(hyperbytedb-executor) & test(regenerate)"
# What our own code prints: lines, syntax trees, prepared statements.
OUR_OWN = "(package(hyperbytedb-line-protocol) & binary(cases)) | binary(golden) | binary(prepare)"


def tests(filter_expression, **environment):
    command = ["cargo", "nextest", "run", "--release", "--workspace", "--run-ignored", "all", "-E", filter_expression]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True)


def main():
    # A new one each: the answers show databases and numbers of shards.
    with influxd() as url:
        tests(END_TO_END, HYPERBYTEDB_UPDATE_CASES_FROM=url)
    with influxd() as url:
        tests(SELECTS, INFLUXDB=url.removeprefix("http://"))
        subprocess.run([sys.executable, FUNCTIONS, url], cwd=ROOT, check=True)
    tests(OUR_OWN, UPDATE_CASES="1")
    subprocess.run(["git", "diff", "--stat", "--", "*.txt"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
