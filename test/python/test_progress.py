"""What lazycogs_progress() tells while a query runs, and what the bar writes and where."""

import os
import pty
import re
import subprocess
import sys
import threading
import time

import pytest
from helpers import call
from model import Grid

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
ALL = {"bands": ["red"], "chunk_size": 64}
COUNTED = ["steps_done", "tiles_done", "requests", "bytes", "seconds"]

CHILD = """
import sys, duckdb
con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
con.execute(f"LOAD '{sys.argv[1]}'")
con.execute(f"SET enable_progress_bar = {sys.argv[4]}")
con.execute(sys.argv[2])
print(con.execute(sys.argv[3]).fetchone())
"""


def watched(con, sql):
    """Runs a query and polls from a second connection; returns its rows and what was seen, one dict per poll."""
    rows, failed = [], []

    def run():
        try:
            rows.extend(con.execute(sql).fetchall())
        except Exception as error:
            failed.append(error)

    other = con.cursor()
    thread = threading.Thread(target=run)
    thread.start()
    seen = []
    while thread.is_alive():
        found = other.execute("FROM lazycogs_progress()")
        names = [column[0] for column in found.description]
        seen.extend(dict(zip(names, row, strict=True)) for row in found.fetchall())
        time.sleep(0.01)
    thread.join()
    assert not failed, failed
    assert other.execute("FROM lazycogs_progress()").fetchall() == []
    return rows, seen


@pytest.fixture
def slow(con, served):
    served.latency = 0.03
    con.execute(
        "SET lazycogs_cache_size = '0'; SET lazycogs_max_concurrent_reads = 2; SET lazycogs_memory_budget = '1MB'"
    )
    return con


@pytest.mark.parametrize("function", ["lazycogs_read", "lazycogs_read_chunks"])
def test_a_running_scan_is_seen_from_another_connection(slow, over_http, served, function):
    before = time.time()
    rows, seen = watched(slow, f"SELECT count(DISTINCT time), count(red) FROM {call(function, over_http, GRID, **ALL)}")
    assert len(seen) > 5 and {state["function"] for state in seen} == {function}

    assert len({state["started"] for state in seen}) == 1
    for name in COUNTED:
        values = [state[name] for state in seen]
        assert values == sorted(values) and values[-1] > values[0], name
    assert seen[-1]["seconds"] <= time.time() - before
    assert seen[-1]["requests"] <= len(served.requests())
    across, down = -(-GRID.width // 64), -(-GRID.height // 64)
    for state in seen:
        assert state["steps_done"] == state["tiles_done"] // (across * down)
        assert state["tiles"] in (None, rows[0][0] * across * down)
    # The plan is streamed: its end is not known at the beginning.
    assert seen[0]["tiles"] is None and seen[0]["seconds_left"] is None


def test_the_steps_are_counted_ahead_on_demand(slow, over_http):
    slow.execute("SET lazycogs_progress = true")
    rows, seen = watched(
        slow, f"SELECT count(DISTINCT time), sum(red) FROM {call('lazycogs_read', over_http, GRID, **ALL)}"
    )
    halfway = [state for state in seen if state["tiles"] and 0 < state["tiles_done"] < state["tiles"] / 2]
    assert halfway and all(state["steps"] == rows[0][0] for state in halfway)
    for state in halfway:
        pace = state["seconds"] / state["tiles_done"]
        assert state["seconds_left"] == pytest.approx(pace * (state["tiles"] - state["tiles_done"]))


def test_explain_with_headers_is_seen(slow, over_http, served):
    served.latency = 0.05
    sql = f"SELECT count(*) FROM {call('lazycogs_explain', over_http, GRID, headers=True, **ALL)}"
    _, seen = watched(slow, sql)
    assert seen and {state["function"] for state in seen} == {"lazycogs_explain"}
    assert seen[-1]["tiles_done"] > 0 and seen[-1]["requests"] > 0


def test_nothing_runs(con):
    assert con.execute("FROM lazycogs_progress()").fetchall() == []
    assert con.execute("SELECT current_setting('lazycogs_progress')").fetchone() == (False,)


def test_a_failed_and_an_abandoned_scan_are_gone(con, over_http, served):
    served.fault("*", status=404)
    with pytest.raises(Exception, match="404"):
        con.execute(f"SELECT sum(red) FROM {call('lazycogs_read', over_http, GRID, **ALL)}").fetchall()
    served.reset()
    con.execute(f"FROM {call('lazycogs_read', over_http, GRID, **ALL)} LIMIT 5").fetchall()
    assert con.execute("FROM lazycogs_progress()").fetchall() == []


def on_a_terminal(extension, settings, sql, both=False):
    """What a child writes to a stderr that is a terminal, and its stdout, which may be the same terminal."""
    terminal, end = pty.openpty()
    command = [sys.executable, "-c", CHILD, str(extension), settings, sql, str(both).lower()]
    child = subprocess.Popen(command, stdout=end if both else subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    written = b""
    try:
        while part := os.read(terminal, 4096):
            written += part
    except OSError:  # Linux says so when the last writer is gone
        pass
    os.close(terminal)
    out = child.communicate(timeout=60)[0]
    assert child.returncode == 0, written
    return written.decode(), out


SLOW = "SET lazycogs_max_concurrent_reads = 1; SET lazycogs_memory_budget = '1MB'"


def test_the_bar(extension, over_http, served):
    served.latency = 0.03
    sql = f"SELECT count(red) FROM {call('lazycogs_read', over_http, GRID, **ALL)}"
    written, out = on_a_terminal(extension, f"{SLOW}; SET lazycogs_progress = true", sql)
    assert re.fullmatch(r"\(\d+,\)\n", out)
    *lines, after = written.split("\r\x1b[K")
    assert after == "", "the bar stays on the screen"
    lines = [line for line in lines if line]
    assert lines and len(lines) <= 5 * 60, "drawn too often"
    for line in lines:
        assert re.fullmatch(
            r"read (\[[#.]{20}\] )?step \d+(/\d+)?, tile \d+(/\d+)?, [\d.]+ [kMG]B, [\d:]+( left)?", line
        )
        assert len(line) < 80
    assert any("#" in line for line in lines)
    assert len(set(lines)) > 1


def test_the_bar_and_that_of_duckdb(extension, over_http, served):
    """DuckDB has no progress of a table function like ours to draw; its own line at the end finds ours gone."""
    served.latency = 0.06
    sql = f"SELECT count(red) FROM {call('lazycogs_read', over_http, GRID, **ALL)}"
    written, _ = on_a_terminal(extension, f"{SLOW}; SET lazycogs_progress = true", sql, both=True)
    ours, _, theirs = written.rpartition("\r\x1b[K")
    assert "tile" in ours and "\u2588" not in ours, "DuckDB's bar is in the middle of ours"
    assert re.search(r"\(\d+,\)\r\n$", theirs) and "tile" not in theirs


def test_a_short_query_shows_no_bar(extension, fixtures):
    sql = f"SELECT count(red) FROM {call('lazycogs_read', fixtures / 'archive' / 'items.parquet', GRID, bands=['red'])}"
    assert on_a_terminal(extension, "SET lazycogs_progress = true", sql)[0] == ""


def test_no_bar_without_the_setting(extension, over_http, served):
    served.latency = 0.03
    sql = f"SELECT count(red) FROM {call('lazycogs_read', over_http, GRID, **ALL)}"
    assert on_a_terminal(extension, SLOW, sql)[0] == ""


def test_no_bar_on_a_pipe(extension, over_http, served):
    served.latency = 0.03
    sql = f"SELECT count(red) FROM {call('lazycogs_read', over_http, GRID, **ALL)}"
    command = [sys.executable, "-c", CHILD, str(extension), f"{SLOW}; SET lazycogs_progress = true", sql, "false"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "" and re.fullmatch(r"\(\d+,\)\n", done.stdout)
