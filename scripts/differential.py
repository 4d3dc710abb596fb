#!/usr/bin/env python3
"""Generated schemas, points and queries, on a real influxd and on the built server: every difference is a finding.

    scripts/differential.py --server target/release/hyperbytedb [--seed 1] [--sets 50] [--queries 400]

A data set and its queries follow from the seed alone. A difference is minimised (fewer points, as long as it stays) and
written to --out as a case file for tests/cases. Exit status 1 when there are differences.
"""
import argparse
import http.client
import json
import os
import random
import re
import sys
import urllib.parse

from server import hyperbytedb, influxd

BASE_S = 1577836800  # 2020-01-01T00:00:00Z
SPAN_S = 3600
FLOAT_TOLERANCE = 1e-9
MINIMISE_STEPS_MAX = 200


# ------------------------------------------------------------------------------------------------ HTTP
class Client:
    def __init__(self, url):
        parsed = urllib.parse.urlparse(url)
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

    def load(self, lines):
        self.query("DROP DATABASE db0")
        self.query("CREATE DATABASE db0")
        for start in range(0, len(lines), 500):
            self.request("/write", {"db": "db0"}, "\n".join(lines[start:start + 500]).encode())


# ------------------------------------------------------------------------------------------------ data
NAMES = ["m", "cpu", "n m", "größe"]
TAG_KEYS = ["host", "region", "tag k", "ключ"]
TAG_VALUES = ["a", "b", "c", "x y", "ü", "10"]
FIELDS = {"f": "float", "g": "float", "i": "integer", "j": "integer", "s": "string", "b": "boolean", "x y": "float"}


def escape(text, special=", ="):
    return "".join("\\" + c if c in special else c for c in text)


class DataSet:
    """Points with nulls, duplicates and late arrivals, in the order they are written."""

    def __init__(self, rng):
        self.rng = rng
        self.measurements = rng.sample(NAMES, rng.randint(1, 2))
        self.tags = rng.sample(TAG_KEYS, rng.randint(0, 2))
        self.fields = dict(rng.sample(sorted(FIELDS.items()), rng.randint(1, 5)))
        self.numeric = [f for f, t in self.fields.items() if t in ("float", "integer")]
        self.lines = [self.line() for _ in range(rng.choice([3, 20, 60, 150]))]

    def value(self, kind):
        rng = self.rng
        if kind == "float":
            return repr(rng.choice([0.0, 1.5, -2.25, round(rng.uniform(-100, 100), 3), float(rng.randint(-9, 9))]))
        if kind == "integer":
            return f"{rng.choice([0, 1, -1, rng.randint(-100, 100), rng.randint(-2**40, 2**40)])}i"
        if kind == "string":
            return '"' + rng.choice(["", "x", "y z", "ä", "10"]) + '"'
        return rng.choice(["true", "false"])

    def line(self):
        rng = self.rng
        text = escape(rng.choice(self.measurements), ", ")
        for key in sorted(self.tags):
            if rng.random() < 0.9:
                text += f",{escape(key)}={escape(rng.choice(TAG_VALUES[:4]))}"
        present = [f for f in self.fields if rng.random() < 0.8] or [rng.choice(sorted(self.fields))]
        text += " " + ",".join(f"{escape(f)}={self.value(self.fields[f])}" for f in present)
        # Times differ between any two series, so that no answer depends on an order InfluxDB does not define.
        second = rng.randrange(0, SPAN_S, rng.choice([1, 10, 60]))
        nanos = sum(text.split(" ")[0].encode()) % 997 + 1
        return f"{text} {(BASE_S + second) * 10**9 + nanos}"


# ------------------------------------------------------------------------------------------------ queries
AGGREGATES = ["count", "mean", "sum", "min", "max", "first", "last", "spread", "stddev", "median", "mode", "distinct", "integral"]
ANY_TYPE = ["count", "first", "last", "mode", "distinct"]
TRANSFORMS = ["derivative", "non_negative_derivative", "difference", "non_negative_difference", "cumulative_sum", "elapsed"]
MATH = ["abs", "ceil", "floor", "round", "sin", "cos", "exp", "sqrt", "ln"]


def quote(name):
    return '"' + name.replace('"', '\\"') + '"'


class QueryGenerator:
    def __init__(self, rng, data):
        self.rng, self.data = rng, data

    def pick(self, *options):
        return self.rng.choice(options)

    def field(self, numeric=False):
        pool = self.data.numeric if numeric and self.data.numeric else sorted(self.data.fields)
        return quote(self.rng.choice(pool)) if self.rng.random() < 0.97 else "nope"

    def call(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.6:
            name = rng.choice(AGGREGATES)
            field = self.field(numeric=name not in ANY_TYPE)
            return f"{name}({field})"
        if kind < 0.75:
            return f"percentile({self.field(True)}, {rng.choice([0, 1, 25, 50, 90, 99.9, 100])})"
        if kind < 0.85:
            return f"{rng.choice(['top', 'bottom'])}({self.field(True)}, {rng.randint(1, 4)})"
        return f"count(distinct({self.field()}))"

    def transform(self, inner):
        rng, name = self.rng, self.rng.choice(TRANSFORMS + ["moving_average"])
        if name == "moving_average":
            return f"moving_average({inner}, {rng.randint(2, 4)})"
        if name in ("derivative", "non_negative_derivative", "elapsed") and rng.random() < 0.7:
            return f"{name}({inner}, {rng.choice(['1s', '10s', '1m', '1ms'])})"
        return f"{name}({inner})"

    def arithmetic(self, operand):
        rng, left = self.rng, operand()
        for _ in range(rng.randint(1, 2)):
            right = operand() if rng.random() < 0.5 else rng.choice(["2", "0.5", "-3", "0", "10"])
            left = f"{left} {rng.choice(['+', '-', '*', '/', '%'])} {right}"
            if rng.random() < 0.3:
                left = f"({left})"
        return left

    def raw_fields(self):
        rng, kind = self.rng, self.rng.random()
        if kind < 0.2:
            return "*"
        if kind < 0.45 and self.data.numeric:
            return self.arithmetic(lambda: self.field(True))
        if kind < 0.55 and self.data.numeric:
            return f"{rng.choice(MATH)}({self.field(True)})"
        if kind < 0.7 and self.data.numeric:
            return self.transform(self.field(True))
        names = [self.field() for _ in range(rng.randint(1, 3))]
        names += [quote(t) for t in self.data.tags if rng.random() < 0.4]
        return ", ".join(names)

    def aggregate_fields(self):
        rng, kind = self.rng, self.rng.random()
        if kind < 0.45:
            return self.call()
        if kind < 0.6:
            return ", ".join(f"{rng.choice(['count', 'mean', 'sum', 'min', 'max', 'first', 'last'])}({self.field(True)})"
                             for _ in range(rng.randint(2, 3)))
        if kind < 0.7:
            return self.arithmetic(lambda: f"{rng.choice(['mean', 'sum', 'max', 'count'])}({self.field(True)})")
        if kind < 0.8:
            return f"{rng.choice(['first', 'last', 'max', 'min'])}({self.field(True)}), {self.field()}"
        if kind < 0.87:
            return f"{rng.choice(['count', 'mean', 'last', 'max'])}({rng.choice(['*', '/./'])})"
        return None

    def condition(self):
        rng, parts = self.rng, []
        if rng.random() < 0.6:
            low = BASE_S + rng.randrange(0, SPAN_S, 60)
            parts.append(f"time >= {low}s")
            if rng.random() < 0.8:
                parts.append(f"time < {low + rng.choice([300, 1200, 3600])}s")
        for tag in self.data.tags:
            if rng.random() < 0.3:
                value = rng.choice(TAG_VALUES[:4] + [""])
                parts.append(rng.choice([f"{quote(tag)} = '{value}'", f"{quote(tag)} != '{value}'",
                                         f"{quote(tag)} =~ /[ab]/", f"{quote(tag)} !~ /^a$/"]))
        if rng.random() < 0.25:
            name = rng.choice(sorted(self.data.fields))
            literal = {"float": "1.5", "integer": "1", "string": "'x'", "boolean": "true"}[self.data.fields[name]]
            operator = rng.choice(["=", "!=", ">", "<", ">=", "<="]) if self.data.fields[name] in ("float", "integer") else rng.choice(["=", "!="])
            parts.append(f"{quote(name)} {operator} {literal}")
        if len(parts) > 2 and rng.random() < 0.2:
            parts[-2:] = [f"({parts[-2]} OR {parts[-1]})"] if "time" not in parts[-2] + parts[-1] else parts[-2:]
        return " WHERE " + " AND ".join(parts) if parts else ""

    def dimensions(self):
        rng = self.rng
        tags = [quote(t) for t in self.data.tags if rng.random() < 0.5]
        if tags and rng.random() < 0.2:
            return ["*"]
        return tags

    def tail(self, aggregate):
        rng, text = self.rng, ""
        if rng.random() < 0.25:
            text += " ORDER BY time DESC"
        if rng.random() < 0.25:
            text += f" LIMIT {rng.randint(1, 5)}"
            if rng.random() < 0.4:
                text += f" OFFSET {rng.randint(1, 3)}"
        if self.data.tags and rng.random() < 0.1:
            text += f" SLIMIT {rng.randint(1, 2)}"
        return text

    def select(self, depth=0):
        rng = self.rng
        source = quote(rng.choice(self.data.measurements)) if rng.random() < 0.9 else "/./"
        aggregate = rng.random() < 0.6 and bool(self.data.numeric)
        fields = self.aggregate_fields() if aggregate else self.raw_fields()
        dimensions, fill = self.dimensions(), ""
        interval = aggregate and rng.random() < 0.6
        condition = self.condition()
        if fields is None:
            interval = True
            fields = self.transform(f"{rng.choice(['mean', 'max', 'sum', 'count', 'last'])}({self.field(True)})")
        if interval:
            every = rng.choice(["1m", "5m", "7m", "20m", "1h"])
            offset = rng.choice(["", "", ", 30s", ", -1m"])
            dimensions = [f"time({every}{offset})"] + dimensions
            if "time >=" not in condition:
                low = f"time >= {BASE_S}s AND time < {BASE_S + SPAN_S}s"
                condition = condition + " AND " + low if condition else " WHERE " + low
            elif "time <" not in condition:
                # Without an end the windows run up to now, which is not the same moment on both servers.
                condition += f" AND time < {BASE_S + 2 * SPAN_S}s"
            fill = rng.choice(["", "", " fill(none)", " fill(0)", " fill(previous)", " fill(linear)", " fill(7)"])
        group = f" GROUP BY {', '.join(dimensions)}" if dimensions else ""
        text = f"SELECT {fields} FROM {source}{condition}{group}{fill}{self.tail(aggregate)}"
        if depth == 0 and aggregate and rng.random() < 0.15:
            inner = f"SELECT {rng.choice(['mean', 'max', 'sum', 'count'])}({self.field(True)}) AS v FROM {source}{condition}{group}{fill}"
            return f"SELECT {rng.choice(['mean(v)', 'max(v)', 'v', 'v * 2', 'count(v)', 'last(v)'])} FROM ({inner}){self.tail(False)}"
        return text

    def show(self):
        rng = self.rng
        source = quote(rng.choice(self.data.measurements))
        where = f" WHERE {quote(self.data.tags[0])} = '{rng.choice(TAG_VALUES[:3])}'" if self.data.tags and rng.random() < 0.5 else ""
        key = quote(rng.choice(self.data.tags)) if self.data.tags else "host"
        return rng.choice([
            f"SHOW SERIES FROM {source}{where}", f"SHOW TAG KEYS FROM {source}{where}", f"SHOW FIELD KEYS FROM {source}",
            f"SHOW TAG VALUES FROM {source} WITH KEY = {key}{where}", f"SHOW MEASUREMENTS{where}",
            f"SHOW TAG VALUES WITH KEY =~ /./{where}", f"SHOW SERIES EXACT CARDINALITY FROM {source}",
        ])

    def statement(self):
        return self.show() if self.rng.random() < 0.06 else self.select()


# ------------------------------------------------------------------------------------------------ comparison
def normal(body):
    body = re.sub(r"shard \d+", "shard N", body.strip())
    try:
        return json.loads(body)
    except ValueError:
        return body


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or abs(a - b) <= FLOAT_TOLERANCE * max(abs(a), abs(b), 1e-6)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


def explained(statement, expected):
    """Differences that are documented in COMPAT.md."""
    return "panic" in json.dumps(expected)


def differs(statement, reference, ours):
    a, b = reference.query(statement), ours.query(statement)
    x, y = normal(a[1]), normal(b[1])
    if (a[0] == b[0] and same(x, y)) or explained(statement, x):
        return None
    return a[1].strip(), b[1].strip()


def minimise(statement, lines, reference, ours):
    """Fewer points that still show the difference."""
    steps, size = 0, max(1, len(lines) // 2)
    while size >= 1 and steps < MINIMISE_STEPS_MAX:
        start, shrunk = 0, False
        while start < len(lines) and steps < MINIMISE_STEPS_MAX:
            fewer = lines[:start] + lines[start + size:]
            steps += 1
            for client in (reference, ours):
                client.load(fewer)
            if fewer and differs(statement, reference, ours):
                lines, shrunk = fewer, True
            else:
                start += size
        if not shrunk or size > len(lines):
            size //= 2
    for client in (reference, ours):
        client.load(lines)
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
    with influxd() as reference_url, hyperbytedb(options.server) as our_url:
        reference, ours = Client(reference_url), Client(our_url)
        for number in range(options.sets):
            rng = random.Random(f"{options.seed}/{number}")
            data = DataSet(rng)
            for client in (reference, ours):
                client.load(data.lines)
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
                lines = minimise(statement, data.lines, reference, ours)
                expected, actual = differs(statement, reference, ours) or difference
                findings.append((f"seed {options.seed}/{number}", lines, statement, expected, actual))
                print(f"difference ({len(lines)} points): {statement}\n  influxd {expected[:300]}\n  ours    {actual[:300]}", flush=True)
                for client in (reference, ours):
                    client.load(data.lines)
                if len(findings) >= options.findings:
                    break
            if len(findings) >= options.findings:
                break
    if findings:
        with open(options.out, "w", encoding="utf-8") as out:
            for name, lines, statement, expected, actual in findings:
                out.write(f"# {name}; we answered {actual}\nwrite\n" + "".join(f"| {line}\n" for line in lines))
                out.write(f"query\n| {statement}\n= {expected}\n\n")
    print(f"differential: {count} queries over {number + 1} data sets, {len(findings)} differences"
          + (f", written to {os.path.abspath(options.out)}" if findings else ""))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
