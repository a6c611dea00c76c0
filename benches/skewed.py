#!/usr/bin/env python3
"""Everything paged through one pool, with skewed queries, beside direct reads without a pool.

Four of five queries are drawn from a fifth of the set's, the others from the rest. Graph, codes and
originals are all in one pool of --memory of the segment, or are all read directly and not kept. Runs
begin cold and take turns, each behind a control (fio).

    cargo build --release -p ringpool-cli
    benches/skewed.py generated
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from disk_peers import fewest_originals, kept_segment, largest, spread
from hnsw_peers import machine
from limited import disk_iops
from segment import described

HOT_QUERIES, HOT_DRAWS = 0.2, 0.8
SEED = 1


def drawn(count, draws):
    """Numbers of queries, most of them from the hot fifth."""
    import numpy

    random = numpy.random.default_rng(SEED)
    shuffled, hot = random.permutation(count), int(HOT_QUERIES * count)
    from_hot = random.random(draws) < HOT_DRAWS
    return numpy.where(from_hot, shuffled[random.integers(0, hot, draws)], shuffled[random.integers(hot, count, draws)])


def skew(data, draws, work):
    """The set's queries and truth, drawn so."""
    import numpy

    rows = drawn(len(data.queries), draws)
    data.query_file = work / f"{data.name}.skewed.npy"
    numpy.save(data.query_file, data.queries[rows])
    data.truth_file = work / f"{data.name}.skewed.ivecs"
    lengths = numpy.full((draws, 1), data.truth.shape[1], "<i4")
    numpy.hstack([lengths, data.truth[rows].astype("<i4")]).tofile(data.truth_file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", default="20%")
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options, segment = kept_segment(parser)
    setting = fewest_originals(segment, options.codes)
    skew(segment.data, options.draws, options.work)
    places = {"pool": ["--memory", options.memory], "direct": []}
    runs = {place: [] for place in places}
    for _ in range(options.rounds):
        for place, more in places.items():
            control = disk_iops(largest(segment.dir))
            segment.place = f"graph={place},codes={place},vectors={place}"
            ran = segment.search(setting, *more, "--temperature", "cold", "--threads", options.threads)
            runs[place].append({"recall": ran["recall"], "reads": ran["reads_per_query"], "QPS": ran["qps"], "control": control})
    print(f"{machine()}; {described(setting)}; {options.draws} queries, {options.threads} threads, memory {options.memory}\n")
    print("| everything through | recall | reads a query | QPS | control, IOPS |\n|---|---|---|---|---|")
    for place, lines in runs.items():
        few = {"recall": 4, "reads": 1, "QPS": 0, "control": 0}
        print(f"| {place} | {' | '.join(spread([line[key] for line in lines], n) for key, n in few.items())} |")
    pairs = list(zip(runs["pool"], runs["direct"]))
    print(f"\nfewer reads: {spread([100 * (1 - a['reads'] / b['reads']) for a, b in pairs], 1)} %; "
          f"QPS: {spread([a['QPS'] / b['QPS'] for a, b in pairs], 1)} times")


if __name__ == "__main__":
    main()
