#!/usr/bin/env python3
"""Who takes part in disk_peers.py: how each builds its index, is tuned to a recall, and answers.

Each contestant has one knob for the width of a search (Edge: ef; DiskANN and PipeANN: reads in flight)
and one for its effort (Edge: oversampling; the others: L). Tuning walks the widths and finds by
bisection the least effort that reaches the recall; which of these pairs is the fastest is for the disk
to say, so that all of them are returned. ringpool, in segment.py, does the same with its codes.

The libraries of PyPI answer within a process of their own, which is this file run as a program: opens
the index, makes the requests, and only then starts the clock. They are

    Qdrant Edge  graph and codes pinned in memory, originals cold (mapped, read by need)
    DiskANN      product codes in memory, graph and originals in pages of the disk, and as many nodes
                 cached as the memory allows
    PipeANN      likewise, with pipelined reads and the graph of a hundredth of the points in memory for
                 the way in, no cache; not on PyPI: --pipeann names the folder with its programs
                 (build_disk_index, build_memory_index, search_disk_index, utils/gen_random_slice)
"""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

K = 10
MOST_EFFORT = 400
M, EF_CONSTRUCTION = 16, 200
VAMANA_R, VAMANA_L = 64, 100
# As PipeANN's own instructions have them.
PIPE_SAMPLE, PIPE_ENTRY_L = 0.01, 10
# Threads of a numeric library that wait spinning, or that nobody uses, would cost the peers time and memory.
ENVIRONMENT = {**os.environ, "KMP_BLOCKTIME": "0", "OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}


def least_effort(recall_at, wanted, low):
    """The least effort that reaches a recall, or None."""
    high = low
    while recall_at(high) < wanted:
        if high >= MOST_EFFORT:
            return None
        low, high = high + 1, min(high * 2, MOST_EFFORT)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if recall_at(middle) >= wanted else (middle + 1, high)
    return high


class Edge:
    """Qdrant Edge: HNSW and codes pinned, originals on disk."""

    CODES = {
        "1": ("BinaryQuantizationConfig", {}),
        "t1": ("TurboQuantQuantizationConfig", {"bits": "Bits1"}),
        "4": ("TurboQuantQuantizationConfig", {"bits": "Bits4"}),
    }
    # ef, and the effort is the oversampling in tenths; 0 stands for codes alone, with the effort as ef.
    widths = [0, 10, 100, 200]

    def __init__(self, kind, metric, folder):
        import qdrant_edge

        self.edge, self.metric, self.folder = qdrant_edge, metric, folder
        self.quantizer, self.options = self.CODES[kind]

    def vectors(self, rows):
        edge = self.edge
        distance = {"l2": edge.Distance.Euclid, "ip": edge.Distance.Dot}[self.metric]
        element = edge.VectorStorageDatatype.Float16 if rows.dtype == "f2" else edge.VectorStorageDatatype.Float32
        return {"": edge.EdgeVectorParams(rows.shape[1], distance, memory=edge.Memory.Cold, datatype=element)}

    def build(self, base, threads):
        edge = self.edge
        Path(self.folder).mkdir(parents=True)
        options = {name: getattr(edge.TurboQuantBitSize, value) for name, value in self.options.items()}
        config = edge.EdgeConfig(
            vectors=self.vectors(base),
            hnsw_config=edge.HnswIndexConfig(M, EF_CONSTRUCTION, 1, threads, memory=edge.Memory.Pinned),
            quantization_config=getattr(edge, self.quantizer)(memory=edge.Memory.Pinned, **options),
            # One segment, however large.
            optimizers=edge.EdgeOptimizersConfig(
                default_segment_number=1, max_segment_size=1 << 40, indexing_threshold=1
            ),
            payload_memory=edge.Memory.Cold,
            id_tracker_memory=edge.Memory.Cold,
        )
        shard = edge.EdgeShard.create(str(self.folder), config)
        for first in range(0, len(base), 1000):
            rows = enumerate(base[first : first + 1000].astype("f4"), first)
            shard.update(edge.UpdateOperation.upsert_points([edge.Point(id_, row.tolist()) for id_, row in rows]))
        shard.optimize()
        shard.flush()
        shard.close()

    def open(self, queries, threads, _cached):
        edge = self.edge
        config = edge.EdgeConfig(vectors=self.vectors(queries), max_search_threads=threads)
        self.shard, self.threads = edge.EdgeShard.load(str(self.folder), config), threads
        self.queries = [edge.Query.Nearest(row.astype("f4").tolist()) for row in queries]

    def search(self, width, effort):
        edge = self.edge
        codes = edge.QuantizationSearchParams(rescore=width > 0, oversampling=effort / 10 if width else None)
        params = edge.SearchParams(hnsw_ef=width or effort, quantization=codes)

        def one(query):
            found = self.shard.search(edge.SearchRequest(query=query, limit=K, params=params))
            return [point.id for point in found]

        if self.threads == 1:
            return [one(query) for query in self.queries]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(one, self.queries, chunksize=16))


class DiskAnn:
    """DiskANN 0.7 of PyPI: beam search over pages that hold a node's links and original."""

    widths = [2, 4, 8]

    def __init__(self, kind, metric, folder):
        import diskannpy

        self.library, self.folder, self.code_bytes = diskannpy, Path(folder), int(kind)

    def build(self, base, threads):
        self.folder.mkdir(parents=True)
        self.library.build_disk_index(
            base.astype("f4"),
            # Unit vectors have the same order by their inner product; for that DiskANN would add a dimension.
            distance_metric="l2",
            index_directory=str(self.folder),
            complexity=VAMANA_L,
            graph_degree=VAMANA_R,
            search_memory_maximum=(self.code_bytes + 0.5) * len(base) / 2**30,
            build_memory_maximum=64,
            num_threads=threads,
        )
        # The vectors once more, for the build alone.
        (self.folder / "ann_vectors.bin").unlink()

    def open(self, queries, threads, cached):
        self.queries, self.threads = queries.astype("f4"), threads
        # With room for one thread alone the wheel waits for ever while it loads.
        # The nodes about the entry are cached (2); the other way runs thousands of queries to find some.
        self.index = self.library.StaticDiskIndex(str(self.folder), max(2, threads), cached, 2)

    def search(self, width, effort):
        return self.index.batch_search(self.queries, K, effort, self.threads, width).identifiers


LIBRARIES = {"edge": Edge, "diskann": DiskAnn}


class Peer:
    """A library as the contest sees it: commands to run and what they print."""

    def __init__(self, name, data, work, options):
        self.name, self.data, self.options = name, data, options
        self.index = work / f"{data.name}.{name}"
        self.arguments = {"name": name, "index": str(self.index), "metric": data.metric}

    def build(self, threads):
        if not self.index.exists():
            self.run(do="build", base=str(self.data.base_rows), threads=threads)

    def tuned(self, wanted):
        told = self.run(
            do="tune", queries=str(self.data.query_rows), truth=str(self.data.truth_rows), wanted=wanted, threads=1
        )
        return told["settings"]

    def cached_nodes(self, limit_bytes):
        """As many as fit: besides them its codes, and what the interpreter and the queries take."""
        if not self.name.startswith("diskann"):
            return 0
        node_bytes = 4 * self.data.dim + 4 * (VAMANA_R + 1)
        codes_bytes = int(self.name.split("-")[1]) * self.data.count
        left = limit_bytes - codes_bytes - self.options.interpreter_bytes - 2 * self.data.query_rows.stat().st_size
        return max(0, int(0.9 * left / node_bytes))

    def settings_for(self, settings, limit_bytes, _threads):
        cached = self.cached_nodes(limit_bytes)
        return [{**setting, "cached": cached} for setting in settings]

    def command(self, setting, threads, one_query, ids_out):
        queries = self.data.one_query_rows if one_query else self.data.query_rows
        asked = {"do": "run", "queries": str(queries), "threads": threads, "ids_out": str(ids_out), **setting}
        return self.command_for(asked)

    def command_for(self, asked):
        return [sys.executable, __file__, json.dumps({**self.arguments, **asked})]

    def told(self, out):
        """QPS, from what a run printed."""
        return last_json(out)["qps"]

    def run(self, **asked):
        command = self.command_for(asked)
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
        if ended.returncode != 0:
            sys.exit(f"{self.name}: {ended.stderr[-2000:]}")
        return last_json(ended.stdout)

    def described(self, setting):
        width, effort = setting["width"], setting["effort"]
        if self.name.startswith("edge"):
            return f"ef {width}, oversampling {effort / 10}" if width else f"ef {effort}, no original"
        return f"W {width}, L {effort}, {setting['cached']:,} nodes cached"


class PipeAnn:
    """PipeANN by its own programs: product codes in memory, pipelined reads, no cache.

    Its search first answers all queries twice with L 200; these reads are told apart by running it
    once with the L that counts and once with the same L twice. It keeps no pages, so that a part of
    the queries says the same as all of them and the warming up takes no minute.
    """

    widths, QUERIES = [8, 32], 500
    # Each run warms up for seconds: many L at once, and the larger ones where they are needed.
    LADDERS = [range(10, 30, 1), range(30, 80, 3), range(80, 300, 10)]

    def __init__(self, name, data, work, options):
        self.name, self.data = name, data
        self.programs, self.code_bytes = options.pipeann, int(name.split("-")[1])
        folder = work / f"{data.name}.{name}"
        self.index, self.prefix = folder, folder / "index"

    def build(self, threads):
        if self.index.exists():
            return
        self.index.mkdir()
        base, queries, truth = (self.index / f"{stem}.bin" for stem in ["base", "query", "truth"])
        write_bin(base, self.data.base.astype("f4"))
        write_bin(queries, self.data.queries[: self.QUERIES].astype("f4"))
        write_truth(truth, self.data.truth[: self.QUERIES])
        gib = (self.code_bytes + 0.5) * len(self.data.base) / 2**30
        build = [VAMANA_R, VAMANA_L, gib, 64, threads, "l2", 0]
        self.checked(["build_disk_index", "float", base, self.prefix, *build])
        sample = self.index / "sample"
        self.checked(["utils/gen_random_slice", "float", base, sample, PIPE_SAMPLE])
        drawn = [f"{sample}_data.bin", f"{sample}_ids.bin", f"{self.prefix}_mem.index"]
        self.checked(["build_memory_index", "float", *drawn, 0, 0, VAMANA_R // 2, 64, 1.2, threads, "l2"])
        base.unlink()

    def checked(self, words):
        command = [str(word) for word in [self.programs / words[0], *words[1:]]]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
        if ended.returncode != 0:
            sys.exit(f"{' '.join(command)}: {ended.returncode}\n{(ended.stdout + ended.stderr)[-2000:]}")
        return ended.stdout

    def words(self, width, threads, efforts):
        files = [self.index / "query.bin", self.index / "truth.bin"]
        return ["search_disk_index", "float", self.prefix, threads, width, *files, K, "l2", 2, PIPE_ENTRY_L, *efforts]

    def tuned(self, wanted):
        settings = []
        for width in self.widths:
            for efforts in self.LADDERS:
                rows = self.rows(self.checked(self.words(width, 1, efforts)))
                reached = [int(row[0]) for row in rows if row[-1] >= 100 * wanted]
                if reached:
                    settings.append({"width": width, "effort": min(reached)})
                    break
        return settings

    def rows(self, out):
        """L, width, QPS, latencies, hops, reads and recall of each L. A long column runs into the next one."""
        below = out.partition("=====")[2]
        numbers = re.compile(r"\d+\.\d\d|\d+")
        return [list(map(float, numbers.findall(line))) for line in below.splitlines() if line[:6].strip().isdigit()]

    def settings_for(self, settings, _limit_bytes, _threads):
        return settings

    def command(self, setting, threads, one_query, _ids_out):
        efforts = [setting["effort"]] * (1 if one_query else 2)
        words = self.words(setting["width"], threads, efforts)
        return [self.programs / words[0], *words[1:]]

    def told(self, out):
        return self.rows(out)[-1][2]

    def told_recall(self, out):
        return self.rows(out)[-1][-1] / 100

    def described(self, setting):
        return f"up to {setting['width']} in flight, L {setting['effort']}"


def last_json(out):
    """The last line that is an object: the libraries print as well, some of it when they are unloaded."""
    return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])


def write_bin(path, rows):
    """DiskANN's .bin: how many, of how many dimensions, the values."""
    import numpy

    with open(path, "wb") as file:
        numpy.array(rows.shape, "<i4").tofile(file)
        rows.tofile(file)


def write_truth(path, ids):
    """Ids and then distances, which decide ties alone and are left at 0, 1, 2..."""
    import numpy

    with open(path, "wb") as file:
        numpy.array(ids.shape, "<i4").tofile(file)
        numpy.ascontiguousarray(ids, "<i4").tofile(file)
        numpy.tile(numpy.arange(ids.shape[1], dtype="<f4"), (len(ids), 1)).tofile(file)


def main():
    import numpy

    asked = json.loads(sys.argv[1])
    kind = asked["name"].split("-")
    library = LIBRARIES[kind[0]](kind[1], asked["metric"], asked["index"])
    if asked["do"] == "build":
        began = time.perf_counter()
        library.build(numpy.load(asked["base"], mmap_mode="r"), asked["threads"])
        return print(json.dumps({"build_seconds": time.perf_counter() - began}))
    library.open(numpy.load(asked["queries"]), asked["threads"], asked.get("cached", 0))
    if asked["do"] == "tune":
        truth = numpy.load(asked["truth"])

        def recall(width, effort):
            found = library.search(width, effort)
            return sum(len(set(row) & set(true)) for row, true in zip(map(list, found), truth.tolist())) / truth.size

        pairs = [(w, least_effort(lambda e: recall(w, e), asked["wanted"], K)) for w in library.widths]
        return print(json.dumps({"settings": [{"width": w, "effort": e} for w, e in pairs if e]}))
    began = time.perf_counter()
    found = library.search(asked["width"], asked["effort"])
    seconds = time.perf_counter() - began
    numpy.save(asked["ids_out"], numpy.array(found, "i8"))
    print("\n" + json.dumps({"qps": len(found) / seconds}), flush=True)


if __name__ == "__main__":
    main()
