"""Runs every test and ends with one line of counts: cargo, then sqllogictests and pytest in each DuckDB version.

All of it runs even if a part fails. Usage: test.py debug|release (after the extension has been built)
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys

import config

COUNT = re.compile(r"(\d+) (passed|failed|skipped|ignored|errors?)\b")


def run(title, command, **environment):
    """Runs a command, shows its output as it comes, and returns (exit code, counts of passed, failed and skipped)."""
    print(f"\n== {title}", flush=True)
    process = subprocess.Popen(
        command,
        cwd=config.ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.startswith(("test result:", "sqllogictest,")) or re.search(r" in \d+\.\d+s\b", line):
            for number, what in COUNT.findall(line):
                counts[{"ignored": "skipped", "error": "failed", "errors": "failed"}.get(what, what)] += int(number)
    code = process.wait()
    if code and not counts["failed"]:
        counts["failed"] = 1  # it did not get as far as counting
    return code, counts


def make_files(python, script, target):
    """Runs a script that makes files in the folder `target`, if it or a script beside it has changed since."""
    scripts = sorted((config.ROOT / script).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in scripts)).hexdigest()
    stamp = target / "made-by"
    if not stamp.is_file() or stamp.read_text() != digest:
        subprocess.run([python, script, target], cwd=config.ROOT, check=True)
        stamp.write_text(digest)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", choices=["debug", "release"])
    profile = parser.parse_args().profile
    settings = config.load()
    name = settings["EXTENSION_NAME"]
    versions = settings["DUCKDB_TEST_VERSIONS"].split(",")
    pythons = {version: f"configure/duckdb-{version}/bin/python" for version in versions}
    extension = config.ROOT / "build" / profile / "extension" / name / f"{name}.duckdb_extension"
    fixtures = config.ROOT / "build" / "fixtures"
    make_files(pythons[versions[-1]], "test/fixtures/make_fixtures.py", fixtures)
    make_files(pythons[versions[-1]], "fuzz/make_seeds.py", config.ROOT / "build" / "fuzz")
    files = {"LAZYCOGS_EXTENSION": str(extension), "LAZYCOGS_FIXTURES": str(fixtures)}

    results = [run("cargo test", ["cargo", "test"] + (["--release"] if profile == "release" else []))]
    sql = sorted(str(path.relative_to(config.ROOT)) for path in (config.ROOT / "test" / "sql").glob("**/*.test"))
    for version, python in pythons.items():
        command = [python, "test/sqllogic.py", "--extension", str(extension), *sql]
        results.append(run(f"sqllogictest, DuckDB {version}", command, **files))
    for version, python in pythons.items():
        command = [python, "-m", "pytest", "-q", "-ra", "--durations=5", "test/python"]
        results.append(run(f"pytest, DuckDB {version}", command, **files))

    total = {what: sum(counts[what] for _, counts in results) for what in ("passed", "failed", "skipped")}
    print(f"\n{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    sys.exit(any(code for code, _ in results))


if __name__ == "__main__":
    main()
