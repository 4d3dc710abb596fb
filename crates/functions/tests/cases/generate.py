#!/usr/bin/env python3
"""Asks a running influxd (1.x) for the answers of the function cases and writes them as *.txt beside itself.

    generate.py http://127.0.0.1:8086

It creates the database `function_cases` and drops it at the end. A block names input points, or is a case:
`key: value` lines and the result; see ../../functions.rs for what reads it.
"""
import json, os, random, sys, urllib.parse, urllib.request

URL = sys.argv[1]
DB = "function_cases"
HERE = os.path.dirname(os.path.abspath(__file__))
S = 10**9


def post(path, body, **args):
    request = urllib.request.Request(f"{URL}/{path}?{urllib.parse.urlencode(args)}", body.encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def query(q):
    answer = post("query", "", db=DB, epoch="ns", q=q)
    if not answer.strip():
        raise SystemExit(f"no answer (an infinite value?): {q}")
    return json.loads(answer, parse_float=str, parse_int=str)


def literal(kind, v):
    return {"float": lambda: repr(float(v)), "integer": lambda: f"{v}i", "string": lambda: f'"{v}"',
            "boolean": lambda: "true" if v else "false"}[kind]()


def printed(kind, v):
    if v is None:
        return "null"
    if isinstance(v, bool):
        return "true" if v else "false"
    if kind == "string":
        return f'"{v}"'
    return v + "i" if kind == "integer" else (v if "." in v or "e" in v else v + ".0")


class Data:
    count = 0

    def __init__(self, kind, points):
        self.kind, self.points = kind, points
        Data.count += 1
        self.name = f"m{Data.count}"
        body = "\n".join(f"{self.name} v={literal(kind, v)} {t}" for t, v in points)
        post("write", body, db=DB)

    def block(self):
        points = [f"{t} {literal(self.kind, v)}" for t, v in self.points]
        return "\n".join([f"data: {self.name}", f"type: {self.kind}", "points:", *points]) + "\n"


def random_data(seed, kind, n, spacing=7 * S, values=None, start=0):
    r = random.Random(seed)
    make = {"float": lambda: round(r.uniform(-50, 100), 3), "integer": lambda: r.randint(-50, 100),
            "string": lambda: r.choice("abcdefg") * r.randint(0, 3), "boolean": lambda: r.random() < 0.5}[kind]
    points, t = [], start
    for _ in range(n):
        t += r.randint(1, 2 * spacing)
        points.append((t, r.choice(values) if values else make()))
    return Data(kind, points)


class File:
    def __init__(self, name):
        self.name, self.blocks, self.shown = name, [], set()

    def case(self, data, call, result_kind, every=0, offset=0, low=None, high=None, desc=False, fill=None,
             zone=None, inner=None):
        name, *args = call
        argument = "".join(f", {a}" for a in args)
        field = f"{inner}(v)" if inner else "v"
        q = f"SELECT {name}({field}{argument}) FROM {data.name}"
        if name == "count_distinct":
            q = f"SELECT count(distinct(v)) FROM {data.name}"
        bounds = [f"time >= {low}"] * (low is not None) + [f"time <= {high}"] * (high is not None)
        if bounds:
            q += " WHERE " + " AND ".join(bounds)
        if every:
            q += f" GROUP BY time({every}ns, {offset}ns)" + (f" fill({fill})" if fill else "")
        q += " ORDER BY time DESC" * desc + (f" tz('{zone}')" if zone else "")
        result = query(q)["results"][0]
        if data.name not in self.shown:
            self.shown.add(data.name)
            self.blocks.append(data.block())
        lines = [f"call: {' '.join([name, *args])}", f"from: {data.name}"]
        for key, value in [("inner", inner), ("every", every), ("offset", offset), ("low", low),
                           ("high", high), ("order", "desc" * desc), ("fill", fill), ("zone", zone)]:
            if value:
                lines.append(f"{key}: {value}")
            elif key in ("low", "high") and value == 0:
                lines.append(f"{key}: 0")
        lines.append("result:")
        if "error" in result:
            lines.append(f"error {result['error']}")
        for series in result.get("series", []):
            lines += [f"{t} {printed(result_kind, v)}" for t, v, *_ in series["values"]]
        self.blocks.append("\n".join(lines) + "\n")

    def write(self):
        with open(f"{HERE}/{self.name}.txt", "w") as f:
            f.write("\n".join(self.blocks))


def same(kind):
    return kind


post("query", "", q=f"DROP DATABASE {DB}")
post("query", "", q=f"CREATE DATABASE {DB}")
sizes = [1, 2, 5, 13, 60, 300]
ties = {"float": [1.5, 2.0, -3.25, 2.5, 7.0], "integer": [1, 2, -3, 5, 4], "string": ["a", "b", "", "ab"],
        "boolean": [True, False]}
everything = [random_data(n, kind, n) for kind in ties for n in sizes]
tied = [random_data(100 + n, kind, n, values=ties[kind]) for kind in ties for n in [4, 12, 13, 49, 50, 300]]
wrapping = Data("integer", [(1, 2**63 - 1), (2, 2**63 - 1), (3, -2**63), (4, 5)])

f = File("aggregates")
for data in everything + tied + [wrapping]:
    for name in "count count_distinct mean median mode spread stddev sum".split():
        kind = {"count": "integer", "count_distinct": "integer", "mean": "float", "median": "float",
                "stddev": "float"}.get(name, data.kind)
        if data.kind in ("string", "boolean") and name not in ("count", "count_distinct", "mode", "mean"):
            continue
        f.case(data, [name], kind)
for data in tied:
    f.case(data, ["distinct"], data.kind)
f.write()

f = File("selectors")
for data in everything + tied:
    for call in ["first", "last", "min", "max", "percentile 0", "percentile 37", "percentile 50",
                 "percentile 90.5", "percentile 100", "top 3", "bottom 3", "top 20", "bottom 20"]:
        if data.kind in ("string", "boolean") and call not in ("first", "last", "min", "max"):
            continue
        if data.kind == "string" and call in ("min", "max"):
            continue
        f.case(data, call.split(), data.kind)
for data in [tied[2], everything[3], everything[9]]:
    for call in ["first", "last", "min", "max", "percentile 50", "top 2", "bottom 2"]:
        for desc in (False, True):
            f.case(data, call.split(), data.kind, every=30 * S, low=0, high=100 * S, desc=desc)
f.write()

f = File("windows")
sparse = {kind: random_data(7, kind, 8, spacing=25 * S, start=20 * S) for kind in ties}
for kind, data in sparse.items():
    for fill in ["null", "none", "7", "2.7", "previous", "linear"]:
        for desc in (False, True):
            f.case(data, ["last"], kind, every=20 * S, low=0, high=300 * S, desc=desc, fill=fill)
            f.case(data, ["count"], "integer", every=20 * S, offset=13 * S, low=5 * S, high=299 * S, desc=desc, fill=fill)
    f.case(data, ["first"], kind, every=15 * S, high=300 * S, fill="previous")
    f.case(data, ["first"], kind, every=15 * S, high=300 * S, fill="linear", desc=True)
    f.case(data, ["first"], kind, every=15 * S, offset=-4 * S, low=1, high=300 * S, fill="previous")
HOUR = 3600 * S
zoned = {
    "Europe/Berlin": (1521849600 * S, 1540598400 * S),
    "America/New_York": (1520640000 * S, 1541203200 * S),
    "Australia/Lord_Howe": (1522454400 * S, 1538784000 * S),
}
for zone, starts in zoned.items():
    for start in starts:
        data = random_data(3, "integer", 40, spacing=5 * HOUR // 2, start=start)
        for every in [HOUR // 2, HOUR, 6 * HOUR, 24 * HOUR, 7 * 24 * HOUR]:
            for desc in (False, True):
                low, high = start + 3 * HOUR, start + 96 * HOUR
                f.case(data, ["count"], "integer", every=every, low=low, high=high, desc=desc, zone=zone, fill="none")
                # With an offset, versions before 1.8.4 misplace the windows of these days.
                if every >= 6 * HOUR:
                    f.case(data, ["count"], "integer", every=every, low=low, high=high, desc=desc, zone=zone)
f.write()

f = File("transforms")
for data in [d for d in everything if d.kind in ("float", "integer") and len(d.points) <= 60]:
    for desc in (False, True):
        for call, kind in [("derivative", "float"), ("derivative 10s", "float"), ("difference", data.kind),
                           ("non_negative_derivative 1m", "float"), ("non_negative_difference", data.kind),
                           ("elapsed", "integer"), ("elapsed 1s", "integer"), ("cumulative_sum", data.kind),
                           ("moving_average 2", "float"), ("moving_average 5", "float")]:
            f.case(data, call.split(), kind, desc=desc)
for kind in ("string", "boolean"):
    f.case(tied[-1] if kind == "boolean" else tied[12], ["elapsed"], "integer")
f.case(wrapping, ["difference"], "integer")
f.case(wrapping, ["derivative"], "float")
f.case(wrapping, ["cumulative_sum"], "integer")
f.write()

f = File("indicators")
averages = ["exponential_moving_average", "double_exponential_moving_average", "triple_exponential_moving_average",
            "relative_strength_index", "triple_exponential_derivative", "chande_momentum_oscillator",
            "kaufmans_efficiency_ratio", "kaufmans_adaptive_moving_average"]
for data in [d for d in everything if d.kind in ("float", "integer") and len(d.points) in (5, 60)]:
    for name in averages:
        for rest in [["2"], ["5"], ["10"], ["4", "1"], ["4", "-1"]]:
            f.case(data, [name, *rest], "float")
        if not name.startswith("kaufmans"):
            for warmup in ["'simple'", "'exponential'"] + ["'none'"] * name.startswith("chande"):
                f.case(data, [name, "4", "2", warmup], "float")
f.write()

f = File("integral")
for data in [d for d in everything if d.kind in ("float", "integer") and len(d.points) <= 60]:
    for desc in (False, True):
        for call in [["integral"], ["integral", "1m"]]:
            f.case(data, call, "float", desc=desc)
            f.case(data, call, "float", desc=desc, low=0, high=200 * S)
            f.case(data, call, "float", desc=desc, low=0, high=200 * S, every=20 * S, fill="none")
            f.case(data, call, "float", desc=desc, low=0, high=200 * S, every=3 * S, offset=S, fill="none")
f.write()

f = File("holt_winters")
r = random.Random(5)
seasonal = Data("float", [(i * 10 * S, round(50 + i + 20 * ((i % 4) - 1.5) + r.uniform(-3, 3), 3)) for i in range(32)])
trend = Data("integer", [(i * 10 * S, 5 * i + r.randint(-4, 4)) for i in range(20)])
gaps = Data("float", [(i * 10 * S, round(30 + 5 * (i % 3) + r.uniform(-1, 1), 3)) for i in range(30) if i % 7 != 5])
for data in [seasonal, trend, gaps]:
    for name in ["holt_winters", "holt_winters_with_fit"]:
        for rest in [["5", "4"], ["3", "0"], ["10", "3"], ["2", "1"]]:
            f.case(data, [name, *rest], "float", every=10 * S, low=0, high=320 * S, inner="first")
f.write()

f = File("mathematics")
# An infinite result makes the server answer nothing at all: the inputs stay clear of it.
numbers = {"float": [0.5, -0.5, 1.5, -2.5, 2.0, 10.0, -6.0, -1e-30, 0.49999999999999994, 123.567],
           "integer": [1, -1, 2, 7, -6, 100]}
wide = {"float": [0.0, 1e300, -1e300, 2.5, -3.5], "integer": [0, 2**63 - 1, -2**63]}
for kind in numbers:
    data = Data(kind, list(enumerate(numbers[kind])))
    for name in "acos asin exp ln log2 log10 tan".split():
        if kind == "float" or name not in ("acos", "asin"):
            f.case(data, [name], "float")
    for call in ["pow 2", "pow 0.5", "pow -3", "pow 3.7", "log 2", "log 10", "log 0.5"]:
        f.case(data, call.split(), "float")
    for data in [data, Data(kind, list(enumerate(wide[kind])))]:
        for name in "abs atan ceil cos floor round sin sqrt".split():
            if name == "abs" and (0, 1) in data.points:
                continue  # 1.6 leaves negative integers as they are
            f.case(data, [name], kind if name in ("abs", "ceil", "floor", "round") else "float")
        for call in ["atan2 3", "atan2 -1.5"]:
            f.case(data, call.split(), "float")
f.write()
post("query", "", q=f"DROP DATABASE {DB}")
