"""What statistics of zones cost, counted without a clock: on the archives of test_cost.py, blocks of 128 x 128 pixels.

Zones are given in pixels from the upper left corner of the images.
"""

import pytest
from helpers import literal
from small import LEFT, TOP, UTM
from test_cost import BLOCK, DATES, GAP, HEADER, archive, cost, costs

BLOCKS = 128
# One block of each date, and the header before it.
ONE_BLOCK_READ = {"requests": DATES * 2, "bytes": DATES * (HEADER + BLOCK), "header_misses": DATES}


@pytest.fixture(params=[1, 4], ids=["1 thread", "4 threads"])
def con(connect, request):
    """A connection with a cache that these tests do not fill."""
    connection = connect(threads=str(request.param))
    connection.execute("SET lazycogs_cache_size = '256MB'")
    return connection


def polygon(*corners):
    """WKT of corners in pixels: (column, row)."""
    return f"POLYGON (({', '.join(f'{LEFT + 10 * col} {TOP - 10 * row}' for col, row in [*corners, corners[0]])}))"


def box(col, row, width, height):
    return polygon((col, row), (col + width, row), (col + width, row + height), (col, row + height))


def zonal(items, zones, bands=("red",), crs=UTM, period="P1D", **named):
    """The text of a query: the rows of each band, and the shares that count."""
    rows = ", ".join(f"{{id: {i}, geometry: {literal(zone)}}}" for i, zone in enumerate(zones))
    given = {"bands": list(bands), "zones_crs": UTM} | named
    text = "".join(f", {name} := {literal(value)}" for name, value in given.items())
    call = f"lazycogs_zonal({literal(items)}, [{rows}], {literal(crs)}, 10, {literal(period)}{text})"
    return f"SELECT band, count(*), sum(count) FROM {call} GROUP BY band ORDER BY band"


def test_a_parcel_in_one_block(con, tmp_path):
    """A header and a block for each item and band; the pixels around it are not brought to the grid."""
    sql = zonal(archive(tmp_path, bands=("red", "nir")), [box(20, 30, 11, 7)], bands=("red", "nir"))
    twice = {name: 2 * n for name, n in ONE_BLOCK_READ.items()}
    costs(con, sql, **twice, tiles_decoded=2 * DATES, pixels_sampled=2 * DATES * 11 * 7)
    assert con.execute(sql).fetchall() == [("nir", DATES, DATES * 77.0), ("red", DATES, DATES * 77.0)]


def test_again(con, tmp_path):
    sql = zonal(archive(tmp_path), [box(20, 30, 11, 7)])
    con.execute(sql).fetchall()
    costs(con, sql, tile_hits=DATES, pixels_sampled=DATES * 77)


def test_many_parcels_in_one_block(con, tmp_path):
    """It is read and decoded once for all of them in a step."""
    zones = [box(4 + 12 * col, 4 + 12 * row, 9, 7.5) for col in range(10) for row in range(10)]
    sql = zonal(archive(tmp_path), zones)
    found = cost(con, sql)
    assert {name: found[name] for name in ONE_BLOCK_READ} == ONE_BLOCK_READ
    assert (found["tiles_decoded"], found["tile_hits"], found["mappings"]) == (DATES, 0, 0)
    # The rectangle around all parcels, once: they do not add up.
    assert found["pixels_sampled"] <= DATES * (9 * 12 + 9) * (9 * 12 + 8)
    assert con.execute(sql).fetchall() == [("red", 100 * DATES, 100 * DATES * 67.5)]


def test_the_same_parcel_many_times(con, tmp_path):
    sql = zonal(archive(tmp_path), [box(20, 30, 11, 7)] * 50)
    costs(con, sql, **ONE_BLOCK_READ, tiles_decoded=DATES, pixels_sampled=DATES * 77)


def test_parcels_far_apart(con, tmp_path):
    """In opposite corners of the images: what lies between them is not read."""
    zones = [box(3, 3, 10, 10), box(490, 490, 10, 10)]
    sql = zonal(archive(tmp_path), zones, chunk_size=128)
    two = {"requests": DATES * 3, "bytes": DATES * (HEADER + 2 * BLOCK), "header_misses": DATES}
    costs(con, sql, **two, tiles_decoded=2 * DATES, pixels_sampled=DATES * 200)


def test_parcels_far_apart_in_one_output_tile(con, tmp_path):
    """All 16 blocks are one output tile by default, and one request; those without a zone are not decoded."""
    sql = zonal(archive(tmp_path), [box(3, 3, 10, 10), box(490, 490, 10, 10)])
    read = {"requests": DATES * 2, "bytes": DATES * (HEADER + 16 * BLOCK + 15 * GAP), "header_misses": DATES}
    costs(con, sql, **read, tiles_decoded=2 * DATES, pixels_sampled=DATES * 200)


def test_a_parcel_on_a_corner_of_blocks(con, tmp_path):
    """Two rows of two blocks; the blocks of a row are one request."""
    read = {"requests": DATES * 3, "bytes": DATES * (HEADER + 2 * (2 * BLOCK + GAP)), "header_misses": DATES}
    sql = zonal(archive(tmp_path), [box(BLOCKS - 5, BLOCKS - 6, 10, 12)])
    costs(con, sql, **read, tiles_decoded=4 * DATES, pixels_sampled=DATES * 120)


def test_a_bend_around_a_block(con, tmp_path):
    """The bounding box needs four blocks, the parcel three of them."""
    bend = polygon((100, 100), (160, 100), (160, 120), (120, 120), (120, 160), (100, 160))
    found = cost(con, zonal(archive(tmp_path), [bend]))
    assert found["tiles_decoded"] == 3 * DATES
    assert found["bytes"] <= DATES * (HEADER + 3 * BLOCK + GAP)


def test_a_parcel_beside_the_images_costs_nothing(con, tmp_path):
    sql = zonal(archive(tmp_path), [box(20, 30, 11, 7), box(-4000, 30, 11, 7)])
    costs(con, sql, **ONE_BLOCK_READ, tiles_decoded=DATES, pixels_sampled=DATES * 77)
    assert con.execute(sql).fetchall() == [("red", DATES, DATES * 77.0)]


def test_output_tiles_that_share_a_block(con, tmp_path):
    """A parcel of 8 x 8 output tiles in one block, which is kept for them.

    Two that want it at the same moment may decode it twice; seldom one of them fetches it again.
    """
    found = cost(con, zonal(archive(tmp_path), [box(0, 0, BLOCKS, BLOCKS)], chunk_size=16))
    assert found["header_misses"] == DATES
    assert DATES * 2 <= found["requests"] <= DATES * 3
    assert found["tiles_decoded"] + found["tile_hits"] == DATES * 64
    assert DATES <= found["tiles_decoded"] <= 4 * DATES


def test_mappings_serve_all_steps(con, tmp_path):
    """In another CRS: as many for five steps as for one, on the same pixels."""
    zones = [box(20, 30, 11, 7), box(140, 30, 11, 7)]
    found = {
        dates: cost(con, zonal(archive(tmp_path / str(dates), dates=dates), zones, crs="EPSG:3035")) for dates in (1, 5)
    }
    assert found[1]["mappings"] > 0
    for counter in ("mappings", "pixels_mapped"):
        assert found[5][counter] == found[1][counter]
    for counter in ("tiles_decoded", "pixels_sampled", "header_misses"):
        assert found[5][counter] == 5 * found[1][counter]
    assert found[1]["tiles_decoded"] == 2
    # All that is mapped is the rectangle around both.
    assert found[1]["pixels_mapped"] <= 150 * 40


def test_more_statistics_cost_no_more(con, tmp_path):
    stats = ["count", "mean", "median", "p10", "majority", "variety", "covered_area"]
    sql = zonal(archive(tmp_path), [box(20, 30, 11, 7)], stats=stats)
    costs(con, sql, **ONE_BLOCK_READ, tiles_decoded=DATES, pixels_sampled=DATES * 77)


@pytest.mark.parametrize("pixels", ["fractional", "center", "all_touched"])
def test_every_rule_reads_the_same_block(con, tmp_path, pixels):
    found = cost(con, zonal(archive(tmp_path), [polygon((20, 30), (41.5, 33.5), (30, 60.2))], pixels=pixels))
    assert {name: found[name] for name in ONE_BLOCK_READ} == ONE_BLOCK_READ
    assert found["tiles_decoded"] == DATES


def test_a_composite(con, tmp_path):
    """A month is one step: each date is read once for it."""
    sql = zonal(archive(tmp_path), [box(20, 30, 11, 7)], mosaic="median", period="P1M")
    costs(con, sql, **ONE_BLOCK_READ, tiles_decoded=DATES, pixels_sampled=DATES * 77)
    assert con.execute(sql).fetchall() == [("red", 1, 77.0)]


def test_bind_opens_one_header(con, tmp_path):
    """It looks for the lines of its pixels, and reads nothing else."""
    sql = zonal(archive(tmp_path), [box(20, 30, 11, 7)])
    costs(con, f"EXPLAIN {sql}", requests=1, bytes=HEADER, header_misses=1)


def test_explain_says_what_zones_cost(con, tmp_path):
    """A bend around a block, and a parcel in one of those that it needs."""
    bend = polygon((100, 100), (160, 100), (160, 120), (120, 120), (120, 160), (100, 160))
    sql = zonal(archive(tmp_path), [box(3, 3, 10, 10), bend])
    plan = sql.split(" FROM ")[1].split(" GROUP ")[0].replace("lazycogs_zonal", "lazycogs_explain")
    zones = plan[plan.index("[") : plan.index("}]") + 2]
    plan = plan.replace(zones, "NULL").removesuffix(")") + f", zones := {zones}, headers := true)"
    planned = con.execute(f"SELECT sum(requests), sum(bytes), sum(tiles) FROM {plan}").fetchone()
    found = cost(con, sql)
    assert (found["requests"], found["bytes"], found["tiles_decoded"]) == planned
    assert planned[2] == 3 * DATES
