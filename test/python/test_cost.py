"""What a query costs, counted: without a clock, so that waste fails here and a busy machine does not.

The files are not compressed and in GDAL's COG layout, so that each number follows from the window: 512 x 512 pixels of
uint16 in blocks of 128 x 128, and overviews of 256 and 128 pixels. The blocks of one row that a window needs are one
request, and so are whole rows; a header is one request.
"""

import time

import numpy as np
import pytest
import stac
from helpers import call
from model import Grid
from pyproj import Transformer
from server import RangeServer
from small import LEFT, TOP, UTM, grid, index, item, raster

SIDE, DATES, PIXELS = 512, 3, 128 * 128
# Of a block, of what COGs have between two blocks, of the read of a header; all in bytes.
BLOCK, GAP, HEADER = PIXELS * 2, 8, 16 * 1024
# Around a corner where four blocks meet, with a quarter of each; and everything.
FOUR_BLOCKS, WHOLE = grid(128, 128, left=LEFT + 640, top=TOP - 640), grid(SIDE, SIDE)
# The four blocks of each date: two rows of two blocks.
FOUR_BLOCKS_READ = {"requests": DATES * 3, "bytes": DATES * (HEADER + 2 * (2 * BLOCK + GAP)), "header_misses": DATES}
COUNTED = ("requests", "bytes", "header_misses", "tiles_decoded", "tile_hits", "mappings", "pixels_sampled")
COG = {"driver": "COG", "compress": "none", "blocksize": 128, "nodata": 0}
COG |= {"tiled": None, "blockxsize": None, "blockysize": None}


@pytest.fixture(params=[1, 4], ids=["1 thread", "4 threads"])
def con(connect, request):
    """A connection with a cache that these tests do not fill, and that no other test uses."""
    connection = connect(threads=str(request.param))
    connection.execute("SET lazycogs_cache_size = '256MB'")
    return connection


def constant(number):
    return np.full((SIDE, SIDE), number + 1, "uint16")


def archive(folder, dates=DATES, per_day=1, bands=("red",), pixels=constant):
    """`per_day` items on each of `dates` days, all over the same place; `pixels(number)` are those of an item."""
    items = []
    for number in range(dates * per_day):
        assets = {band: raster(folder / f"{number}_{band}.tif", pixels(number), **COG) for band in bands}
        items.append(item(f"{number:02}", assets, (2024, 5, 1 + number // per_day, 12, number % per_day)))
    # A file that was written just now may change once more: no query leaves its header to the next.
    time.sleep(0.1)
    return index(folder, items)


def reading(items, where, bands=("red",), **named):
    return f"SELECT count(red) FROM {call('lazycogs_read', items, where, bands=list(bands), **named)}"


def cost(con, sql):
    """What a statement adds to the counters."""

    def stats():
        return dict(con.execute("SELECT counter, value FROM lazycogs_cache_stats()").fetchall())

    before = stats()
    con.execute(sql).fetchall()
    return {name: value - before[name] for name, value in stats().items()}


def costs(con, sql, **wanted):
    """The counters that are named are as wanted, the others of COUNTED 0. Returns all of them."""
    found = cost(con, sql)
    wanted = dict.fromkeys(COUNTED, 0) | wanted
    assert {name: found[name] for name in wanted} == wanted
    return found


def test_native(con, tmp_path):
    """Each block of the window is fetched and decoded once, and no mapping is computed in the files' own CRS."""
    sql = reading(archive(tmp_path), FOUR_BLOCKS)
    costs(con, sql, **FOUR_BLOCKS_READ, tiles_decoded=DATES * 4, pixels_sampled=DATES * PIXELS, pixels=DATES * PIXELS)


def test_neighbouring_blocks_are_one_request(con, tmp_path):
    """All 16 blocks of a level lie one after the other."""
    read = {"requests": DATES * 2, "bytes": DATES * (HEADER + 16 * BLOCK + 15 * GAP), "header_misses": DATES}
    sql = reading(archive(tmp_path), WHOLE)
    costs(con, sql, **read, tiles_decoded=DATES * 16, pixels_sampled=DATES * SIDE**2)


def test_again(con, tmp_path):
    """What was read is in the caches: nothing is fetched or decoded, the pixels are only brought to the grid."""
    sql = reading(archive(tmp_path), FOUR_BLOCKS)
    con.execute(sql).fetchall()
    costs(con, sql, tile_hits=DATES * 4, pixels_sampled=DATES * PIXELS)


def test_reprojected(con, tmp_path):
    """The middle of the four blocks in another CRS: all dates are of one geometry, so there is one mapping."""
    x, y = Transformer.from_crs(UTM, "EPSG:3035", always_xy=True).transform(LEFT + 1280, TOP - 1280)
    where = Grid((round(x) - 600, round(y) - 600, round(x) + 600, round(y) + 600), "EPSG:3035", 10)
    sampled = DATES * where.width * where.height
    sql = reading(archive(tmp_path), where)
    mapped = {"mappings": 1, "pixels_sampled": sampled}
    found = costs(con, sql, **FOUR_BLOCKS_READ, tiles_decoded=DATES * 4, **mapped)
    assert 0 < found["pixels_mapped"] <= where.width * where.height
    costs(con, sql, tile_hits=DATES * 4, **mapped)


@pytest.mark.parametrize("resolution, blocks", [(20, 4), (40, 1)])
def test_overview(con, tmp_path, resolution, blocks):
    """A coarser grid takes the level made for it: a quarter and a sixteenth of the blocks, still in one request."""
    read = {"requests": DATES * 2, "bytes": DATES * (HEADER + blocks * BLOCK + (blocks - 1) * GAP)}
    sql = reading(archive(tmp_path), Grid(WHOLE.bbox, UTM, resolution))
    sampled = DATES * blocks * PIXELS
    costs(con, sql, **read, header_misses=DATES, tiles_decoded=DATES * blocks, pixels_sampled=sampled)


def test_one_pixel_through_time(con, tmp_path):
    """A header and a block for each date; the neighbour of the pixel is in the same blocks."""
    items = archive(tmp_path, dates=10)
    here, beside = (grid(1, left=LEFT + x, top=TOP - 1000) for x in (1000, 1010))
    read = {"requests": 20, "bytes": 10 * (HEADER + BLOCK), "header_misses": 10}
    costs(con, reading(items, here), **read, tiles_decoded=10, pixels_sampled=10)
    costs(con, reading(items, beside), tile_hits=10, pixels_sampled=10)


@pytest.mark.parametrize("mosaic", ["median", "mean", "highest", "count"])
def test_a_composite_of_everything(con, tmp_path, mosaic):
    """A month is one step: the output is a third of what is sampled."""
    sql = reading(archive(tmp_path), FOUR_BLOCKS, mosaic=mosaic, period="P1M")
    costs(con, sql, **FOUR_BLOCKS_READ, tiles_decoded=DATES * 4, pixels_sampled=DATES * PIXELS, pixels=PIXELS)


@pytest.mark.parametrize("mosaic", ["first", "last"])
def test_an_item_that_is_covered_costs_nothing(con, tmp_path, mosaic):
    """One of three items has every pixel. `last` opens two headers: bind looks into the first item of the index."""
    opened = 1 if mosaic == "first" else 2
    read = {"requests": opened + 2, "bytes": opened * HEADER + 2 * (2 * BLOCK + GAP), "header_misses": opened}
    sql = reading(archive(tmp_path, dates=1, per_day=3), FOUR_BLOCKS, mosaic=mosaic)
    costs(con, sql, **read, tiles_decoded=4, pixels_sampled=PIXELS, pixels=PIXELS)


def test_a_gap_costs_one_more_item(con, tmp_path):
    """The first item lacks one block of 16, the second has it, the third is not opened."""

    def pixels(number):
        found = constant(number)
        if number == 0:
            found[:128, :128] = 0
        return found

    found = cost(con, reading(archive(tmp_path, dates=1, per_day=3, pixels=pixels), WHOLE))
    assert found["header_misses"] == 2
    # Today the second item is read wherever it meets the tile, not only where the gap is.
    assert 17 <= found["tiles_decoded"] <= 32
    assert found["requests"] <= 4 and found["bytes"] <= 2 * (HEADER + 16 * BLOCK + 15 * GAP)


def test_a_band_that_is_not_named_is_not_fetched(con, tmp_path):
    """Its one header is that which bind looks into for its type."""
    sql = reading(archive(tmp_path, bands=("red", "nir")), FOUR_BLOCKS, bands=("red", "nir"))
    more = {
        name: FOUR_BLOCKS_READ[name] + n for name, n in {"requests": 1, "bytes": HEADER, "header_misses": 1}.items()
    }
    costs(con, sql, **more, tiles_decoded=DATES * 4, pixels_sampled=DATES * PIXELS)


def test_output_tiles_within_blocks(con, tmp_path):
    """Four output tiles with a block each: neighbours share the request for a row of blocks."""
    sql = reading(archive(tmp_path), FOUR_BLOCKS, chunk_size=64)
    costs(con, sql, **FOUR_BLOCKS_READ, tiles_decoded=DATES * 4, pixels_sampled=DATES * PIXELS)


@pytest.mark.parametrize("cache", ["256MB", "0"])
def test_output_tiles_that_share_blocks(con, tmp_path, cache):
    """16 output tiles, four in each block: two that want one at the same moment may decode it twice.

    What is decoded for a neighbour is kept for it, whether or not it is kept for later queries.
    """
    con.execute(f"SET lazycogs_cache_size = '{cache}'")
    found = cost(con, reading(archive(tmp_path), FOUR_BLOCKS, chunk_size=32))
    assert {name: found[name] for name in FOUR_BLOCKS_READ} == FOUR_BLOCKS_READ
    assert found["tiles_decoded"] + found["tile_hits"] == DATES * 16
    assert DATES * 4 <= found["tiles_decoded"] <= 2 * DATES * 4
    assert found["pixels_sampled"] == DATES * PIXELS


def test_a_hole_costs_the_blocks_under_it(con, tmp_path):
    """`first`: the second item gives the two blocks under the hole of the first, and no others are fetched."""

    def pixels(number):
        values = constant(number)
        values[10:20, 120:140] = 0 if number == 0 else 9
        return values

    sql = reading(archive(tmp_path, dates=1, per_day=2, pixels=pixels), WHOLE)
    size = 2 * HEADER + 16 * BLOCK + 15 * GAP + 2 * BLOCK + GAP
    sampled = SIDE * SIDE + 10 * 20
    costs(
        con, sql, requests=4, bytes=size, header_misses=2, tiles_decoded=18, pixels_sampled=sampled, pixels=SIDE * SIDE
    )


@pytest.mark.parametrize("first", [0, 5], ids=["hole", "no hole"])
def test_a_tiny_tile_does_not_wait_for_the_next_item(con, tmp_path, first):
    """One pixel: where answers take their time, the item that would fill a hole is read beside the first, not after it.

    Two round trips, whether or not it is needed; and again, from the caches, none.
    """
    archive(tmp_path, dates=1, per_day=2, pixels=lambda number: constant(first + number - 1))
    with RangeServer(tmp_path, lifetime=60, latency=0.1) as served:
        paths = [tmp_path / f"{number}_red.tif" for number in range(2)]
        shapes = [item(path.stem, {"red": path}, (2024, 5, 1, 12, i)) for i, path in enumerate(paths)]
        for shape, path in zip(shapes, paths):
            shape.assets["red"] = f"{served.url}/{path.name}"
        sql = reading(index(tmp_path / "http", shapes), grid(1, 1, left=LEFT + 70, top=TOP - 70))
        found = cost(con, sql)
        assert (found["header_misses"], found["tiles_decoded"]) == (2, 2 if first == 0 else 1)
        assert served.most_at_once == 2
        assert cost(con, sql)["requests"] == 0


@pytest.mark.parametrize("function", ["lazycogs_info", "lazycogs_explain"])
def test_a_plan_opens_one_header(con, tmp_path, function):
    sql = f"FROM {call(function, archive(tmp_path), FOUR_BLOCKS, bands=['red'])}"
    costs(con, sql, requests=1, bytes=HEADER, header_misses=1)


def test_bind_opens_one_header(con, tmp_path):
    costs(con, f"EXPLAIN {reading(archive(tmp_path), FOUR_BLOCKS)}", requests=1, bytes=HEADER, header_misses=1)


def test_explain_says_what_a_read_costs(con, tmp_path):
    """The plan with headers opens those, and then knows the requests, bytes and blocks of the read."""
    items = archive(tmp_path)
    text = call("lazycogs_explain", items, FOUR_BLOCKS, bands=["red"], headers=True)
    costs(con, f"FROM {text}", requests=DATES, bytes=DATES * HEADER, header_misses=DATES)
    planned = con.execute(f"SELECT sum(requests), sum(bytes), sum(tiles) FROM {text}").fetchone()
    found = cost(con, reading(items, FOUR_BLOCKS))
    assert (found["requests"], found["bytes"], found["tiles_decoded"]) == planned


def test_the_cache_holds_what_it_says(con, tmp_path):
    """Decoded blocks, 32768 bytes each, and their headers."""
    found = cost(con, reading(archive(tmp_path), FOUR_BLOCKS))
    assert found["tile_bytes_held"] == DATES * 4 * BLOCK
    assert found["header_bytes_held"] > 0
    con.execute("SET lazycogs_cache_size = '0'")
    again = cost(con, reading(archive(tmp_path / "again"), FOUR_BLOCKS))
    assert again["tiles_decoded"] == DATES * 4


def test_small_scenes_are_read_together(con, tmp_path):
    """Eight scenes of 16 x 16 pixels, far apart under one output tile: none of them waits for another."""
    with RangeServer(tmp_path, lifetime=60, latency=0.1) as served:
        items = []
        for i in range(8):
            path = raster(tmp_path / f"{i}.tif", np.full((16, 16), i + 1, "uint16"), left=LEFT + 2560 * i + 100)
            items.append(item(str(i), {"red": f"{served.url}/{i}.tif"}, footprint=stac.outline(path)))
        sql = reading(index(tmp_path, items), grid(2048, 2048), chunk_size=2048)
        assert con.execute(sql).fetchone() == (8 * 256,)
        assert served.most_at_once >= 4
