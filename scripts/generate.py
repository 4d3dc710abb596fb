"""Generated schemas, points and statements for differential.py. Everything follows from the random numbers of a seed."""
import datetime
import re

YEAR_2020_S = 1577836800

NAMES = ["m", "cpu", "n m", "größe", "a,b"]
TAG_KEYS = ["host", "region", "tag k", "ключ"]
TAG_VALUES = ["a", "b", "c", "x y", "ü", "10"]
FIELDS = {"f": "float", "g": "float", "i": "integer", "j": "integer", "s": "string", "b": "boolean", "x y": "float"}


def escape(text, special=", ="):
    return "".join("\\" + c if c in special else c for c in text)


def quote(name):
    return '"' + name.replace('"', '\\"') + '"'


class DataSet:
    """Points with nulls, duplicates and late arrivals, in the order they are written; now and then a deletion.

    A step is a line of line protocol, or a statement after "! ".
    """

    def __init__(self, rng):
        self.rng = rng
        self.measurements = rng.sample(NAMES, rng.randint(1, 3))
        self.tags = rng.sample(TAG_KEYS, rng.randint(0, 3))
        self.policies = []
        self.fields = dict(rng.sample(sorted(FIELDS.items()), rng.randint(1, 5)))
        self.numeric = [f for f, t in self.fields.items() if t in ("float", "integer")]
        # An hour, or several shards.
        self.span_s = rng.choice([3600, 3600, 3600, 20 * 86400])
        # Now and then around 1970.
        self.base_s = YEAR_2020_S if rng.random() < 0.85 else -1800
        self.has_ties = rng.random() < 0.3
        self.has_deletions = rng.random() < 0.3
        self.steps = [self.step() for _ in range(rng.choice([3, 20, 60, 150]))]
        if rng.random() < 0.3:
            self.steps += self.copies()

    def value(self, kind):
        rng = self.rng
        if kind == "float":
            return repr(rng.choice([0.0, 1.5, -2.25, round(rng.uniform(-100, 100), 3), float(rng.randint(-9, 9))]))
        if kind == "integer":
            return f"{rng.choice([0, 1, -1, rng.randint(-100, 100), rng.randint(-2**40, 2**40)])}i"
        if kind == "string":
            return '"' + rng.choice(["", "x", "y z", "ä", "10"]) + '"'
        return rng.choice(["true", "false"])

    def step(self):
        rng = self.rng
        if self.has_deletions and rng.random() < 0.04:
            return "! " + self.deletion()
        text = escape(rng.choice(self.measurements), ", ")
        for key in sorted(self.tags):
            if rng.random() < 0.9:
                text += f",{escape(key)}={escape(rng.choice(TAG_VALUES[:4]))}"
        present = [f for f in self.fields if rng.random() < 0.8] or [rng.choice(sorted(self.fields))]
        text += " " + ",".join(f"{escape(f)}={self.value(self.fields[f])}" for f in present)
        second = rng.randrange(0, self.span_s, rng.choice([1, 10, 60]) * self.span_s // 3600)
        # Without ties, the times of any two series differ.
        nanos = 0 if self.has_ties else int.from_bytes(text.split(" ")[0].encode(), "big") % 99_991 + 1
        return f"{text} {(self.base_s + second) * 10**9 + nanos}"

    def copies(self):
        """What INTO makes of a measurement: under another name, and in another retention policy."""
        source, other = quote(self.measurements[0]), quote(self.measurements[-1])
        fields = self.rng.choice(["*", "/./", "max(/./)", "count(*)", f"first({quote(sorted(self.fields)[0])})"])
        self.measurements += ["copy"]
        self.policies = ['"rp 1".', 'db0."rp 1".', "db0..", "autogen."]
        return ['! CREATE RETENTION POLICY "rp 1" ON db0 DURATION INF REPLICATION 1 SHARD DURATION 1d',
                f"! SELECT {fields} INTO copy FROM {source} GROUP BY *",
                f'! SELECT * INTO "rp 1".:MEASUREMENT FROM /./ WHERE time < {self.base_s + self.span_s // 2}s GROUP BY *',
                f'! SELECT {fields} INTO db0."rp 1".{other} FROM {source}']

    def deletion(self):
        rng = self.rng
        source = quote(rng.choice(self.measurements))
        tag = f"{quote(rng.choice(self.tags))} = '{rng.choice(TAG_VALUES[:3])}'" if self.tags else None
        bound = f"time < {self.base_s + rng.randrange(0, self.span_s)}s"
        return rng.choice(
            [f"DELETE FROM {source} WHERE {bound}"]
            + ([f"DELETE FROM {source} WHERE {tag}", f"DELETE FROM {source} WHERE {tag} AND {bound}",
                f"DROP SERIES FROM {source} WHERE {tag}", f"DELETE FROM /./ WHERE {bound} AND {tag}"] if tag else []))


ANY_TYPE = ["count", "first", "last", "mode", "distinct"]
AGGREGATES = ["count", "mean", "sum", "min", "max", "first", "last", "spread", "stddev", "median", "mode", "integral"]
TRANSFORMS = ["derivative", "non_negative_derivative", "difference", "non_negative_difference", "cumulative_sum", "elapsed"]
MATH = ["abs", "ceil", "floor", "round", "sin", "cos", "tan", "atan", "exp", "sqrt", "ln", "log2", "log10"]
ZONES = ["America/New_York", "Asia/Kolkata", "Europe/Berlin", "UTC"]
TOKEN = re.compile(r""""[^"]*"|'[^']*'|/[^/ ]+/|[\w.:]+|\s+|[<>!=~]+|.""")
CASTS = ["float", "integer", "string", "boolean", "field", "tag"]


class QueryGenerator:
    def __init__(self, rng, data):
        self.rng, self.data = rng, data

    def chance(self, probability):
        return self.rng.random() < probability

    # ------------------------------------------------------------------------------------------ fields
    def field(self, numeric=False):
        pool = self.data.numeric if numeric and self.data.numeric else sorted(self.data.fields)
        if self.chance(0.03):
            return "nope"
        if self.data.tags and self.chance(0.02):
            return quote(self.rng.choice(self.data.tags))
        return quote(self.rng.choice(pool)) + (f"::{self.rng.choice(CASTS)}" if self.chance(0.04) else "")

    def call(self):
        rng, kind = self.rng, self.rng.random()
        if kind < 0.6:
            name = rng.choice(AGGREGATES)
            return f"{name}({self.field(numeric=name not in ANY_TYPE)})"
        if kind < 0.65:
            return f"distinct({self.field()})"
        if kind < 0.77:
            return f"percentile({self.field(True)}, {rng.choice([0, 1, 25, 50, 90, 99.9, 100])})"
        if kind < 0.9:
            tags = "".join(f", {quote(t)}" for t in self.data.tags if self.chance(0.25))
            return f"{rng.choice(['top', 'bottom'])}({self.field(True)}{tags}, {rng.randint(1, 4)})"
        if kind < 0.93:
            return f"sample({self.field()}, 1000)"
        return f"count(distinct({self.field()}))"

    def transform(self, inner):
        rng, name = self.rng, self.rng.choice(TRANSFORMS + ["moving_average"])
        if name == "moving_average":
            return f"moving_average({inner}, {rng.randint(2, 4)})"
        if name in ("derivative", "non_negative_derivative", "elapsed") and self.chance(0.7):
            return f"{name}({inner}, {rng.choice(['1s', '10s', '1m', '1ms'])})"
        return f"{name}({inner})"

    def arithmetic(self, operand, operators="+-*/%"):
        rng, left = self.rng, operand()
        for _ in range(rng.randint(1, 2)):
            right = operand() if self.chance(0.5) else rng.choice(["2", "0.5", "-3", "0", "10"])
            left = f"{left} {rng.choice(operators)} {right}"
            if self.chance(0.3):
                left = f"({left})"
        return left

    def integers(self):
        return [f for f, t in self.data.fields.items() if t == "integer"]

    def math(self, operand):
        if self.chance(0.15):
            return f"{self.rng.choice(['pow', 'atan2'])}({operand}, {self.rng.choice(['2', '0.5', self.field(True)])})"
        return f"{self.rng.choice(MATH)}({operand})"

    def raw_fields(self):
        rng, kind = self.rng, self.rng.random()
        if kind < 0.15:
            return rng.choice(["*", "*", "*::field", "*::tag, *::field", "/^[fgi]/"])
        if kind < 0.2 and self.integers():
            return self.arithmetic(lambda: quote(rng.choice(self.integers())), "&|^+*")
        if kind < 0.42 and self.data.numeric:
            return self.arithmetic(lambda: self.field(True))
        if kind < 0.54 and self.data.numeric:
            return self.math(self.field(True))
        if kind < 0.7 and self.data.numeric:
            return self.transform(self.field(True))
        names = [self.field() + (f" AS a{i}" if self.chance(0.1) else "") for i in range(rng.randint(1, 3))]
        names += [quote(t) for t in self.data.tags if self.chance(0.4)]
        return ", ".join(names)

    def aggregate_fields(self):
        rng, kind = self.rng, self.rng.random()
        simple = ["count", "mean", "sum", "min", "max", "first", "last"]
        if kind < 0.4:
            return self.call()
        if kind < 0.55:
            return ", ".join(f"{rng.choice(simple + ['median', 'stddev', 'spread'])}({self.field(True)})" for _ in range(rng.randint(2, 3)))
        if kind < 0.65:
            return self.arithmetic(lambda: f"{rng.choice(simple)}({self.field(True)})")
        if kind < 0.7:
            return self.math(f"{rng.choice(simple)}({self.field(True)})")
        if kind < 0.82:
            extra = [self.field()] + [quote(t) for t in self.data.tags if self.chance(0.4)]
            selector = rng.choice(["first({})", "last({})", "max({})", "min({})", "percentile({}, 50)", "top({}, 2)", "bottom({}, 3)"])
            return ", ".join([selector.format(self.field(True))] + extra)
        if kind < 0.88:
            return f"{rng.choice(['count', 'mean', 'last', 'max', 'median'])}({rng.choice(['*', '/./', '/^[fi]/'])})"
        return None

    # ------------------------------------------------------------------------------------------ clauses
    def comparison(self):
        rng, name = self.rng, self.rng.choice(sorted(self.data.fields))
        kind = self.data.fields[name]
        if kind in ("float", "integer"):
            other = [quote(f) for f in self.data.numeric if f != name]
            right = rng.choice(["1.5", "1", "0", "-2.25", "1e3"] + other)
            left = quote(name) if self.chance(0.85) else f"{quote(name)} {rng.choice('+-*')} 2"
            return f"{left} {rng.choice(['=', '!=', '<>', '>', '<', '>=', '<='])} {right}"
        if kind == "string":
            return rng.choice([f"{quote(name)} {rng.choice(['=', '!='])} '{rng.choice(['x', '', 'ä', 'y z'])}'",
                               f"{quote(name)} {rng.choice(['=~', '!~'])} /{rng.choice(['x', '^y', '.', '[äx]'])}/"])
        return f"{quote(name)} {rng.choice(['=', '!='])} {rng.choice(['true', 'false'])}"

    def tag_condition(self, tag, both_ways=True):
        rng, value = self.rng, self.rng.choice(TAG_VALUES[:4] + [""])
        return rng.choice([f"{quote(tag)} = '{value}'", f"{quote(tag)} != '{value}'", f"{quote(tag)} =~ /[ab]/",
                           f"{quote(tag)} !~ /^a$/", f"{quote(tag)} =~ /^(a|c)$/"]
                          + ([f"'{value}' = {quote(tag)}"] if both_ways else []))

    def moment(self, second):
        when = datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
        return self.rng.choice([f"{second}s", f"{second}s", f"{second * 1000}ms", f"'{when:%Y-%m-%dT%H:%M:%SZ}'",
                                f"'{when:%Y-%m-%d %H:%M:%S}'", f"{second * 10**9}", f"{second - 60}s + 1m"])

    def condition(self, bounded=False):
        rng, base, span, parts = self.rng, self.data.base_s, self.data.span_s, []
        bounds = []
        if bounded or self.chance(0.6):
            low = base + rng.randrange(0, span, span // 60) if self.chance(0.6) else base
            bounds.append(f"time {rng.choice(['>=', '>=', '>'])} {self.moment(low)}")
            if bounded or self.chance(0.8):
                high = low + rng.choice([span // 12, span // 3, span])
                bounds.append(f"time {rng.choice(['<', '<', '<='])} {self.moment(high)}")
        parts += [self.tag_condition(tag) for tag in self.data.tags if self.chance(0.3)]
        parts += [self.comparison() for _ in range(2) if self.chance(0.2)]
        rng.shuffle(parts)
        if len(parts) > 1 and self.chance(0.4):
            parts[-2:] = [f"({parts[-2]} OR {parts[-1]})"]
        parts += bounds
        return " WHERE " + " AND ".join(parts) if parts else ""

    def dimensions(self):
        tags = [quote(t) for t in self.data.tags if self.chance(0.5)]
        if tags and self.chance(0.2):
            return [self.rng.choice(["*", "/./", "/^h/"])]
        return tags + (["nope"] if self.chance(0.02) else [])

    def tail(self):
        rng, text = self.rng, ""
        if self.chance(0.25):
            text += " ORDER BY time DESC"
        if self.chance(0.25):
            text += f" LIMIT {rng.randint(1, 5)}"
            if self.chance(0.4):
                text += f" OFFSET {rng.randint(1, 3)}"
        if self.data.tags and not self.data.has_deletions and self.chance(0.1):
            text += f" SLIMIT {rng.randint(1, 2)}"
            if self.chance(0.3):
                text += f" SOFFSET {rng.randint(1, 2)}"
        return text

    def window(self, dimensions):
        rng, scale = self.rng, max(1, self.data.span_s // 3600)
        every = rng.choice([60, 300, 420, 1200, 3600]) * scale
        offset = rng.choice(["", "", "", f", {30 * scale}s", f", -{60 * scale}s"])
        fill = rng.choice(["", "", " fill(none)", " fill(null)", " fill(0)", " fill(previous)", " fill(linear)", " fill(7)", " fill(1.5)"])
        return [f"time({every}s{offset})"] + dimensions, fill

    def source(self):
        rng = self.rng
        if self.chance(0.9):
            policy = rng.choice(self.data.policies) if self.data.policies and self.chance(0.4) else ""
            return policy + quote(rng.choice(self.data.measurements))
        return rng.choice(["/./", "/^[mn]/", ", ".join(quote(m) for m in self.data.measurements), "nothing"])

    # ------------------------------------------------------------------------------------------ statements
    def select(self):
        aggregate = self.chance(0.6) and bool(self.data.numeric)
        fields = self.aggregate_fields() if aggregate else self.raw_fields()
        dimensions, fill = self.dimensions(), ""
        windowed = fields is None or (aggregate and self.chance(0.6))
        if windowed and fields and self.data.has_ties and re.match(r"(first|last|max|min)\([^)]*\), ", fields):
            windowed = False  # which of several points it selects is not defined
        if fields is None:
            fields = self.transform(f"{self.rng.choice(['mean', 'max', 'sum', 'count', 'last'])}({self.field(True)})")
        if windowed:
            dimensions, fill = self.window(dimensions)
        elif self.chance(0.1):
            fill = self.rng.choice([" fill(7)", " fill(previous)", " fill(none)"])
        fields = self.without_edges(fields, windowed)
        # Windows without an end run up to now, which is not the same moment on both servers.
        condition = self.condition(bounded=windowed)
        group = f" GROUP BY {', '.join(dimensions)}" if dimensions else ""
        zone = f" tz('{self.rng.choice(ZONES)}')" if self.chance(0.06) else ""
        return f"SELECT {fields} FROM {self.source()}{condition}{group}{fill}{self.tail()}{zone}"

    def without_edges(self, fields, windowed):
        """Of several points at the first or last moment of all, InfluxDB takes one of two."""
        if windowed or not self.data.has_ties:
            return fields
        return fields.replace("first(", "max(").replace("last(", "min(")

    def mutated(self):
        """A statement with a token too many, too few, or out of place; its bounds of time stay."""
        rng = self.rng
        tokens = TOKEN.findall(self.select())
        places = [i for i in range(len(tokens)) if not tokens[i].isspace() and "time" not in "".join(tokens[max(0, i - 6):i + 1])]
        i, j = rng.choice(places), rng.choice(places)
        change = rng.random()
        if change < 0.4:
            del tokens[i]
        elif change < 0.6:
            tokens[i] = tokens[i] + " " + tokens[i]
        elif change < 0.8:
            tokens[i] = tokens[j]
        else:
            tokens[i] = rng.choice(["(", ")", ",", "*", "'a'", "1", "1.5", "1h", "-", "AND", "time", "now()", "mean", "fill(0)", "::float", "GROUP BY", ";"])
        return "".join(tokens)

    def inner(self, depth):
        """A statement that makes a column `v`."""
        rng = self.rng
        if depth < 3 and self.chance(0.15):
            return self.outer(rng.choice(["max(v) AS v", "sum(v) AS v", "v * 2 AS v", "v"]), depth + 1)
        dimensions, fill = self.dimensions(), ""
        windowed = self.chance(0.5)
        if self.chance(0.3):
            windowed, field = False, rng.choice([self.field(True), self.arithmetic(lambda: self.field(True))])
            extra = f", {self.field()}" if self.chance(0.3) else ""
        else:
            field, extra = rng.choice([f"{rng.choice(['mean', 'max', 'sum', 'count', 'last'])}({self.field(True)})", self.call()]), ""
        if windowed:
            dimensions, fill = self.window(dimensions)
        field = self.without_edges(field, windowed)
        group = f" GROUP BY {', '.join(dimensions)}" if dimensions else ""
        limit = f" LIMIT {rng.randint(1, 4)}" if self.chance(0.1) else ""
        return f"SELECT {field} AS v{extra} FROM {self.source()}{self.condition(bounded=windowed)}{group}{fill}{limit}"

    def outer(self, fields, depth=1, tail=""):
        """The fields, of a statement that makes a column `v`."""
        is_call = "(" in fields and not fields.startswith(("abs", "difference", "cumulative"))
        dimensions, fill = self.dimensions() if self.chance(0.4) else [], ""
        condition = self.rng.choice(["", "", "", " WHERE v > 0", " WHERE host = 'a'", " WHERE v < 10 AND v != 1.5"])
        if is_call and self.chance(0.3):
            dimensions, fill = self.window(dimensions)
            bounds = f"time >= {self.data.base_s}s AND time < {self.data.base_s + self.data.span_s}s"
            condition = f"{condition} AND {bounds}" if condition else f" WHERE {bounds}"
        group = f" GROUP BY {', '.join(dimensions)}" if dimensions else ""
        return f"SELECT {fields} FROM ({self.inner(depth)}){condition}{group}{fill}{tail}"

    def subquery(self):
        fields = ["mean(v)", "max(v)", "v", "v * 2", "count(v)", "last(v)", "sum(v)", "first(v)", "min(v), max(v)", "spread(v)",
                  "difference(v)", "cumulative_sum(v)", "percentile(v, 50)", "top(v, 2)", "stddev(v)", "v, host", "*", "abs(v)"]
        return self.outer(self.rng.choice(fields), tail=self.tail())

    def show(self):
        rng = self.rng
        source = quote(rng.choice(self.data.measurements))
        where = f" WHERE {self.tag_condition(self.data.tags[0], both_ways=False)}" if self.data.tags and self.chance(0.5) else ""
        key = quote(rng.choice(self.data.tags)) if self.data.tags else "host"
        limit = f" LIMIT {rng.randint(1, 3)} OFFSET {rng.randint(0, 2)}" if self.chance(0.3) else ""
        return rng.choice([
            f"SHOW SERIES FROM {source}{where}{limit}", f"SHOW TAG KEYS FROM {source}{where}{limit}", f"SHOW FIELD KEYS FROM {source}{limit}",
            f"SHOW TAG VALUES FROM {source} WITH KEY = {key}{where}{limit}", f"SHOW MEASUREMENTS{where}{limit}", f"SHOW SERIES{where}{limit}",
            f"SHOW TAG VALUES WITH KEY =~ /./{where}", f"SHOW TAG VALUES WITH KEY IN ({key}, nope){where}",
            # Over several shards InfluxDB counts a series once a shard.
            f"SHOW SERIES EXACT CARDINALITY FROM {source}" if self.data.span_s == 3600 else "SHOW FIELD KEYS", f"SHOW TAG KEYS{where}{limit}", "SHOW FIELD KEYS",
            f"SHOW MEASUREMENTS WITH MEASUREMENT =~ /{rng.choice(['m', 'c', '.'])}/{where}",
        ])

    def statement(self):
        kind = self.rng.random()
        # What the index still knows of deleted series is not defined in InfluxDB, nor does it know of policies.
        if kind < 0.06 and not self.data.has_deletions and not self.data.policies:
            return self.show()
        if kind < 0.1:
            return self.mutated()
        return self.subquery() if kind < 0.28 and self.data.numeric else self.select()
