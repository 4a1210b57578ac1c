"""Items behind a URL, where DuckDB has no httpfs: fetched once, hrefs relative to the URL, nothing left over."""

import glob
import json
import os
import tempfile
import time

import duckdb
import pyarrow.parquet as pq
import pytest
from helpers import call, read
from model import Grid

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 50)
ONE = {"bands": ["red"]}


@pytest.fixture(autouse=True)
def without_httpfs(con):
    try:
        con.execute("LOAD httpfs")
    except duckdb.Error:
        return
    pytest.skip("httpfs is installed: items are read in place")


def left_over():
    """Temporary files of this process, a moment after its query: threads of ours may still let go of them."""
    pattern = f"{tempfile.gettempdir()}/lazycogs-{os.getpid()}-*"
    for _ in range(40):
        if not glob.glob(pattern):
            break
        time.sleep(0.05)
    return glob.glob(pattern)


def same(found, wanted):
    assert list(found) == list(wanted) and found
    for step, bands in wanted.items():
        for name, pixels in bands.items():
            assert (found[step][name].mask == pixels.mask).all()
            assert (found[step][name].filled(0) == pixels.filled(0)).all()


def test_parquet(con, fixtures, served):
    wanted = read(con, fixtures / "archive" / "items.parquet", GRID, **ONE)
    same(read(con, f"{served.url}/archive/items.parquet?token=1", GRID, **ONE), wanted)
    assert len(served.requests("items.parquet")) == 1
    assert served.requests("_red.tif"), "hrefs are relative to the URL"
    assert not left_over()


def test_a_list_of_files_here_and_there(con, fixtures, served):
    wanted = read(con, fixtures / "archive" / "items.parquet", GRID, **ONE)
    both = [f"{served.url}/archive/items.parquet", str(fixtures / "archive" / "items.parquet")]
    same(read(con, both, GRID, **ONE), wanted)


def test_json(con, fixtures, served, tmp_path):
    local = fixtures / "archive" / "items.parquet"
    rows = pq.read_table(local, columns=["id", "assets", "datetime", "bbox"]).to_pylist()
    items = [
        {
            "type": "Feature",
            "id": row["id"],
            "bbox": [row["bbox"][side] for side in ("xmin", "ymin", "xmax", "ymax")],
            "assets": {key: {"href": asset["href"]} for key, asset in row["assets"].items() if asset},
            "properties": {"datetime": row["datetime"].isoformat()},
        }
        for row in rows
    ]
    text = json.dumps({"type": "FeatureCollection", "features": items})
    served.fault("archive/items.parquet", replace_with=text.encode(), times=1)
    with pytest.raises(duckdb.Error, match="archive/items.parquet"):
        read(con, f"{served.url}/archive/items.parquet", GRID, **ONE)
    served.alias("archive/items.json", text.encode())
    same(read(con, f"{served.url}/archive/items.json", GRID, **ONE), read(con, local, GRID, **ONE))
    assert not left_over()


@pytest.mark.parametrize(
    "path, fault, says",
    [
        ("nothing.parquet", {}, "404"),
        ("archive/items.parquet", {"status": 403}, "store_options"),
        ("archive/items.parquet", {"status": 503}, "503"),
        ("archive/*.parquet", {}, "httpfs"),
        ("archive/items.parquet", {"replace_with": b""}, "items.parquet"),
    ],
    ids=str,
)
def test_failures(con, served, path, fault, says):
    con.execute("SET lazycogs_max_retries = 1")
    served.fault(path, **fault)
    with pytest.raises(duckdb.Error) as error:
        con.execute(f"FROM {call('lazycogs_read', served.url + '/' + path, GRID, **ONE)}").fetchall()
    assert path in str(error.value) and says in str(error.value) and "lazycogs_read" in str(error.value)
    assert not left_over()


def test_a_passing_fault_is_retried(con, served):
    served.fault("archive/items.parquet", status=503, times=2)
    assert read(con, f"{served.url}/archive/items.parquet", GRID, **ONE)
