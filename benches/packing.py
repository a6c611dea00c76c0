#!/usr/bin/env python3
"""What the order of points on disk is worth. The tables of docs/index.md.

Each set is built in both orders, packed and as given, with pages of 4 and of 16 KiB and int8 codes;
segments are kept in --work and used again. Answers must be the same in both, bit by bit. Measured,
for one query after the other on one thread:

    pages     distinct pages of originals that a query asks for: hits and misses of the pool together,
              with 40 candidates, and with as few as reach a recall@10 of 0.99
    read      pages read a query through a pool that holds a tenth of the originals, 40 candidates
    packing   the time that it takes, and its share of the whole build's
    QPS       of the packed order relative to the given one, everything in memory, one thread, warm:
              the median over rounds in which both take turns, with the extremes

    cargo build --release -p ringpool-cli
    benches/packing.py DATA/fashion-mnist DATA/text-minilm:ip DATA/sift-photos::f32

A data folder holds base.*, query.* and groundtruth.ivecs*, as ann-benchmarks' sets do. Behind it may
stand a metric and the type that originals are stored as.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
K, CANDIDATES, RECALL, EF = 10, 40, 0.99, 200
PAGES_KIB = [4, 16]
ORDERS = ["given", "packed"]


class Set:
    """A set in both orders, with pages of one size."""

    def __init__(self, options, argument, page_kib):
        folder, metric, element = (argument.split(":") + ["", ""])[:3]
        self.options, self.folder, self.page_kib = options, Path(folder), page_kib
        self.made_of = ["--metric", metric or "l2", "--element", element or "as-given", "--page-size", f"{page_kib}KiB"]

    def file(self, stem):
        found = sorted(self.folder.glob(f"{stem}.*"))
        if len(found) != 1:
            sys.exit(f"{self.folder}: {len(found)} files are called {stem}.*, expected one")
        return found[0]

    def told(self, *arguments):
        command = [str(argument) for argument in [self.options.ringpool, *arguments, "--json"]]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            sys.exit(f"{' '.join(command)}: {ended.stderr.strip()}")
        return json.loads(ended.stdout)

    def dir(self, order):
        return self.options.work / f"{self.folder.name}-{self.page_kib}-{order}"

    def build(self, order):
        """What the build said, of now or of then."""
        kept = self.dir(order).with_suffix(".json")
        if not kept.exists():
            self.options.work.mkdir(parents=True, exist_ok=True)
            made = ["--vectors", self.file("base"), "--out", self.dir(order), "--order", order, *self.made_of]
            kept.write_text(json.dumps(self.told("build", *made, "--threads", self.options.threads)))
        return json.loads(kept.read_text())

    def search(self, order, originals, *where):
        return self.told(
            *("search", self.dir(order), "--queries", self.file("query"), "--truth", self.file("groundtruth")),
            *("--k", K, "--ef", EF, "--oversample", originals / K, "--threads", 1, "--inflight", 1, *where),
        )

    def in_both(self, originals, *where):
        """The runs in both orders, whose answers are the same."""
        runs = [self.search(order, originals, *where) for order in ORDERS]
        if runs[0]["answers_crc32c"] != runs[1]["answers_crc32c"]:
            sys.exit(f"{self.folder.name}: the orders give different answers")
        return runs

    def fewest(self):
        """The fewest originals a query that reach the recall."""
        for originals in range(K, 10 * K):
            if self.search("packed", originals, "--backend", "memory")["recall"] >= RECALL:
                return originals
        sys.exit(f"{self.folder.name}: no recall of {RECALL} with int8 codes")


def asked(run):
    return (run["hits"] + run["misses"]) / run["queries"]


def pages_row(one):
    pool = ["--backend", "pool", "--memory", "10%", "--temperature", "cold"]
    given, packed = one.in_both(CANDIDATES, *pool)
    few = one.fewest()
    few_given, few_packed = one.in_both(few, *pool)
    ratio = lambda of: f"{of(given):.1f} | {of(packed):.1f} | {of(packed) / of(given):.3f}"
    read = lambda run: run["reads_per_query"]
    return [ratio(asked), ratio(read), few, f"{asked(few_given):.1f}", f"{asked(few_packed):.1f}"]


def speed_row(one, rounds):
    ratios = []
    for _ in range(rounds):
        given, packed = one.in_both(CANDIDATES, "--backend", "memory", "--temperature", "warm")
        ratios.append(packed["qps"] / given["qps"])
    built = one.build("packed")
    seconds, wall = built["packing_seconds"], built["wall_seconds"]
    return [
        f"{seconds:.1f}", f"{seconds / wall:.3f}",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
    ]


def table(header, rows):
    print(f"\n| {' | '.join(header)} |\n{'|---' * len(header)}|")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="a folder, with :METRIC or :METRIC:ELEMENT behind it")
    parser.add_argument("--work", type=Path, default=TARGET / "packing", help="where built segments are kept")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    parser.add_argument("--threads", type=int, default=2, help="that build")
    parser.add_argument("--rounds", type=int, default=5, help="of searches in memory, for the QPS")
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser.add_argument("--page-kib", type=numbers, default=PAGES_KIB, help="sizes of pages, after commas")
    options = parser.parse_args()
    if not options.ringpool.exists():
        sys.exit(f"{options.ringpool} is missing: cargo build --release -p ringpool-cli")
    print(f"Linux {platform.release()}, {os.cpu_count()} processors")
    sets = [Set(options, argument, kib) for argument in options.data for kib in options.page_kib]
    for one in sets:
        for order in ORDERS:
            one.build(order)
    figures = ["given", "packed", "ratio"]
    header = ["", "page", *(f"pages, {f}" for f in figures), *(f"read, {f}" for f in figures)]
    few = ["originals for 0.99", "pages, given", "pages, packed"]
    named = lambda one: [one.folder.name, f"{one.page_kib} KiB"]
    table(header + few, (named(one) + pages_row(one) for one in sets))
    speeds = (named(one) + speed_row(one, options.rounds) for one in sets if one.page_kib == options.page_kib[0])
    table(["", "page", "packing, s", "of the build", "QPS, packed to given"], speeds)


if __name__ == "__main__":
    main()
