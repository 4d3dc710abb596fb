#!/usr/bin/env python3
"""Generated schemas, points and queries, on a real influxd and on the built server: every difference is a finding.

    scripts/differential.py --server target/release/hyperbytedb [--seed 1] [--sets 50] [--queries 400]

A data set and its queries follow from the seed alone. A difference is minimised (fewer points, as long as it stays) and
written to --out as a case file for tests/cases. Exit status 1 when there are differences.
"""
import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import re
import sys
import urllib.parse

from generate import DataSet, QueryGenerator
from server import hyperbytedb, influxd

FLOAT_TOLERANCE = 1e-9
MINIMISE_STEPS_MAX = 200


# ------------------------------------------------------------------------------------------------ HTTP
class Client:
    def __init__(self, url):
        self.url, parsed = url, urllib.parse.urlparse(url)
        self.connection = http.client.HTTPConnection(parsed.hostname, parsed.port, timeout=60)

    def request(self, path, params, body=b""):
        target = path + "?" + urllib.parse.urlencode(params)
        for attempt in (0, 1):
            try:
                self.connection.request("POST", target, body, {"Content-Type": "text/plain"})
                response = self.connection.getresponse()
                return response.status, response.read().decode("utf-8", "replace")
            except (http.client.HTTPException, OSError):
                self.connection.close()
                if attempt:
                    raise
        raise AssertionError("unreachable")

    def query(self, statement, db="db0"):
        return self.request("/query", {"db": db, "q": statement, "epoch": "ns"})

    def load(self, steps):
        """Returns the statements among the steps that are errors: some are, on any server."""
        for statement in ("DROP DATABASE db0", "CREATE DATABASE db0"):
            if answer := self.error(statement):
                raise LoadFailed(f"{self.url}: {statement}: {answer}")
        errors = {}
        for is_statement, run in itertools.groupby(steps, lambda step: step.startswith("! ")):
            if is_statement:
                for step in run:
                    if answer := self.error(step[2:]):
                        errors[step] = answer
                continue
            lines = list(run)
            status, answer = self.request("/write", {"db": "db0"}, "\n".join(lines).encode())
            if status != 204:
                raise LoadFailed(f"{self.url}: writing {len(lines)} points, {lines[0]!r} first: {status} {answer}")
        return errors

    def error(self, statement):
        """What the server says, where that is an error."""
        status, answer = self.query(statement)
        is_good = status == 200 and not any("error" in result for result in json.loads(answer)["results"])
        return None if is_good else f"{status} {answer.strip()}"


class LoadFailed(Exception):
    """The servers do not hold the same: no answer of theirs means anything."""


def load(clients, steps):
    errors = [client.load(steps) for client in clients]
    if errors[0].keys() != errors[1].keys():
        raise LoadFailed(f"statements fail on one server only: {errors}")


def expect_failures_to_show(clients):
    """Or a server that refuses points would look like one that answers wrongly."""
    for client in clients:
        with contextlib.suppress(LoadFailed):
            client.load(["m f=1 1", "this is no point"])
            raise SystemExit(f"{client.url}: a load that failed went unnoticed")


# ------------------------------------------------------------------------------------------------ comparison
def normal(body):
    body = re.sub(r"shard \d+", "shard N", body.strip())
    try:
        return json.loads(body)
    except ValueError:
        return body


def same(a, b, tolerance=FLOAT_TOLERANCE):
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-6)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b))
    return a == b


def by_series(answer):
    """The answer with its rows, each with its series, in their order."""
    if not isinstance(answer, dict) or any("error" in result for result in answer.get("results", [])):
        return answer
    rows = [[series.get("name"), series.get("tags"), row]
            for result in answer.get("results", []) for series in result.get("series", []) for row in series.get("values", [])]
    return sorted(rows, key=json.dumps)


def magnitudes(answer):
    """All numbers made positive."""
    if isinstance(answer, dict):
        return {key: magnitudes(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [magnitudes(value) for value in answer]
    return abs(answer) if isinstance(answer, (int, float)) and not isinstance(answer, bool) else answer


def all_series(answer):
    results = answer.get("results", []) if isinstance(answer, dict) else []
    return [series for result in results for series in result.get("series", [])]


def keep_columns(series, is_kept):
    """Leaves out the columns of which `is_kept`, asked with the name and the values, says no."""
    rows, columns = series.get("values", []), series["columns"]
    kept = [i for i, column in enumerate(columns) if is_kept(column, [row[i] for row in rows])]
    series["columns"] = [columns[i] for i in kept]
    series["values"] = [[row[i] for i in kept] for row in rows]


def with_columns_of(reference, answer):
    """The answer without columns that the reference does not have, if they say nothing."""
    for expected, series in zip(all_series(reference), all_series(answer)):
        keep_columns(series, lambda column, values: column in expected["columns"] or len(set(map(json.dumps, values))) > 1)
    return answer


def without_empty_columns(answer):
    for series in all_series(answer):
        keep_columns(series, lambda _, values: any(value is not None for value in values))
    return answer


def is_same_answer(statement, a, b):
    """Whether answers agree, but for differences that are documented in COMPAT.md."""
    text = json.dumps(a)
    if "panic" in text or "unsupported value" in text:  # a defect of InfluxDB, which has no answer
        return True
    if re.search(r"(top|bottom)\(v", statement) and "null" in text:
        return True  # what is not a number has no place among numbers
    if "integral(" in statement:  # groups come in the order of a Go map
        if "LIMIT" in statement or "(SELECT integral" in statement:
            return True
        a, b = by_series(a), by_series(b)
    if "series" not in text and ("type error" in json.dumps(b) or "iterator type" in json.dumps(b)):
        return True  # InfluxDB knows types of shards, not of the measurement: without points there are none
    if "abs(" in statement:  # 1.6 leaves negative integers as they are
        a, b = magnitudes(a), magnitudes(b)
    if "*" in statement or "/" in statement:  # of a wildcard, InfluxDB shows the fields of the shards in the range of time
        b = with_columns_of(a, b)
        a, b = without_empty_columns(a), without_empty_columns(b)
    # A remainder magnifies what is left of sums in another order.
    return same(a, b, 1e-6 if "%" in statement else FLOAT_TOLERANCE)


def differs(statement, reference, ours):
    a, b = reference.query(statement), ours.query(statement)
    if a[0] == b[0] and is_same_answer(statement, normal(a[1]), normal(b[1])):
        return None
    if a[0] != b[0] and "panic" in a[1]:
        return None
    return a[1].strip(), b[1].strip()


def shows(steps, statement, reference, ours):
    """Whether these steps are enough for a difference in the answers."""
    try:
        load((reference, ours), steps)
    except LoadFailed:
        return False
    return differs(statement, reference, ours)


def minimise(statement, lines, reference, ours):
    """Fewer steps that still show the difference."""
    steps, size = 0, max(1, len(lines) // 2)
    while size >= 1 and steps < MINIMISE_STEPS_MAX:
        start, shrunk = 0, False
        while start < len(lines) and steps < MINIMISE_STEPS_MAX:
            fewer = lines[:start] + lines[start + size:]
            steps += 1
            if fewer and shows(fewer, statement, reference, ours):
                lines, shrunk = fewer, True
            else:
                start += size
        if not shrunk or size > len(lines):
            size //= 2
    load((reference, ours), lines)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sets", type=int, default=50)
    parser.add_argument("--queries", type=int, default=400, help="per data set")
    parser.add_argument("--findings", type=int, default=20, help="stop after this many")
    parser.add_argument("--out", default="differences.txt")
    options = parser.parse_args()
    findings, count = [], 0
    # The other index goes on listing tag values that have been deleted.
    with influxd("inmem") as reference_url, hyperbytedb(options.server) as our_url:
        reference, ours = Client(reference_url), Client(our_url)
        expect_failures_to_show((reference, ours))
        for number in range(options.sets):
            rng = random.Random(f"{options.seed}/{number}")
            data = DataSet(rng)
            try:
                load((reference, ours), data.steps)
            except LoadFailed as failure:
                raise SystemExit(f"seed {options.seed}/{number}: {failure}") from failure
            generator = QueryGenerator(rng, data)
            shapes = set()
            for _ in range(options.queries):
                statement = generator.statement()
                count += 1
                difference = differs(statement, reference, ours)
                shape = re.sub(r'"[^"]*"|\d+|nope', "_", statement)
                if not difference or shape in shapes:
                    continue
                shapes.add(shape)
                lines = minimise(statement, data.steps, reference, ours)
                expected, actual = differs(statement, reference, ours) or difference
                findings.append((f"seed {options.seed}/{number}", lines, statement, expected, actual))
                print(f"difference ({len(lines)} points): {statement}\n  influxd {expected[:300]}\n  ours    {actual[:300]}", flush=True)
                load((reference, ours), data.steps)
                if len(findings) >= options.findings:
                    break
            if len(findings) >= options.findings:
                break
    if findings:
        with open(options.out, "w", encoding="utf-8") as out:
            for name, lines, statement, expected, actual in findings:
                out.write(f"# {name}; we answered {actual}\n")
                for is_statement, run in itertools.groupby(lines, lambda step: step.startswith("! ")):
                    if is_statement:
                        out.writelines(f"query\n| {step[2:]}\n" for step in run)
                    else:
                        out.write("write\n" + "".join(f"| {line}\n" for line in run))
                out.write(f"query\n| {statement}\n= {expected}\n\n")
    print(f"differential: {count} queries over {number + 1} data sets, {len(findings)} differences"
          + (f", written to {os.path.abspath(options.out)}" if findings else ""))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
