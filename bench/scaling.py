"""How planning and memory grow: with ten times the items, ten times the dates, ten times the area.

Run as a program it is one measurement, as measure.py is: scaling.py KIND INDEX WARM_INDEX [ARGUMENT ...]
"""

import dataclasses
import datetime
import json
import os
import sys
import time

import make_archive
import stac
from peers import PEERS, This
from workloads import Workload, square, within_a

STEPS = 365
ITEMS = (10_000, 100_000)
PLAN = Workload(
    "plan", "", "scenes", "EPSG:4326", 0.002, (-110.0, 35.0, -90.0, 49.0), "P1D", bands=("red",), chunk_size=2048
)


def catalog(folder, count):
    """Writes an index of `count` items on 365 days, on a lattice of footprints of one degree; all name one real COG."""
    path = folder / f"catalog_{count}.parquet"
    scene = next(scene for scene in make_archive.scenes_of("small") if scene.folder == "warm")
    href = f"file://{folder}/{scene.path('red')}"
    start, items = datetime.datetime(2023, 1, 1, 17, tzinfo=datetime.UTC), []
    for number in range(count):
        day, place = number * STEPS // count, number % 280
        west, south = -110 + place % 20, 35 + place // 20
        ring = [(west, south), (west + 1, south), (west + 1, south + 1), (west, south + 1), (west, south)]
        when = start + datetime.timedelta(days=day, seconds=place)
        items.append(stac.Item(f"item_{number:06}", when, {"red": href}, ring, {"eo:cloud_cover": place / 3}))
    stac.write(path, items, row_group_size=20_000)
    return path


def planning(measure, folder, peers, repeat):
    """Rows of {what, peer, items, turn, wall, cpu, memory}."""
    warm = catalog(folder, 1000)
    kinds = [("explain", "this"), ("info", "this"), ("bind", "this"), ("open", "lazycogs")]
    rows = []
    for count in ITEMS:
        index = catalog(folder, count)
        for turn in range(repeat):
            for what, peer in kinds:
                if peer in peers:
                    found = measure([sys.executable, "scaling.py", what, index, warm])
                    rows.append({"what": what, "peer": peer, "items": count, "turn": turn} | found)
                    print(f"plan {what:8} {count:7} items {found.get('wall', found.get('error'))}", flush=True)
    return rows


def more_dates(folder, size, times):
    """The index of the scenes, repeated `times` times, each time later."""
    path = folder / f"dates_{times}.parquet"
    clouds = json.loads((folder / "made.json").read_text())["clouds"]
    items = []
    for number in range(times):
        for scene in make_archive.scenes_of(size):
            if scene.folder == "scenes":
                item = make_archive.item_of(scene, clouds[scene.id], f"file://{folder}")
                later = item.time + datetime.timedelta(days=60 * number)
                items.append(dataclasses.replace(item, id=f"{item.id}_{number}", time=later))
    stac.write(path, items)
    return path


def memory(measure, folder, size):
    """Rows of {what, function, wall, cpu, memory, pixels}: once, ten times the dates, ten times the area."""
    side = make_archive.SIZES[size]["side"]
    base, area = int(side * 0.3), int(side * 0.3 * 10**0.5)
    once, dates = more_dates(folder, size, 1), more_dates(folder, size, 10)
    rows = []
    for function in ("read", "chunks"):
        for what, index, pixels in [("once", once, base), ("dates x 10", dates, base), ("area x 10", once, area)]:
            found = measure(
                [sys.executable, "scaling.py", function, index, folder / "file_warm.parquet", size, str(pixels)]
            )
            rows.append({"what": what, "function": function} | found)
            print(f"memory {function:6} {what:10} {found.get('memory', found.get('error'))} MB", flush=True)
    return rows


def statement(kind, workload, index):
    """What this extension is asked in SQL."""
    call = This.arguments(workload, index)
    if kind == "explain":
        return f"SELECT count(item_id) AS reads, count(DISTINCT time) AS steps FROM lazycogs_explain({call})"
    if kind == "info":
        return f"SELECT items, steps FROM lazycogs_info({call})"
    if kind == "bind":
        return f"EXPLAIN SELECT avg(red) FROM lazycogs_read({call})"
    if kind == "read":
        return f"SELECT count(*), count(red), count(green), count(blue) FROM lazycogs_read({call})"
    sizes = ", ".join(f"sum(octet_length({band}))" for band in workload.bands)
    return f"SELECT sum(height * width), {sizes} FROM lazycogs_read_chunks({call})"


def run(kind, peer, workload, index):
    """Does the work; gives the numbers that show that it was done."""
    if kind == "open":
        return peer.open(workload, index).shape
    return peer.con.execute(statement(kind, workload, index)).fetchall()[0]


def main(kind, index, warm_index, size=None, pixels=None):
    from measure import cpu, forget_peak, memory

    workload = warm = PLAN
    if size:
        workload = Workload("memory", "", "scenes", "EPSG:32615", 10.0, within_a(size, 0.5, int(pixels)), "P1D")
        warm = dataclasses.replace(workload, bbox=square(401000, 4799000, 100))
    peer = PEERS["lazycogs" if kind == "open" else "this"]("file")
    peer.prepare()
    run(kind, peer, warm, warm_index)
    exact = forget_peak()
    baseline, used, started = memory("VmRSS"), cpu(), time.perf_counter()
    found = run(kind, peer, workload, index)
    wall, used = time.perf_counter() - started, cpu() - used
    peak = round(memory("VmHWM") - baseline, 1) if baseline and exact else None
    numbers = [value for value in found if isinstance(value, int)]
    result = {"wall": round(wall, 4), "cpu": round(used, 3), "memory": peak, "found": numbers}
    print("RESULT " + json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
