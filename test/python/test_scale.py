"""`scale := true`: physical values, from what STAC or the file says of scale and offset."""

import numpy as np
import pytest
import rasterio
import stac
from helpers import call
from small import grid, index, raster

WHERE = grid(4, 4)


def stored(values, folder, name="a", dtype="uint16", scales=None, **profile):
    """A file of 4 x 4 pixels; `scales` are the scale and offset of GDAL's metadata."""
    path = raster(folder / f"{name}.tif", np.resize(np.array(values, dtype), (4, 4)), **profile)
    if scales:
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = [scales[0]], [scales[1]]
    return path


def scene(path, minute=0, **facts):
    """An item; `facts` are what STAC says of its band."""
    asset = {"href": str(path)} | ({"raster:bands": [facts]} if facts else {})
    return stac.Item(path.stem, stac.utc(2024, 5, 3, 12, minute), {"red": asset}, stac.outline(path))


def read(con, source, where=WHERE, period="P1D", **named):
    text = call("lazycogs_read", source, where, period, bands=["red"], scale=True, **named)
    rows = con.execute(f"SELECT red, typeof(red) FROM {text} ORDER BY time, y DESC, x").fetchall()
    return [value for value, _ in rows], {kind for _, kind in rows}


def test_gdal_metadata(con, tmp_path):
    source = index(tmp_path, [scene(stored([0, 1, 1234, 65535], tmp_path, scales=(0.0001, -0.1), nodata=0))])
    found, kinds = read(con, source)
    assert kinds == {"FLOAT"}
    wanted = np.float32(np.array([1, 1234, 65535]) * 0.0001 - 0.1)
    assert found[:4] == [None, *wanted.tolist()]


def test_stac_comes_before_the_file(con, tmp_path):
    source = index(tmp_path, [scene(stored([5], tmp_path, scales=(100, 7)), scale=0.5, offset=2.0)])
    assert set(read(con, source)[0]) == {4.5}


def test_each_item_has_its_own(con, tmp_path):
    """As Sentinel-2, whose offset changed with the processing baseline; and whatever the mosaic."""
    old = scene(stored([4000], tmp_path, "old"), scale=0.0001, offset=0.0)
    new = scene(stored([5000], tmp_path, "new"), 1, scale=0.0001, offset=-0.1)
    source = index(tmp_path, [old, new])
    for mosaic, wanted in [
        ("first", 0.4),
        ("mean", 0.4),
        ("median", 0.4),
        ("highest", 0.4),
        ("stdev", 0),
        ("count", 2),
    ]:
        assert read(con, source, mosaic=mosaic)[0] == pytest.approx([wanted] * 16, abs=1e-7), mosaic


def test_without_a_scale_values_stay_and_become_floats(con, tmp_path):
    source = index(tmp_path, [scene(stored([1, 2, 3, 4], tmp_path))])
    assert read(con, source) == ([1.0, 2.0, 3.0, 4.0] * 4, {"FLOAT"})


@pytest.mark.parametrize(
    "dtype, kind", [("int16", "FLOAT"), ("int32", "DOUBLE"), ("float32", "FLOAT"), ("float64", "DOUBLE")]
)
def test_types(con, tmp_path, dtype, kind):
    source = index(tmp_path, [scene(stored([3], tmp_path, dtype=dtype), scale=2, offset=1)])
    assert read(con, source) == ([7.0] * 16, {kind})
    assert read(con, source, dtype="float64") == ([7.0] * 16, {"DOUBLE"})


def test_nodata_is_of_the_stored_values_and_the_fill_is_nan(con, tmp_path):
    """A value that is scaled onto the nodata of the file is a value."""
    source = index(tmp_path, [scene(stored([0, 10, 20, 30], tmp_path, nodata=0), scale=1, offset=-10)])
    assert read(con, source)[0][:4] == [None, 0.0, 10.0, 20.0]
    text = call("lazycogs_read_chunks", source, WHERE, "P1D", bands=["red"], scale=True)
    (blob,) = con.execute(f"SELECT red FROM {text}").fetchone()
    assert np.array_equal(np.frombuffer(blob, "float32")[:4], np.float32([np.nan, 0, 10, 20]), equal_nan=True)
    text = call("lazycogs_read_chunks", source, WHERE, "P1D", bands=["red"], scale=True, nodata=-1)
    (blob,) = con.execute(f"SELECT red FROM {text}").fetchone()
    assert np.frombuffer(blob, "float32")[:4].tolist() == [-1, 0, 10, 20]


def test_an_integer_type_is_refused(con, tmp_path):
    source = index(tmp_path, [scene(stored([1], tmp_path))])
    with pytest.raises(Exception, match="scale := true gives fractions, which dtype 'int16' cannot hold"):
        read(con, source, dtype="int16")
    assert read(con, source, dtype="int16", mosaic="count")[0] == [1] * 16
