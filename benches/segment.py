"""ringpool as the benchmarks on disk run it: a segment, what reaches a recall, what a limit leaves.

A segment is built once with several codes over one graph. Graph and codes stay in memory, originals
go through the pool, so that codes are a choice: small ones leave frames, large ones need fewer
originals. For each the settings that reach the recall are found in memory (`ringpool tune`, and for
--oversample auto by bisection). A limit on the whole process is then divided: a rehearsal says what
cannot be dropped besides pages, the kernel's headroom is set aside, and
the pool gets the rest.
"""

import functools
import json
import subprocess
import sys

K = 10
# For each thread: its stack in the kernel, its ring, its requests in flight.
HEADROOM_BYTES, HEADROOM_THREAD_BYTES = 2 << 20, 512 << 10
LEAST_BUDGET_BYTES = 1 << 20
AUTO_RECALLS = [0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998]
AUTO_EFS = [1.1, 1.5, 2.2]


class Kept:
    """What was found before, in a file."""

    def __init__(self, path):
        self.path = path

    def all(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get(self, key, make=None):
        """By its key; made and kept where there is none."""
        if key not in self.all():
            made = make()
            self.path.write_text(json.dumps({**self.all(), key: made}, indent=1))
        return self.all()[key]


class Segment:
    """A set, built, and what is known of it."""

    def __init__(self, data, work, program, flags=()):
        self.data, self.program, self.flags = data, program, list(flags)
        self.place = "graph=resident,codes=resident"  # However little is left of a limit.
        self.dir = work / f"{data.name}.ringpool"
        self.kept = Kept(work / f"{data.name}.kept.json").get
        self.has_inflight = "--inflight" in self.help("search")
        self.backends = [name for name in ["pool", "mmap", "direct", "memory"] if name in self.help("search")]

    @functools.cache
    def help(self, command):
        return subprocess.run([self.program, command, "--help"], capture_output=True, text=True, check=True).stdout

    def codes(self):
        """What it is built with: int8, RaBitQ of 1 and 4 bits, and product codes of a 32nd of f32."""
        return ["sq8", "rabitq:1", "rabitq:2", "rabitq:4", f"pq:{self.data.dim // 8}"]

    def build(self, threads):
        if self.dir.exists():
            return
        quantize = [word for codes in self.codes() for word in ["--quantize", codes]]
        made_of = ["--vectors", self.data.base_file, "--metric", self.data.metric, "--element", self.data.element]
        self.json("build", *made_of, *quantize, "--threads", threads, "--out", self.dir)

    def carried(self):
        return self.json("inspect", self.dir)["quantize"]

    def tuned(self, codes, wanted):
        """Settings that reach a recall with these codes: --oversample and --ef, and --recall with auto."""
        return self.kept(f"{codes} tuned", lambda: self.find_tuned(codes, wanted))

    def find_tuned(self, codes, wanted):
        asked = ["--queries", self.data.query_file, "--truth", self.data.truth_file, "--codes", codes]
        told = self.json("tune", self.dir, *asked, "--recall", wanted, "--backend", "memory")
        fixed = [
            {"codes": codes, "oversample": at["oversample"], "ef": at["ef"], "originals": at["originals"]}
            for at in told["reached"]
        ]
        auto = [self.least_auto(codes, wanted, ef) for ef in self.auto_efs(fixed)]
        return thinned(fixed) + thinned([setting for setting in auto if setting])

    def auto_efs(self, fixed):
        least = min(at["ef"] for at in fixed)
        return sorted({round(least * times) for times in AUTO_EFS})

    def least_auto(self, codes, wanted, ef):
        """As many originals as each query needs: with the least --recall that is enough, by bisection."""
        low, high, best = 0, len(AUTO_RECALLS), None
        while low < high:
            middle = (low + high) // 2
            setting = {"codes": codes, "oversample": "auto", "recall": AUTO_RECALLS[middle], "ef": ef}
            told = self.search(setting, "--backend", "memory")
            if told["recall"] >= wanted:
                high, best = middle, {**setting, "originals": told["originals_per_query"]}
            else:
                low = middle + 1
        return best

    def words(self, setting, queries=None):
        """A search's arguments, but for the backend."""
        words = ["search", self.dir, "--queries", queries or self.data.query_file, "--k", K, *self.flags]
        words += ["--place", self.place]
        names = ["codes", "oversample", "recall", "ef"] + (["inflight"] if self.has_inflight else [])
        for name in names:
            if setting.get(name) is not None:
                words += [f"--{name}", setting[name]]
        # A null stands for codes alone: no original is read.
        return words + (["--rescore", "off"] if setting.get("oversample", 1) is None else [])

    def search(self, setting, *more):
        return self.json(*self.words(setting), "--truth", self.data.truth_file, *more)

    def budget_bytes(self, codes, threads, limit_bytes, inflight=None):
        """What a limit leaves for pages, or None."""
        undroppable, headroom = self.besides_pages(codes, threads, inflight=inflight)
        left = int(limit_bytes) - undroppable - headroom
        return left if left >= LEAST_BUDGET_BYTES else None

    @functools.cache
    def besides_pages(self, codes, threads, backend="pool", inflight=None):
        setting = {"codes": codes, "ef": 200, "oversample": 8, "inflight": inflight}
        rehearsed = self.json(*self.words(setting), "--backend", backend, "--threads", threads, "--load-only")
        undroppable = rehearsed["anonymous_bytes"] + rehearsed["page_table_bytes"]
        return undroppable, HEADROOM_BYTES + HEADROOM_THREAD_BYTES * threads

    @functools.cache
    def paged_bytes(self):
        """Of the originals."""
        return self.json(*self.words({}), "--load-only")["paged_bytes"]

    def command(self, *words):
        return [str(word) for word in [self.program, *words, "--json"]]

    def json(self, *words):
        command = self.command(*words)
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            sys.exit(f"{' '.join(command)}: {ended.stderr.strip()}")
        return json.loads(ended.stdout)


def thinned(settings):
    """Those that no other one beats in both, ef and originals."""
    best = []
    for setting in sorted(settings, key=lambda setting: (setting["originals"], setting["ef"])):
        if not best or setting["ef"] < best[-1]["ef"]:
            best.append(setting)
    return best


def described(setting):
    auto = f" ({setting['recall']})" if "recall" in setting else ""
    inflight = f", {setting['inflight']} in flight" if setting.get("inflight") else ""
    rescored = "no original" if setting["oversample"] is None else f"oversample {setting['oversample']}"
    return f"{setting['codes']}, ef {setting['ef']}, {rescored}{auto}{inflight}"
