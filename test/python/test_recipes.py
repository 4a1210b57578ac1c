"""The Python of docs/recipes.md, run as it stands there."""

import re
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyproj
import pytest
from helpers import Sql, call
from model import Grid, cube, load_items

xarray = pytest.importorskip("xarray")

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"


def recipe(name):
    """The function of that name, as it is printed."""
    printed = re.findall(r"```python\n(.*?)```", RECIPES.read_text(), re.S)
    (code,) = (code for code in printed if f"def {name}(" in code)
    scope = {}
    exec(code, scope)  # noqa: S102
    return scope[name]


@pytest.fixture(scope="module")
def to_xarray():
    return recipe("to_xarray")


def arguments(source, grid, **named):
    return call("", source, grid, "P1M", **named)[1:-1]


def test_to_xarray(con, fixtures, to_xarray):
    source = fixtures / "archive" / "items.parquet"
    grid = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
    bands = ["red", "nir"]
    found = to_xarray(con, arguments(source, grid, bands=bands, chunk_size=100))
    wanted = cube(load_items(source), grid, "P1M", bands)
    assert found.dims == ("band", "time", "y", "x") and found.dtype == np.uint16
    assert found.band.values.tolist() == bands
    assert found.time.values.astype("datetime64[us]").tolist() == list(wanted)
    x, y = grid.axes()
    assert np.array_equal(found.x, x) and np.array_equal(found.y, y)
    assert pyproj.CRS(found.spatial_ref.attrs["crs_wkt"]) == pyproj.CRS("EPSG:32615")
    assert found.spatial_ref.attrs["GeoTransform"].split() == ["733000.0", "20.0", "0", "4934500.0", "0", "-20.0"]
    assert found.attrs == {"_FillValue": 0, "grid_mapping": "spatial_ref"}
    for when, step in wanted.items():
        for name, band in step.items():
            array = found.sel(band=name, time=np.datetime64(when)).values
            expected = np.where(band.valid, band.values, 0)
            assert (array == expected)[~band.doubt].all()
            assert band.valid.any()


def test_a_fill_of_ones_own(con, fixtures, to_xarray):
    source = fixtures / "archive" / "items.parquet"
    grid = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 50)
    found = to_xarray(con, arguments(source, grid, bands=["red"], dtype="float32", nodata="NaN"))
    (first, *_) = cube(load_items(source), grid, "P1M", ["red"]).values()
    assert np.isnan(found.attrs["_FillValue"]) and found.dtype == np.float32
    sure = ~first["red"].doubt
    assert (np.isfinite(found[0, 0].values) == first["red"].valid)[sure].all(), "zeros of the sources stay nodata"


def test_bands_of_different_types(con, fixtures, to_xarray):
    source = fixtures / "archive" / "items.parquet"
    grid = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 50)
    named = {"bands": ["red", "nir"], "mosaic": Sql("{red: 'first', nir: 'median'}")}
    found = to_xarray(con, arguments(source, grid, **named))
    assert found.dtype == np.float32
    for band, method in (("red", "first"), ("nir", "median")):
        alone = to_xarray(con, arguments(source, grid, bands=[band], mosaic=method))
        assert np.array_equal(found.sel(band=band), alone.sel(band=band)) and found.sel(band=band).values.any()


def test_a_query_that_ctrl_c_ends(con, fixtures):
    run = recipe("run")
    source = fixtures / "archive" / "items.parquet"
    fine = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 0.2)  # a minute of work
    count = "SELECT count(red) FROM " + call("lazycogs_read", source, fine, "P1M", bands=["red"])
    assert run(con, "SELECT 7") == [(7,)]
    with pytest.raises(Exception, match="no_such_table"):
        run(con, "FROM no_such_table")
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(con, count)
    assert time.monotonic() - started < 5
    assert run(con, "SELECT 7") == [(7,)]
