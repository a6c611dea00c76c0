#!/usr/bin/env python3
"""Originals cold, graph and codes in memory: QPS against what the processor and the disk allow.

The bound is the lesser of two: QPS of the same searches with everything in memory, where each query
takes the processor's time for its reads on top; and the disk's IOPS over the reads of a query. IOPS
and the processor's time for a read are fio's (io_uring, 64 at once), which is the control before each
run. The pool is the smallest, so that next to nothing is found in it. Rounds take turns.

    cargo build --release -p ringpool-cli
    benches/bound.py generated
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from disk_peers import INFLIGHTS, fewest_originals, kept_segment, largest, spread
from hnsw_peers import machine
from limited import disk_control
from segment import described

COLD = ["--backend", "pool", "--memory", "2%", "--temperature", "cold"]
WARM = ["--backend", "memory", "--temperature", "warm"]


def measured(segment, setting, threads):
    """One round: a line for each number of queries in flight."""
    memory = segment.search(setting, *WARM, "--threads", threads)["qps"]
    for inflight in INFLIGHTS:
        control = disk_control(largest(segment.dir))
        ran = segment.search({**setting, "inflight": inflight}, *COLD, "--threads", threads)
        reads = ran["reads_per_query"]
        with_reads = 1 / (1 / memory + 1e-6 * control["cpu_us"] * reads / threads)
        bound = min(with_reads, control["iops"] / reads)
        line = {"in memory": memory, "with reads": with_reads, "control": control["iops"], "reads": reads}
        line |= {"QPS": ran["qps"], "to the bound": ran["qps"] / bound, "recall": ran["recall"]}
        yield inflight, {**line, "us a read": control["cpu_us"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options, segment = kept_segment(parser)
    setting = fewest_originals(segment, options.codes)
    runs = {}
    for _ in range(options.rounds):
        for threads in [1, 2]:
            for inflight, line in measured(segment, setting, threads):
                runs.setdefault((threads, inflight), []).append(line)
    shown = {"in memory": 0, "with reads": 0, "control": 0, "us a read": 1, "reads": 1, "QPS": 0, "to the bound": 2, "recall": 4}
    print(f"{machine()}; {described(setting)}\n\n| threads | in flight | {' | '.join(shown)} |\n{'|---' * (2 + len(shown))}|")
    for (threads, inflight), lines in runs.items():
        cells = [spread([line[name] for line in lines], places) for name, places in shown.items()]
        print(f"| {threads} | {inflight} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
