#!/usr/bin/env python3
"""Minute after minute at a quarter of the memory: the pool's QPS second by second, and the tail.

The pool and mmap (WILLNEED, its best) answer the same queries again and again with the same setting,
each in a process of its own in a memory cgroup of the same size: what such a run cannot do without
besides pages, and --share of the originals. Beside them the same search with everything in memory and
without a limit, which is the processor's control: its seconds are as even as the machine is. All
live through the whole time, but they never run at once: the others are stopped (SIGSTOP) while one has
its turn, and before each turn fio reads alone for a second, the disk's control. --minutes is what each
has for itself. A second counts where it lies within a turn, without the first of it.

A dip is a second below --dip of the median of its own series. It is the disk's when the control
before or after that turn was below the same share of its own median. Dips of the search in memory are
the processor's; what the pool has more than these is its own. Then come short runs with 8 clients, in
turns, for the tail.

    cargo build --release -p ringpool-cli
    benches/steady.py generated --minutes 10 --out target/steady    # .csv and .svg
"""

import argparse
import csv
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from disk_peers import OWN_WANTED, WHEELS, OnDisk, spread
from hnsw_peers import TARGET, machine, within_venv
from limited import Group, disk_iops, evict, under_limit
from segment import Segment, described

BACKENDS = {"pool": ["--backend", "pool"], "mmap": ["--backend", "mmap", "--mmap-advice", "willneed"]}
IN_TURN = {**BACKENDS, "in memory": ["--backend", "memory", "--inflight", 1]}
TURN_S, CONTROL_S, OPENED_WITHIN_S = 10, 1, 60
CLIENTS = 8


class Runner:
    """One backend, searching for as long as it is told to, and stopped between its turns."""

    def __init__(self, name, steady, seconds):
        self.name, self.turns = name, []
        self.lines = steady.out.with_name(f"{steady.out.name}.{name.replace(' ', '-')}.csv")
        self.lines.unlink(missing_ok=True)
        self.group = Group(steady.limit_bytes if name in BACKENDS else None, steady.segment.dir)
        words = [*steady.words(name, steady.options.threads), "--seconds", seconds, "--series-out", self.lines]
        self.running = self.group.start(steady.segment.command(*words))
        patience = time.monotonic() + OPENED_WITHIN_S
        while not self.lines.exists():
            if self.running.poll() is not None or time.monotonic() > patience:
                sys.exit(f"{name}: {self.running.communicate()[1][-2000:]}")
            time.sleep(0.01)
        self.signal(signal.SIGSTOP)

    def signal(self, which):
        os.kill(self.running.pid, which)

    def turn(self, seconds):
        self.signal(signal.SIGCONT)
        begin = time.time()
        time.sleep(seconds)
        self.signal(signal.SIGSTOP)
        self.turns.append((begin, time.time()))

    def end(self):
        self.running.kill()
        self.running.wait()
        self.group.__exit__()

    def seconds(self):
        """Whole seconds within a turn, without its first: the turn's number and the QPS."""
        with open(self.lines) as file:
            rows = [row for row in csv.DictReader(file) if row["queries"]]
        for row in rows:
            begin, end = int(row["begin_unix_ms"]) / 1e3, int(row["end_unix_ms"]) / 1e3
            of = next((i for i, turn in enumerate(self.turns) if turn[0] + 1 <= begin and end <= turn[1]), None)
            if of is not None and end - begin > 0.5:
                yield of, end, int(row["queries"]) / (end - begin)


class Steady:
    """A segment, the setting, the limit that both have."""

    def __init__(self, segment, options):
        self.segment, self.options, self.out = segment, options, options.out
        settings = [one for one in segment.tuned(options.codes, OWN_WANTED) if one["oversample"] is not None]
        self.setting = min(settings, key=lambda setting: setting["originals"])
        needs = [sum(segment.besides_pages(options.codes, CLIENTS, name)) for name in BACKENDS]
        self.budget_bytes = int(options.share * segment.paged_bytes())
        self.limit_bytes = max(needs) + self.budget_bytes
        self.originals = max(segment.dir.glob("vectors*"), key=lambda path: path.stat().st_size)

    def words(self, name, threads):
        words = [*self.segment.words(self.setting), *IN_TURN[name], "--threads", threads]
        return [*words, "--memory", self.budget_bytes]

    def series(self):
        """Turns of both and of the control, which comes before each and after the last."""
        seconds = int(60 * self.options.minutes)
        evict(self.segment.dir)
        # Long enough that none ends by itself: the clock goes on while a process is stopped.
        runners = [Runner(name, self, 10 * seconds + 600) for name in IN_TURN]
        controls = []
        try:
            for _ in range(max(1, seconds // TURN_S)):
                for runner in runners:
                    controls.append(disk_iops(self.originals, CONTROL_S))
                    runner.turn(min(TURN_S, seconds))
            controls.append(disk_iops(self.originals, CONTROL_S))
        finally:
            for runner in runners:
                runner.end()
        return {runner.name: list(runner.seconds()) for runner in runners}, controls

    def tail(self):
        """Percentiles of short runs with many clients, in turns."""
        found = {name: [] for name in BACKENDS}
        for _ in range(self.options.rounds):
            for name in BACKENDS:
                evict(self.segment.dir)
                command = self.segment.command(*self.words(name, CLIENTS))
                if self.segment.has_inflight:
                    # A client waits for its answer before it asks again.
                    command += ["--inflight", "1"]
                told = json.loads(under_limit(command, self.limit_bytes, self.segment.dir)[0])
                found[name].append({**told["latency_us"], "qps": told["qps"]})
        return found


def dips(name, series, controls, below):
    """Seconds below a share of the median: how many, the deepest, how many of them are the disk's."""
    at = list(IN_TURN).index(name)
    middle, control = statistics.median(qps for _, _, qps in series), statistics.median(controls)
    low = [(turn, qps) for turn, _, qps in series if qps < below * middle]
    around = lambda turn: min(controls[len(IN_TURN) * turn + at : len(IN_TURN) * turn + at + 2])
    of_disk = [turn for turn, _ in low if around(turn) < below * control]
    deepest = min((qps / middle for _, qps in low), default=1)
    return len(low), deepest, len(of_disk)


def show(steady, series, controls, tail):
    options = steady.options
    print(f"{machine()}; {described(steady.setting)}; {steady.limit_bytes / 2**20:.0f} MiB, of these")
    print(f"{steady.budget_bytes / 2**20:.0f} MiB for pages; {options.threads} threads\n")
    print(f"| | seconds | QPS | dips below {options.dip} | deepest | of these the disk's |\n|---|---|---|---|---|---|")
    for name, seconds in series.items():
        count, deepest, of_disk = dips(name, seconds, controls, options.dip)
        print(f"| {name} | {len(seconds)} | {spread([qps for _, _, qps in seconds])} | {count} | {deepest:.2f} | {of_disk} |")
    print(f"| control, IOPS | {len(controls)} | {spread(controls)} | | {min(controls) / statistics.median(controls):.2f} | |")
    show_tail(tail)


def show_tail(tail):
    print(f"\n{CLIENTS} clients\n\n| | QPS | p50, us | p99, us | p99.9, us | p99.9 / p50 |\n|---|---|---|---|---|---|")
    for name, runs in tail.items():
        column = lambda key: spread([run[key] for run in runs])
        ratio = spread([run["p999"] / run["p50"] for run in runs], 1)
        print(f"| {name} | {column('qps')} | {column('p50')} | {column('p99')} | {column('p999')} | {ratio} |")


def plotted(series, controls, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, sharex=True, height_ratios=[3, 1], figsize=(9, 6))
    begin = min(end for seconds in series.values() for _, end, _ in seconds)
    for name, seconds in series.items():
        upper.plot([(end - begin) / 60 for _, end, _ in seconds], [qps for _, _, qps in seconds], ".", label=name)
    last = max(end for seconds in series.values() for _, end, _ in seconds)
    minutes = [(last - begin) / 60 * i / (len(controls) - 1) for i in range(len(controls))]
    lower.plot(minutes, [iops / 1000 for iops in controls], "k.-")
    upper.set_ylabel("queries a second")
    upper.set_ylim(bottom=0)
    upper.legend()
    lower.set_ylabel("fio, thousand IOPS")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("minutes, both and the control in turns")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder[:metric[:f32]], or generated")
    parser.add_argument("--minutes", type=float, default=10, help="that each runs; 0 for the tail alone")
    parser.add_argument("--share", type=float, default=0.25, help="of the originals' pages that memory holds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--codes", default="rabitq:4")
    parser.add_argument("--dip", type=float, default=0.8)
    parser.add_argument("--rounds", type=int, default=5, help="of the short runs for the tail")
    parser.add_argument("--out", type=Path, default=TARGET / "steady" / "steady", help="files without their suffix")
    parser.add_argument("--work", type=Path, default=TARGET / "disk_peers", help="where all that is made is kept")
    parser.add_argument("--venv", type=Path, default=TARGET / "disk_peers" / "venv", help="made where there is none")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    options = parser.parse_args()
    within_venv(options.venv, WHEELS)
    for folder in [options.work, options.out.parent]:
        folder.mkdir(parents=True, exist_ok=True)
    data = OnDisk(options.data, options.work, options.ringpool)
    segment = Segment(data, options.work, options.ringpool)
    segment.build(0)
    steady = Steady(segment, options)
    if options.minutes == 0:
        return show_tail(steady.tail())
    series, controls = steady.series()
    with open(options.out.with_suffix(".csv"), "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["who", "turn", "end_unix_s", "per_second"])
        rows.writerows([name, turn, f"{end:.3f}", f"{qps:.1f}"] for name in series for turn, end, qps in series[name])
        rows.writerows(["control", i // len(IN_TURN), "", f"{iops:.0f}"] for i, iops in enumerate(controls))
    plotted(series, controls, options.out.with_suffix(".svg"))
    show(steady, series, controls, steady.tail())


if __name__ == "__main__":
    main()
