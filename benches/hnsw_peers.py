#!/usr/bin/env python3
"""Search in memory beside hnswlib, faiss and usearch: the first table of docs/index.md.

All of them build HNSW with M 16 and ef_construction 200 over the same f32 vectors, on all cores,
and answer the same queries on one thread: the peers in one call for all queries, from the wheels of
PyPI, ringpool through its command line. For each the script looks for the ef that reaches a recall
and for the one below; the rounds then take turns, each with one pass to warm up and one that is
timed, and QPS at the recall itself lies on the line between the two (log QPS over recall). Where the
lowest ef, which is k, has more than the recall, QPS is that of it.

What is printed is the median over the rounds and its spread, and the ratio to the fastest peer of
the same round. A data folder holds base.*, query.* and groundtruth.ivecs*, as ann-benchmarks' sets
do; the truth's ids are in the order of distance. Indexes, the seconds that they took and what ef
reaches a recall are kept in --work and used again; --rounds 0 makes only these.

    cargo build --release -p ringpool-cli
    benches/hnsw_peers.py DATA/fashion-mnist DATA/text-minilm:ip DATA/sift-photos
"""

import argparse
import gzip
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WHEELS = ["hnswlib==0.8.0", "faiss-cpu==1.15.1", "usearch==2.26.6", "numpy==2.4.6"]
M, EF_CONSTRUCTION, K = 16, 200, 10
RECALLS = [0.95, 0.99]
MOST_EF = 2000


def within_venv(folder, wheels=WHEELS):
    """Goes on in a virtual environment that has these wheels, made where there is none."""
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    if not python.exists():
        venv.create(folder, with_pip=True)
    have = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout.split()
    if not set(wheels) <= set(have):
        subprocess.run([python, "-m", "pip", "install", "--only-binary=:all:", "--quiet", *wheels], check=True)
    os.execv(python, [python, *sys.argv])


class DataSet:
    """Vectors and queries as f32, and the exact neighbours."""

    def __init__(self, argument):
        folder, _, metric = argument.partition(":")
        self.folder, self.metric = Path(folder), metric or "l2"
        self.name = self.folder.name
        if self.metric not in ("l2", "ip"):
            sys.exit(f"{argument}: the metric after the colon is l2 or ip")
        self.base_file, self.query_file = self.file("base"), self.file("query")
        self.truth_file = self.file("groundtruth")
        self.base, self.queries = read(self.base_file, "f4"), read(self.query_file, "f4")
        self.truth = read(self.truth_file, "i4")[:, :K]
        self.farthest = self.distances(self.truth)[:, -1]

    def file(self, stem):
        found = sorted(self.folder.glob(f"{stem}.*"))
        if len(found) != 1:
            sys.exit(f"{self.folder}: {len(found)} files are called {stem}.*, expected one")
        return found[0]

    def distances(self, ids):
        """Of each query from the points with these ids, in f64."""
        import numpy

        far = numpy.full(ids.shape, numpy.inf)
        for query, (row, points) in enumerate(zip(self.queries.astype("f8"), ids)):
            rows = self.base[points].astype("f8")
            far[query] = ((rows - row) ** 2).sum(1) if self.metric == "l2" else -(rows @ row)
        return far

    def recall(self, ids):
        """The share of the K nearest among those found. Distances decide, so that ties do no harm."""
        near = self.farthest + 1e-6 * abs(self.farthest)
        return float((self.distances(ids) <= near[:, None]).sum() / ids.size)


def read(path, element):
    """The rows of .fvecs, .bvecs, .ivecs or .npy, packed or not."""
    import numpy

    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        name = path.name.removesuffix(".gz")
        if name.endswith(".npy"):
            rows = numpy.lib.format.read_array(file)
        else:
            stored = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}[Path(name).suffix]
            of_file = numpy.frombuffer(file.read(), "u1")
            length = int(of_file[:4].view("<i4")[0]) * numpy.dtype(stored).itemsize
            rows = of_file.reshape(-1, 4 + length)[:, 4:].copy().view(stored)
    return numpy.ascontiguousarray(rows, element)


class Hnswlib:
    name, wheel = "hnswlib", WHEELS[0]

    def __init__(self, data):
        import hnswlib

        self.data, self.index = data, hnswlib.Index(data.metric, data.base.shape[1])

    def build(self, threads):
        self.index.init_index(len(self.data.base), M=M, ef_construction=EF_CONSTRUCTION, random_seed=100)
        self.index.add_items(self.data.base, num_threads=threads)

    def save(self, path):
        self.index.save_index(str(path))

    def load(self, path):
        self.index.load_index(str(path))

    def search(self, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(self.data.queries, K, num_threads=1)[0]


class Faiss:
    name, wheel = "faiss HNSWFlat", WHEELS[1]

    def __init__(self, data):
        import faiss

        metric = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}[data.metric]
        self.faiss, self.data = faiss, data
        self.index = faiss.IndexHNSWFlat(data.base.shape[1], M, metric)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION

    def build(self, threads):
        self.faiss.omp_set_num_threads(threads)
        self.index.add(self.data.base)

    def save(self, path):
        self.faiss.write_index(self.index, str(path))

    def load(self, path):
        self.index = self.faiss.read_index(str(path))

    def search(self, ef):
        self.faiss.omp_set_num_threads(1)
        self.index.hnsw.efSearch = ef
        return self.index.search(self.data.queries, K)[1]


class Usearch:
    name, wheel = "usearch", WHEELS[2]

    def __init__(self, data):
        from usearch.index import Index

        metric = {"l2": "l2sq", "ip": "ip"}[data.metric]
        self.data = data
        self.index = Index(
            ndim=data.base.shape[1], metric=metric, dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION
        )

    def build(self, threads):
        import numpy

        self.index.add(numpy.arange(len(self.data.base)), self.data.base, threads=threads)

    def save(self, path):
        self.index.save(str(path))

    def load(self, path):
        self.index.load(str(path))

    def search(self, ef):
        self.index.expansion_search = ef
        return self.index.search(self.data.queries, K, threads=1).keys


class System:
    """Somebody who answers queries, and what is kept of him from one run to the next."""

    def __init__(self, path):
        self.path, self.kept_file = path, path.with_name(path.name + ".json")
        self.kept = {}

    def prepare(self, threads, again):
        if not again and self.kept_file.exists():
            self.kept = json.loads(self.kept_file.read_text())
            return self.load()
        self.kept = {"build_seconds": self.build(threads), "steps": {}}
        self.keep()

    def keep(self):
        self.kept_file.write_text(json.dumps(self.kept))

    def steps(self, wanted):
        """The lowest ef that reaches a recall and the one below, each with its recall."""
        if str(wanted) not in self.kept["steps"]:
            self.kept["steps"][str(wanted)] = self.find_steps(wanted)
            self.keep()
        return self.kept["steps"][str(wanted)]

    def find_steps(self, wanted):
        low, high = None, (K, self.recall(K))
        while high[1] < wanted:
            if high[0] >= MOST_EF:
                sys.exit(f"{self.name}: recall {high[1]:.4f} at ef {high[0]}, never {wanted}")
            ef = math.ceil(high[0] * 1.5)
            low, high = high, (ef, self.recall(ef))
        while low and high[0] - low[0] > 1:
            ef = (low[0] + high[0]) // 2
            middle = (ef, self.recall(ef))
            low, high = (low, middle) if middle[1] >= wanted else (middle, high)
        return [high] if low is None or low[1] >= high[1] else [low, high]


class Peer(System):
    """A library within this process."""

    def __init__(self, library, work):
        self.library, self.name = library, library.name
        super().__init__(work / f"{library.data.name}.{library.wheel.partition('==')[0]}")

    def build(self, threads):
        began = time.perf_counter()
        self.library.build(threads)
        seconds = time.perf_counter() - began
        self.library.save(self.path)
        return seconds

    def load(self):
        self.library.load(self.path)

    def recall(self, ef):
        return self.library.data.recall(self.library.search(ef))

    def qps(self, ef):
        self.library.search(ef)
        began = time.perf_counter()
        self.library.search(ef)
        return len(self.library.data.queries) / (time.perf_counter() - began)


class Ringpool(System):
    """The command-line tool of this repository, a process a pass."""

    name = "ringpool"

    def __init__(self, data, work, program):
        self.data, self.program = data, program
        super().__init__(work / f"{data.name}.ringpool")

    def told(self, *arguments):
        command = [str(argument) for argument in [self.program, *arguments, "--json"]]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            sys.exit(f"{' '.join(command)}: {ended.stderr.strip()}")
        return json.loads(ended.stdout)

    def build(self, threads):
        """Without reading and writing, which the others do not do."""
        shutil.rmtree(self.path, ignore_errors=True)
        built = self.told(
            *("build", "--vectors", self.data.base_file, "--out", self.path, "--metric", self.data.metric),
            *("--m", M, "--ef-construction", EF_CONSTRUCTION, "--quantize", "none", "--element", "f32"),
            *("--threads", threads),
        )
        return built["graph_seconds"]

    def load(self):
        pass

    def pass_(self, ef):
        return self.told(
            *("search", self.path, "--queries", self.data.query_file, "--truth", self.data.truth_file),
            *("--k", K, "--ef", ef, "--backend", "memory", "--temperature", "warm", "--threads", 1),
        )

    def recall(self, ef):
        return self.pass_(ef)["recall"]

    def qps(self, ef):
        return self.pass_(ef)["qps"]


def at_recall(wanted, measured):
    """QPS at a recall, from QPS at the steps around it."""
    (low_recall, low), (recall, high) = measured[0], measured[-1]
    if len(measured) == 1:
        return high
    share = (wanted - low_recall) / (recall - low_recall)
    return math.exp((1 - share) * math.log(low) + share * math.log(high))


def measure(data, systems, rounds, report):
    ladder = {(system, wanted): system.steps(wanted) for system in systems for wanted in RECALLS}
    if rounds == 0:
        return
    qps = {key: [] for key in ladder}
    for round_ in range(rounds):
        for turn in range(len(systems)):
            system = systems[(turn + round_) % len(systems)]
            at = {}
            for wanted in RECALLS:
                for ef, _ in ladder[system, wanted]:
                    at[ef] = at.get(ef) or system.qps(ef)
                measured = [(recall, at[ef]) for ef, recall in ladder[system, wanted]]
                qps[system, wanted].append(at_recall(wanted, measured))
    for wanted in RECALLS:
        rows = report.setdefault(f"{data.name} at {wanted}", {})
        fastest = [max(qps[system, wanted][i] for system in systems if system.name != "ringpool") for i in range(rounds)]
        for system in systems:
            of_it = qps[system, wanted]
            rows[system.name] = {
                "ef": ladder[system, wanted][-1][0],
                "qps": of_it,
                "to_fastest_peer": [a / b for a, b in zip(of_it, fastest)],
            }


def spread(values, places):
    return f"{statistics.median(values):,.{places}f} ({min(values):,.{places}f}-{max(values):,.{places}f})"


def show(report):
    for title, rows in report["search"].items():
        print(f"\n{title}\n\n| | ef | QPS | to the fastest peer |\n|---|---|---|---|")
        for name, row in rows.items():
            print(f"| {name} | {row['ef']} | {spread(row['qps'], 0)} | {spread(row['to_fastest_peer'], 2)} |")
    print(f"\nbuild, {report['threads']} threads\n\n| | {' | '.join(report['build'])} |")
    print("|---" * (1 + len(report["build"])) + "|")
    for name in next(iter(report["build"].values())):
        seconds = [times.get(name) for times in report["build"].values()]
        print(f"| {name} | {' | '.join(f'{s:.1f} s' for s in seconds)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="a folder, with :ip behind it where that is the metric")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--venv", type=Path, default=TARGET / "hnsw_peers" / "venv", help="made where there is none")
    parser.add_argument("--work", type=Path, default=TARGET / "hnsw_peers", help="where built indexes are kept")
    parser.add_argument("--ringpool", type=Path, default=TARGET / "release" / "ringpool")
    parser.add_argument("--systems", default="ringpool,hnswlib,faiss,usearch", help="who takes part")
    parser.add_argument("--rebuild", action="store_true", help="build again what was kept")
    parser.add_argument("--json", type=Path, help="write all figures here, too")
    options = parser.parse_args()
    if not options.ringpool.exists():
        sys.exit(f"{options.ringpool} is missing: cargo build --release -p ringpool-cli")
    within_venv(options.venv)
    options.work.mkdir(parents=True, exist_ok=True)
    threads = os.cpu_count()
    report = {"machine": machine(), "threads": threads, "wheels": WHEELS, "search": {}, "build": {}}
    peers = {"hnswlib": Hnswlib, "faiss": Faiss, "usearch": Usearch}
    for argument in options.data:
        data = DataSet(argument)
        of_all = {"ringpool": lambda: Ringpool(data, options.work, options.ringpool)}
        of_all |= {name: lambda library=library: Peer(library(data), options.work) for name, library in peers.items()}
        systems = [of_all[name]() for name in options.systems.split(",")]
        for system in systems:
            system.prepare(threads, options.rebuild)
        report["build"][data.name] = {system.name: system.kept["build_seconds"] for system in systems}
        measure(data, systems, options.rounds, report["search"])
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))


def machine():
    """The processor's name, where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
