#!/usr/bin/env python3
"""One search over many segments, beside one segment with the same points.

The points are cut into --parts segments of like size, in their order. A query alone (one in flight)
walks all of them in memory, gathers their shortlists and reads one batch. Each round takes turns: the
one segment and the many, from a cold disk and in memory, and fio, which sends as many reads at once as
a query has and waits for all: the batch. With the same codes and the same originals a query, ef of
the many is the least that comes as near as NEAR to the recall of the one: their codes are made of
fewer points each, and the same originals may never reach quite the same.

    cargo build --release -p ringpool-cli
    benches/segments.py generated
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bound import COLD, WARM
from disk_contestants import least_effort
from disk_peers import OWN_WANTED, WHEELS, OnDisk, largest, spread
from hnsw_peers import TARGET, machine, within_venv
from limited import disk_control
from segment import Segment, described

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
    parser.add_argument("data", help="a folder[:metric[:f32]], or generated")
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--codes", default="rabitq:4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=TARGET / "disk_peers", help="where all that is made is kept")
    parser.add_argument("--venv", type=Path, default=TARGET / "disk_peers" / "venv", help="made where there is none")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    options = parser.parse_args()
    within_venv(options.venv, WHEELS)
    options.work.mkdir(parents=True, exist_ok=True)
    segment = Segment(OnDisk(options.data, options.work, options.ringpool), options.work, options.ringpool)
    segment.build(0)
    parts = Parts(segment, options.parts, options.codes)
    parts.build()
    fixed = [one for one in segment.tuned(options.codes, OWN_WANTED) if one["oversample"] not in (None, "auto")]
    setting = {**min(fixed, key=lambda one: one["originals"]), "inflight": 1}
    recall_at = lambda ef: parts.search({**setting, "ef": ef}, *WARM[:2])["recall"]
    wanted = segment.search(setting, *WARM[:2])["recall"] - NEAR
    many = {**setting, "ef": least_effort(recall_at, wanted, -(-setting["originals"] // options.parts))}
    searched = {"one": (segment, setting), str(options.parts): (parts, many)}
    runs = {name: [] for name in searched}
    for _ in range(options.rounds):
        for name, (of, how) in searched.items():
            cold, warm = of.search(how, *COLD), of.search(how, *WARM)
            batch = disk_control(largest(segment.dir), depth=setting["originals"], batches=True)
            batch_us = 1e6 * setting["originals"] / batch["iops"]
            line = {"recall": cold["recall"], "reads": cold["reads_per_query"], "cold": cold["latency_us"]["p50"]}
            line |= {"in memory": warm["latency_us"]["p50"], "batch": batch_us}
            runs[name].append({**line, "ratio": line["cold"] / (line["in memory"] + batch_us)})
    print(f"{machine()}; {described(setting)}, ef {many['ef']} in each of the {options.parts}; p50 in us\n")
    print(f"| segments | recall | reads a query | cold | in memory | batch of {setting['originals']} | cold / (in memory + batch) |")
    print("|---" * 7 + "|")
    for name, lines in runs.items():
        places = {"recall": 4, "reads": 1, "cold": 0, "in memory": 0, "batch": 0, "ratio": 2}
        print(f"| {name} | {' | '.join(spread([line[key] for line in lines], few) for key, few in places.items())} |")
    ratio = spread([b["reads"] / a["reads"] for a, b in zip(*runs.values())], 2)
    print(f"\nreads of the {options.parts} to those of one: {ratio}")


if __name__ == "__main__":
    main()
