#!/usr/bin/env python3
"""Breaks each transition of the pool once and says which test notices: the table of docs/believing.md.

The changes are listed in tests/mutations.toml. Each is made alone, in a copy of the repository
below the target folder; the suites run one after the other until one fails, the fastest first.
A change that no suite notices is a test that is missing: exit code 1.

    tests/mutations.py                    # an hour or two on two cores
    tests/mutations.py --only epochs.rs   # those of one file
    tests/mutations.py --only "a pin"     # those whose description says so
    tests/mutations.py --check            # only whether each still fits the code
"""

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "mutations"
SOURCES = Path("bufferpool/src")

# A suite that runs so long hangs: the change has made somebody wait for ever.
LIMIT_S = {"build": 900, "run": 150}

POOL = ["-p", "ringpool-bufferpool"]
# So much memory may a suite write to: a change may make somebody collect without end.
LIMIT_BYTES = 8 << 30

# Name, flags of the compiler, arguments of `cargo test`, those of the tests.
SUITES = [
    ("units", "", [*POOL, "--lib"], []),
    ("schedules", "--cfg shuttle", [*POOL, "--test", "schedules"], []),
    ("tests", "", [*POOL, "--tests"], []),
    ("properties", "", ["-p", "ringpool", "--test", "pool_properties"], []),
    ("loom", "--cfg loom", [*POOL, "--lib", "--release"], ["loom"]),
]


def mutations():
    with open(ROOT / "tests/mutations.toml", "rb") as file:
        return tomllib.load(file)["mutation"]


def mutated(mutation, text):
    count = text.count(mutation["old"])
    if count != 1:
        sys.exit(
            f"{mutation['file']}: {mutation['what']}: what is to be changed stands there {count} times; "
            "bring tests/mutations.toml up to date"
        )
    return text.replace(mutation["old"], mutation["new"])


def copy_repository(to):
    """What git has, or would have: also what is not committed yet."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    if to.exists():
        shutil.rmtree(to)
    for name in names.splitlines():
        source = ROOT / name
        if source.is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name)


def limited(command, folder, environment, limit_s):
    """Runs it in a process group of its own. Returns its exit code, None when it was ended, and
    what it said."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES)),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]


def run(suite, folder):
    """Returns None when the suite passes, and otherwise which of its tests noticed."""
    _, flags, arguments, rest = suite
    environment = {
        **os.environ,
        "RUSTFLAGS": f"{flags} -A warnings",
        "CARGO_TARGET_DIR": str(TARGET / (flags.removeprefix("--cfg ") or "plain")),
        # Built often, run once: what debuggers and linkers like is left out.
        "CARGO_PROFILE_DEV_DEBUG": "0",
        "CARGO_PROFILE_RELEASE_DEBUG": "0",
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "RUST_BACKTRACE": "0",
    }
    cargo = ["cargo", "test", "--locked", *arguments]
    code, said = limited([*cargo, "--no-run"], folder, environment, LIMIT_S["build"])
    if code != 0:
        sys.exit(f"does not compile, or not in time:\n{said}")
    code, said = limited([*cargo, "--no-fail-fast", "--", *rest], folder, environment, LIMIT_S["run"])
    if code == 0:
        return None
    # A test that breaks off the whole process has begun and not ended.
    failed = re.findall(r"^test (\S+)(?: - should panic)? \.\.\. FAILED", said, re.MULTILINE)
    failed += re.findall(r"^    (\S+)$", "\n".join(re.findall(r"^failures:\n((?:    \S+\n)+)", said, re.MULTILINE)), re.MULTILINE)
    names = sorted({name.split("::")[-1] for name in failed})
    return names or ["it hangs" if code is None else "it breaks off"]


def verdict(mutation, suites, folder):
    path = folder / SOURCES / mutation["file"]
    sound = path.read_text()
    path.write_text(mutated(mutation, sound))
    try:
        for suite in suites:
            # Orderings are loom's alone: elsewhere the processor, or the scheduler, keeps to them.
            if suite[0] != mutation.get("only", suite[0]):
                continue
            noticed = run(suite, folder)
            if noticed is not None:
                return suite[0], noticed
        return None, []
    finally:
        path.write_text(sound)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="of files or descriptions that contain this")
    parser.add_argument("--suites", default=",".join(suite[0] for suite in SUITES))
    parser.add_argument("--check", action="store_true", help="run nothing")
    asked = parser.parse_args()
    chosen = [m for m in mutations() if asked.only in m["file"] or asked.only in m["what"]]
    for mutation in chosen:
        mutated(mutation, (ROOT / SOURCES / mutation["file"]).read_text())
    if asked.check:
        return
    suites = [suite for suite in SUITES if suite[0] in asked.suites.split(",")]
    names = [suite[0] for suite in suites]
    chosen = [m for m in chosen if m.get("only", names[0]) in names]
    folder = TARGET / "-".join(["copy", *names])
    copy_repository(folder)
    for suite in suites:
        if (noticed := run(suite, folder)) is not None:
            sys.exit(f"{suite[0]} fails without any change: {', '.join(noticed)}")
    print("| file | broken | noticed by | of its tests |\n|---|---|---|---|", flush=True)
    missed = 0
    # Those that only the slowest suite can notice come last.
    for mutation in sorted(chosen, key=lambda mutation: "only" in mutation):
        begun = time.monotonic()
        suite, noticed = verdict(mutation, suites, folder)
        missed += suite is None
        tests = ", ".join(f"`{name}`" for name in noticed[:2])
        more = f" and {len(noticed) - 2} more" if len(noticed) > 2 else ""
        print(f"| `{mutation['file']}` | {mutation['what']} | {suite or '**nobody**'} | {tests}{more} |", flush=True)
        print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
