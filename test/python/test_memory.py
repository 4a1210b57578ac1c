"""Memory stays near the budget, however large the cube; counted in a process of its own.

The sizes here take seconds. LAZYCOGS_GIGAPIXELS=10 makes the first of them as large as that.
"""

import os

import numpy as np
import pytest
import rasterio
import stac
from helpers import call
from model import Grid
from rasterio.transform import Affine
from test_lifetime import in_child, linux_only

BUDGET = 256e6
MOST_MIB = BUDGET / 2**20 + 300
GIGAPIXELS = float(os.environ.get("LAZYCOGS_GIGAPIXELS", 0.5))

CODE = """
con.execute("SET lazycogs_memory_budget = '256MB'")
started = time.monotonic()
rows = con.execute(sql).fetchone()
seconds = time.monotonic() - started
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([rows, int(status["VmHWM"].split()[0]) / 1024, seconds]))
"""


def raster(folder, name, side, transform, epsg, dtype, block):
    """A raster of `side` x `side` pixels, written by rows of tiles; returns its index."""
    path = folder / f"{name}.tif"
    row, col = np.indices((block, side), sparse=True)
    profile = {"driver": "GTiff", "tiled": True, "blockxsize": block, "blockysize": block, "compress": "zstd"}
    shape = {"width": side, "height": side, "count": 1, "dtype": dtype}
    with rasterio.open(path, "w", crs=f"EPSG:{epsg}", transform=transform, **shape, **profile) as file:
        for top in range(0, side, block):
            values = ((row + top) * 7 + col * 13) % 251 + 1
            file.write(values[: side - top].astype(dtype), 1, window=((top, min(side, top + block)), (0, side)))
    item = stac.Item(name, stac.utc(2024, 5, 1), {"data": path.name}, stac.outline(path))
    stac.write(folder / f"{name}.parquet", [item])
    return folder / f"{name}.parquet"


def bounded(extension, sql):
    rows, peak = peak_of(extension, sql)
    assert peak < MOST_MIB
    return rows


def peak_of(extension, sql):
    """The first row of the result, and the most memory that the process had, in MiB."""
    rows, peak, seconds = in_child(extension, sql, CODE, timeout=1200)
    print(f"{rows[0] / 1e9:.2f} gigapixels, peak {peak:.0f} MiB, {seconds:.1f} s")
    return rows, peak


@linux_only
def test_a_coarse_source_in_a_fine_grid(extension, tmp_path):
    index = raster(tmp_path, "globe", 2048, Affine(0.08, 0, -80, 0, -0.08, 80), 4326, "uint8", 256)
    resolution = round(100 / (GIGAPIXELS * 1e9) ** 0.5, 6)
    grid = Grid((-50, -50, 50, 50), "OGC:CRS84", resolution)
    rows, valid = bounded(extension, f"SELECT count(*), count(data) FROM {call('lazycogs_read', index, grid)}")
    assert rows == valid == grid.width * grid.height


@linux_only
@pytest.mark.parametrize("resolution", [10, 1000], ids=["native", "without overviews"])
@pytest.mark.parametrize("function", ["lazycogs_read", "lazycogs_read_chunks"])
def test_many_tiles(extension, tmp_path, resolution, function):
    index = raster(tmp_path, "wide", 12000, Affine(10, 0, 400000, 0, -10, 5000000), 32615, "float32", 512)
    grid = Grid((400000, 4880000, 520000, 5000000), "EPSG:32615", resolution)
    pixels = "count(data)" if function == "lazycogs_read" else "sum(octet_length(data)) // 4"
    sql = f"SELECT {pixels} FROM {call(function, index, grid)}"
    (rows,) = bounded(extension, sql)
    assert rows == grid.width * grid.height


# An allocator keeps what it once had, so that the peaks of equal calls differ.
NOISE_MIB = 100
SHAPES = {
    "native": (Grid((400000, 4980000, 420000, 5000000), "EPSG:32615", 10), {}),
    "reprojected": (Grid((-10470000, 5640000, -10440000, 5670000), "EPSG:3857", 15), {}),
    "median": (Grid((400000, 4980000, 420000, 5000000), "EPSG:32615", 10), {"mosaic": "median"}),
    "one pixel": (Grid((415000, 4985000, 415010, 4985010), "EPSG:32615", 10), {}),
}


@linux_only
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", ["lazycogs_read", "lazycogs_read_chunks"])
def test_ten_times_the_dates(extension, tmp_path, shape, function):
    """Each date is a step of two scenes; with a hundred of them the process is no larger than with ten."""
    path = tmp_path / "wide.tif"
    raster(tmp_path, "wide", 3000, Affine(10, 0, 400000, 0, -10, 5000000), 32615, "uint16", 512)
    where, named = SHAPES[shape]
    peaks = []
    for dates in (10, 100):
        items = [
            stac.Item(f"{day}_{hour}", stac.utc(2024, 1 + day // 28, 1 + day % 28, hour), {"data": path.name}, ring)
            for ring in [stac.outline(path)]
            for day in range(dates)
            for hour in (10, 12)
        ]
        stac.write(tmp_path / f"{dates}.parquet", items)
        # A column that is not named is not read.
        pixels = "count(*), count(data)" if function == "lazycogs_read" else "sum(height * width), count(data)"
        text = call(function, tmp_path / f"{dates}.parquet", where, **named)
        (rows, valid), peak = peak_of(extension, f"SELECT {pixels} FROM {text}")
        assert rows == dates * where.width * where.height and valid
        peaks.append(peak)
    assert peaks[1] < MOST_MIB and peaks[1] - peaks[0] < NOISE_MIB
