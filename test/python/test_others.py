"""A catalogue made by others, where it is at hand: NOAA's ocean heat content, on a globe of one-degree pixels."""

import numpy as np
import pytest
from helpers import read
from model import Grid, load_items, load_level, nearest, warp_nearest

GRIDS = [
    Grid((-180, -90, 180, 90), "EPSG:4326", 1),
    Grid((-100.3, -47.7, 65.1, 60.2), "EPSG:4326", 0.37),
    Grid((-20000000, -15000000, 20000000, 15000000), "EPSG:3857", 60000),
    Grid((-4000000, -4000000, 4000000, 4000000), "EPSG:3995", 25000),
]


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"{grid.crs}@{grid.resolution}")
def test_ocean_heat_content_equals_warpedvrt(con, shared_data, grid, record_property):
    index = shared_data / "stac" / "derived" / "ocean-heat-content_local.stac-geoparquet.parquet"
    checked = 0
    for item in load_items(index):
        for asset, path in item.assets.items():
            (bands,) = read(con, index, grid, None, bands=[asset], ids=[item.id]).values()
            checked += compare(bands[asset], path, grid)
    record_property("pixels", checked)
    print(f"{grid.crs} at {grid.resolution}: {checked} valid pixels equal")
    assert checked > 10000


def compare(found, path, grid):
    """Pixel for pixel, where centres are not within 0.01 source pixel of an edge; returns the number of valid ones."""
    wanted = warp_nearest(path, grid)
    doubt = nearest(load_level(path, None), grid)[2]
    sure = ~doubt
    expected = wanted.data
    valid = ~np.ma.getmaskarray(wanted) & ~np.isnan(expected)
    assert doubt.mean() < 0.06
    got = ~np.ma.getmaskarray(found)
    assert (got == valid)[sure].all(), f"{path}: validity differs in {(got != valid)[sure].sum()} pixels"
    both = sure & valid
    assert (found.data == expected)[both].all(), f"{path}: {(found.data != expected)[both].sum()} values differ"
    return int(both.sum())
