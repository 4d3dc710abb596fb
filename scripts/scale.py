#!/usr/bin/env python3
"""Computes the tables of docs/scale.md from unit costs, and how a query over many shards waits for the slowest of them.

    scripts/scale.py                                   # prints the tables
    scripts/scale.py --write                           # puts them into docs/scale.md
    scripts/scale.py --check                           # fails where docs/scale.md has others
    scripts/scale.py --cost point_us=3.1 --cost days=90

The costs are those of docs/scale-costs.json: measured ones, with where they come from in docs/scale.md, and what is assumed
of a shard (cores, disk). What is computed is arithmetic but for the last table: there the time of a statement on one shard is
taken to be log-normal, with the measured median and 99th percentile, and that of the slowest of so many shards follows exactly.
"""
import argparse
import json
import math
import pathlib
import statistics

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "scale.md"
COSTS = ROOT / "docs" / "scale-costs.json"

RATES = (50_000, 200_000, 1_000_000)
# Minutes of the head that are a choice, by rate.
HEAD_MINUTES = {50_000: 10, 200_000: 5, 1_000_000: 1}
SERIES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
SHARDS = (1, 2, 6, 10, 32, 100)
ROWS_OF_A_SCAN = 1_000_000_000
# Above it there is no such machine.
FRONT_MEMORY_GB_MAX = 500
Z99 = statistics.NormalDist().inv_cdf(0.99)


def number(value):
    """Two digits of what is not whole."""
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits):,.{min(digits, 2)}f}"


def span(low, high, unit=""):
    low, high = number(low), number(high)
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def sizes(costs):
    def row(name, of_rate):
        return [name, *(of_rate(rate) for rate in RATES)]

    def head(rate):
        gb_a_minute = rate * 60 * costs["head_bytes"] / 1e9
        minutes = HEAD_MINUTES[rate]
        chosen = f"{minutes} minutes" if minutes > 1 else "a minute"
        return f"{number(gb_a_minute * 60)} GB; of {chosen} {number(gb_a_minute * minutes)} GB"

    low, high = costs["engine_bytes"]
    disk = lambda rate, size: rate * 86_400 * size / 1e12
    shards = lambda rate, size: math.ceil(disk(rate, size) * costs["days"] / costs["shard_disk_tb"])
    return table(
        ["", *(f"{rate:,} points/s" for rate in RATES)],
        [
            row("CPU of the front: lines", lambda rate: f"{number(rate * costs['point_us'] / 1e6)} cores"),
            row("the same: Arrow columns", lambda rate: f"{number(rate * costs['point_columns_us'] / 1e6)} cores and the flush"),
            row("head of an hour", head),
            row("log a minute of an engine that is away", lambda rate: f"{number(rate * 60 * costs['log_bytes'] / 1e9)} GB"),
            row("disk a day", lambda rate: span(disk(rate, low), disk(rate, high), " TB")),
            row(
                f"shards, for {costs['days']} days on {costs['shard_disk_tb']} TB each",
                lambda rate: span(shards(rate, low), shards(rate, high)),
            ),
        ],
    )


def series(costs):
    rows = []
    for count in SERIES:
        memory = count * costs["series_memory_bytes"] / 1e9
        rows.append(
            [
                f"{count:,}",
                f"{number(count * costs['series_index_bytes'] / 1e9)} GB",
                f"{number(memory)} GB" if memory <= FRONT_MEMORY_GB_MAX else "not on one front node",
                f"{number(count * costs['series_us'] / 1e6 / 60)} minutes",
            ]
        )
    head = ["Series", "Series index on disk", "Memory while all are in the head", "CPU to make them"]
    return table(head, rows)


def slowest_ms(costs, shards, quantile):
    """The quantile of the slowest of so many."""
    median, p99 = costs["statement_ms"]["median"], costs["statement_ms"]["p99"]
    sigma = math.log(p99 / median) / Z99
    of_each = statistics.NormalDist().inv_cdf(quantile ** (1 / shards))
    return median * math.exp(sigma * of_each)


def shards(costs):
    rows = []
    rate = max(RATES)
    for count in SHARDS:
        inserts = rate / costs["flush_rows"]
        scan = ROWS_OF_A_SCAN / costs["scanned_rows_per_core_second"] / costs["shard_cores"] / count
        rows.append(
            [
                str(count),
                f"{costs['flush_rows'] // count:,}",
                f"{number(inserts)}",
                f"{number(scan)} s",
                f"{number(slowest_ms(costs, count, 0.5))} and {number(slowest_ms(costs, count, 0.99))} ms",
            ]
        )
    head = [
        "Shards",
        "rows an insert and shard",
        f"inserts a second and shard, {rate:,} points/s",
        f"scan of {ROWS_OF_A_SCAN:,} rows, {costs['shard_cores']} cores each",
        "small statement over all: median, p99",
    ]
    return table(head, rows)


TABLES = {"sizes": sizes, "series": series, "shards": shards}


def replaced(text, costs):
    for name, make in TABLES.items():
        begin, end = f"<!-- scale.py: {name} -->\n", f"<!-- scale.py: end of {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{DOCUMENT} has no place for the table {name}: {begin.strip()} … {end}")
        text = before + begin + make(costs) + "\n" + end + after
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost", action="append", default=[], metavar="NAME=VALUE", help="instead of that of the file")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true")
    group.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    costs = json.loads(COSTS.read_text())
    for cost in arguments.cost:
        name, _, value = cost.partition("=")
        if name not in costs:
            raise SystemExit(f"no cost is called {name}: they are {', '.join(costs)}")
        costs[name] = json.loads(value)
    if not (arguments.write or arguments.check):
        print("\n\n".join(make(costs) for make in TABLES.values()))
        return
    text = DOCUMENT.read_text()
    computed = replaced(text, costs)
    if arguments.write:
        DOCUMENT.write_text(computed)
    elif computed != text:
        raise SystemExit(f"{DOCUMENT} has other tables than its costs give: scripts/scale.py --write")


if __name__ == "__main__":
    main()
