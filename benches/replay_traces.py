#!/usr/bin/env python3
"""Miss ratios of folders of traces: the table of docs/eviction.md.

Without a folder, the traces that are shipped, of searches through an index. Each trace is replayed through the pool with frames for 2, 10 and 30 % of its pages, by the default
policy and by the plain clock; `ringpool replay` gives LRU and the optimum beside them. A trace is
a file of little-endian u32 page numbers, .u32 or .u32.gz.

    cargo build --release -p ringpool-cli
    benches/replay_traces.py                             # the shipped ones: seconds
    benches/replay_traces.py FOLDER data/traces          # about two minutes for the ten of the docs
    benches/replay_traces.py FOLDER --threads 4          # one more column: four threads
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RINGPOOL = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/ringpool"
SHIPPED = ROOT / "data/traces"
SHARES = ["2%", "10%", "30%"]
DEFAULT = "probation"


def replay(trace, frames, policy, threads=1):
    flags = ["--frames", frames, "--policy", policy, "--threads", str(threads)]
    command = [RINGPOOL, "replay", "--json", "--trace", trace, *flags]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"{trace}: {ran.stderr.strip()}")
    return json.loads(ran.stdout)


def row(trace, share, threads):
    ours = replay(trace, share, DEFAULT)
    clock = replay(trace, share, "clock")
    ratios = [ours["opt_miss_ratio"], ours["lru_miss_ratio"], clock["miss_ratio"], ours["miss_ratio"]]
    if threads > 1:
        ratios.append(replay(trace, share, DEFAULT, threads)["miss_ratio"])
    steps = ours["sweep_steps_per_eviction"]
    name = trace.name.removesuffix(".gz").removesuffix(".u32")
    figures = [f"{100 * ratio:.1f}" for ratio in ratios]
    return [f"{name} {share.removesuffix('%')}", *figures, "-" if steps is None else f"{steps:.1f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*", default=[SHIPPED])
    parser.add_argument("--threads", type=int, default=1, help="replay with so many as well")
    asked = parser.parse_args()
    if not RINGPOOL.exists():
        sys.exit(f"{RINGPOOL} is not there: cargo build --release -p ringpool-cli")
    traces = []
    for folder in asked.folders:
        found = sorted(path for path in folder.glob("*.u32*") if path.suffix in (".u32", ".gz"))
        if not found:
            sys.exit(f"{folder}: no .u32 or .u32.gz in it")
        traces += found
    several = [f"{DEFAULT}, {asked.threads} threads"] if asked.threads > 1 else []
    header = ["trace @ % of its pages", "OPT", "LRU", "clock", DEFAULT, *several, "steps an eviction"]
    print("|", " | ".join(header), "|")
    print("|---" + "|---:" * (len(header) - 1) + "|")
    for trace in traces:
        for share in SHARES:
            print("|", " | ".join(row(trace, share, asked.threads)), "|", flush=True)


if __name__ == "__main__":
    main()
