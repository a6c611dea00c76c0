#!/usr/bin/env python3
"""Search on disk beside Qdrant Edge, DiskANN, PipeANN and mmap, all under one memory limit.

Every run is a process of its own in a memory cgroup of the same size: a share of the originals' bytes
plus --beside, which is for what an interpreter needs. The index files are dropped from the page cache
first, so that a run begins cold. Each contestant uses the setting that was the fastest under this very
limit among the least ones that reach recall@10 of 0.95; ringpool chooses its codes likewise. A run
answers all queries once. Rounds take turns, each run behind a control, fio's random reads of 4 KiB:
what the disk gives at that moment. Reads are the kernel's count of requests for the process's group,
less those of the same process with one query, which are the loading.

A set is a folder with base.*, query.* and groundtruth.ivecs* as ann-benchmarks' sets have them, :ip
behind it where that is the metric, :f32 where bytes are to be widened; or `generated`, 200,000
clustered vectors of 768 f32, made in --work. Peers come from PyPI into a virtual environment of their
own (DiskANN has wheels for Python 3.9 to 3.11); PipeANN is on no registry and takes part when --pipeann
names its programs. Needs root (cgroups) and fio. Indexes, settings and measured runs are kept in --work:
tables are of all runs kept there, so that a contest can be run in pieces.

    cargo build --release -p ringpool-cli
    benches/disk_peers.py generated --beside 0 --shares 0.1,0.25,0.333
    benches/disk_peers.py DATA/fashion-mnist:l2:f32
    benches/disk_peers.py generated --mmap --threads 1,16
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from disk_contestants import ENVIRONMENT, Peer, PipeAnn
from hnsw_peers import TARGET, DataSet, machine, read, within_venv
from limited import Killed, disk_iops, evict, under_limit
from segment import Kept, Segment, described

WHEELS = ["numpy==1.25.0", "qdrant-edge-py==0.9.0", "diskannpy==0.7.0", "matplotlib==3.11.2"]
WANTED = 0.95
# ringpool's settings reach a little more, so that it is not by chance that they reach it.
OWN_WANTED = 0.952
GENERATED = {"n": 200_000, "dim": 768, "clusters": 2000, "queries": 10_000}
INFLIGHTS = [8, 32]
# Of each thread, where there are many.
MANY_THREADS, INFLIGHTS_OF_MANY = 8, [2, 4]
SLOWER_IN_A_ROW = 2


class OnDisk(DataSet):
    """A set, and its rows as the contestants' processes read them."""

    def __init__(self, argument, work, program):
        folder, *rest = argument.split(":")
        if folder == "generated":
            folder = generated(work / "generated", program)
        super().__init__(":".join([str(folder), *rest[:1]]))
        self.count, self.dim = self.base.shape
        half = self.base_file.name.removesuffix(".gz").endswith(".npy")
        self.element = "as-given" if half or "f32" not in rest[1:] else "f32"
        self.value_bytes = 2 if half else 4
        rows = {"base": self.base, "query": self.queries, "one_query": self.queries[:1], "truth": self.truth}
        for name, values in rows.items():
            path = work / f"{self.name}.{name}.npy"
            if not path.exists():
                import numpy

                numpy.save(path, values.astype("f2") if half and name != "truth" else values)
            setattr(self, f"{name}_rows", path)
        self.raw_bytes = self.count * self.dim * self.value_bytes


def generated(folder, program):
    """The clustered set, made where there is none."""
    base, queries, truth = folder / "base.fvecs", folder / "query.fvecs", folder / "groundtruth.ivecs"
    if not truth.exists():
        folder.mkdir(parents=True, exist_ok=True)
        flags = [word for name, value in GENERATED.items() for word in [f"--{name}", str(value)]]
        subprocess.run([program, "generate", *flags, "--out", base, "--queries-out", queries], check=True)
        asked = ["--metric", "l2", "--vectors", base, "--queries", queries, "--k", "100", "--out", truth]
        subprocess.run([program, "truth", *asked], check=True)
    return folder


class Ringpool:
    """A segment through one backend, as the contest sees it."""

    def __init__(self, segment, backend, codes=None):
        self.segment, self.backend, self.only = segment, backend, codes
        self.name = "ringpool" if backend == ["--backend", "pool"] else " ".join(backend[1::2])
        self.index = segment.dir

    def build(self, threads):
        self.segment.build(threads)

    def tuned(self, wanted):
        codes = [self.only] if self.only else self.segment.carried()
        return [setting for one in codes for setting in self.segment.tuned(one, wanted)]

    def settings_for(self, settings, limit_bytes, threads):
        inflights = INFLIGHTS if threads < MANY_THREADS else INFLIGHTS_OF_MANY
        if not self.segment.has_inflight:
            inflights = [None]
        for setting in settings:
            for inflight in inflights:
                budget = self.segment.budget_bytes(setting["codes"], threads, limit_bytes, inflight)
                if budget:
                    yield {**setting, "budget_bytes": budget, "inflight": inflight}

    def command(self, setting, threads, one_query, ids_out):
        queries = self.segment.data.one_query_rows if one_query else None
        words = [*self.segment.words(setting, queries), *self.backend, "--memory", setting["budget_bytes"]]
        words += ["--populate", "before-serving"]  # Of the pool's frames.
        return self.segment.command(*words, "--threads", threads, "--ids-out", ids_out.with_suffix(".ivecs"))

    def told(self, out):
        return json.loads(out)["qps"]

    def described(self, setting):
        return f"{described(setting)}, pages {setting['budget_bytes'] / 2**20:.0f} MiB"


class Contest:
    """All contestants on one set under one limit with so many threads."""

    def __init__(self, data, contestants, limit_bytes, threads, work):
        self.data, self.contestants, self.limit_bytes, self.threads = data, contestants, limit_bytes, threads
        self.work, self.at = work, f"{data.name}, {limit_bytes / 2**20:.0f} MiB, {threads} threads"
        self.kept = Kept(work / f"{data.name}.kept.json").get
        self.ids_out = work / "ids.npy"

    def run(self, contestant, setting, one_query=False):
        evict(contestant.index)
        command = contestant.command(setting, self.threads, one_query, self.ids_out)
        out, (reads, read_bytes) = under_limit(command, self.limit_bytes, contestant.index, ENVIRONMENT)
        return {"qps": contestant.told(out), "reads": reads, "read_bytes": read_bytes, "out": out}

    def tuned(self, contestant):
        """The least settings that reach the recall."""
        if isinstance(contestant, Ringpool):
            # It keeps them itself, for each of its codes.
            return contestant.tuned(OWN_WANTED)
        return self.kept(f"{contestant.name} tuned", lambda: contestant.tuned(WANTED))

    def fastest(self, contestant):
        """The setting to take part with, or why there is none."""
        settings = self.tuned(contestant)
        best, slower, codes = {"qps": 0, "why": "no setting reaches the recall, or none fits"}, 0, None
        for setting in contestant.settings_for(settings, self.limit_bytes, self.threads):
            if setting.get("codes") != codes:
                slower, codes = 0, setting.get("codes")
            if slower >= SLOWER_IN_A_ROW * len(INFLIGHTS):
                continue
            try:
                qps = self.run(contestant, setting)["qps"]
            except Killed as killed:
                best = {**best, "why": str(killed)}
                continue
            slower = 0 if qps > best["qps"] else slower + 1
            best = {"qps": qps, "setting": setting} if qps > best["qps"] else best
        return best

    def hold(self, rounds):
        """Runs the rounds; each run is added to the kept ones at once."""
        for contestant in self.contestants:
            chosen = self.kept(f"{contestant.name} at {self.at}", lambda: self.fastest(contestant))
            if rounds and "setting" in chosen:
                self.kept(f"{contestant.name} loads at {self.at}", lambda: self.loads(contestant, chosen["setting"]))
        for round_ in range(rounds):
            for turn in range(len(self.contestants)):
                self.turn(self.contestants[(turn + round_) % len(self.contestants)])

    def loads(self, contestant, setting):
        """What it reads for the loading alone."""
        loaded = self.run(contestant, setting, one_query=True)
        return [loaded["reads"], loaded["read_bytes"]]

    def turn(self, contestant):
        chosen = self.kept(f"{contestant.name} at {self.at}")
        if "setting" not in chosen:
            return
        loads = self.kept(f"{contestant.name} loads at {self.at}")
        iops = disk_iops(largest(contestant.index))
        ran = self.run(contestant, chosen["setting"])
        queries = getattr(contestant, "QUERIES", len(self.data.queries))
        told = getattr(contestant, "told_recall", None)
        line = {
            "at": self.at,
            "contestant": contestant.name,
            "qps": ran["qps"],
            "recall": told(ran["out"]) if told else self.data.recall(found(self.ids_out)),
            "reads": (ran["reads"] - loads[0]) / queries,
            "read_kib": (ran["read_bytes"] - loads[1]) / queries / 1024,
            "control_iops": iops,
            "setting": contestant.described(chosen["setting"]),
        }
        with open(runs_file(self.work, self.data), "a") as file:
            file.write(json.dumps(line) + "\n")


def found(ids_out):
    """The ids that a run wrote, by whichever of the two programs."""
    import numpy

    own = ids_out.with_suffix(".ivecs")
    path = max([path for path in [own, ids_out] if path.exists()], key=lambda path: path.stat().st_mtime_ns)
    return read(path, "i4") if path == own else numpy.load(path)


def kept_segment(parser):
    """The options, with those that name a segment, and that segment, built where it is not kept."""
    parser.add_argument("data", help="a folder[:metric[:f32]], or generated")
    parser.add_argument("--codes", default="rabitq:4")
    parser.add_argument("--work", type=Path, default=TARGET / "disk_peers", help="where all that is made is kept")
    parser.add_argument("--venv", type=Path, default=TARGET / "disk_peers" / "venv", help="made where there is none")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    options = parser.parse_args()
    within_venv(options.venv, WHEELS)
    options.work.mkdir(parents=True, exist_ok=True)
    segment = Segment(OnDisk(options.data, options.work, options.ringpool), options.work, options.ringpool)
    segment.build(0)
    return options, segment


def fewest_originals(segment, codes):
    """The setting that reads the fewest originals a query, of those that read a fixed number."""
    fixed = [one for one in segment.tuned(codes, OWN_WANTED) if one["oversample"] not in (None, "auto")]
    return min(fixed, key=lambda one: one["originals"])


def largest(folder):
    return max((path for path in Path(folder).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def runs_file(work, data):
    return work / f"{data.name}.runs.jsonl"


def spread(values, places=0):
    return f"{statistics.median(values):,.{places}f} ({min(values):,.{places}f}-{max(values):,.{places}f})"


def show(work, data):
    """Tables of all runs kept, one for each limit and number of threads."""
    lines = [json.loads(line) for line in runs_file(work, data).read_text().splitlines()]
    kept = Kept(work / f"{data.name}.kept.json").all()
    head = ["", "QPS", "ringpool to it", "recall", "reads a query", "KiB a query", "disk used", "setting"]
    for at in dict.fromkeys(line["at"] for line in lines):
        print(f"\n{at}\n\n| {' | '.join(head)} |\n{'|---' * len(head)}|")
        of = {}
        for line in lines:
            if line["at"] == at:
                of.setdefault(line["contestant"], []).append(line)
        own = [line["qps"] for line in of.get("ringpool", [])]
        for name, runs in of.items():
            qps = [run["qps"] for run in runs]
            ratio = spread([a / b for a, b in zip(own, qps)], 2) if own else "-"
            middle = lambda key: statistics.median(run[key] for run in runs)
            used = statistics.median(run["qps"] * run["reads"] / run["control_iops"] for run in runs)
            cells = [name, spread(qps), ratio, f"{middle('recall'):.4f}", f"{middle('reads'):.1f}"]
            cells += [f"{middle('read_kib'):.0f}", f"{used:.2f}", runs[-1]["setting"]]
            print(f"| {' | '.join(cells)} |")
        for key, value in kept.items():
            if key.endswith(f" at {at}") and "setting" not in value and "why" in value:
                print(f"\n{key.removesuffix(f' at {at}')}: {value['why']}")
        print(f"\ncontrol, 64 reads at once: {spread([line['control_iops'] for line in lines if line['at'] == at])} IOPS")


def contestants_of(options, data, segment):
    pool = Ringpool(segment, ["--backend", "pool"], options.codes)
    if options.mmap:
        advised = [["--backend", "mmap", "--mmap-advice", advice] for advice in ["random", "willneed"]]
        return [pool, *[Ringpool(segment, backend, options.codes) for backend in advised]]
    of_all = {"ringpool": lambda: pool}
    of_all |= {name: lambda name=name: Peer(name, data, options.work, options) for name in ["edge-1", "edge-t1", "edge-4"]}
    of_all["diskann"] = lambda: Peer(f"diskann-{data.dim // 8}", data, options.work, options)
    of_all["pipeann"] = lambda: PipeAnn(f"pipeann-{data.dim // 8}", data, options.work, options)
    if options.pipeann is None:
        of_all.pop("pipeann")
    return [make() for name, make in of_all.items() if options.contestants in (None, name) or name in options.contestants.split(",")]


def limits(options, data, segment):
    """The sizes of the group: shares of the originals, or with mmap what is besides pages and a share."""
    if not options.mmap:
        return [int(share * data.raw_bytes) + (options.beside << 20) for share in options.shares]
    most = max(options.threads)
    needs = [sum(segment.besides_pages(options.codes, most, backend)) for backend in ["pool", "mmap"]]
    return [max(needs) + int(share * segment.paged_bytes()) for share in options.shares]


def main():
    numbers = lambda kind: lambda text: [kind(word) for word in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder[:metric[:f32]], or generated")
    parser.add_argument("--rounds", type=int, default=5, help="0 only builds, tunes and chooses; -1 only builds and tunes")
    parser.add_argument("--threads", type=numbers(int), default=[1, 2])
    parser.add_argument("--shares", type=numbers(float), help="of the originals' bytes [default: 0.25, with --mmap 0.1]")
    parser.add_argument("--beside", type=int, default=24, help="MiB that every limit has on top of the share")
    parser.add_argument("--mmap", action="store_true", help="ringpool through its pool and through mmap instead of peers")
    parser.add_argument("--codes", help="ringpool's codes; without it, it chooses")
    parser.add_argument("--contestants", help="some of ringpool,edge-1,edge-t1,edge-4,diskann,pipeann")
    parser.add_argument("--pipeann", type=Path, help="folder with PipeANN's programs")
    parser.add_argument("--work", type=Path, default=TARGET / "disk_peers", help="where all that is made is kept")
    parser.add_argument("--venv", type=Path, default=TARGET / "disk_peers" / "venv", help="made where there is none")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    parser.add_argument("--ringpool-flags", default="", help="more flags for ringpool search, in one word")
    options = parser.parse_args()
    options.shares = options.shares or ([0.1] if options.mmap else [0.25])
    options.interpreter_bytes = 24 << 20
    if options.mmap and not options.codes:
        options.codes = "rabitq:4"
    for needed in [options.ringpool, shutil.which("fio")]:
        if not needed or not Path(needed).exists():
            sys.exit(f"{needed or 'fio'} is missing: cargo build --release -p ringpool-cli, apt install fio")
    within_venv(options.venv, WHEELS)
    options.work.mkdir(parents=True, exist_ok=True)
    data = OnDisk(options.data, options.work, options.ringpool)
    segment = Segment(data, options.work, options.ringpool, options.ringpool_flags.split())
    contestants = contestants_of(options, data, segment)
    for contestant in contestants:
        contestant.build(os.cpu_count())
    print(machine())
    for limit_bytes in limits(options, data, segment):
        for threads in options.threads:
            contest = Contest(data, contestants, limit_bytes, threads, options.work)
            if options.rounds < 0:
                for contestant in contestants:
                    contest.tuned(contestant)
            else:
                contest.hold(options.rounds)
    if runs_file(options.work, data).exists():
        show(options.work, data)


if __name__ == "__main__":
    main()
