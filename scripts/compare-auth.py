#!/usr/bin/env python3
"""Runs tests/auth/matrix.txt (users, statements, endpoints) on a real influxd with authentication on, and compares.

    scripts/compare-auth.py [--update]

With --update our server and influxd answer anew, and kinds of statements that are missing are added: look at the difference
before it is committed.
"""
import os
import subprocess
import sys

from server import influxd

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
TEST = ["cargo", "nextest", "run", "--release", "--workspace", "--run-ignored", "all", "-E", "test(influxdb_says_the_same)"]


def main():
    update = {"HYPERBYTEDB_UPDATE_MATRIX": "1"} if "--update" in sys.argv[1:] else {}
    with influxd(settings={"HTTP_AUTH_ENABLED": "true"}) as url:
        environment = {**os.environ, **update, "INFLUXD_WITH_AUTH": url}
        sys.exit(subprocess.run(TEST, cwd=ROOT, env=environment).returncode)


if __name__ == "__main__":
    main()
