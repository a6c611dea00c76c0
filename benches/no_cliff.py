#!/usr/bin/env python3
"""Less and less memory: QPS against what the processor and the disk allow, and beside mmap.

The whole process runs in a memory cgroup of a share of the segment (originals, graph and the largest codes)
plus a constant for everything that is no part of the index: code, stacks, the queries, the kernel's
headroom; it is measured and printed. At each share the codes and the setting are those that were the
fastest through the pool there, of all that reach recall@10 of 0.95. With these, one after the other in
each round: the pool, mmap with each advice, direct reads without a pool where the program has them,
and fio as the control. The bound is the lesser of the QPS of the same setting with everything in
memory and the control's IOPS over the pool's misses a query. Runs begin cold, so that first touches
are misses, except at the first share, where the queries are run once before: with enough memory
nothing is read; with --warm that is so at every share. Rounds are kept in --work, and the table is of all that are kept, so that it can be
measured in pieces.

    cargo build --release -p ringpool-cli
    benches/no_cliff.py generated --out target/no_cliff          # .csv, .md and .svg
"""

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from disk_peers import INFLIGHTS, OWN_WANTED, SLOWER_IN_A_ROW, WHEELS, OnDisk
from hnsw_peers import TARGET, machine, within_venv
from limited import Killed, disk_iops, evict, under_limit
from segment import Kept, Segment, described

SHARES = [1, 0.5, 0.25, 0.125, 0.06]
BACKENDS = {
    "pool": ["--backend", "pool", "--populate", "before-serving"],
    "mmap willneed": ["--backend", "mmap", "--mmap-advice", "willneed"],
    "mmap random": ["--backend", "mmap", "--mmap-advice", "random"],
    "direct": ["--backend", "direct"],
}


class Cliff:
    """A segment under one limit after another."""

    def __init__(self, segment, options):
        self.segment, self.options, self.threads = segment, options, options.threads
        components = {one["name"]: one for one in segment.json("inspect", segment.dir)["components"]}
        self.resident = {codes: self.bytes_of(components, codes) for codes in segment.carried()}
        self.segment_bytes = components["vectors"]["bytes"] + max(self.resident.values())
        # What the process needs besides pages, less its codes and graph.
        needs = {codes: segment.besides_pages(codes, self.threads) for codes in self.resident}
        self.constant = max(sum(need) - self.resident[codes] for codes, need in needs.items())
        self.backends = [name for name in BACKENDS if name.split()[0] in segment.backends]
        self.originals = max(segment.dir.glob("vectors*"), key=lambda path: path.stat().st_size)

    def bytes_of(self, components, codes):
        return components["graph"]["bytes"] + components["codes-" + codes.replace(":", "-")]["bytes"]

    def run(self, backend, setting, limit_bytes, budget_bytes, temperature="as-is"):
        evict(self.segment.dir)
        words = [*self.segment.words(setting), *BACKENDS[backend], "--threads", self.threads]
        words += ["--temperature", temperature, "--memory", budget_bytes]
        command = self.segment.command(*words)
        return json.loads(under_limit(command, limit_bytes, self.segment.dir)[0])

    def temperature(self, share):
        return "warm" if self.options.warm or share == max(SHARES) else "as-is"

    def chosen(self, share, settings):
        """The fastest setting under this limit, with its limit and what it leaves for pages."""
        limit_bytes = int(share * self.segment_bytes) + self.constant
        best, slower, codes = None, 0, None
        inflights = INFLIGHTS if self.segment.has_inflight else [None]
        for setting in settings:
            if setting["codes"] != codes:
                slower, codes = 0, setting["codes"]
            if slower >= SLOWER_IN_A_ROW * len(inflights):
                continue
            for inflight in inflights:
                budget_bytes = self.segment.budget_bytes(setting["codes"], self.threads, limit_bytes, inflight)
                if budget_bytes is None:
                    continue
                tried = {**setting, "inflight": inflight}
                try:
                    qps = self.run("pool", tried, limit_bytes, budget_bytes, self.temperature(share))["qps"]
                except Killed:
                    continue
                slower = 0 if not best or qps > best["qps"] else slower + 1
                if not best or qps > best["qps"]:
                    best = {"qps": qps, "setting": tried, "limit_bytes": limit_bytes, "budget_bytes": budget_bytes}
        return best

    def measured(self, share, at):
        """One round at a share: QPS of each, the control, the bound."""
        setting = at["setting"]
        alone = {key: value for key, value in setting.items() if key != "inflight"}
        memory = self.segment.search(alone, "--backend", "memory", "--threads", self.threads, "--temperature", "warm")
        row = {"share": share, "threads": self.threads, "limit_mib": at["limit_bytes"] >> 20, "codes": setting["codes"]}
        row |= {"setting": described(setting), "in memory": memory["qps"], "control": disk_iops(self.originals)}
        for backend in self.backends:
            try:
                ran = self.run(backend, setting, at["limit_bytes"], at["budget_bytes"], self.temperature(share))
                row[backend] = ran["qps"]
            except Killed:
                row[backend] = 0
                continue
            if ran["answers_crc32c"] != memory["answers_crc32c"]:
                sys.exit(f"{backend} at {100 * share:g} %: the answers are not those in memory")
            if backend == "pool":
                row |= {"recall": memory["recall"], "misses": (ran["reads"] or 0) / ran["queries"]}
        row["bound"] = min(row["in memory"], row["control"] / row["misses"] if row["misses"] else float("inf"))
        row["to bound"] = row["pool"] / row["bound"]
        others = [row[name] for name in self.backends if name != "pool"]
        row["to the best other"] = row["pool"] / max(others) if max(others) else float("inf")
        return row


def written(rows, cliff, out):
    """The CSV of all rounds, the Markdown of their medians, the plot."""
    fields = list(rows[0])
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        table = csv.DictWriter(file, fields)
        table.writeheader()
        table.writerows(rows)
    points = []
    for share in dict.fromkeys(row["share"] for row in rows):
        of_it = [row for row in rows if row["share"] == share]
        middle = {key: statistics.median(row[key] for row in of_it) for key in fields if key not in ("setting", "codes")}
        points.append({**of_it[0], **middle})
    shown = ["in memory", "control", "misses", "bound", *cliff.backends, "to bound", "to the best other", "recall"]
    places = {"misses": 1, "to bound": 2, "to the best other": 2, "recall": 4}
    lines = [f"{machine()}; {cliff.threads} threads; {cliff.constant / 2**20:.1f} MiB besides the index in every limit", ""]
    lines += [f"| memory | limit, MiB | setting | {' | '.join(shown)} |", "|---" * (3 + len(shown)) + "|"]
    for point in points:
        cells = [f"{100 * point['share']:g} %", f"{point['limit_mib']:,.0f}", point["setting"]]
        cells += [f"{point[name]:,.{places.get(name, 0)}f}" for name in shown]
        lines.append(f"| {' | '.join(cells)} |")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    plotted(points, cliff, out.with_suffix(".svg"))


def plotted(points, cliff, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    percent = [100 * point["share"] for point in points]
    axes.plot(percent, [point["bound"] for point in points], "k--", label="bound")
    axes.plot(percent, [point["in memory"] for point in points], "k:", label="in memory")
    for name in cliff.backends:
        axes.plot(percent, [point[name] for point in points], "o-", label=name)
    for at, point in zip(percent, points):
        axes.annotate(point["codes"], (at, point["pool"]), textcoords="offset points", xytext=(0, 8), ha="center")
    axes.set_xscale("log")
    axes.set_xticks(percent, [f"{at:g}" for at in percent])
    axes.minorticks_off()
    axes.set_xlabel("memory, % of the segment")
    axes.set_ylabel("queries a second, recall@10 at least 0.95")
    axes.set_ylim(bottom=0)
    axes.invert_xaxis()
    axes.legend()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder[:metric[:f32]], or generated")
    parser.add_argument("--shares", type=lambda text: [float(word) for word in text.split(",")], default=SHARES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warm", action="store_true", help="run the queries once before, at every share")
    parser.add_argument("--out", type=Path, default=TARGET / "no_cliff" / "no_cliff", help="files without their suffix")
    parser.add_argument("--work", type=Path, default=TARGET / "disk_peers", help="where all that is made is kept")
    parser.add_argument("--venv", type=Path, default=TARGET / "disk_peers" / "venv", help="made where there is none")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    options = parser.parse_args()
    within_venv(options.venv, WHEELS)
    options.work.mkdir(parents=True, exist_ok=True)
    data = OnDisk(options.data, options.work, options.ringpool)
    segment = Segment(data, options.work, options.ringpool)
    segment.build(0)
    cliff = Cliff(segment, options)
    kept = Kept(options.work / f"{data.name}.kept.json")
    settings = [setting for codes in segment.carried() for setting in segment.tuned(codes, OWN_WANTED)]
    kept_rows = options.work / f"{data.name}.no_cliff{'.warm' if options.warm else ''}.jsonl"
    chosen = {}
    for share in options.shares:
        key = f"ringpool at {100 * share:g} % of the segment, {options.threads} threads"
        chosen[share] = kept.get(key, lambda: cliff.chosen(share, settings))
    for _ in range(options.rounds):
        for share, at in chosen.items():
            if at is None:
                print(f"{100 * share:g} %: no codes fit", file=sys.stderr)
                continue
            with open(kept_rows, "a") as file:
                file.write(json.dumps(cliff.measured(share, at)) + "\n")
    if kept_rows.exists():
        rows = [json.loads(line) for line in kept_rows.read_text().splitlines()]
        written([row for row in rows if row["threads"] == options.threads], cliff, options.out)


if __name__ == "__main__":
    main()
