"""The limit: the tiles that this extension reads, fetched, decoded and copied once, and nothing else (limit.rs).

Which tiles those are is learned from a run of the extension over http, which is not measured.
"""

import os
import subprocess
import sys
from pathlib import Path

from peers import ROOT

TITLE = "limit"
PROGRAM = ROOT / "build" / "bench" / "limit"


def build():
    """Has cargo build limit.rs, with the profile that the extension was built with."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release" / "examples"
    sources = [ROOT / "src" / "lib.rs", ROOT / "bench" / "limit.rs"]
    made_from = target / "limit.d"
    # Clones may share the folder; cargo would take what another one has built for its own.
    known = made_from.read_text().replace("\\ ", " ") if made_from.is_file() else ""
    if known and not all(str(source) in known for source in sources):
        for source in sources:
            source.touch()
    subprocess.run(["cargo", "build", "--release", "--example", "limit"], check=True, cwd=ROOT)
    PROGRAM.unlink(missing_ok=True)
    PROGRAM.write_bytes((target / "limit").read_bytes())
    PROGRAM.chmod(0o755)


def plan(measure, server, folder, size, workload):
    """Writes what limit.rs is told to do for a workload; gives the path of it, or says why there is none."""
    index = folder / f"http_{workload.part}.parquet"
    arguments = ["measure.py", "this", workload.name, size, "http", index, folder / "file_warm.parquet"]
    found = measure([sys.executable, *arguments], server)
    if "error" in found:
        return found["error"]
    at_once, *ranges = server.ranges()
    server.counts()
    path = PROGRAM.parent / "plans" / f"{workload.name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([f"{found['array']} {at_once}", *ranges]) + "\n")
    return path
