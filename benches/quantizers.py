#!/usr/bin/env python3
"""Every quantizer on every set: bytes, recall, originals read, speed. The table of docs/quantizers.md.

Each set is built once, with all quantizers in one segment over one graph; segments are kept in --work
and used again. For each quantizer the script measures

    bytes        of a vector's code
    recall@10    with the codes alone, no original read
    originals    the fewest a query that reach a recall: 10 hits times the oversampling, found by
                 bisection with an ef so generous that it does not count
    pages        distinct pages of the originals that such a query asks for, which is what a cold run
                 without cache hits reads: hits and misses of the pool together
    ef, QPS      the smallest ef that reaches the recall with a quarter more originals, and the
                 speed there, all in memory, one thread, warm, the median of three runs

    cargo build --release -p ringpool-cli
    benches/quantizers.py DATA/text-minilm:ip DATA/fashion-mnist DATA/sift-photos

A data folder holds base.*, query.* and groundtruth.ivecs*, as ann-benchmarks' sets do.
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
K, RECALLS = 10, [0.95, 0.99]
GENEROUS_EF, MOST_ORIGINALS = 600, 4000
TURNS = 3
COLUMNS = ["", "bytes", "recall@10 of codes", "originals", "pages", "ef", "QPS", "originals", "pages", "ef", "QPS"]


class Segment:
    """A set, built, and the runs that it was asked for: each is made once."""

    def __init__(self, options, argument):
        folder, _, metric = argument.partition(":")
        self.options, self.folder, self.metric = options, Path(folder), metric or "l2"
        self.dir = options.work / self.folder.name
        self.seen = {}

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

    def prepare(self, quantizers):
        if not self.dir.exists():
            self.dir.parent.mkdir(parents=True, exist_ok=True)
            codes = [word for quantizer in quantizers for word in ("--quantize", quantizer)]
            self.told("build", "--vectors", self.file("base"), "--out", self.dir, "--metric", self.metric, *codes)

    def code_bytes(self, quantizer):
        """Of the manifest: the length of the records of the component."""
        manifest = json.loads((self.dir / "MANIFEST").read_text().split("\n", 1)[1])
        name = "codes-" + quantizer.replace(":", "-")
        return next(c["record_bytes"] for c in manifest["components"] if c["name"] == name)

    def run(self, codes, ef, originals, *where, turn=0):
        """A search with so many originals a query, none for 0; measured anew for each turn."""
        key = (codes, ef, originals, where, turn)
        if key not in self.seen:
            rescore = ["--oversample", originals / K] if originals else ["--rescore", "off"]
            self.seen[key] = self.told(
                *("search", self.dir, "--queries", self.file("query"), "--truth", self.file("groundtruth")),
                *("--codes", codes, "--k", K, "--ef", ef, *rescore, *(where or ["--backend", "memory"])),
            )
        return self.seen[key]


def least(low, most, holds):
    """The smallest number from `low` to `most` that holds, of those that hold from there on."""
    high = low
    while not holds(high):
        if high == most:
            return None
        low, high = high + 1, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def at_recall(segment, codes, recall):
    """The four figures at a recall, or dashes where it is not reached."""
    reaches = lambda ef, originals: segment.run(codes, ef, originals)["recall"] >= recall
    generous = lambda originals: max(GENEROUS_EF, 2 * originals)
    originals = least(K, MOST_ORIGINALS, lambda count: reaches(generous(count), count))
    if originals is None:
        return ["-"] * 4
    pool = segment.run(codes, generous(originals), originals, "--backend", "pool", "--temperature", "cold")
    pages = (pool["hits"] + pool["misses"]) / pool["queries"]
    more = originals + max(1, originals // 4)
    ef = least(more, 8 * generous(more), lambda ef: reaches(ef, more))
    if ef is None:
        return [originals, f"{pages:.1f}", "-", "-"]
    warm = [segment.run(codes, ef, more, "--backend", "memory", "--temperature", "warm", turn=turn) for turn in range(TURNS)]
    return [originals, f"{pages:.1f}", ef, f"{statistics.median(run['qps'] for run in warm):,.0f}"]


def row(segment, codes):
    alone = segment.run(codes, GENEROUS_EF, 0)["recall"]
    figures = [figure for recall in RECALLS for figure in at_recall(segment, codes, recall)]
    return [codes, segment.code_bytes(codes), f"{alone:.4f}", *figures]


def processor():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="a folder, with :ip or :cosine behind it where that is the metric")
    parser.add_argument("--work", type=Path, default=TARGET / "quantizers", help="where built segments are kept")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    parser.add_argument("--quantize", action="append", help="codes to be made and measured; see also --product")
    parser.add_argument("--product", default="text-minilm=96,fashion-mnist=196,sift-photos=32",
                        help="the bytes of each set's product codes: a sixteenth of the vector as f32")
    options = parser.parse_args()
    if not options.ringpool.exists():
        sys.exit(f"{options.ringpool} is missing: cargo build --release -p ringpool-cli")
    product = dict(pair.split("=") for pair in options.product.split(","))
    print(f"{processor()}, Linux {platform.release()}", flush=True)
    for argument in options.data:
        segment = Segment(options, argument)
        name = segment.folder.name
        quantizers = options.quantize or ["sq8", "sq4", "rabitq:4", "rabitq:2", "rabitq:1"]
        quantizers = quantizers + ([f"pq:{product[name]}"] if name in product else [])
        segment.prepare(quantizers)
        print(f"\n{name}: for 0.95, then for 0.99\n\n| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
        for quantizer in quantizers:
            print(f"| {' | '.join(str(cell) for cell in row(segment, quantizer))} |", flush=True)


if __name__ == "__main__":
    main()
