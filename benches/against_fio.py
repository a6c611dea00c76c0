#!/usr/bin/env python3
"""The engine beside fio on one file: the figures of docs/engine.md.

Each contender runs for a short turn, one after the other, round after round, since a disk that is
shared drifts within minutes. What is printed is the median over the rounds and its spread, and
each contender's IOPS relative to the first one's of its table in the same round. fio comes from
the distribution; nothing here needs root. The file is one of the disk to be measured, larger than
what the disk caches; without one, 1 GiB of random bytes is made in target/.

    cargo build --release --example read_random
    benches/against_fio.py                      # all tables, about ten minutes
    benches/against_fio.py saturate depth --file /mnt/disk/some.file --rounds 9
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/read_random"
FILE_BYTES = 1 << 30
DEPTHS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
KNEE = 0.95


def fio(*flags, depth=64):
    """fio, reading as the engine does: uniformly random pages of 4 KiB, past the page cache."""

    def turn(path, seconds):
        command = [
            *("fio", "--name=random", f"--filename={path}", "--rw=randread", "--bs=4k", "--direct=1"),
            *("--norandommap", "--randrepeat=0", "--time_based", f"--runtime={seconds}"),
            *("--ramp_time=0.5", "--output-format=json", f"--iodepth={depth}", *flags),
        ]
        job = json.loads(output(command))["jobs"][0]
        iops = job["read"]["iops"]
        return {
            "iops": iops,
            # Of many jobs fio gives the mean.
            "cpu_us": None if "--group_reporting" in flags else (job["usr_cpu"] + job["sys_cpu"]) * 1e4 / iops,
            "mean_us": job["read"]["lat_ns"]["mean"] / 1e3,
            "p50_us": job["read"]["clat_ns"]["percentile"]["50.000000"] / 1e3,
        }

    return turn


def engine(*flags):
    """The example read_random, which drives the public engine."""

    def turn(path, seconds):
        told = json.loads(output([EXAMPLE, "--path", path, "--seconds", str(seconds), *map(str, flags)]))
        latency_us = told["latency_us"] or {}
        return {
            "iops": told["iops"],
            "cpu_us": told["cpu_us_per_read"],
            "mean_us": latency_us.get("mean"),
            "p50_us": told["batch_p50_us"] if told["batch"] == 1 else latency_us.get("p50"),
            "reads_per_syscall": told["reads_per_syscall"],
            "batch_max/p50": told["batch_max_us"] / told["batch_p50_us"] if told["batches"] else None,
            "depth": told["depth"],
        }

    return turn


def fixed(depth, *flags):
    """So many in flight, and neither more nor less."""
    return engine("--max-in-flight", depth, "--adapts=false", "--in-flight", 2 * depth + 64, *flags)


# Long enough for the search to have seen the curve.
ADAPTED = engine("--in-flight", 576, "--warm-up", 6)
URING = ("--ioengine=io_uring",)
BEST = (*URING, "--fixedbufs", "--registerfiles", "--iodepth_batch_submit=16")
TABLES = {
    "saturate": {
        "fio, 64 in flight": fio(*URING),
        "fio, fixed, batches of 16": fio(*BEST),
        "engine, 64 in flight": fixed(64),
        "engine, 64, not registered": fixed(64, "--register=false"),
        "engine, adapted": ADAPTED,
        "pool, batches of 4,096": engine("--pool", "64MiB"),
    },
    "lone": {
        "fio, preads": fio("--ioengine=psync", depth=1),
        "fio, io_uring": fio(*URING, depth=1),
        "engine": engine("--in-flight", 1, "--batch", 1),
        "engine, awaited": engine("--in-flight", 1, "--batch", 1, "--futures"),
    },
    "threads": {
        f"engine, {threads} threads": engine("--threads", threads, "--in-flight", 64, "--batch", 64)
        for threads in [1, 2, 4, 8, 32]
    },
    "futures": {
        "2 threads wait": engine("--threads", 2, "--in-flight", 64, "--batch", 64),
        "2 threads await": engine("--threads", 2, "--in-flight", 64, "--batch", 64, "--futures"),
        "8 threads wait": engine("--threads", 8, "--in-flight", 64, "--batch", 64),
        "8 threads await": engine("--threads", 8, "--in-flight", 64, "--batch", 64, "--futures"),
    },
    "depth": {
        "engine, adapted": ADAPTED,
        **{f"engine, {depth} in flight": fixed(depth) for depth in DEPTHS},
    },
    "rungs": {
        "ring": ADAPTED,
        "preads on threads": engine("--in-flight", 576, "--engine", "blocking"),
        "fio, 64 threads of preads": fio("--ioengine=psync", "--thread", "--numjobs=64", "--group_reporting", depth=1),
    },
}


def output(command):
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"{command[0]}: {ended.stderr.strip() or ended.returncode}")
    return ended.stdout


def spread(values, places):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{places}f} ({low:.{places}f}-{high:.{places}f})"


def measured(table, path, rounds, seconds):
    """Turns by contender, each round beginning with another one."""
    turns = {name: [] for name in table}
    names = list(table)
    for round_ in range(rounds):
        for i in range(len(names)):
            name = names[(i + round_) % len(names)]
            turns[name].append(table[name](path, seconds))
    return turns


def show(title, turns):
    first = next(iter(turns.values()))
    columns = [
        *[("iops", 0), ("cpu_us", 2), ("mean_us", 0), ("p50_us", 1), ("reads_per_syscall", 1)],
        *[("batch_max/p50", 1), ("depth", 0)],
    ]
    print(f"\n{title}: median (lowest-highest) of {len(first)} turns\n")
    print(f"| | {' | '.join(name for name, _ in columns)} | iops, first = 1 |")
    print("|---" * (len(columns) + 2) + "|")
    for name, of_it in turns.items():
        cells = [spread([turn.get(column) for turn in of_it], places) for column, places in columns]
        relative = spread([a["iops"] / b["iops"] for a, b in zip(of_it, first)], 3)
        print(f"| {name} | {' | '.join(cells)} | {relative} |")


def show_knee(turns):
    """What the adapted engine is to be judged by: the knee of the same rounds."""
    adapted, ladder = turns["engine, adapted"], [turns[f"engine, {depth} in flight"] for depth in DEPTHS]
    median = lambda of_it, column: statistics.median(turn[column] for turn in of_it)
    best = max(median(step, "iops") for step in ladder)
    at = next(i for i, step in enumerate(ladder) if median(step, "iops") >= KNEE * best)
    print(f"\nknee: {DEPTHS[at]} in flight; adapted: {median(adapted, 'iops') / best:.3f} of the best IOPS,")
    print(f"mean latency {median(adapted, 'mean_us') / median(ladder[at], 'mean_us'):.2f} times the knee's")


def random_file():
    path = EXAMPLE.parents[2] / "random.bytes"
    if not path.exists() or path.stat().st_size < FILE_BYTES:
        beside = path.with_suffix(".new")
        with open(beside, "wb") as file:
            for _ in range(FILE_BYTES >> 20):
                file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
        beside.rename(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all of them if none is named")
    parser.add_argument("--file", type=Path, help="a file of the disk to be measured; it is only read")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    unknown = set(options.tables) - set(TABLES)
    if unknown or options.rounds < 1 or options.seconds <= 0:
        parser.error(f"no table {', '.join(unknown)}" if unknown else "rounds and seconds are above 0")
    if not shutil.which("fio"):
        sys.exit("fio is not installed: apt install fio")
    if not EXAMPLE.exists():
        sys.exit(f"{EXAMPLE} is missing: cargo build --release --example read_random")
    path = options.file or random_file()
    for title in options.tables or TABLES:
        turns = measured(TABLES[title], path, options.rounds, options.seconds)
        show(title, turns)
        if title == "depth":
            show_knee(turns)


if __name__ == "__main__":
    main()
