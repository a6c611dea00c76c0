"""A process under a memory limit, what it read from the disk, and what the disk gives at that moment.

Each measured process gets a cgroup of its own, entered before the program is loaded, so that all its
memory counts: its heap, and the page cache of the files that it is the first to touch. Its reads are
counted by the same kernel's group, requests and bytes of the device that holds the files, whoever
sends them: page faults, read-ahead, direct reads. What it maps of shared libraries is in the page
cache already, and charged to nobody here. Swap is not allowed.

Version 1 (a memory and a blkio hierarchy) and version 2 (one, with memory and io passed on) both do;
making groups needs root. The other scripts of this folder import this one; it runs nothing by itself.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

REMOVAL_TRIES, REMOVAL_PAUSE_S = 100, 0.01
EVICTION_TRIES, EVICTION_PAUSE_S = 50, 0.1
CONTROL_DEPTH = 64
NO_DISK_IOPS = 4_000_000_000


class Killed(Exception):
    """The limit was not enough."""


def under_limit(command, limit_bytes, device_of, environment=None):
    """Runs a command to its end under a limit (None: without one): what it printed and read.

    `device_of` is a file or folder of the disk whose reads are counted.
    """
    touch(command[0])
    with Group(limit_bytes, device_of) as group:
        running = group.start(command, environment)
        out, said = running.communicate()
        if running.returncode == -signal.SIGKILL and group.oom_kills():
            raise Killed(f"needs more than {limit_bytes / 2**20:.0f} MiB")
        if running.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: {running.returncode}\n{said[-2000:]}")
        return out, group.reads()


def touch(program):
    """Brings a program's code into the page cache, charged to this process. What a measured one had to bring
    in would be charged to its group, dropped at the limit and read again at each call."""
    path = shutil.which(str(program))
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


class Group:
    """A memory limit and a counter of reads; `with` removes both."""

    def __init__(self, limit_bytes, device_of):
        self.device = disk_number(Path(device_of))
        self.v1, memory, io = hierarchies()
        if self.v1:
            count_reads(io, self.device)
        name = f"ringpool-bench-{os.getpid()}-{time.monotonic_ns()}"
        self.memory, self.io = memory / name, io / name
        self.memory.mkdir()
        self.io.mkdir(exist_ok=True)
        if limit_bytes is None:
            return
        limit = str(int(limit_bytes))
        if self.v1:
            (self.memory / "memory.limit_in_bytes").write_text(limit)
            swapped = self.memory / "memory.memsw.limit_in_bytes"
            if swapped.exists():
                swapped.write_text(limit)
        else:
            (self.memory / "memory.max").write_text(limit)
            (self.memory / "memory.swap.max").write_text("0")

    def start(self, command, environment=None):
        """The command, running within."""
        doors = [os.open(folder / "cgroup.procs", os.O_WRONLY) for folder in {self.memory, self.io}]

        def enter():
            for door in doors:
                os.write(door, b"0")

        try:
            return subprocess.Popen(
                [str(word) for word in command],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=enter,
                env=environment,
            )
        finally:
            for door in doors:
                os.close(door)

    def reads(self):
        """Requests and bytes that its processes read from the disk so far."""
        if self.v1:
            files = ["blkio.throttle.io_serviced", "blkio.throttle.io_service_bytes"]
            return tuple(self.counted(file, f"{self.device} Read ") for file in files)
        lines = [line.split() for line in (self.io / "io.stat").read_text().splitlines()]
        of_disk = next((dict(word.split("=") for word in line[1:]) for line in lines if line[0] == self.device), {})
        return int(of_disk.get("rios", 0)), int(of_disk.get("rbytes", 0))

    def counted(self, file, begin):
        lines = (self.io / file).read_text().splitlines()
        return sum(int(line.removeprefix(begin)) for line in lines if line.startswith(begin))

    def oom_kills(self):
        text = (self.memory / ("memory.oom_control" if self.v1 else "memory.events")).read_text()
        return int(next((line.split()[1] for line in text.splitlines() if line.startswith("oom_kill ")), 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for folder in {self.memory, self.io}:
            for _ in range(REMOVAL_TRIES):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    # Busy for a moment after its last process ended.
                    time.sleep(REMOVAL_PAUSE_S)


def count_reads(io, device):
    """Makes version 1 count: the kernel begins when some group was given a limit for the disk."""
    waking = io / f"ringpool-bench-{os.getpid()}-waking"
    waking.mkdir()
    (waking / "blkio.throttle.read_iops_device").write_text(f"{device} {NO_DISK_IOPS}")
    waking.rmdir()


def hierarchies():
    """Whether it is version 1, and the folders under which groups for memory and reads are made."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]

    def v1(controller):
        words = next((words for words in own if controller in words.split(",")), None)
        at = next((m[1] for m in mounts if m[2] == "cgroup" and controller in m[3].split(",")), None)
        return Path(at + own[words]) if words and at and Path(at + own[words]).exists() else at and Path(at)

    if v1("memory") and v1("blkio"):
        return True, v1("memory"), v1("blkio")
    root = next((Path(m[1]) for m in mounts if m[2] == "cgroup2"), None)
    if root is None:
        sys.exit("no memory cgroup is mounted")
    # Version 2 does not let a group have processes and limited children at once: the nearest
    # ancestor that passes the controllers on, or can be made to.
    within = root / own.get("", "/").lstrip("/")
    for folder in [within, *within.parents]:
        try:
            (folder / "cgroup.subtree_control").write_text("+memory +io")
            return False, folder, folder
        except OSError:
            if folder == root:
                break
    sys.exit(f"{root}: cannot pass memory and io on to groups: run as root")


def disk_number(path):
    """major:minor of the whole disk that holds a file."""
    number = os.stat(path).st_dev
    entry = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    if (entry / "partition").exists():
        entry = entry.parent
    return (entry / "dev").read_text().strip()


def evict(folder):
    """Drops all files of a folder from the page cache, and says so when that does not succeed."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    for _ in range(EVICTION_TRIES):
        for path in files:
            with open(path, "rb") as file:
                os.fdatasync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if cached_bytes(files) == 0:
            return
        time.sleep(EVICTION_PAUSE_S)
    print(f"warning: {folder}: {cached_bytes(files)} bytes stay in the page cache", file=sys.stderr)


def cached_bytes(files):
    """What the page cache holds of them, as util-linux's fincore says."""
    command = ["fincore", "--bytes", "--noheadings", "--raw", "--output", "RES", *map(str, files)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sum(map(int, told.split()))


def disk_iops(path, seconds=1.5, pause_s=0):
    """Random direct reads of 4 KiB a second, 64 at once, by fio: the control."""
    return disk_control(path, seconds, pause_s)["iops"]


def disk_control(path, seconds=1.5, pause_s=0, depth=CONTROL_DEPTH, batches=False):
    """Reads a second and the processor's microseconds for each; in batches, `depth` are sent at once
    and the next ones when all have come."""
    command = [
        *("fio", "--name=control", f"--filename={path}", "--readonly", "--rw=randread", "--bs=4k", "--direct=1"),
        *("--ioengine=io_uring", f"--iodepth={depth}", "--norandommap", "--randrepeat=0", "--time_based"),
        *(f"--runtime={seconds}", "--ramp_time=0.2", "--output-format=json", f"--startdelay={pause_s}"),
    ]
    if batches:
        command += [f"--iodepth_batch_{which}={depth}" for which in ["submit", "complete_min", "complete_max"]]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    job = json.loads(told)["jobs"][0]
    iops = job["read"]["iops"]
    return {"iops": iops, "cpu_us": 1e4 * (job["usr_cpu"] + job["sys_cpu"]) / iops}
