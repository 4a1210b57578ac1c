"""The oracle is itself compared with rasterio, so that one mistake cannot make both sides agree."""

from datetime import UTC, datetime

import numpy as np
import pytest
from model import Grid, compose, load_items, load_level, nearest, overview_of, step_of, warp_nearest


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "grid",
    [
        Grid((733000, 4931200, 736000, 4934000), "EPSG:32615", 10),
        Grid((732905, 4931003, 736100, 4934100), "EPSG:32615", 7),
        Grid((-90.08, 44.49, -90.03, 44.53), "EPSG:4326", 0.0002),
        Grid((-10028000, 5543000, -10022000, 5548000), "EPSG:3857", 29),
    ],
    ids=lambda grid: grid.crs,
)
def test_nearest_equals_warpedvrt(fixtures, grid):
    path = str(fixtures / "archive/scenes/A_20240503T17_red.tif")
    overview = overview_of(path, grid)
    values, valid, doubt = nearest(load_level(path, overview), grid)
    wanted = warp_nearest(path, grid, overview)
    sure = ~doubt
    assert doubt.mean() < 0.06
    assert valid.any()
    assert (valid == ~np.ma.getmaskarray(wanted))[sure].all()
    assert (values == wanted.data)[sure & valid].all()


@pytest.mark.parametrize(
    "resolution, overview",
    [(5, None), (10, None), (19, None), (19.7, 0), (20, 0), (39, 0), (40, 1), (400, 1)],
)
def test_overview(fixtures, resolution, overview):
    path = str(fixtures / "archive/scenes/A_20240503T17_red.tif")
    assert overview_of(path, Grid((733000, 4931200, 736000, 4934000), "EPSG:32615", resolution)) == overview


@pytest.mark.parametrize(
    "period, time, start",
    [
        (None, "2024-05-03T17:05:09.024", "2024-05-03T17:05:09.024"),
        ("P1D", "2024-05-03T23:59:59.500", "2024-05-03"),
        ("P1W", "2024-05-05T12:00", "2024-04-29"),
        ("P1M", "2024-02-29T12:00", "2024-02-01"),
        ("P1Y", "2024-02-29T12:00", "2024-01-01"),
        ("P10D", "2000-01-10T23:59", "2000-01-01"),
        ("P10D", "2000-01-11T00:00", "2000-01-11"),
        ("P10D", "1999-12-31T00:00", "1999-12-22"),
        ("P2W", "2000-01-14T23:59", "2000-01-01"),
        ("PT6H", "2024-05-03T17:05", "2024-05-03T12:00"),
    ],
)
def test_steps(period, time, start):
    assert step_of(at(time), period) == datetime.fromisoformat(start)


def test_mosaics_on_numbers_worked_out_by_hand():
    values = np.array([[[10, 7, 1, 5]], [[20, 9, 2, 5]], [[65, 8, 2, 5]]], np.uint8)
    valid = np.array([[[1, 0, 1, 0]], [[1, 1, 1, 0]], [[1, 1, 1, 0]]], bool)
    wanted = {
        "first": [10, 9, 1],
        "last": [65, 8, 2],
        "highest": [65, 9, 2],
        "lowest": [10, 8, 1],
        "mean": [95 / 3, 8.5, 5 / 3],
        "median": [20, 8.5, 2],
        "stdev": [np.std([10, 20, 65]), 0.5, np.std([1, 2, 2])],
        "count": [3, 2, 3],
    }
    for method, numbers in wanted.items():
        got, known = compose(method, values, valid)
        assert np.allclose(got[0, :3], numbers), method
        assert known[0].tolist() == [True, True, True, method == "count"], method
    assert compose("count", values, valid)[0][0, 3] == 0


def test_the_archive_is_what_the_tests_need(fixtures):
    items = load_items(fixtures / "archive/items.parquet")
    assert len({item.properties["proj:code"] for item in items}) == 2
    assert [item.time for item in items] != sorted(item.time for item in items)
    grid = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
    seen = [nearest(load_level(i.assets["red"], overview_of(i.assets["red"], grid)), grid)[1] for i in items[:2]]
    both = np.logical_and(*seen)
    assert both.any() and (seen[0] & ~both).any() and (seen[1] & ~both).any(), "tiles A and B must overlap in part"
