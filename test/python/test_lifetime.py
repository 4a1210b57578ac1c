"""How a query ends: interrupted, limited, dropped, in a forked child; and what it leaves in the process.

What is counted is counted in a process of its own, where there are no threads and sockets of the server.
"""

import json
import os
import subprocess
import sys
import threading
import time

import duckdb
import numpy as np
import pytest
from helpers import call, moved
from model import Grid
from server import RangeServer

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
# 1.8 billion pixels a month: minutes of work, from a few small files.
FINE = Grid(GRID.bbox, GRID.crs, 0.1)
ALL = {"bands": ["red"]}
LAST_SCENE = "archive/scenes/A_20240730T17_red.tif"

CHILD = """
import json, os, sys, threading, time, duckdb
def connect():
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{sys.argv[1]}'")
    return con
def sockets():
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return sum(name.startswith("socket:") for name in names)
def state():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {"threads": int(status["Threads"]), "files": len(os.listdir("/proc/self/fd")), "sockets": sockets(),
            "mib": int(status["VmRSS"].split()[0]) / 1024}
def settled():
    # Threads that only wait for more work end after a second without any.
    time.sleep(2)
    return state()
con = connect()
sql = sys.argv[2]
"""

linux_only = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts in /proc")


def in_child(extension, sql, code, timeout=120):
    """Runs code after CHILD in another Python; returns what it printed last, as JSON."""
    command = [sys.executable, "-c", CHILD + code, str(extension), sql]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def interrupted_after(con, sql, seconds):
    """Interrupts the query that runs for `seconds`; returns how long it went on after that."""
    at = []

    def interrupt():
        at.append(time.monotonic())
        con.interrupt()

    timer = threading.Timer(seconds, interrupt)
    timer.start()
    with pytest.raises(duckdb.Error) as error:
        con.execute(sql).fetchall()
    ended = time.monotonic()
    timer.join()
    assert at and at[0] <= ended, f"the query ended by itself: {error.value}"
    return ended - at[0], str(error.value)


def total(items, grid, **named):
    return f"SELECT sum(red), count(*) FROM {call('lazycogs_read', items, grid, 'P1D', **ALL, **named)}"


def test_interrupt_of_a_running_read(con, fixtures):
    items = fixtures / "archive" / "items.parquet"
    before = con.execute(total(items, GRID)).fetchone()
    took, message = interrupted_after(con, total(items, FINE), 1)
    assert took < 1 and "interrupt" in message.lower()
    assert con.execute(total(items, GRID)).fetchone() == before


def test_interrupt_while_a_read_stalls(con, over_http, served):
    """Rows that are kept back let DuckDB see the interrupt, though no tile comes."""
    before = con.execute(total(over_http, GRID)).fetchone()
    con.execute("SET lazycogs_cache_size = '0'")
    served.fault(LAST_SCENE, delay=25)
    took, message = interrupted_after(con, total(over_http, GRID), 1)
    assert took < 1 and "interrupt" in message.lower()
    served.reset()
    assert con.execute(total(over_http, GRID)).fetchone() == before


def test_rows_are_not_lost_while_a_read_stalls(con, over_http, served):
    before = con.execute(total(over_http, GRID)).fetchone()
    con.execute("SET lazycogs_cache_size = '0'")
    served.fault(LAST_SCENE, delay=1.5, times=1)
    assert con.execute(total(over_http, GRID)).fetchone() == before


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("function", ["lazycogs_read", "lazycogs_read_chunks", "lazycogs_explain"])
def test_interrupt_before_the_first_tile(con, over_http, served, function, threads):
    """The headers are there, nothing else is: no row has been handed out when the interrupt comes."""
    con.execute(f"SET threads = {threads}; SET lazycogs_cache_size = '0'")
    con.execute(f"FROM {call('lazycogs_info', over_http, GRID, 'P1D', **ALL)}").fetchall()
    headers = {"headers": True} if function == "lazycogs_explain" else {}
    served.fault("*", delay=25)
    took, message = interrupted_after(con, f"FROM {call(function, over_http, GRID, 'P1D', **ALL, **headers)}", 0.5)
    assert took < 1 and "interrupt" in message.lower()
    served.reset()
    assert con.execute(total(over_http, GRID)).fetchone()[1] > 0


@pytest.mark.parametrize("function", ["lazycogs_read", "lazycogs_read_chunks", "lazycogs_explain", "lazycogs_info"])
def test_interrupt_at_bind(con, over_http, served, function):
    """The first header does not come."""
    served.fault("*", delay=25)
    took, message = interrupted_after(con, f"FROM {call(function, over_http, GRID, 'P1D', **ALL)}", 0.5)
    assert took < 1 and "interrupt" in message.lower()
    served.reset()
    assert con.execute(total(over_http, GRID)).fetchone()[1] > 0


def test_interrupt_while_items_are_fetched(con, fixtures, served):
    url = f"{served.url}/archive/items.parquet"
    served.fault("archive/items.parquet", delay=25)
    took, message = interrupted_after(con, f"FROM {call('lazycogs_info', url, GRID, 'P1D', **ALL)}", 0.5)
    assert took < 1 and "interrupt" in message.lower()


def test_an_interrupt_of_another_connection_is_not_ours(con, over_http, served):
    wanted = con.execute(total(over_http, GRID)).fetchone()
    con.execute("SET lazycogs_cache_size = '0'")
    served.fault("*", delay=0.5, times=3)
    other = con.cursor()
    timer = threading.Timer(0.2, other.interrupt)
    timer.start()
    assert con.execute(total(over_http, GRID)).fetchone() == wanted
    timer.join()


def test_a_limit_stops_reading(con, over_http, served):
    sql = call("lazycogs_read", over_http, Grid(GRID.bbox, GRID.crs, 5), "P1D", chunk_size=64, **ALL)
    con.execute("SET lazycogs_cache_size = '0'")
    con.execute(f"SELECT sum(red) FROM {sql}").fetchall()
    whole = len(served.requests())
    served.reset()
    con.execute("SET lazycogs_memory_budget = '1MB'")
    assert len(con.execute(f"SELECT red FROM {sql} LIMIT 10").fetchall()) == 10
    time.sleep(0.5)
    limited = len(served.requests())
    assert limited < whole / 4, f"{limited} of {whole} requests"
    time.sleep(0.5)
    assert len(served.requests()) == limited, "reading goes on after the query"


@linux_only
def test_closing_in_the_middle_leaves_nothing_busy(extension, over_http, served):
    """A result that is dropped half read: no socket stays, no request is made, no CPU is used."""
    served.latency = 0.02
    sql = f"FROM {call('lazycogs_read', over_http, Grid(GRID.bbox, GRID.crs, 1), 'P1D', chunk_size=64, **ALL)}"
    code = """
con.execute("SET lazycogs_cache_size = '0'")
result = con.execute(sql)
reader = result.to_arrow_reader(1000) if hasattr(result, "to_arrow_reader") else result.fetch_record_batch(1000)
reader.read_next_batch()
busy = state()
del result, reader
con.close()
time.sleep(1)
cpu = time.process_time()
time.sleep(1)
print(json.dumps([busy, state(), time.process_time() - cpu]))
"""
    busy, after, cpu = in_child(extension, sql, code)
    made = len(served.requests())
    time.sleep(0.3)
    assert len(served.requests()) == made
    assert cpu < 0.1
    assert after["threads"] <= busy["threads"]
    # Connections that wait for the next query are no work, and the client ends them after 90 seconds.
    assert after["sockets"] <= busy["sockets"]


@linux_only
def test_a_forked_child_reads(extension, over_http):
    code = """
import multiprocessing, warnings
warnings.simplefilter("ignore")
mine = con.execute(sql).fetchall()
def child(queue):
    queue.put(connect().execute(sql).fetchall())
context = multiprocessing.get_context("fork")
queue = context.Queue()
children = [context.Process(target=child, args=(queue,)) for _ in range(3)]
for process in children: process.start()
theirs = [queue.get(timeout=30) for _ in children]
for process in children: process.join(10)
again = con.execute(sql).fetchall()
print(json.dumps([[repr(rows) for rows in (mine, again, *theirs)], [process.exitcode for process in children]]))
"""
    answers, codes = in_child(extension, total(over_http, GRID), code)
    assert len(set(answers)) == 1
    assert codes == [0, 0, 0]


@linux_only
def test_many_queries_leave_the_process_as_it_was(extension, fixtures, tmp_path):
    """Two hundred one after the other, then eight at once, five times; the server ends connections that nobody uses."""
    code = """
def run(cursor):
    return cursor.execute(sql).fetchall()
wanted = run(con)
def at_once():
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(run(con.cursor()))) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert answers == [wanted] * 8
for _ in range(20): run(con)
at_once()
before = settled()
for _ in range(200): assert run(con) == wanted
alone = settled()
for _ in range(5): at_once()
print(json.dumps([before, alone, settled()]))
"""
    with RangeServer(fixtures, lifetime=300, idle=1.0) as served:
        items = moved(fixtures / "archive" / "items.parquet", f"{served.url}/archive", tmp_path / "items.parquet")
        before, alone, together = in_child(extension, total(items, GRID), code, timeout=300)
    print(before, alone, together)
    for after in (alone, together):
        assert after["threads"] <= before["threads"] + 2
        assert after["files"] <= before["files"] + 4
        assert after["sockets"] <= before["sockets"] + 4
        assert after["mib"] <= before["mib"] + 40


CONSUMERS = {
    "rows": "FROM chunks",
    "sorted": "FROM chunks ORDER BY step DESC, col",
    "kept": "FROM kept",
    "lists": "SELECT unnest(list(step)), unnest(list(row)), unnest(list(col)), unnest(list(red)) FROM chunks",
    "joined": "SELECT a.* FROM chunks a JOIN kept b USING (step, row, col)",
    "cut": "SELECT step, row, col, red[1:3] || red[4:octet_length(red)] FROM chunks",
}


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_blobs_outlive_the_scan_that_made_them(con, fixtures, consumer):
    # Their bytes are buffers of the extension, which it uses again as soon as DuckDB has let go of them.
    index = fixtures / "archive/items.parquet"
    chunks = call("lazycogs_read_chunks", index, GRID, chunk_size=64, **ALL)
    con.execute(
        f"CREATE TEMP VIEW chunks AS SELECT time AS step, chunk_row AS row, chunk_col AS col, red FROM {chunks}"
    )
    con.execute("CREATE TEMP TABLE kept AS FROM chunks")
    rows = con.execute(CONSUMERS[consumer]).fetchall()
    sql = f"SELECT coalesce(red, 0) AS red FROM {call('lazycogs_read', index, GRID, **ALL)} ORDER BY time, y DESC, x"
    cube = con.execute(sql).fetchnumpy()["red"].reshape(-1, GRID.height, GRID.width)
    steps = sorted({row[0] for row in rows})
    assert len(rows) == len(cube) * -(-GRID.height // 64) * -(-GRID.width // 64)
    for step, row, col, red in rows:
        tile = cube[steps.index(step), row * 64 : row * 64 + 64, col * 64 : col * 64 + 64]
        assert np.array_equal(np.frombuffer(red, "uint16").reshape(tile.shape), tile)


@linux_only
def test_memory_of_blobs_is_released(extension, fixtures):
    finer = Grid(GRID.bbox, GRID.crs, 2)
    chunks = call("lazycogs_read_chunks", fixtures / "archive/items.parquet", finer, period="P1M", **ALL)
    code = """
sizes = []
for _ in range(12):
    con.execute(sql).fetchall()
    sizes.append(state()["mib"])
print(json.dumps(sizes))
"""
    sizes = in_child(extension, f"SELECT sum(octet_length(red)) FROM {chunks}", code)
    # 9 MB a month, 12 times: what is not given back would show.
    assert max(sizes[6:]) < sizes[5] + 20, sizes
