"""Builds the fuzz targets and runs each of them, led by coverage, for FUZZ_SECONDS (60); ends with a table.

libFuzzer comes with the crate libfuzzer-sys and needs a C++ compiler, as PROJ does; the instrumentation needs no
nightly Rust. The first build takes as long as the project's, since every dependency is instrumented, too. Inputs that a
run found are kept in fuzz/corpus, failing ones in fuzz/artifacts. LAZYCOGS_TEST_DATA names a folder whose small TIFFs
are seeds, too. Usage: fuzz.py [TARGET ...]
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import config

FUZZ = config.ROOT / "fuzz"
# Edges and comparisons are counted in memory that libFuzzer reads; what cargo-fuzz passes for --sanitizer none.
COVERAGE = ["level=4", "inline-8bit-counters", "pc-table", "trace-compares"]
FLAGS = ["-Cpasses=sancov-module", *[f"-Cllvm-args=-sanitizer-coverage-{f}" for f in COVERAGE], "-Ccodegen-units=1"]
# Inputs that take 5 s are kept; on a busy machine they are no failure, and are to be tried again.
LIMITS = ["-report_slow_units=5", "-timeout=30", "-rss_limit_mb=2048", "-max_len=20000"]
# A fuzzer that is not done so long after its time hangs: libFuzzer's own alarm can lock up inside malloc.
GRACE = 120
MAX_SEED = 20_000
OF_TIFFS = ("header", "tiles", "mapping")


def host():
    """The target triple: with one given, build scripts are not instrumented."""
    facts = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return re.search(r"^host: (.+)$", facts, re.M).group(1)


def build():
    """Builds the targets; returns the folder of their programs."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or config.ROOT / "target").resolve() / "fuzz"
    command = ["cargo", "build", "--release", "--target", host(), "--target-dir", target]
    flags = " ".join([os.environ.get("RUSTFLAGS", ""), *FLAGS]).strip()
    status = subprocess.run(command, cwd=FUZZ, env={**os.environ, "RUSTFLAGS": flags}).returncode
    if status:
        sys.exit("fuzz: the targets do not build: a C++17 compiler for libFuzzer is needed, see above")
    return target / host() / "release"


def seeds(target):
    """The files that a target starts from."""
    found = list((FUZZ / "seeds" / target).glob("*"))
    if target in OF_TIFFS:
        folders = ["build/fuzz", "build/fixtures", "examples/demo", os.environ.get("LAZYCOGS_TEST_DATA", "build/fuzz")]
        found = [file for folder in folders for file in (config.ROOT / folder).glob("**/*.tif*")]
    return [file for file in found if file.stat().st_size <= MAX_SEED]


def run(program, seconds):
    """Runs one target; returns what the table says of it."""
    target = program.name
    corpus, artifacts = FUZZ / "corpus" / target, FUZZ / "artifacts" / target
    corpus.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        shutil.copy(seed, corpus / f"seed-{seed.parent.name}-{seed.name}")
    dictionary = FUZZ / "dictionaries" / f"{'tiff' if target in OF_TIFFS else target}.dict"
    command = [program, corpus, f"-dict={dictionary}", f"-artifact_prefix={artifacts}/", f"-max_total_time={seconds}"]
    command += [*LIMITS, "-print_final_stats=1", "-verbosity=1"]
    print(f"\n== {target}, {seconds} s", flush=True)
    log = artifacts / "log"
    with open(log, "w") as output:
        try:
            limits = {"cwd": artifacts, "timeout": seconds + GRACE}
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, **limits).returncode
        except subprocess.TimeoutExpired:
            status = 1
    text = log.read_text(errors="replace")
    if status:
        print(*text.splitlines()[-40:], sep="\n")
    executions = re.search(r"stat::number_of_executed_units: (\d+)", text)
    covered = re.findall(r"cov: (\d+)", text)
    number = int(executions.group(1)) if executions else 0
    outcome = "failed" if status else "slow inputs" if "Slowest unit:" in text else "no finding"
    return target, number, int(covered[-1]) if covered else 0, outcome


def main():
    manifest = tomllib.loads((FUZZ / "Cargo.toml").read_text())
    targets = sys.argv[1:] or [program["name"] for program in manifest["bin"]]
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    programs = build()
    results = [run(programs / target, seconds) for target in targets]
    print(f"\n{'target':10} {'executions':>12} {'edges':>7}")
    for target, executions, edges, outcome in results:
        print(f"{target:10} {executions:12} {edges:7}  {outcome}")
    sys.exit(any(outcome == "failed" for *_, outcome in results))


if __name__ == "__main__":
    main()
