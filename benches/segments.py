#!/usr/bin/env python3
"""One search over many segments, beside one segment with the same points.

The points are cut into --parts segments of like size, in their order. A query alone (one in flight)
walks all of them in memory, gathers their shortlists and reads one batch. Each round takes turns: the
one segment and the many, from a cold disk and in memory, and fio, which sends as many reads at once as
a query has and waits for all: the batch. With the same codes and the same ef in each, the many read as
few originals a query as come as near as NEAR to the recall of the one: their codes are made of fewer
points each, and order candidates of several segments less well.

    cargo build --release -p ringpool-cli
    benches/segments.py generated
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bound import COLD, WARM
from disk_contestants import least_effort
from disk_peers import fewest_originals, kept_segment, largest, spread
from hnsw_peers import K, machine
from limited import disk_control
from segment import described

NEAR = 0.003


class Parts:
    """The same points as a segment's, in many."""

    def __init__(self, segment, parts, codes):
        self.segment, self.codes = segment, codes
        self.dir = segment.dir.with_suffix(f".{parts}")
        self.dirs = [self.dir / str(part) for part in range(parts)]

    def build(self):
        import numpy

        self.dir.mkdir(exist_ok=True)
        data = self.segment.data
        for dir_, rows in zip(self.dirs, numpy.array_split(data.base, len(self.dirs))):
            if not dir_.exists():
                numpy.save(file := self.dir / "part.npy", rows)
                made = ["--vectors", file, "--metric", data.metric, "--quantize", self.codes, "--out", dir_]
                self.segment.json("build", *made)
                file.unlink()

    def search(self, setting, *more):
        words = self.segment.words(setting)
        at = words.index(self.segment.dir)
        return self.segment.json(*words[:at], *self.dirs, *words[at + 1 :], "--truth", self.segment.data.truth_file, *more)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options, segment = kept_segment(parser)
    parts = Parts(segment, options.parts, options.codes)
    parts.build()
    setting = {**fewest_originals(segment, options.codes), "inflight": 1}
    wanted = segment.search(setting, *WARM[:2])["recall"] - NEAR
    reading = lambda originals: {**setting, "oversample": originals / K, "originals": originals}
    recall_at = lambda originals: parts.search(reading(originals), *WARM[:2])["recall"]
    originals = least_effort(recall_at, wanted, round(setting["originals"]))
    if originals is None:
        sys.exit(f"{options.parts} segments do not reach a recall of {wanted:.4f} by more originals")
    many = reading(originals)
    searched = {"one": (segment, setting), str(options.parts): (parts, many)}
    runs = {name: [] for name in searched}
    for _ in range(options.rounds):
        for name, (of, how) in searched.items():
            cold, warm = of.search(how, *COLD), of.search(how, *WARM)
            batch = disk_control(largest(segment.dir), depth=round(how["originals"]), batches=True)
            batch_us = 1e6 * how["originals"] / batch["iops"]
            line = {"recall": cold["recall"], "reads": cold["reads_per_query"], "cold": cold["latency_us"]["p50"]}
            line |= {"in memory": warm["latency_us"]["p50"], "batch": batch_us}
            runs[name].append({**line, "ratio": line["cold"] / (line["in memory"] + batch_us)})
    print(f"{machine()}; {described(setting)}, {originals} originals in the {options.parts}; p50 in us\n")
    print("| segments | recall | reads a query | cold | in memory | batch of originals | cold / (in memory + batch) |")
    print("|---" * 7 + "|")
    for name, lines in runs.items():
        places = {"recall": 4, "reads": 1, "cold": 0, "in memory": 0, "batch": 0, "ratio": 2}
        print(f"| {name} | {' | '.join(spread([line[key] for line in lines], few) for key, few in places.items())} |")
    ratio = spread([b["reads"] / a["reads"] for a, b in zip(*runs.values())], 2)
    print(f"\nreads of the {options.parts} to those of one: {ratio}")


if __name__ == "__main__":
    main()
