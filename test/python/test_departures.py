"""Where GDAL has another number: the table of docs/resampling.md, row by row, both columns."""

import re

import numpy as np
import pytest
import rasterio
from conftest import ROOT
from model import Grid
from rasterio.enums import Resampling
from rasterio.warp import reproject
from small import LEFT, TOP, UTM, raster
from test_kernels import ours

NAN = np.nan
STEP = np.repeat([[0.0] * 8 + [100.0] * 8], 16, 0)
ISLAND = np.full((16, 16), NAN)
ISLAND[7:10, 7:10] = np.arange(1, 10).reshape(3, 3)
GDAL = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])

# Of each row of the table: values, their nodata, type, kernel, the grid's (left, top, side, columns) in metres from the
# image's corner, and which of its columns.
CASES = {
    "`average`": ([[10, 20, 30, 40]] * 3, NAN, "float32", "average", (-10, 0, 30, 2), [0, 1]),
    "`mode`": ([[1, 3]] * 2, 255, "uint8", "mode", (7, 0, 13, 1), [0]),
    "`cubic_spline`": (STEP, NAN, "float32", "cubic_spline", (7, 0, 20.4, 7), [1]),
    "`lanczos`": (ISLAND, NAN, "float32", "lanczos", (82, 82, 10, 1), [0]),
    "A valid": ([[10, 30]] * 2, 20, "uint8", "average", (0, 0, 20, 1), [0]),
}


def rows():
    """{first words: (our numbers, GDAL's)} as they are printed."""
    page = (ROOT / "docs" / "resampling.md").read_text().split("## Where GDAL has another number")[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    number = re.compile(r"-?\d+(?:\.\d+)?")
    return {row[0]: [[float(n) for n in number.findall(cell)] for cell in row[2:]] for row in cells[2:]}


@pytest.mark.parametrize("row", CASES)
def test_both_numbers(con, tmp_path, row):
    values, nodata, dtype, kernel, (left, top, side, columns), shown = CASES[row]
    path = raster(tmp_path / "a.tif", np.array(values, dtype), nodata=nodata)
    box = LEFT + left, TOP - top - side, LEFT + left + columns * side, TOP - top
    found = ours(con, path, Grid(box, UTM, side), kernel)[0, shown]
    out = np.full((1, columns), nodata, dtype)
    scale = {"XSCALE": 10 / side, "YSCALE": 10 / side} if side > 20 else {"XSCALE": 1, "YSCALE": 1}
    with rasterio.open(path) as file:
        where = {"dst_transform": rasterio.Affine(side, 0, box[0], 0, -side, box[3]), "dst_crs": UTM}
        how = {"resampling": Resampling[kernel], "dst_nodata": nodata, "tolerance": 0, **scale}
        reproject(rasterio.band(file, 1), out, **where, **how)
    (printed,) = (numbers for first, numbers in rows().items() if first.startswith(row))
    assert not np.ma.getmaskarray(found).any()
    assert np.allclose(found.astype("float64"), printed[0], atol=5e-4)
    if row == "`lanczos`" and GDAL >= (3, 14):
        pytest.skip("GDAL 3.14 has mended it")
    theirs = out[0, shown].astype("float64")
    missing = np.isnan(theirs) if np.isnan(nodata) else theirs == nodata
    assert np.allclose(theirs[~missing], printed[1], atol=5e-4)
    assert missing.all() == (printed[1] == [])


def test_every_row_is_tested():
    assert [sum(first.startswith(row) for row in CASES) for first in rows()] == [1] * len(CASES)
