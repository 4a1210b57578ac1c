"""`make bench`: the same work by this extension, lazycogs, odc-stac, GDAL, exactextract; their values must agree. And
the limit that all of them have (limit.py).

The environment (or the command line of make) chooses: BENCH=W1,W3 (workloads, planning, memory; W2 means W2w and W2m),
BENCH_SOURCES=file,http, BENCH_PEERS=this,gdal, BENCH_REPEAT=3, BENCH_SIZE=small|medium, BENCH_OUT=folder.

Each measurement is a process of its own (measure.py); the peers take turns, so that drift of the machine hits all
alike, and the median counts. What takes longer than LONG seconds is not repeated, what takes longer than ENOUGH is not
measured from the other source either.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import limit
import make_archive
import make_zones
import numpy as np
import report
import scaling
from peers import ROOT
from workloads import box_of_zones, warm_up, workloads
from zonal import TITLES, program

LIMIT = "limit"
LONG = 4.0
ENOUGH = 30.0
DELAY_MS = 30
HERE = Path(__file__).resolve().parent
BUILD = ROOT / "build" / "bench"


def chosen(variable, names):
    """The names that a variable lists, all of them where it is not set; W2 stands for W2w and W2m."""
    asked = [word for word in os.environ.get(variable, "").replace(",", " ").split() if word]
    unknown = [word for word in asked if not any(name.startswith(word) for name in names)]
    if unknown:
        sys.exit(f"{variable}: {unknown[0]} is none of {', '.join(names)}")
    exact = [word for word in asked if word in names]
    found = [n for n in names if n in exact or any(n.startswith(w) for w in asked if w not in exact)]
    return found if asked else list(names)


class Server:
    """The range server over a folder, until the end of the `with` block and no longer than two hours."""

    def __init__(self, folder):
        binary, source = BUILD / "server", HERE / "server.rs"
        if not binary.is_file() or binary.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["rustc", "--edition", "2024", "-O", "-o", binary, source], check=True)
        command = [binary, folder, str(DELAY_MS), "7200"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)

    def counts(self):
        """Requests and bytes since the last call."""
        with urlopen(f"{self.url}/counts", timeout=10) as answer:
            requests, sent = answer.read().split()
        return {"requests": int(requests), "bytes": int(sent)}

    def ranges(self):
        """How many requests were at work at once since the last call of `counts`, and a line for each."""
        with urlopen(f"{self.url}/ranges", timeout=10) as answer:
            return answer.read().decode().splitlines()

    def cpu(self):
        """CPU seconds that it has used; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_busy():
    """CPU seconds that all processes of the machine have used; None where the system does not tell."""
    try:
        with open("/proc/stat") as stat:
            ticks = [int(word) for word in stat.readline().split()[1:9]]
    except OSError:
        return None
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def measure(command, server=None, timeout=900):
    """Runs measure.py, scaling.py or limit.rs; gives its result, or {"error": the last line it said}.

    `others` is the share of the machine's processors that went to processes that have no part in it.
    """
    environment = os.environ | ({"BENCH_SERVER": server.url} if server else {})
    served = server.cpu() if server else 0.0
    busy, before, started = machine_busy(), os.times(), time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=HERE, env=environment)
    except subprocess.TimeoutExpired:
        return {"error": f"it took longer than {timeout} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        return {"error": (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1][:200]}
    result = json.loads(lines[-1].removeprefix("RESULT "))
    if busy is not None:
        after, elapsed = os.times(), time.perf_counter() - started
        own = after.children_user + after.children_system - before.children_user - before.children_system
        own += server.cpu() - served if server else 0.0
        result["others"] = round(max(0.0, machine_busy() - busy - own) / elapsed / os.cpu_count(), 3)
    return result


class Bench:
    def __init__(self, folder, size, repeat, peers, sources):
        self.folder, self.size, self.repeat = folder, size, repeat
        self.peers, self.sources = peers, sources
        self.rows, self.skipped, self.plans = [], {}, {}
        self.arrays = BUILD / "arrays"
        self.arrays.mkdir(parents=True, exist_ok=True)

    def run(self, workload, source, server=None):
        """All peers in turn, `repeat` times."""
        save = source == self.sources[0]
        before = [row for row in self.rows if row["workload"] == workload.name]
        slow = {row["peer"] for row in before if row.get("wall", 0) > ENOUGH}
        for turn in range(self.repeat):
            for peer in self.peers:
                if peer in self.skipped or peer in slow or not self.can(peer, workload):
                    continue
                save_as = [self.path(workload, peer)] if save and turn == 0 else []
                row = {"workload": workload.name, "source": source, "peer": peer, "turn": turn}
                row |= measure(self.command(workload, source, peer, server) + save_as * (peer != LIMIT), server)
                counts = server.counts() if server else {}
                row |= counts if "wall" in row else {}
                self.rows.append(row)
                print(self.line(row), flush=True)
                if "error" in row or row["wall"] > LONG:
                    slow.add(peer)
                if "error" in row and not any(r["peer"] == peer and "wall" in r for r in self.rows):
                    self.skipped[peer] = row["error"]

    def can(self, peer, workload):
        return workload.name in self.plans if peer == LIMIT else program(peer, workload) is not None

    def command(self, workload, source, peer, server):
        """What measures a peer."""
        if peer == LIMIT:
            return [limit.PROGRAM, self.plans[workload.name], self.folder] + ([server.url] if server else [])
        index, warm = (self.folder / f"{name}.parquet" for name in (f"{source}_{workload.part}", "file_warm"))
        return [sys.executable, "measure.py", peer, workload.name, self.size, source, index, warm]

    def learn(self, workload, server):
        """Finds out what the limit is to read. A call that is repeated reads nothing."""
        if LIMIT in self.peers and not workload.repeated:
            found = limit.plan(measure, server, self.folder, self.size, workload)
            if isinstance(found, Path):
                self.plans[workload.name] = found
            else:
                print(f"bench: no limit for {workload.name}: {found}", flush=True)

    def path(self, workload, peer):
        return self.arrays / f"{workload.name}_{peer}.npy"

    @staticmethod
    def line(row):
        head = f"{row['workload']:4} {row['source']:5} {row['peer']:9}"
        return f"{head} {row['wall']:8.2f} s {row['cpu']:8.2f} cpu s" if "wall" in row else f"{head} {row['error']}"

    def compare(self, workload):
        """Which values differ from lazycogs' (else exact GDAL's, exactextract's or ours); the arrays are removed."""
        found = {peer: self.path(workload, peer) for peer in self.peers if self.path(workload, peer).is_file()}
        reference = next(
            (peer for peer in ("lazycogs", "exact", "exactextract", "this", "gdal") if peer in found), None
        )
        result = {"reference": reference, "differ": {}, "within": workload.within, "allowed": workload.allowed}
        result["zones"] = workload.zones
        if reference:
            wanted = np.load(found[reference], mmap_mode="r")
            result |= {"pixels": int(wanted.size), "valid": int(sum(np.count_nonzero(step) for step in wanted))}
            result["shape"] = list(wanted.shape)
            how = {"within": workload.within, "relative": bool(workload.zones)}
            for peer, path in found.items():
                result["differ"][peer] = differing(np.load(path, mmap_mode="r"), wanted, **how)
        for path in found.values():
            path.unlink()
        return result

    def same_everywhere(self, workload):
        """Peers whose array is not the same from every source and in every turn."""
        digests = {}
        for row in self.rows:
            if row["workload"] == workload.name and "digest" in row:
                digests.setdefault(row["peer"], set()).add(row["digest"])
        return [peer for peer, found in digests.items() if len(found) > 1]


def differing(found, wanted, within=0, relative=False):
    """Values that differ by more than `within` (a share of them, if `relative`) or are missing in one (0 is nodata). Of
    means of whole steps, how many differ by more than the rounding of a sum."""
    if found.ndim == 2:
        sums, valid = wanted.sum((2, 3), dtype="float64"), np.count_nonzero(wanted, (2, 3))
        means = np.divide(sums, valid, out=np.full_like(sums, np.nan), where=valid > 0)
        return int((~np.isclose(found, means, rtol=1e-6, equal_nan=True)).sum())
    if found.shape != wanted.shape:
        return f"{found.shape} instead of {wanted.shape}"
    return int(sum(np.count_nonzero(are_apart(a, b, within, relative)) for a, b in zip(found, wanted)))


def are_apart(a, b, within, relative):
    if not within:
        return a != b
    most = within * np.abs(b) if relative else within
    return ((a == 0) != (b == 0)) | (np.abs(a.astype("float64") - b) > most)


def machine():
    cpu = platform.processor() or platform.machine()
    if os.path.isfile("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(pages), "system": platform.platform()}


def versions():
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("duckdb", "lazycogs", "rustac", "odc-stac", "dask", "rasterio", "exactextract", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    import rasterio

    found["GDAL"] = rasterio.__gdal_version__
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    found["this"] = subprocess.run(git, capture_output=True, text=True).stdout.strip() or None
    return found


def read_all(folder):
    """Puts the archive into the operating system's cache."""
    for path in folder.rglob("*.tif"):
        path.read_bytes()


def main():
    size, repeat = os.environ.get("BENCH_SIZE", "medium"), int(os.environ.get("BENCH_REPEAT", "3"))
    cubes = workloads(size)
    names = chosen("BENCH", [*cubes, "planning", "memory"])
    titles = TITLES | {LIMIT: limit.TITLE}
    sources, peers = chosen("BENCH_SOURCES", ["file", "http"]), chosen("BENCH_PEERS", list(titles))
    folder, started = BUILD / size, time.perf_counter()
    print(f"bench: the archive is in {folder} (made once, about two minutes for medium)", flush=True)
    make_archive.make(folder, size)
    make_archive.write_index(folder, size, "file", f"file://{folder}")
    make_zones.make(folder, box_of_zones(size), make_archive.SIZES[size]["side"] * 10, warm_up(cubes["W1"]).bbox)
    read_all(folder)
    if LIMIT in peers:
        limit.build()
    bench, values = Bench(folder, size, repeat, peers, sources), {}
    with Server(folder) as server:
        make_archive.write_index(folder, size, "http", server.url)
        for name in [name for name in names if name in cubes]:
            bench.learn(cubes[name], server)
            for source in [source for source in sources if source in cubes[name].sources]:
                bench.run(cubes[name], source, server if source == "http" else None)
            values[name] = bench.compare(cubes[name]) | {"changing": bench.same_everywhere(cubes[name])}
    result = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "size": size,
        "repeat": repeat,
        "delay_ms": DELAY_MS,
        "machine": machine(),
        "versions": versions(),
        "workloads": {name: cubes[name].title for name in names if name in cubes},
        "peers": {peer: titles[peer] for peer in peers},
        "skipped": bench.skipped,
        "rows": bench.rows,
        "values": values,
        "planning": scaling.planning(measure, folder, peers, repeat) if "planning" in names else [],
        "memory": scaling.memory(measure, folder, size) if "memory" in names else [],
        "seconds": round(time.perf_counter() - started),
    }
    whole = len(names) == len(cubes) + 2 and len(sources) == 2 and len(peers) == len(titles)
    # A part must not take the place of the whole.
    target = Path(os.environ.get("BENCH_OUT") or (HERE if whole else BUILD))
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (target / "RESULTS.md").write_text(report.markdown(result))
    print(f"bench: {result['seconds']} s; {target / 'RESULTS.md'}")
    sys.exit(report.verdict(result))


if __name__ == "__main__":
    main()
