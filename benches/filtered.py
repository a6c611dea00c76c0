#!/usr/bin/env python3
"""Searches by filter: recall and speed from all points to a thousandth. The tables of docs/filtered.md.

Each set is built with its own fields (fields.ndjson.gz beside the vectors) and one more, a random
number from 0 to 9,999 for each point, by which any share of them can be asked for. For each filter
the script measures, with everything in memory, one thread, warm, the median of three runs,

    recall@10    against the nearest of the points that pass, found here by numpy
    QPS          of the search alone: a filter is evaluated once before, in filter, ms
    by           a walk through the graph or a scan of all that pass, as counts say; a query from
                 outside of what passes may be scanned for where others are walked for

    cargo build --release -p ringpool-cli
    benches/filtered.py DATA/text-minilm:ip DATA/fashion-mnist --out target/filtered    # .md and .svg

A data folder holds base.*, query.* and fields.ndjson.gz.
"""

import argparse
import gzip
import io
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from hnsw_peers import ROOT, TARGET, machine, within_venv

WHEELS = ["numpy==2.4.6", "matplotlib==3.11.2"]
K, TURNS, SEED, DRAWS = 10, 3, 1, 10_000
SHARES = [100, 90, 70, 50, 30, 20, 10, 7, 5, 4, 3, 2, 1, 0.5, 0.1]
FIELDS = {
    "fashion-mnist": [
        "label != 0", "label < 5", "label in (2, 7)", "label = 0", "label = 3", "label = 5",
        "label = 6 and draw < 5000", "label = 6 and draw < 1000", "label = 6 and draw < 100",
    ],
    "text-minilm": [
        'source != "debian-desc"', "length < 160", 'source in ("man", "tldr", "man-gcloud")', 'source = "gutenberg"',
        "length < 67", 'source = "peps"', "length < 55", 'source = "peps" and length < 200', 'source = "owasp"',
        "length < 40", "length < 32",
    ],
}
COLUMNS = ["filter", "points", "share", "by", "recall@10", "QPS", "p99, us", "filter, ms"]


def read(path):
    """Vectors of .npy or .bvecs, each with .gz."""
    import numpy

    raw = gzip.open(path).read()
    if path.name.endswith(".npy.gz"):
        return numpy.load(io.BytesIO(raw))
    dim = int.from_bytes(raw[:4], "little")
    return numpy.frombuffer(raw, numpy.uint8).reshape(-1, 4 + dim)[:, 4:]


class Filtered:
    """A set, built with its fields."""

    def __init__(self, argument, options):
        folder, _, metric = argument.partition(":")
        self.folder, self.metric, self.options = Path(folder), metric or "l2", options
        self.work = options.work / self.folder.name
        self.work.mkdir(parents=True, exist_ok=True)
        self.segment, self.queries = self.work / "segment", self.file("query")

    def file(self, stem):
        found = sorted(self.folder.glob(f"{stem}.*"))
        if len(found) != 1:
            sys.exit(f"{self.folder}: {len(found)} files are called {stem}.*, expected one")
        return found[0]

    def told(self, *words):
        command = [str(word) for word in [self.options.ringpool, *words, "--json"]]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            sys.exit(f"{' '.join(command)}: {ended.stderr.strip()}")
        return json.loads(ended.stdout)

    def prepare(self):
        """Draws, builds, and measures how far every query is from every point."""
        import numpy

        draws = numpy.random.default_rng(SEED).integers(0, DRAWS, self.count())
        fields = self.work / "fields.ndjson.gz"
        if not self.segment.exists():
            with gzip.open(self.file("fields")) as given, gzip.open(fields, "wt", compresslevel=1) as out:
                for line, draw in zip(given, draws):
                    out.write(json.dumps({**json.loads(line), "draw": int(draw)}) + "\n")
            made_of = ["--vectors", self.file("base"), "--metric", self.metric, "--columns", fields]
            self.told("build", *made_of, "--out", self.segment)
        base, queries = (read(self.file(stem)).astype(numpy.float64) for stem in ("base", "query"))
        self.distances = -queries @ base.T
        if self.metric == "l2":
            self.distances = (base**2).sum(axis=1) + 2 * self.distances

    def count(self):
        return sum(1 for _ in gzip.open(self.file("fields")))

    def truth(self, words):
        """The nearest of the points that pass, as a file of ids, and how many pass: by the fields as
        they are in their file."""
        import numpy

        rows = [json.loads(line) for line in gzip.open(self.work / "fields.ndjson.gz")]
        passing = numpy.array([row["id"] for row in rows if words(row)])
        of = self.distances[:, passing]
        nearest = numpy.argpartition(of, min(K, len(passing) - 1), axis=1)[:, :K]
        order = numpy.take_along_axis(of, nearest, axis=1).argsort(axis=1)
        path = self.work / "truth.npy"
        numpy.save(path, passing[numpy.take_along_axis(nearest, order, axis=1)].astype(numpy.uint64))
        return path, len(passing)

    def row(self, text):
        words = predicate(text)
        truth, passing = self.truth(words)
        asked = ["--queries", self.queries, "--truth", truth, "--k", K, "--ef", self.options.ef]
        where = ["--backend", "memory", "--temperature", "warm"] + (["--filter", text] if text else [])
        runs = [self.told("search", self.segment, *asked, *where) for _ in range(TURNS)]
        first = runs[0]
        selected = first.get("selected", passing)
        if selected != passing:
            sys.exit(f"{text}: {selected} points pass, expected {passing}")
        by = "walk" if not text or passing > scanned_up_to(self.options.ef) else "scan"
        return {
            "filter": text or "none",
            "points": passing,
            "share": 100 * passing / self.distances.shape[1],
            "by": by,
            "recall": first["recall"],
            "qps": statistics.median(run["qps"] for run in runs),
            "p99_us": statistics.median(run["latency_us"]["p99"] for run in runs),
            "filter_ms": statistics.median(run.get("filter_us") or 0 for run in runs) / 1000,
        }


def predicate(text):
    """What a filter of this script says of a row, in Python's words."""
    python = re.sub(r"(?<![!<>=])=(?!=)", "==", text) or "True"
    code = compile(python, text, "eval")
    return lambda row: eval(code, {}, row)


def scanned_up_to(ef):
    """How many points are scanned rather than walked among, by the source."""
    source = (ROOT / "index/src/scan.rs").read_text()
    points, each = (int(re.search(rf"const {name}: usize = (\d+);", source)[1])
                    for name in ("POINTS", "POINTS_PER_CANDIDATE"))
    return points + each * ef


def table(rows):
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for row in rows:
        cells = [f"`{row['filter']}`", f"{row['points']:,}", f"{row['share']:.2f} %", row["by"], f"{row['recall']:.4f}"]
        cells += [f"{row['qps']:,.0f}", f"{row['p99_us']:,.0f}", f"{row['filter_ms']:.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def plotted(results, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(results), sharex=True, squeeze=False, height_ratios=[3, 1], figsize=(10, 6))
    for (name, (drawn, fields)), upper, lower in zip(results.items(), axes[0], axes[1]):
        for rows, style, label in [(drawn, "o-", "random points"), (fields, "s", "by its fields")]:
            shares = [row["share"] for row in rows]
            upper.plot(shares, [row["qps"] for row in rows], style, label=label)
            lower.plot(shares, [row["recall"] for row in rows], style)
        upper.set(title=name, xscale="log", yscale="log", ylabel="QPS")
        upper.legend()
        lower.axhline(0.95, color="k", linestyle=":")
        lower.set(xscale="log", ylim=(0.9, 1.005), xlabel="points that pass, %", ylabel="recall@10")
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="a folder, with :ip or :cosine behind it where that is the metric")
    parser.add_argument("--work", type=Path, default=TARGET / "filtered", help="where built segments are kept")
    parser.add_argument("--out", type=Path, help="the plot, without .svg")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    parser.add_argument("--ef", type=int, default=100)
    options = parser.parse_args()
    if not options.ringpool.exists():
        sys.exit(f"{options.ringpool} is missing: cargo build --release -p ringpool-cli")
    within_venv(options.work / "venv", WHEELS)
    print(f"{machine()}; ef {options.ef}", flush=True)
    results = {}
    for argument in options.data:
        one = Filtered(argument, options)
        one.prepare()
        name = one.folder.name
        print(f"\n{name}\n", flush=True)
        drawn = [one.row("" if share == 100 else f"draw < {round(share * DRAWS / 100)}") for share in SHARES]
        table(drawn)
        print()
        fields = [one.row(text) for text in FIELDS.get(name, [])]
        table(fields)
        results[name] = (drawn, fields)
    if options.out:
        plotted(results, options.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
