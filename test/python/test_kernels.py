"""Kernels against GDAL's warper: one band at a time, no error tolerance, and the scale that it is told.

Where the two differ on purpose, a test shows both numbers.
"""

import numpy as np
import pytest
import rasterio
from helpers import Sql, call, read
from model import Grid
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from small import LEFT, TOP, UTM, grid, index, item, raster

POINT = {"bilinear": 1, "cubic": 2, "cubic_spline": 2, "lanczos": 3}
AREA = ["average", "rms", "min", "max", "med", "q1", "q3", "sum"]
WEIGHED = ["average", "rms", "mode", "sum"]
SIDE = 57
RESOLUTION = 10


def source(path, dtype="float32", holes=0.08, mask=False, seed=1, shape=(SIDE, SIDE), **profile):
    """Noise with holes; every value is far enough from the ends of its type."""
    rng = np.random.default_rng(seed)
    low, high = {"uint8": (60, 190), "int8": (-60, 60)}.get(dtype, (1000, 4000))
    values = rng.uniform(low, high, shape).astype(dtype)
    hole = rng.random(shape) < holes
    if mask:
        return raster(path, values, mask=~hole, **profile)
    nodata = np.nan if values.dtype.kind == "f" else np.iinfo(dtype).max
    return raster(path, np.where(hole, np.array(nodata, dtype), values), nodata=nodata, **profile)


def scale_of(path, where):
    """Output pixels for each source pixel along x and y, at the centre of the source."""
    with rasterio.open(path) as file:
        affine, crs, width, height = file.transform, file.crs, file.width, file.height
    if crs == rasterio.CRS.from_user_input(where.crs):
        return abs(affine.a) / where.resolution, abs(affine.e) / where.resolution
    to = Transformer.from_crs(crs, where.crs, always_xy=True)

    def image(col, row):
        x, y = to.transform(*(affine * (col, row)))
        return np.array([x, y]) / where.resolution

    col, row = width / 2, height / 2
    x = image(col + 0.5, row) - image(col - 0.5, row)
    y = image(col, row + 0.5) - image(col, row - 0.5)
    return float(np.hypot(*x)), float(np.hypot(*y))


def gdal(path, where, kernel, dtype=None):
    """What GDAL's warper gives, as a masked array."""
    sx, sy = scale_of(path, where)
    if sx > 0.5 and sy > 0.5:
        sx = sy = 1
    with rasterio.open(path) as file:
        dtype = np.dtype(dtype or file.dtypes[0])
        fill = np.nan if dtype.kind == "f" else np.iinfo(dtype).max
        affine = rasterio.Affine(where.resolution, 0, where.bbox[0], 0, -where.resolution, where.bbox[3])
        options = {"crs": where.crs, "transform": affine, "width": where.width, "height": where.height}
        options |= {"tolerance": 1e-9, "XSCALE": str(sx), "YSCALE": str(sy), "nodata": fill}
        with WarpedVRT(file, resampling=Resampling[kernel], **options) as vrt:
            out = vrt.read(1)
    missing = np.isnan(out) if dtype.kind == "f" else out == fill
    return np.ma.masked_array(out, missing)


def ours(con, path, where, kernel, **named):
    items = index(path.parent, [item("one", {"data": path})])
    named = {"resampling": kernel, "overviews": False} | named
    (step,) = read(con, items, where, bands=["data"], **named).values()
    return step["data"]


def compare(found, wanted, where="", but=None, within=2e-6):
    """Validity must be equal, floats within 1e-6, integers unless a value lies on a half; `but` are left out."""
    keep = np.ones(found.shape, bool) if but is None else ~but
    missing, absent = np.ma.getmaskarray(found), np.ma.getmaskarray(wanted)
    wrong = (missing != absent) & keep
    assert not wrong.any(), f"{where}: validity differs in {wrong.sum()} of {keep.sum()}, first {np.argwhere(wrong)[0]}"
    both = keep & ~missing
    assert both.any(), where
    a, b = found.data[both].astype("float64"), wanted.data[both].astype("float64")
    far = np.abs(a - b) > within * np.abs(b) + 1e-9 if found.dtype.kind == "f" else a != b
    worst = np.abs(a - b).max()
    assert not far.any(), f"{where}: {far.sum()} of {both.sum()} values differ, by {worst} at most"
    return both.sum()


# Relative; see test_lanczos_in_numpy.
WITHIN = {"bilinear": 2e-6, "cubic": 2e-6, "cubic_spline": 2e-6, "lanczos": 2e-5}
SHRINKS = [0.4, 1, 1.02, 1.3, 1.9, 2, 2.02, 3.5]


def over(shrink, shift=(3.3, -4.7), shape=(SIDE, SIDE)):
    """A grid that overhangs the source on all four sides."""
    resolution = RESOLUTION * shrink
    left, top = LEFT - 3.3 * resolution + shift[0], TOP + 2.7 * resolution + shift[1]
    width = int((shape[1] * RESOLUTION) / resolution) + 7
    height = int((shape[0] * RESOLUTION) / resolution) + 6
    return Grid((left, top - height * resolution, left + width * resolution, top), UTM, resolution)


def whole(path, where):
    """Output pixels whose box lies inside of the source."""
    with rasterio.open(path) as file:
        left, bottom, right, top = file.bounds
    x, y = where.centres()
    half = where.resolution / 2 * (1 + 1e-9)
    return (x - half >= left) & (x + half <= right) & (y - half >= min(bottom, top)) & (y + half <= max(bottom, top))


@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize("kernel", POINT)
@pytest.mark.parametrize("mask", [False, True])
def test_point_kernels(con, tmp_path, kernel, shrink, mask):
    if kernel == "cubic_spline" and shrink == 2.02:
        pytest.skip("GDAL's spline is not 0 beyond 2, see test_the_spline_ends")
    path, where = source(tmp_path / "a.tif", mask=mask), over(shrink)
    but = None
    if kernel == "lanczos":
        # GDAL before 3.14 gives up where less than half of the window is valid: at the edges.
        but = ~whole_by(path, where, 3)
    compare(ours(con, path, where, kernel), gdal(path, where, kernel), f"{kernel} {shrink}", but, WITHIN[kernel])


@pytest.mark.parametrize("shrink", [0.4, 1, 1.3])
def test_lanczos_in_numpy(con, tmp_path, shrink):
    """GDAL's sines are rounded: a few of ten thousand values are off by 1e-5 of themselves. Ours are not."""
    path, where = source(tmp_path / "a.tif", "float64"), over(shrink)
    with rasterio.open(path) as file:
        values = np.pad(file.read(1), 3, constant_values=np.nan)
    x, y = where.centres()
    found = ours(con, path, where, "lanczos")
    checked = 0
    for row, col in np.argwhere(~np.ma.getmaskarray(found))[::7]:
        place = (x[row, col] - LEFT) / RESOLUTION, (TOP - y[row, col]) / RESOLUTION
        taps = [np.arange(-2, 4) + int(np.floor(p - 0.5)) for p in place]
        along, down = (np.sinc(k + 0.5 - p) * np.sinc((k + 0.5 - p) / 3) for k, p in zip(taps, place))
        window, weights = values[np.ix_(taps[1] + 3, taps[0] + 3)], np.outer(down, along)
        valid = ~np.isnan(window)
        wanted = (weights[valid] * window[valid]).sum() / weights[valid].sum()
        assert abs(found[row, col] - wanted) <= 1e-8 * abs(wanted)
        checked += 1
    assert checked > 100


def whole_by(path, where, pixels):
    with rasterio.open(path) as file:
        left, bottom, right, top = file.bounds
    x, y = where.centres()
    far = pixels * max(RESOLUTION, where.resolution) * 1.5
    return (x - far >= left) & (x + far <= right) & (y - far >= min(bottom, top)) & (y + far <= max(bottom, top))


@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize("kernel", AREA)
@pytest.mark.parametrize("mask", [False, True])
def test_area_kernels(con, tmp_path, kernel, shrink, mask):
    path, where = source(tmp_path / "a.tif", mask=mask), over(shrink)
    # At the image's edges GDAL weighs border pixels by more than 1, see test_border_weights.
    but = ~whole(path, where) if kernel in WEIGHED and kernel != "sum" else None
    found, wanted = ours(con, path, where, kernel), gdal(path, where, kernel)
    compare(found, wanted, f"{kernel} {shrink}", but)
    assert (np.ma.getmaskarray(found) == np.ma.getmaskarray(wanted)).all()


@pytest.mark.parametrize("kernel", [*POINT, *AREA])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "uint32", "float64"])
def test_types(con, tmp_path, kernel, dtype):
    if kernel == "sum" and dtype == "uint8":
        pytest.skip("GDAL clamps a sum, and then takes it for nodata")
    path, where = source(tmp_path / "a.tif", dtype), over(1.9)
    but = ~whole_by(path, where, 3)
    found, wanted = ours(con, path, where, kernel), gdal(path, where, kernel)
    both = ~np.ma.getmaskarray(found) & ~but
    if found.dtype.kind != "f":
        fractions = ours(con, path, where, kernel, dtype="float64")
        half = np.abs(fractions.data - np.floor(fractions.data) - 0.5) < 1e-6
        but |= half
        assert (found.data[both] == np.floor(fractions.data[both] + 0.5)).all()
    compare(found, wanted, f"{kernel} {dtype}", but)


ROTATED = Transformer.from_crs(UTM, "EPSG:32634", always_xy=True)


def turned(shrink):
    x, y = ROTATED.transform(
        [LEFT, LEFT + SIDE * RESOLUTION] * 2, [TOP, TOP - SIDE * RESOLUTION, TOP - SIDE * RESOLUTION, TOP]
    )
    resolution = RESOLUTION * shrink
    left, top = np.min(x) - 2.3 * resolution, np.max(y) + 2.6 * resolution
    width, height = (int((np.ptp(v)) / resolution) + 6 for v in (x, y))
    return Grid((left, top - height * resolution, left + width * resolution, top), "EPSG:32634", resolution)


@pytest.mark.parametrize("shrink", [0.4, 1, 1.3, 2.02, 3.5])
@pytest.mark.parametrize("kernel", [*POINT, *AREA])
def test_turned(con, tmp_path, kernel, shrink):
    """From one UTM zone to the next, which turns pixels by several degrees."""
    path, where = source(tmp_path / "a.tif"), turned(shrink)
    but = ~inside(path, where, 3 if kernel == "lanczos" else 1)
    if kernel in ("bilinear", "cubic", "min", "max", "med", "q1", "q3"):
        but = None
    if kernel == "cubic_spline" and shrink > 2:
        pytest.skip("GDAL's spline is not 0 beyond 2")
    found, wanted = ours(con, path, where, kernel), gdal(path, where, kernel)
    compare(found, wanted, f"{kernel} {shrink}", but, WITHIN.get(kernel, 2e-6))


def inside(path, where, pixels):
    """Output pixels whose surroundings lie inside of the source."""
    with rasterio.open(path) as file:
        left, bottom, right, top = file.bounds
    x, y = where.centres()
    sx, sy = ROTATED.transform(x, y, direction="INVERSE")
    far = pixels * max(RESOLUTION, where.resolution) * 1.5
    return (sx - far >= left) & (sx + far <= right) & (sy - far >= bottom) & (sy + far <= top)


@pytest.mark.parametrize("kernel", [*POINT, *AREA])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1)])
def test_one_row_or_column(con, tmp_path, kernel, shape):
    path, where = source(tmp_path / "a.tif", shape=shape), over(1.3, shape=shape)
    but = ~whole(path, where) if kernel in WEIGHED and kernel != "sum" else None
    if but is not None and but.all():
        # A box of 13 metres is never inside of a row of 10.
        return
    compare(ours(con, path, where, kernel), gdal(path, where, kernel), kernel, but)


@pytest.mark.parametrize("kernel", [*POINT, *AREA])
def test_south_up(con, tmp_path, kernel):
    affine = rasterio.Affine(RESOLUTION, 0, LEFT, 0, RESOLUTION, TOP - SIDE * RESOLUTION)
    path, where = source(tmp_path / "a.tif", transform=affine), over(1.3)
    but = ~whole_by(path, where, 3)
    compare(ours(con, path, where, kernel), gdal(path, where, kernel), kernel, but)


def test_border_weights(con, tmp_path):
    """A box that hangs over the image is cut there: 15 and 35 are its means, GDAL's 13.3 and 36.7."""
    path = raster(tmp_path / "a.tif", np.array([[10, 20, 30, 40]], "float32"))
    where = Grid((LEFT - 10, TOP - 10, LEFT + 50, TOP), UTM, 30)
    where = Grid((LEFT - 10, TOP - 20, LEFT + 50, TOP + 10), UTM, 30)
    assert ours(con, path, where, "average").tolist() == [[15, 35]]
    assert np.allclose(gdal(path, where, "average"), [[13.3333, 36.6667]], atol=1e-3)


def test_mode_is_the_largest_share(con, tmp_path):
    """GDAL since 3.11 never lets a value win that it meets once; before, it counts pixels. Ties: the smallest value."""
    values = np.array([[1, 2, 2, 3]], "uint8")
    path = raster(tmp_path / "a.tif", values)

    def mode(left, width):
        return ours(con, path, Grid((left, TOP - width, left + width, TOP), UTM, width), "mode").tolist()[0][0]

    assert mode(LEFT, 20) == 1, "a tie"
    assert mode(LEFT + 1, 20) == 2, "0.9 of the first, 1.1 of the second"
    assert mode(LEFT, 40) == 2
    assert mode(LEFT + 20, 20) == 2
    assert mode(LEFT + 22, 20) == 3
    assert mode(LEFT + 29, 11) == 3


@pytest.mark.parametrize("shrink", [1, 1.3, 2, 2.02, 3.5])
def test_mode_in_numpy(con, tmp_path, shrink):
    values = np.random.default_rng(2).integers(1, 5, (SIDE, SIDE)).astype("uint8")
    values[np.random.default_rng(3).random(values.shape) < 0.08] = 0
    path, where = raster(tmp_path / "a.tif", values, nodata=0), over(shrink)
    found = ours(con, path, where, "mode")
    left = (where.bbox[0] - LEFT) / RESOLUTION + np.arange(where.width + 1) * shrink
    top = (TOP - where.bbox[3]) / RESOLUTION + np.arange(where.height + 1) * shrink

    def shares(edges):
        a, b = edges[:-1, None], edges[1:, None]
        cells = np.arange(SIDE)
        return np.clip(np.minimum(b, cells + 1) - np.maximum(a, cells), 0, None)

    across, down = shares(left), shares(top)
    weights = np.stack([down @ (values == v).astype("float64") @ across.T for v in range(1, 5)])
    best = weights.max(0)
    wanted = 1 + np.argmax(weights >= best - 1e-9, axis=0)
    sure = (np.abs(weights - best) > 1e-9).sum(0) == 3
    assert (np.ma.getmaskarray(found) == (best <= 1e-9)).all()
    valid = best > 1e-9
    assert (found.data[valid & sure] == wanted[valid & sure]).all() and (valid & sure).sum() > valid.sum() / 2


def test_the_spline_ends(con, tmp_path):
    """Beyond 2 the spline is 0 here; GDAL's formula goes on on one side."""
    path, where = source(tmp_path / "a.tif"), over(2.02)
    found, wanted = ours(con, path, where, "cubic_spline"), gdal(path, where, "cubic_spline")
    assert (np.ma.getmaskarray(found) == np.ma.getmaskarray(wanted)).all()
    assert 0 < np.abs(found - wanted).max() < 60


def test_sum_keeps_the_total(con, tmp_path):
    path = source(tmp_path / "a.tif", "float64")
    with rasterio.open(path) as file:
        total = np.nansum(file.read(1))
    for where in (over(0.4), over(1.3), over(3.5), turned(0.4), turned(1), turned(2.02)):
        assert np.isclose(ours(con, path, where, "sum").sum(), total, rtol=1e-9)


def test_a_valid_value_that_equals_the_nodata_stays(con, tmp_path):
    path = raster(tmp_path / "a.tif", np.array([[10, 30], [10, 30]], "uint8"), nodata=20)
    assert ours(con, path, Grid((LEFT, TOP - 20, LEFT + 20, TOP), UTM, 20), "average").tolist() == [[20]]


@pytest.mark.parametrize("kernel", [*POINT, *AREA, "mode"])
def test_chunks_and_threads_change_nothing(con, tmp_path, kernel):
    """Bit for bit."""
    for where in (over(1.3), turned(2.02), over(0.4)):
        path = source(tmp_path / "a.tif", blocks=16)
        whole = ours(con, path, where, kernel, chunk_size=256)
        for size in (16, 23):
            part = ours(con, path, where, kernel, chunk_size=size)
            assert (np.ma.getmaskarray(part) == np.ma.getmaskarray(whole)).all()
            valid = ~np.ma.getmaskarray(whole)
            assert part.data[valid].tobytes() == whole.data[valid].tobytes()


def test_a_kernel_for_each_band(con, tmp_path):
    path, where = source(tmp_path / "a.tif", "uint16"), over(1.3)
    items = index(tmp_path, [item("one", {"data": path, "scl": path})])
    how = Sql("MAP {'scl': 'mode', 'data:1': 'average', '*': 'bilinear'}")
    (step,) = read(con, items, where, bands=["scl", "data", "data:1"], resampling=how, overviews=False).values()
    for band, kernel in (("scl", "mode"), ("data", "bilinear"), ("data:1", "average")):
        alone = ours(con, path, where, kernel)
        assert (np.ma.getmaskarray(step[band]) == np.ma.getmaskarray(alone)).all()
        assert (step[band] == alone).all(), band


def test_overviews(con, tmp_path):
    """An average of full resolution is not one of an overview."""
    values = np.random.default_rng(1).uniform(0, 100, (128, 128)).astype("float32")
    path = raster(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    where = grid(16, 16, resolution=80)
    exact = values.reshape(16, 8, 16, 8).mean((1, 3))
    assert np.allclose(ours(con, path, where, "average"), exact, rtol=1e-6)
    with_overviews = ours(con, path, where, "average", overviews=True)
    assert np.allclose(with_overviews, values[::4, ::4].reshape(16, 2, 16, 2).mean((1, 3)), atol=30)
    assert not np.allclose(with_overviews, exact, rtol=1e-3)
    text = call("lazycogs_explain", tmp_path / "items.parquet", where, overviews=False, headers=True)
    assert con.execute(f"SELECT DISTINCT overview_level FROM {text}").fetchall() == [(0,)]


def test_halos_are_in_the_plan(con, tmp_path):
    """explain counts the pixels around, and what is read is what it says."""
    path = source(tmp_path / "a.tif", shape=(96, 96), blocks=16)
    items = index(tmp_path, [item("one", {"data": path})])
    where = grid(32, 32, left=LEFT + 323, top=TOP - 323)
    text = call("lazycogs_explain", items, where, resampling="lanczos", headers=True)
    col, row, width, height = con.execute(
        f"SELECT window_col, window_row, window_width, window_height FROM {text}"
    ).fetchone()
    assert (col, row) == (32 - 2, 32 - 2) and (width, height) == (32 + 5, 32 + 5)


def test_masks_come_before_kernels(con, tmp_path):
    """What a mask hides is as nodata would be."""
    rng = np.random.default_rng(4)
    values = rng.uniform(1000, 4000, (SIDE, SIDE)).astype("float32")
    hidden = rng.random((SIDE, SIDE)) < 0.08
    holes = raster(tmp_path / "b.tif", np.where(hidden, np.nan, values).astype("float32"), nodata=np.nan)
    paths = {
        "data": raster(tmp_path / "a.tif", values),
        "scl": raster(tmp_path / "scl.tif", np.where(hidden, 9, 4).astype("uint8")),
    }
    folder = tmp_path / "masked"
    folder.mkdir()
    items = index(folder, [item("one", paths)])
    for where in (over(1.3), over(3.5), turned(1), turned(3.5)):
        for kernel in [*POINT, *AREA, "mode", "nearest"]:
            named = {
                "bands": ["data"],
                "mask_band": "scl",
                "mask_values": [9],
                "resampling": kernel,
                "overviews": False,
            }
            (step,) = read(con, items, where, **named).values()
            wanted = ours(con, holes, where, kernel)
            assert (np.ma.getmaskarray(step["data"]) == np.ma.getmaskarray(wanted)).all(), kernel
            assert (step["data"] == wanted).all(), kernel


def test_scale_comes_before_kernels(con, tmp_path):
    """A sum of values is not the scaled sum of numbers, nor is a root of squares."""
    path = raster(tmp_path / "a.tif", np.array([[1, 2], [3, 4]], "uint16"))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (-2.0,), (10.0,)
    where = Grid((LEFT, TOP - 20, LEFT + 20, TOP), UTM, 20)
    values = np.array([8.0, 6, 4, 2])
    for kernel, wanted in [("sum", 20), ("rms", np.sqrt((values**2).mean())), ("min", 2), ("max", 8), ("average", 5)]:
        assert np.isclose(ours(con, path, where, kernel, scale=True), wanted), kernel


def test_windows_in_parts(con, tmp_path):
    """A window that is too large to be decoded at once gives the same bits."""
    path = source(tmp_path / "a.tif", "uint16", shape=(700, 600), blocks=64)
    where = Grid((LEFT - 95, TOP - 7005, LEFT + 6005, TOP + 95), UTM, 100)
    for kernel in ["average", "cubic", "mode", "sum"]:
        con.execute("SET lazycogs_memory_budget = '256MB'")
        whole = ours(con, path, where, kernel)
        con.execute("SET lazycogs_memory_budget = '1MB'")
        parts = ours(con, path, where, kernel)
        assert (np.ma.getmaskarray(parts) == np.ma.getmaskarray(whole)).all()
        valid = ~np.ma.getmaskarray(whole)
        assert valid.sum() > 3000 and (parts.data[valid] == whole.data[valid]).all()
