"""Builds the library with cargo and writes build/{debug,release}/extension/<name>/<name>.duckdb_extension.

Clones share one target directory, so that PROJ is compiled once per machine. Cargo names the linked library alike for
each of them and takes the one that another clone has linked since for its own. Hence a note of who linked the library
that is there, and a lock from reading the note to copying the library.
"""

import argparse
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import append_metadata
import config


def linked_by(library):
    """What the note says when this clone linked `library` as it stands; empty if there is none."""
    try:
        found = library.stat()
    except FileNotFoundError:
        return ""
    return f"{config.ROOT} {found.st_size} {found.st_mtime_ns}"


def build(profile, target, name):
    """Runs cargo; returns the path of the shared library."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    folder = target / profile
    library = folder / "deps" / f"lib{name}.{suffix}"
    note = folder / f".{name}-linked-by"
    if not note.is_file() or note.read_text() != linked_by(library):
        (config.ROOT / "src" / "lib.rs").touch()
    command = ["cargo", "build", "--lib"] + (["--release"] if profile == "release" else [])
    status = subprocess.run(command, cwd=config.ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(target)}).returncode
    if status:
        sys.exit(status)
    note.write_text(linked_by(library))
    return folder / library.name


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", choices=["debug", "release"])
    profile = parser.parse_args().profile
    settings = config.load()
    name = settings["EXTENSION_NAME"]
    target = Path(os.environ.get("CARGO_TARGET_DIR") or config.ROOT / "target").resolve()
    (target / profile).mkdir(parents=True, exist_ok=True)
    output = config.ROOT / "build" / profile / "extension" / name / f"{name}.duckdb_extension"
    with open(target / profile / f".{name}-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        append_metadata.append(
            build(profile, target, name),
            output,
            abi=settings["C_API_ABI"],
            extension_version="v" + settings["EXTENSION_VERSION"],
            c_api_version=settings["C_API_VERSION"],
            platform_name=append_metadata.detect_platform(),
        )
    print(output.relative_to(config.ROOT))


if __name__ == "__main__":
    main()
