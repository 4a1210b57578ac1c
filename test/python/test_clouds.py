"""Masks before the mosaic: a band of each item hides pixels of the others, against numpy."""

import itertools
import threading

import numpy as np
import pytest
import rasterio
from helpers import Sql, call, read
from pyproj import Transformer
from small import LEFT, TOP, UTM, grid, index, item, raster

WIDTH, HEIGHT = 40, 28
WHERE = grid(WIDTH, HEIGHT)
RNG = np.random.default_rng(5)
SCL = np.array([0, 3, 4, 5, 8, 9], "uint8")


def noise(shape=(HEIGHT, WIDTH), dtype="uint16", seed=1):
    return np.random.default_rng(seed).integers(1, 4000, shape).astype(dtype)


def classes(shape, seed=1):
    """Blobs of classes, so that something of each is near something of others."""
    return np.random.default_rng(seed).choice(SCL, size=shape)


def one(tmp_path, scl, band=None, mask=None, **profile):
    """An index of one item with a band of 10 metres and a mask."""
    band = noise() if band is None else band
    paths = {"red": raster(tmp_path / "red.tif", band), "scl": mask or raster(tmp_path / "scl.tif", scl, **profile)}
    return index(tmp_path, [item("one", paths)]), band


def red(con, items, where=WHERE, **named):
    named = {"bands": ["red"], "mask_band": "scl"} | named
    (step,) = read(con, items, where, **named).values()
    return step["red"]


def check(found, values, visible):
    assert (np.ma.getmaskarray(found) == ~visible).all()
    assert (found.data[visible] == values[visible]).all()
    assert visible.any() and not visible.all()


RULES = [
    ({"mask_values": [0, 8, 9]}, lambda v: ~np.isin(v, [0, 8, 9])),
    ({"mask_values": 8}, lambda v: v != 8),
    ({"mask_keep": [4, 5]}, lambda v: np.isin(v, [4, 5])),
    ({"mask_bits": [0, 3]}, lambda v: (v & 0b1001) == 0),
    ({"mask_above": 7.5}, lambda v: v <= 7.5),
    ({"mask_above": 8}, lambda v: v <= 8),
    ({"mask_below": 4}, lambda v: v >= 4),
    ({"mask_below": 3, "mask_above": 5}, lambda v: (v >= 3) & (v <= 5)),
    ({"mask_values": [4], "mask_keep": [4, 5], "mask_bits": 1}, lambda v: v == 5),
]


@pytest.mark.parametrize("named, shows", RULES)
def test_rules(con, tmp_path, named, shows):
    scl = classes((HEIGHT, WIDTH))
    items, band = one(tmp_path, scl)
    check(red(con, items, **named), band, shows(scl))


@pytest.mark.parametrize("resolution", [20, 30, 5, 7.5])
@pytest.mark.parametrize("shift", [(0, 0), (-3.7, 4.1)])
def test_a_mask_of_another_resolution_or_grid(con, tmp_path, resolution, shift):
    """The mask pixel under the centre of the band's own pixel decides."""
    scl = classes((70, 90), seed=3)
    left, top = LEFT - 30 + shift[0], TOP + 30 + shift[1]
    items, band = one(tmp_path, scl, left=left, top=top, resolution=resolution)
    x, y = WHERE.centres()
    col, row = ((x - left) // resolution).astype(int), ((top - y) // resolution).astype(int)
    inside = (row < 70) & (col < 90)
    visible = np.isin(scl[np.minimum(row, 69), np.minimum(col, 89)], [4, 5]) & inside
    # At the resolution of the band, the mask is read at full resolution.
    check(red(con, items, mask_keep=[4, 5]), band, visible)


def test_outside_of_the_mask_and_its_nodata_are_hidden(con, tmp_path):
    scl = classes((10, 40), seed=4)
    items, band = one(tmp_path, scl, nodata=5, left=LEFT + 100)
    visible = np.zeros((HEIGHT, WIDTH), bool)
    visible[:10, 10:] = np.isin(scl, [4, 3, 9, 0])[:, : WIDTH - 10]
    check(red(con, items, mask_values=[8]), band, visible)
    assert red(con, items, mask_values=[8], nodata=4) is not None


def test_an_internal_mask_in_the_mask(con, tmp_path):
    scl, covered = classes((HEIGHT, WIDTH)), RNG.random((HEIGHT, WIDTH)) < 0.7
    items, band = one(tmp_path, scl, mask=raster(tmp_path / "scl.tif", scl, mask=covered))
    check(red(con, items, mask_values=[8, 9]), band, ~np.isin(scl, [8, 9]) & covered)


def test_one_band_of_many(con, tmp_path):
    scl = np.stack([classes((HEIGHT, WIDTH), seed) for seed in range(3)])
    items, band = one(tmp_path, scl)
    check(red(con, items, mask_band="scl:2", mask_keep=[4]), band, scl[1] == 4)


def test_the_mask_is_a_band_too(con, tmp_path):
    scl = classes((HEIGHT, WIDTH))
    items, band = one(tmp_path, scl)
    (step,) = read(con, items, WHERE, bands=["red", "scl"], mask_band="scl", mask_values=[8]).values()
    check(step["red"], band, scl != 8)
    check(step["scl"], scl, scl != 8)


def test_a_mask_in_another_crs(con, tmp_path):
    """A mask in the next UTM zone."""
    to = Transformer.from_crs(UTM, "EPSG:32632", always_xy=True)
    x, y = WHERE.centres()
    mx, my = to.transform(x, y)
    left, top, resolution = mx.min() - 55, my.max() + 55, 13
    scl = classes((60, 60), seed=8)
    path = raster(tmp_path / "scl.tif", scl, left=left, top=top, resolution=resolution, crs="EPSG:32632")
    items, band = one(tmp_path, scl, mask=path)
    col, row = (mx - left) / resolution, (top - my) / resolution
    found = red(con, items, mask_keep=[4, 5, 3])
    visible = np.isin(scl[row.astype(int), col.astype(int)], [4, 5, 3])
    sure = (np.abs(col - np.round(col)) > 1e-3) & (np.abs(row - np.round(row)) > 1e-3)
    assert sure.mean() > 0.95
    assert (np.ma.getmaskarray(found) == ~visible)[sure].all()
    both = visible & ~np.ma.getmaskarray(found)
    assert (found.data[both] == band[both]).all()


def grown(hidden, resolution, distance):
    """Hidden pixels, and those whose centres are that near to them."""
    rows, cols = np.indices(hidden.shape)
    near = hidden.copy()
    for r, c in np.argwhere(hidden):
        near |= np.hypot(rows - r, cols - c) * resolution <= distance + 1e-6
    return near


@pytest.mark.parametrize("distance", [0, 9, 10, 15, 25, 60, 5000])
def test_masks_grow(con, tmp_path, distance):
    scl = np.full((HEIGHT, WIDTH), 4, "uint8")
    scl[[3, 20, 12], [30, 4, 0]] = 9
    scl[27, 39] = 0
    items, band = one(tmp_path, scl, nodata=0)
    visible = ~grown(scl != 4, 10, distance)
    found = red(con, items, mask_values=[9], mask_grow=distance)
    assert (np.ma.getmaskarray(found) == ~visible).all()
    assert (found.data[visible] == band[visible]).all()


def test_clouds_beside_the_box_hide_what_is_near(con, tmp_path):
    """What hides may lie outside of the output, and in another of its tiles."""
    scl = np.full((60, 60), 4, "uint8")
    scl[8, 8] = scl[40, 33] = 9
    items, band = one(tmp_path, scl, band=noise((60, 60)))
    where = grid(40, 40, left=LEFT + 100, top=TOP - 100)
    visible = ~grown(scl != 4, 10, 65)[10:50, 10:50]
    for size in (16, 20, 64):
        found = red(con, items, where, mask_values=[9], mask_grow=65, chunk_size=size)
        assert (np.ma.getmaskarray(found) == ~visible).all()
    assert not visible.all() and not visible[0, 0] and not visible[30, 23]


def test_everything_hidden(con, tmp_path):
    items, _ = one(tmp_path, classes((HEIGHT, WIDTH)))
    for method in ("first", "median", "last", "mean"):
        assert red(con, items, mask_keep=[99], mosaic=method).mask.all()
    found = red(con, items, mask_keep=[99], mosaic="count")
    assert not np.ma.getmaskarray(found).any() and (found == 0).all()


METHODS = {
    "first": lambda stack: first(stack),
    "last": lambda stack: first(stack[::-1]),
    "highest": lambda stack: stack.max(0),
    "lowest": lambda stack: stack.min(0),
    "mean": lambda stack: stack.astype("float64").mean(0),
    "median": lambda stack: np.ma.median(stack.astype("float64"), axis=0),
    "stdev": lambda stack: stack.astype("float64").std(0),
    "count": lambda stack: np.ma.asarray((~np.ma.getmaskarray(stack)).sum(0)),
}


def first(stack):
    result = np.ma.masked_all(stack.shape[1:], stack.dtype)
    for layer in stack:
        take = result.mask & ~np.ma.getmaskarray(layer)
        result[take] = layer[take]
    return result


def dates(tmp_path, count=6, seed=11):
    """An index of cloudy dates, and the visible pixels of each as numpy says."""
    items, layers = [], []
    for n in range(count):
        band, scl = noise(seed=seed + n), classes((HEIGHT // 2, WIDTH // 2), seed=50 + seed + n)
        paths = {
            "red": raster(tmp_path / f"red{n}.tif", band),
            "scl": raster(tmp_path / f"scl{n}.tif", scl, resolution=20),
        }
        items.append(item(f"i{n}", paths, (2024, 5, 3, 12, n)))
        hidden = ~np.isin(scl, [4, 5]).repeat(2, 0).repeat(2, 1)
        layers.append(np.ma.masked_array(band, hidden))
    return index(tmp_path, items), np.ma.stack(layers)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunk_size", [16, 64])
def test_every_method(con, tmp_path, method, chunk_size):
    items, stack = dates(tmp_path)
    found = red(con, items, mask_keep=[4, 5], mosaic=method, chunk_size=chunk_size)
    wanted = METHODS[method](stack)
    assert (np.ma.getmaskarray(found) == np.ma.getmaskarray(wanted)).all()
    assert np.ma.allclose(found, wanted, rtol=1e-6)


def test_a_method_for_each_band(con, tmp_path):
    """A class band stays a class, beside bands of which the middle is taken."""
    items, stack = dates(tmp_path)
    scl = [rasterio.open(tmp_path / f"scl{n}.tif").read(1).repeat(2, 0).repeat(2, 1) for n in range(len(stack))]
    classes = np.ma.masked_array(scl, stack.mask)
    for text, method in itertools.product(
        ("MAP {{'scl': '{}', '*': 'median'}}", "{{'scl': '{}', 'red': 'median'}}"), ("first", "last", "highest")
    ):
        how = Sql(text.format(method))
        named = {"bands": ["red", "scl"], "mask_band": "scl", "mask_keep": [4, 5]}
        (step,) = read(con, items, WHERE, mosaic=how, **named).values()
        assert np.ma.allclose(step["red"], METHODS["median"](stack)) and step["red"].dtype == "float32"
        wanted = METHODS[method](classes)
        assert (np.ma.getmaskarray(step["scl"]) == wanted.mask).all()
        assert (step["scl"] == wanted).all() and step["scl"].dtype.kind == "i"


def test_windows_in_parts(con, tmp_path):
    """A window much finer than the output is read part by part, and its mask with it."""
    band, scl = noise((600, 700), seed=2), classes((300, 350), seed=2)
    paths = {
        "red": raster(tmp_path / "red.tif", band, blocks=64),
        "scl": raster(tmp_path / "scl.tif", scl, resolution=20, blocks=64),
    }
    items = index(tmp_path, [item("one", paths)])
    where = grid(70, 60, resolution=100)
    # Of each 10 x 10 pixels the one to the right and below of the centre.
    at = np.ix_(np.arange(5, 600, 10), np.arange(5, 700, 10))
    visible = np.isin(scl.repeat(2, 0).repeat(2, 1)[at], [4, 5])
    check(red(con, items, where, mask_keep=[4, 5]), band[at], visible)
    con.execute("SET lazycogs_memory_budget = '1MB'")
    check(red(con, items, where, mask_keep=[4, 5]), band[at], visible)


def test_scaled_and_masked(con, tmp_path):
    scl = classes((HEIGHT, WIDTH))
    path = raster(tmp_path / "red.tif", noise())
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.0001,), (-0.1,)
    items = index(tmp_path, [item("one", {"red": path, "scl": raster(tmp_path / "scl.tif", scl)})])
    found = red(con, items, mask_keep=[4, 5], scale=True)
    visible = np.isin(scl, [4, 5])
    assert (np.ma.getmaskarray(found) == ~visible).all()
    assert np.allclose(found.data[visible], noise()[visible] * 0.0001 - 0.1)


def decoded(con, text):
    sql = "SELECT value FROM lazycogs_cache_stats() WHERE counter = 'tiles_decoded'"
    (before,) = con.execute(sql).fetchone()
    con.execute(text).fetchall()
    (after,) = con.execute(sql).fetchone()
    return after - before


def test_bands_under_a_closed_mask_are_not_read(con, tmp_path):
    """A tile of which the mask hides everything is neither fetched nor decoded; `first` stops where nothing is open."""
    con.execute("SET lazycogs_cache_size = '0MB'")
    scl = np.full((64, 64), 9, "uint8")
    scl[:32, :32] = 4
    paths = {
        name: raster(tmp_path / f"{name}.tif", noise((64, 64)) if name == "red" else scl, blocks=32)
        for name in ("red", "scl")
    }
    clear = raster(tmp_path / "clear.tif", np.full((64, 64), 4, "uint8"), blocks=32)
    broken = tmp_path / "none.tif"
    where = grid(64, 64)
    one = index(tmp_path, [item("one", paths)])
    text = f"FROM {call('lazycogs_read', one, where, bands=['red'], mask_band='scl', mask_keep=[4], chunk_size=64)}"
    assert decoded(con, text) == 4 + 1, "four tiles of the mask, one of the band"
    footprint = item("one", paths).footprint
    two = [
        item("one", paths | {"scl": clear}, (2024, 5, 3, 12, 0)),
        item("two", {"red": broken, "scl": broken}, (2024, 5, 3, 12, 1), footprint=footprint),
    ]
    found = red(con, index(tmp_path, two), where, mask_keep=[4])
    assert not np.ma.getmaskarray(found).any()


def test_an_item_without_the_mask_fails(con, tmp_path):
    scl = classes((HEIGHT, WIDTH))
    red_path = raster(tmp_path / "red.tif", noise())
    paths = {"red": red_path, "scl": raster(tmp_path / "scl.tif", scl)}
    items = index(tmp_path, [item("a", paths), item("b", {"red": red_path, "scl": None}, (2024, 5, 3, 12, 1))])
    with pytest.raises(Exception, match="item 'b' asset 'scl'.*mask_band"):
        red(con, items, mask_keep=[4], mosaic="median")
    found = red(con, items, mask_keep=[4], mosaic="median", errors="ignore")
    check(found, noise(), scl == 4)
    failures = con.execute("SELECT item_id, asset FROM lazycogs_failures()").fetchall()
    assert failures == [("b", "scl")]


def test_an_item_without_pixels_in_one_of_two_tiles(con, tmp_path):
    """Reads of an item for neighbouring tiles wait for each other: not for one that finds nothing to mask."""
    paths = {name: raster(tmp_path / f"{name}.tif", np.full((16, 16), 4, "uint8")) for name in ("red", "scl")}
    wide = raster(tmp_path / "wide.tif", np.full((16, 32), 4, "uint8"))
    items = index(tmp_path, [item("one", paths, footprint=item("wide", {"red": wide}).footprint)])
    named = {"bands": ["red"], "mask_band": "scl", "mask_keep": [4], "mosaic": "mean", "chunk_size": 16}
    text = f"SELECT count(red) FROM {call('lazycogs_read', items, grid(32, 16), **named)}"
    # A read that hangs is ended, and then an error.
    bound = threading.Timer(10, con.interrupt)
    bound.start()
    assert con.execute(text).fetchall() == [(256,)]
    bound.cancel()


def test_explain_lists_the_mask(con, tmp_path):
    scl = classes((HEIGHT // 2, WIDTH // 2))
    items, _ = one(tmp_path, scl, resolution=20)
    text = call("lazycogs_explain", items, WHERE, bands=["red"], mask_band="scl", mask_keep=[4], headers=True)
    rows = con.execute(f"SELECT band, masks, window_width, window_height, requests > 0 FROM {text}").fetchall()
    assert rows == [("red", False, WIDTH, HEIGHT, True), ("scl", True, WIDTH // 2, HEIGHT // 2, True)]


WRONG = [
    ({"mask_values": [1]}, "mask_band is missing.*mask_values"),
    ({"mask_grow": 5}, "mask_band is missing"),
    ({"mask_band": "scl"}, "mask_band 'scl' says nothing without one of mask_values"),
    ({"mask_band": "scl", "mask_grow": 5}, "says nothing without"),
    ({"mask_band": "cld", "mask_values": [1]}, "mask_band: no item has band 'cld'; there are: red, scl"),
    ({"mask_band": "scl:2", "mask_values": [1]}, "band 'scl:2': asset 'scl' has 1 band"),
    ({"mask_band": "scl", "mask_bits": [8]}, "type uint8, with bits 0 to 7; there is no bit 8"),
    ({"mask_band": "scl", "mask_bits": [-1]}, "mask_bits holds -1"),
    ({"mask_band": "scl", "mask_bits": [1.5]}, "mask_bits holds 1.5"),
    ({"mask_band": "probability", "mask_bits": [1]}, "type float32, whose values have no bits; use mask_above"),
    ({"mask_band": "scl", "mask_values": Sql("[]::INT[]")}, "mask_values is an empty list"),
    ({"mask_band": "scl", "mask_values": Sql("[1, NULL]")}, "mask_values must be a number or a list of numbers"),
    ({"mask_band": "scl", "mask_values": "water"}, "mask_values must be a number or a list"),
    ({"mask_band": "scl", "mask_values": [1], "mask_grow": -1}, "mask_grow is -1; it must be a distance"),
    ({"mosaic": Sql("MAP {'nir': 'first'}")}, "mosaic names 'nir', which is no band of this call; there are: red"),
    ({"mosaic": Sql("MAP {}")}, "mosaic is a map that names no band"),
    ({"mosaic": Sql("MAP {'red': 'middle'}")}, "unknown mosaic 'middle'; use one of first"),
    ({"mosaic": Sql("MAP {'red': 3}")}, "mosaic must be a name, or a map"),
    ({"mosaic": 3}, "mosaic must be a name, or a map"),
    ({"resampling": Sql("{'nir': 'cubic'}")}, "resampling names 'nir', which is no band"),
    ({"resampling": Sql("MAP {'*': 'cubist'}")}, "unknown resampling 'cubist'; use one of nearest"),
]


@pytest.mark.parametrize("named, message", WRONG)
def test_wrong_arguments(con, tmp_path, named, message):
    band = noise()
    paths = {
        "red": raster(tmp_path / "red.tif", band),
        "scl": raster(tmp_path / "scl.tif", classes((HEIGHT, WIDTH))),
    }
    if named.get("mask_band") == "probability":
        paths["probability"] = raster(tmp_path / "p.tif", band.astype("float32"))
    items = index(tmp_path, [item("one", paths)])
    with pytest.raises(Exception, match=message):
        con.execute(f"EXPLAIN FROM {call('lazycogs_read', items, WHERE, bands=['red'], **named)}")
