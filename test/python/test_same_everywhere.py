"""How a call is run must not show: tile size, threads, disk or http, chunks or rows, columns that are asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import assert_same, call, read
from model import Grid, cube, load_items

GRID = Grid((-90.075, 44.48, -90.005, 44.54), "EPSG:4326", 0.0001)  # 700 x 600
BANDS = ["red", "nir"]


@pytest.fixture(scope="module")
def wanted(fixtures):
    return cube(load_items(fixtures / "archive" / "items.parquet"), GRID, "P1M", BANDS)


def flat(result):
    """A cube as bytes: masked values zeroed, validity beside them."""
    return {
        (step, name): (band.filled(0).tobytes(), np.ma.getmaskarray(band).tobytes())
        for step, bands in result.items()
        for name, band in bands.items()
    }


def test_chunk_size_threads_and_transport(connect, fixtures, over_http, served, wanted):
    results = {}
    for source, index in (("disk", fixtures / "archive" / "items.parquet"), ("http", over_http)):
        for chunk_size in (64, 500, 4096):
            for threads in (1, 4):
                con = connect()
                con.execute(f"SET threads = {threads}")
                found = read(con, index, GRID, "P1M", bands=BANDS, chunk_size=chunk_size)
                assert_same(found, wanted)
                results[source, chunk_size, threads] = flat(found)
                con.close()
    assert served.requests(".tif"), "nothing was read over http"
    reference = results["disk", 4096, 1]
    assert len(reference) == 6
    different = [key for key, value in results.items() if value != reference]
    assert not different


@pytest.mark.parametrize("chunk_size", [64, 500, 4096])
def test_chunks_are_the_rows(con, fixtures, wanted, chunk_size):
    index = fixtures / "archive" / "items.parquet"
    text = call("lazycogs_read_chunks", index, GRID, "P1M", bands=BANDS, chunk_size=chunk_size, nodata=65535)
    names = [row[0] for row in con.execute(f"DESCRIBE FROM {text}").fetchall()]
    assert names == ["time", "chunk_row", "chunk_col", "xmin", "ymin", "xmax", "ymax", "height", "width", *BANDS]
    rows = con.execute(f"FROM {text}").fetchall()
    across, down = -(-GRID.width // chunk_size), -(-GRID.height // chunk_size)
    assert len(rows) == across * down * len(wanted)
    found = {step: {band: np.full(GRID.shape, 65535, np.uint16) for band in BANDS} for step in wanted}
    for time, row, col, xmin, ymin, xmax, ymax, height, width, *blobs in rows:
        top, left = row * chunk_size, col * chunk_size
        assert (height, width) == (min(chunk_size, GRID.height - top), min(chunk_size, GRID.width - left))
        box = np.array([left, -top - height, left + width, -top]) * GRID.resolution
        corner = np.array([GRID.bbox[0], GRID.bbox[3]] * 2)
        assert np.allclose([xmin, ymin, xmax, ymax], corner + box, atol=1e-9)
        for band, blob in zip(BANDS, blobs):
            tile = np.frombuffer(blob, "<u2").reshape(height, width)
            found[time][band][top : top + height, left : left + width] = tile
    masked = {step: {b: np.ma.masked_equal(a, 65535) for b, a in bands.items()} for step, bands in found.items()}
    # 65535 is the output's sentinel here and overrides what the sources declare: their zeros are values now.
    items = load_items(index)
    assert_same(masked, cube(items, GRID, "P1M", BANDS, nodata=65535))


def test_chunk_fill_is_the_sources_nodata(con, fixtures):
    index = fixtures / "archive" / "items.parquet"
    (blob,) = con.execute(
        f"SELECT red FROM {call('lazycogs_read_chunks', index, GRID, 'P1Y', bands=['red'], chunk_size=4096)}"
    ).fetchone()
    tile = np.frombuffer(blob, "<u2").reshape(GRID.shape)
    (bands,) = cube(load_items(index), GRID, "P1Y", ["red"]).values()
    band = bands["red"]
    sure = ~band.doubt
    assert (tile == np.where(band.valid, band.values, 0))[sure].all()


def test_a_band_that_is_not_named_is_not_fetched(con, over_http, served):
    text = call("lazycogs_read", over_http, GRID, "P1M", bands=["red", "nir", "scl"])
    con.execute(f"DESCRIBE FROM {text}")
    served.reset()
    assert con.execute(f"SELECT sum(nir) FROM {text}").fetchone()[0] > 0
    assert served.requests("_nir.tif")
    assert not served.requests("_red.tif") and not served.requests("_scl.tif")
    served.reset()
    con.execute(f"SELECT count(*), min(x), max(time) FROM {text}").fetchall()
    assert not served.requests(".tif"), "rows were counted, no band was asked for"


def test_views_limits_and_prepared_statements(con, fixtures, wanted):
    index = fixtures / "archive" / "items.parquet"
    text = call("lazycogs_read", index, GRID, "P1M", bands=BANDS)
    con.execute(f"CREATE VIEW cube AS SELECT * FROM {text}")
    count = sum(int(band["red"].valid.sum()) for band in wanted.values())
    assert con.execute("SELECT count(*) FROM cube").fetchone()[0] == len(wanted) * GRID.width * GRID.height
    assert abs(con.execute("SELECT count(red) FROM cube").fetchone()[0] - count) < 0.001 * count
    assert len(con.execute("FROM cube LIMIT 10").fetchall()) == 10
    con.execute(f"PREPARE p AS SELECT count(red) FROM {text} WHERE y > $1")
    assert con.execute("EXECUTE p(90)").fetchone() == (0,)


def test_eight_queries_at_once(connect, fixtures, wanted):
    con = connect()
    source = call("lazycogs_read", fixtures / "archive" / "items.parquet", GRID, "P1M", bands=BANDS)
    text = f"SELECT sum(red), sum(nir), count(red) FROM {source}"
    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(lambda _: con.cursor().execute(text).fetchone(), range(8)))
    assert len(results) == 1 and None not in results.pop()
