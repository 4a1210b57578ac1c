"""What a process holds, and for whom: memory, threads that die, versions of files, queries side by side."""

import os
import shutil
import struct
import threading
import time

import duckdb
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from helpers import call, moved
from model import Grid
from small import grid, index, item, raster, stack, values
from test_lifetime import in_child, linux_only

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
RED = {"bands": ["red"]}
SCENE = "archive/scenes/A_20240730T17_red.tif"


def total(items, where=GRID, **named):
    return f"SELECT sum(red), count(*) FROM {call('lazycogs_read', items, where, 'P1D', **RED, **named)}"


# Memory that only a header claims


def forged(path, width, height, tile, transform, dtype="uint8", epsg=32615):
    """A TIFF of which no tile is stored."""
    across, down = -(-width // tile[0]), -(-height // tile[1])
    count = across * down
    bits, kind = {"uint8": (8, 1), "float64": (64, 3)}[dtype]
    scale, (left, top) = transform
    keys = [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, epsg]
    short, long, double = 3, 4, 12
    tags = [
        (256, long, [width]), (257, long, [height]), (258, short, [bits]), (259, short, [1]), (262, short, [1]),
        (277, short, [1]), (322, long, [tile[0]]), (323, long, [tile[1]]), (324, long, [0] * count),
        (325, long, [0] * count), (339, short, [kind]), (33550, double, [scale, scale, 0]),
        (33922, double, [0, 0, 0, left, top, 0]), (34735, short, keys),
    ]  # fmt: skip
    codes = {short: "H", long: "I", double: "d"}
    behind, at = b"", 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, numbers in tags:
        content = struct.pack(f"<{len(numbers)}{codes[kind]}", *numbers)
        entries += struct.pack("<HHI", tag, kind, len(numbers))
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack("<I", at + len(behind))
            behind += content
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4 + behind)
    return path


AROUND = [(-96, 44), (-90, 44), (-90, 46), (-96, 46), (-96, 44)]
PEAK = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
con.execute("SET lazycogs_memory_budget = '64MB'; SET threads = 4")
rows = con.execute(sql).fetchall()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([rows, int(status["VmHWM"].split()[0]) / 1024]))
"""


@linux_only
@pytest.mark.parametrize("crs", ["EPSG:32615", "EPSG:5070", "OGC:CRS84"])
@pytest.mark.parametrize(
    "size, tile, dtype",
    [
        ((2**31 - 1, 1), (2**28, 1), "uint8"),
        ((1, 2**31 - 1), (1, 2**28), "uint8"),
        ((16000, 16000), (8000, 4000), "float64"),
    ],
    ids=["wide", "high", "large tiles"],
)
def test_what_is_not_stored_takes_no_memory(extension, tmp_path, crs, size, tile, dtype):
    span = 400_000 / max(size)
    path = forged(tmp_path / "forged.tif", *size, tile, (span, (300_000, 5_000_000)), dtype)
    assert size[0] * size[1] > 1e8 and path.stat().st_size < 600
    items = index(tmp_path, [item("a", {"data": path}, footprint=AROUND)])
    bbox = {
        "EPSG:32615": (300_000, 4_900_000, 700_000, 5_000_000),
        "EPSG:5070": (-200_000, 2_400_000, 300_000, 2_500_000),
        "OGC:CRS84": (-95.4, 44.2, -90.5, 45.1),
    }[crs]
    where = Grid(bbox, crs, (bbox[2] - bbox[0]) / 1000)
    sql = f"SELECT count(*), sum(data) FROM {call('lazycogs_read', items, where, 'P1D', bands=['data'])}"
    ((rows, sums),), peak = in_child(extension, sql, PEAK)
    assert rows == where.width * where.height and sums in (0, None)
    assert peak < 64e6 / 2**20 + 300, f"{peak:.0f} MiB"


def test_tiles_that_are_not_stored_have_the_nodata_value(con, tmp_path):
    """As rasterio reads them, on a parallel grid and on another."""
    import rasterio

    held = np.full((64, 64), 9, "int16")
    held[20:40, 10:50] = np.arange(20 * 40).reshape(20, 40)
    held[0:16, 16:32] = 7
    path = raster(tmp_path / "a.tif", held, nodata=9, sparse_ok=True)
    with rasterio.open(path) as file:
        assert (file.read(1) == held).all()
    items = index(tmp_path, [item("a", {"data": path})])
    (found,) = values(con, items, grid(64, 64))
    assert found == [None if v == 9 else v for v in held.ravel().tolist()]
    zero = raster(tmp_path / "zero" / "a.tif", np.where(held == 9, 0, held), sparse_ok=True)
    (found,) = values(con, index(zero.parent, [item("a", {"data": zero})]), grid(64, 64))
    assert found == np.where(held == 9, 0, held).ravel().tolist()


@linux_only
def test_threads_keep_no_large_tiles(extension, tmp_path):
    """Tiles of 32 MB; what is kept when nothing runs is what buffers keep, and that is told."""
    path = raster(tmp_path / "a.tif", np.ones((4096, 8192), "float64"), blocks=2048, compress="zstd")
    items = index(tmp_path, [item("a", {"data": path})])
    sql = f"SELECT sum(data) FROM {call('lazycogs_read', items, grid(8192, 4096), 'P1D', bands=['data'])}"
    code = """
con.execute("SET threads = 4; SET lazycogs_cache_size = '0'; SET lazycogs_memory_budget = '64MB'")
before = settled()
rows = con.execute(sql).fetchall()
held = con.execute("SELECT value FROM lazycogs_cache_stats() WHERE counter = 'buffer_bytes_held'").fetchone()[0]
print(json.dumps([rows, before, settled(), held]))
"""
    rows, before, after, held = in_child(extension, sql, code)
    assert rows == [[4096 * 8192]] and held <= 32 << 20
    assert after["mib"] <= before["mib"] + 110, f"{before} {after}"


# Parts that die

PANICS = """
try:
    rows = con.execute(sql).fetchall()
    print(json.dumps(["answer", repr(rows)]))
except duckdb.Error as error:
    print(json.dumps(["error", str(error)]))
"""


@linux_only
@pytest.mark.parametrize("part", ["planner", "plan", "ahead", "driver", "unit", "read", "compute"])
@pytest.mark.parametrize("function", ["lazycogs_read", "lazycogs_read_chunks"])
def test_a_part_that_dies_is_an_error(extension, fixtures, monkeypatch, part, function):
    items = fixtures / "archive" / "items.parquet"
    sql = f"SELECT count(red) FROM {call(function, items, GRID, 'P1D', chunk_size=64, **RED)}"
    monkeypatch.setenv("LAZYCOGS_PANIC", part)
    kind, text = in_child(extension, sql, PANICS)
    assert kind == "error" and f"{part} was to panic" in text and "internal error" in text, text
    monkeypatch.setenv("LAZYCOGS_PANIC", "nothing")
    assert in_child(extension, sql, PANICS)[0] == "answer"


# Versions of files


def test_a_replacement_that_keeps_length_and_time_is_seen(con, tmp_path):
    """As `cp -p` and `rsync -t` make it: in place, and under another inode."""
    one, two, three = (np.full((32, 32), value, "uint8") for value in (1, 2, 3))
    items = stack(tmp_path, [one], compress=None)
    path = tmp_path / "0.tif"
    old = time.time() - 3600
    os.utime(path, (old, old))
    assert values(con, items, grid(2)) == [[1, 1]]
    other = raster(tmp_path / "other" / "0.tif", two, compress=None)
    assert other.stat().st_size == path.stat().st_size
    os.utime(other, (old, old))
    shutil.copyfile(other, path)
    os.utime(path, (old, old))
    assert values(con, items, grid(2)) == [[2, 2]]
    time.sleep(0.2)
    assert values(con, items, grid(2)) == [[2, 2]]
    third = raster(tmp_path / "third" / "0.tif", three, compress=None)
    os.utime(third, (old, old))
    os.replace(third, path)
    assert values(con, items, grid(2)) == [[3, 3]]


def test_an_index_replaced_with_the_same_length_and_time_is_seen(con, tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        raster(tmp_path / f"{name}.tif", np.full((32, 32), value, "uint8"))
    first, second = (index(tmp_path / n, [item("x", {"data": tmp_path / f"{n}.tif"})]) for n in "ab")
    if first.stat().st_size != second.stat().st_size:
        pytest.skip("the two indexes differ in length here")
    old = time.time() - 3600
    for path in (first, second):
        os.utime(path, (old, old))
    time.sleep(0.2)
    assert values(con, first, grid(2)) == [[1, 1]] == values(con, first, grid(2))
    shutil.copy2(second, first)
    assert values(con, first, grid(2)) == [[2, 2]]


def test_a_file_replaced_during_the_query_is_an_error(con, tmp_path):
    """Half of the tiles of one file and half of another's are no answer."""
    first = raster(tmp_path / "0.tif", np.ones((512, 512), "uint8"), compress=None)
    other = raster(tmp_path / "other.tif", np.full((512, 512), 2, "uint8"), compress=None)
    items = index(tmp_path, [item("x", {"data": first})])
    con.execute("SET threads = 1; SET lazycogs_cache_size = '0'; SET lazycogs_memory_budget = '64KB'")
    # Else DuckDB may have read all of it before the first row is fetched.
    con.execute("SET streaming_buffer_size = '1KB'")
    sql = call("lazycogs_read_chunks", items, grid(512, 512), "P1D", bands=["data"], chunk_size=16)
    con.execute(f"SELECT data FROM {sql}")
    found = {con.fetchone()[0]}
    os.replace(other, first)
    with pytest.raises(duckdb.Error, match="x.*replaced"):
        while row := con.fetchone():
            found.add(row[0])
    assert found == {b"\1" * 256}


class Memory(MemoryFileSystem):
    """Each has files of its own."""

    protocol = "s3"
    cachable = False

    def __init__(self):
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("s3://").strip("/")


def test_each_database_reads_its_own_files(connect, tmp_path):
    """The same URL in three databases with three file systems; and in one of them, replaced."""
    items = index(tmp_path, [item("x", {"data": raster(tmp_path / "0.tif", np.zeros((32, 32), "uint8"))})])
    remote = moved(items, "s3://bucket", tmp_path / "remote.parquet", os.path.basename)
    contents = [raster(tmp_path / f"{v}.tif", np.full((32, 32), v, "uint8")).read_bytes() for v in range(1, 5)]
    held = []
    for content in contents[:3]:
        files, con = Memory(), connect()
        files.pipe("s3://bucket/0.tif", content)
        con.register_filesystem(files)
        con.execute("SET lazycogs_io = 'duckdb'")
        held.append((con, files))
    for _ in range(2):
        assert [values(con, remote, grid(2)) for con, _ in held] == [[[1, 1]], [[2, 2]], [[3, 3]]]
    con, files = held[0]
    con.execute(f"PREPARE q AS SELECT max(data) FROM {call('lazycogs_read', remote, grid(2), 'P1D', bands=['data'])}")
    assert con.execute("EXECUTE q").fetchone() == (1,)
    files.pipe("s3://bucket/0.tif", contents[3])
    assert con.execute("EXECUTE q").fetchone() == (4,)
    assert values(con, remote, grid(2)) == [[4, 4]]


# Queries side by side


def in_thread(body):
    outcome = []

    def run():
        try:
            outcome.append(body())
        except duckdb.Error as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


ONE = {"ids": ["A_20240730T17"]}


def test_a_query_does_not_wait_in_the_queue_of_another(connect, over_http, served):
    """One has a single permit, which a slow header holds; the other wants the header that the first has queued for."""
    slow, quick = connect(), connect()
    slow.execute("SET lazycogs_max_concurrent_reads = 1")
    scenes = {band: f"archive/scenes/A_20240730T17_{band}.tif" for band in ("red", "nir")}
    for scene in scenes.values():
        served.fault(scene, delay=3, times=1)
    both = call("lazycogs_info", over_http, GRID, "P1D", bands=list(scenes), **ONE)
    thread, outcome = in_thread(lambda: slow.execute(f"FROM {both}").fetchall())
    time.sleep(0.5)
    (queued,) = [band for band, scene in scenes.items() if served._faults[scene][0].times == 1]
    served._faults.pop(scenes[queued])
    started = time.monotonic()
    quick.execute(f"FROM {call('lazycogs_info', over_http, GRID, 'P1D', bands=[queued], **ONE)}").fetchall()
    assert time.monotonic() - started < 2
    thread.join()
    assert not isinstance(outcome[0], Exception)


def test_a_query_does_not_fail_with_the_limits_of_another(connect, over_http, served):
    hasty, patient = connect(), connect()
    hasty.execute("SET lazycogs_http_timeout = 1; SET lazycogs_max_retries = 0")
    served.fault(SCENE, delay=2.5, times=1)
    sql = f"FROM {call('lazycogs_info', over_http, GRID, 'P1D', **RED, **ONE)}"
    thread, outcome = in_thread(lambda: hasty.execute(sql).fetchall())
    time.sleep(0.3)
    assert patient.execute(sql).fetchall()
    thread.join()
    assert isinstance(outcome[0], duckdb.Error) and "timed out" in str(outcome[0])


def test_a_hasty_query_does_not_wait_for_a_patient_one(connect, over_http, served):
    patient, hasty = connect(), connect()
    hasty.execute("SET lazycogs_http_timeout = 1; SET lazycogs_max_retries = 0")
    served.fault(SCENE, delay=6, times=1)
    sql = f"FROM {call('lazycogs_info', over_http, GRID, 'P1D', **RED, **ONE)}"
    thread, outcome = in_thread(lambda: patient.execute(sql).fetchall())
    time.sleep(0.3)
    started = time.monotonic()
    assert hasty.execute(sql).fetchall()
    assert time.monotonic() - started < 3
    thread.join()
    assert outcome[0]


def test_a_query_that_is_given_up_takes_none_along(connect, over_http, served):
    first, second = connect(), connect()
    served.fault(SCENE, delay=2, times=1)
    sql = f"FROM {call('lazycogs_info', over_http, GRID, 'P1D', **RED, **ONE)}"
    thread, outcome = in_thread(lambda: first.execute(sql).fetchall())
    time.sleep(0.3)
    timer = threading.Timer(0.3, first.interrupt)
    timer.start()
    assert second.execute(sql).fetchall()
    thread.join()
    assert isinstance(outcome[0], duckdb.Error) and "nterrupt" in str(outcome[0])


# Cursors half read

OPEN = """
con.execute("SET lazycogs_memory_budget = '1MB'; SET threads = 2")
wanted = con.execute(sys.argv[2]).fetchall()
fine = sys.argv[2].replace("SELECT sum(red), count(*)", "SELECT red").replace(", 20,", ", 5,")
cursors = []
for _ in range(600):
    cursor = con.cursor()
    cursor.execute(fine)
    assert cursor.fetchone() is not None
    cursors.append(cursor)
busy = state()
started = time.monotonic()
assert con.execute(sys.argv[2]).fetchall() == wanted
other = connect()
assert other.execute(sys.argv[2]).fetchall() == wanted
took = time.monotonic() - started
for cursor in cursors[::100]:
    assert len(cursor.fetchmany(5000)) == 5000
for cursor in cursors: cursor.close()
del cursors
print(json.dumps([busy, settled(), took]))
"""


@linux_only
def test_six_hundred_cursors_half_read(extension, fixtures):
    sql = total(fixtures / "archive" / "items.parquet", chunk_size=64)
    busy, after, took = in_child(extension, sql, OPEN, timeout=300)
    print(busy, after, took)
    assert busy["threads"] < 120 and after["threads"] < 60
    assert took < 30


@pytest.mark.parametrize("permits", [1, 64])
@pytest.mark.parametrize("budget", ["1KB", "64KB", "1MB"])
def test_a_unit_does_not_wait_for_its_own_memory(con, over_http, budget, permits):
    """Small tiles behind a server ask for the items that fill their holes while the first is in work."""
    con.execute(f"SET lazycogs_memory_budget = '{budget}'; SET lazycogs_max_concurrent_reads = {permits}")
    con.execute("SET lazycogs_cache_size = '0'")
    where = Grid((-90.1, 44.45, -90.0, 44.55), "OGC:CRS84", 0.0004)
    sql = f"SELECT count(*) FROM {call('lazycogs_read', over_http, where, 'P1M', chunk_size=32, **RED)}"
    timer = threading.Timer(30, con.interrupt)
    timer.start()
    assert con.execute(sql).fetchone()[0] > 0
    timer.cancel()


def test_a_step_of_too_many_items_says_so(con, tmp_path):
    """Items of a step are held together, and count."""
    path = raster(tmp_path / "a.tif", np.ones((32, 32), "uint8"))
    round_about = np.linspace(0, 2 * np.pi, 40_000)
    ring = [(15 + np.cos(a) / 100, 46.95 + np.sin(a) / 100) for a in round_about]
    ring[-1] = ring[0]
    items = index(tmp_path, [item(str(i), {"data": path}, footprint=ring) for i in range(130)])
    con.execute("SET lazycogs_memory_budget = '1MB'")
    sql = f"SELECT count(*) FROM {call('lazycogs_read', items, grid(2), 'P1D', bands=['data'])}"
    with pytest.raises(duckdb.Error, match="items fall into one step.*lazycogs_memory_budget"):
        con.execute(sql).fetchall()
    con.execute("SET lazycogs_memory_budget = '256MB'")
    assert con.execute(sql).fetchone() == (2,)
