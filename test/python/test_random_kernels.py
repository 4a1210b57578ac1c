"""Kernels, masks and mosaics drawn at random: whatever they are, the pixels are those of the model.

Each case has a few items of a band and a mask, as files lie in archives: not quite in the same place, sometimes in the
next UTM zone, with holes of every kind. LAZYCOGS_EXAMPLES draws more cases, and others each time; LAZYCOGS_SEED draws
those of a seed, which a failure prints.
"""

import os
import random
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pytest
import rasterio
from helpers import describe, read
from kernel_model import KERNELS, Image, between, masked, resampled
from model import Grid, compose
from small import UTM, index, item, raster

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = int(os.environ.get("LAZYCOGS_EXAMPLES", "0"))
SEED = int(os.environ.get("LAZYCOGS_SEED") or (random.SystemRandom().randrange(2**32) if EXAMPLES else 1))
# Of each kernel.
EACH = max(1, EXAMPLES // len(KERNELS)) if EXAMPLES else 20
METHODS = ["first", "last", "highest", "lowest", "mean", "median", "stdev", "count"]
# The range of values, which cubic and lanczos leave, and nodata. None is 0, of which no share can be right or wrong.
DTYPES = {
    "uint8": (1, 256, 255),
    "int16": (-3000, -1000, -2000),
    "uint16": (1, 4000, 0),
    "float32": (1000, 4000, -9999),
}
PLACE = (500_200, 5_199_800)
NEXT = {UTM: ["EPSG:32632", "EPSG:32634"]}
RULES = [
    {"mask_values": [3, 8, 9]},
    {"mask_keep": [4, 5, 6]},
    {"mask_bits": [0, 3]},
    {"mask_above": 7.5},
    {"mask_below": 4},
    {"mask_values": [5], "mask_above": 8, "mask_below": 1},
]
SCL = [0, 3, 6, 8, 9, 11]


@dataclass(frozen=True)
class Scene:
    """One item; `shift` is in metres, off the common place."""

    crs: str
    shape: tuple
    shift: tuple
    holes: str
    share: float
    few: bool
    seed: int


@dataclass(frozen=True)
class Mask:
    """The masks of all items. They begin `margin` metres outside of the band, inside where that is negative."""

    resolution: float
    margin: tuple
    size: float
    nodata: int | None
    clouds: float
    crs: str | None
    rules: dict


@dataclass(frozen=True)
class Case:
    dtype: str
    scenes: tuple
    mask: Mask | None
    kernel: str
    mosaic: str
    grid: Grid
    chunk_size: int
    wide: bool


@st.composite
def scenes(draw, aligned, crs):
    step = 10 if aligned else 1
    sizes = st.integers(14, 44)
    lines = [(1, 40), (40, 1)]
    shape = draw(st.tuples(sizes, sizes) if draw(st.integers(0, 9)) < 9 else st.sampled_from(lines))
    shift = draw(st.tuples(*[st.integers(-120 // step, 120 // step)] * 2) | st.just((0, 0)))
    return Scene(
        crs=draw(st.sampled_from(crs)),
        shape=shape,
        shift=(shift[0] * step, shift[1] * step),
        holes=draw(st.sampled_from(["none", "nodata", "nan", "mask"])),
        share=draw(st.sampled_from([0.03, 0.1, 0.5])),
        few=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def masks(draw, crs):
    grow = draw(st.sampled_from([0, 0, 15, 20, 33.3, 60]))
    rules = draw(st.sampled_from(RULES))
    return Mask(
        resolution=draw(st.sampled_from([10, 20, 30])),
        # Never such that the centre of a band's pixel lies on an edge of the mask's.
        margin=draw(st.sampled_from([(0, 0), (0, 0), (60, 120), (3.7, -4.3), (-50.9, 27.1)])),
        size=draw(st.sampled_from([1, 1.3, 0.8])),
        nodata=draw(st.sampled_from([None, 0, 4])) if not grow else None,
        clouds=0.01 if grow else draw(st.sampled_from([0.03, 0.1, 0.4])),
        crs=draw(st.sampled_from(crs)),
        rules=rules | ({"mask_grow": grow} if grow else {}),
    )


@st.composite
def grids(draw, aligned, crs):
    """A grid of at most 40 x 40 pixels, and 50 x 50 of the files', that holds the common place."""
    # A point kernel begins to widen at 2.
    shrinks = [2, 1, 0.5, 2, 4] if aligned else [0.4, 1.3, 1.9, 1.99, 2.01, 2.2, *(n / 100 for n in range(40, 400, 9))]
    shrink = draw(st.sampled_from(shrinks))
    resolution = 10 * shrink
    width, height = (max(1, min(40, int(draw(st.integers(1, 50)) / shrink))) for _ in "xy")
    x, y = PLACE if crs == UTM else between(UTM, crs).transform(*PLACE)
    if aligned:
        left = x - 5 * draw(st.integers(0, int(width * shrink * 2)))
        bottom = y - 5 * draw(st.integers(0, int(height * shrink * 2)))
    else:
        left = x - (draw(st.integers(0, 999)) + 0.137) / 1000 * width * resolution
        bottom = y - (draw(st.integers(0, 999)) + 0.137) / 1000 * height * resolution
    return Grid((left, bottom, left + width * resolution, bottom + height * resolution), crs, resolution)


@st.composite
def cases(draw, kernel):
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    # Between parallel grids edges may meet edges, and centres.
    lie = draw(st.sampled_from(["aligned", "shifted"] if kernel == "sum" else ["aligned", "turned", "shifted"]))
    aligned, turned = lie == "aligned", lie == "turned"
    crs = [UTM, UTM, UTM, "EPSG:32632"] if turned else [UTM]
    return Case(
        dtype=dtype,
        scenes=tuple(draw(st.lists(scenes(aligned, crs), min_size=1, max_size=4))),
        mask=draw(st.none() | masks([None, None, None, "EPSG:32632"] if turned else [None])),
        kernel=kernel,
        mosaic=draw(st.sampled_from(METHODS)),
        grid=draw(grids(aligned, draw(st.sampled_from([UTM, "EPSG:32634"])) if turned else UTM)),
        chunk_size=draw(st.integers(16, 64)),
        wide=draw(st.sampled_from([False, False, False, True])),
    )


# -- files -----------------------------------------------------------------------------------------------------------


def write_band(path, scene, dtype):
    """The file, and what it holds. Its centre is the common place, but for the shift."""
    rng = np.random.default_rng(scene.seed)
    low, high, nodata = DTYPES[dtype]
    if scene.few:
        high = low + 5
    values = (
        rng.uniform(low, high, scene.shape) if dtype == "float32" else rng.integers(low, high, scene.shape)
    ).astype(dtype)
    if scene.few:
        values = np.floor(values)
    x, y = PLACE if scene.crs == UTM else (round(v, 1) for v in between(UTM, scene.crs).transform(*PLACE))
    left = x + scene.shift[0] - scene.shape[1] // 2 * 10
    top = y + scene.shift[1] + scene.shape[0] // 2 * 10
    hole = rng.random(scene.shape) < scene.share
    options = {"left": left, "top": top, "crs": scene.crs}
    valid = ~hole
    if scene.holes == "mask":
        options["mask"] = valid
    elif scene.holes == "nan" and dtype == "float32":
        values[hole] = np.nan
    elif scene.holes == "none":
        valid = np.ones(scene.shape, bool)
    else:
        values[hole] = nodata
        options["nodata"] = nodata
        valid = values != nodata
    raster(path, values, **options)
    affine = rasterio.Affine(10, 0, left, 0, -10, top)
    return Image(np.where(valid, values, 0), valid, affine, scene.crs)


def write_mask(path, mask, band, seed):
    rng = np.random.default_rng(seed + 1)
    crs = mask.crs or band.crs
    left, top = band.transform.c, band.transform.f
    if crs != band.crs:
        left, top = (round(v, 1) for v in between(band.crs, crs).transform(left, top))
    left, top = left - mask.margin[0], top + mask.margin[1]
    height, width = (max(1, int(n * 10 * mask.size / mask.resolution) + 1) for n in band.values.shape)
    clouds = rng.random((height, width)) < mask.clouds
    values = np.where(clouds, rng.choice(SCL, (height, width)), rng.choice([4, 6], (height, width))).astype("uint8")
    raster(path, values, left, top, mask.resolution, crs, nodata=mask.nodata)
    affine = rasterio.Affine(mask.resolution, 0, left, 0, -mask.resolution, top)
    return Image(values, values != mask.nodata if mask.nodata is not None else np.ones(values.shape, bool), affine, crs)


# -- the comparison --------------------------------------------------------------------------------------------------


def archive(folder, case):
    """The index, and what each item shows of its band."""
    items, images = [], []
    for number, scene in enumerate(case.scenes):
        paths = {"data": folder / f"data{number}.tif"}
        image = write_band(paths["data"], scene, case.dtype)
        if case.mask:
            paths["scl"] = folder / f"scl{number}.tif"
            image = masked(image, write_mask(paths["scl"], case.mask, image, scene.seed), case.mask.rules)
            assume(image)
        items.append(item(f"i{number}", paths, (2024, 5, 3, 12, number)))
        images.append(image)
    return index(folder, items), images


def mosaic_doubt(method, valid, doubt):
    """`first` and `last` do not look at what comes after a pixel that is sure."""
    if method not in ("first", "last"):
        return doubt.any(0)
    order = slice(None) if method == "first" else slice(None, None, -1)
    sure = np.cumsum((valid & ~doubt)[order], axis=0)
    settled = np.concatenate([np.zeros_like(sure[:1]), sure[:-1]]) > 0
    return (doubt[order] & ~settled).any(0)


def compare(session, folder, case):
    """The number of valid pixels that agree."""
    items, images = archive(folder, case)
    # Means of items keep fractions, and so do the items that they are means of.
    keeps = case.mosaic in ("mean", "median", "stdev")
    dtype = "float32" if case.wide or keeps else case.dtype
    layers = [resampled(case.kernel, image, case.grid, dtype) for image in images]
    values, valid, doubt = (
        np.stack([getattr(layer, name) for layer in layers]) for name in ("values", "valid", "doubt")
    )
    wanted, there = compose(case.mosaic, values, valid)
    doubt = mosaic_doubt(case.mosaic, valid, doubt)
    assert doubt.sum() <= max(3, 0.15 * doubt.size), "too many pixels are left out for this to be a test"

    named = {"resampling": case.kernel, "mosaic": case.mosaic, "chunk_size": case.chunk_size, "overviews": False}
    named |= {"dtype": "float32"} if case.wide else {}
    named |= {"mask_band": "scl"} | case.mask.rules if case.mask else {}
    # A read that hangs is ended, and then an error.
    bound = threading.Timer(20, session.interrupt)
    bound.start()
    try:
        (step,) = read(session, items, case.grid, bands=["data"], **named).values()
    except duckdb.BinderException as error:
        assert "no item matches" in str(error) and not valid.any()
        return 0
    finally:
        bound.cancel()
    found = step["data"]
    shown = ~np.ma.getmaskarray(found)
    wrong = (shown != there) & ~doubt
    assert not wrong.any(), describe("validity", "", "data", wrong, shown, there)
    both = there & ~doubt
    got, wanted = found.data.astype("float64"), wanted.astype("float64")
    whole = case.mosaic == "count" or np.dtype(dtype).kind != "f"
    assert found.dtype == ("float32" if case.wide or not whole else "int32")
    # A deviation is as exact as what deviates.
    size = np.abs(values).max(0) if case.mosaic == "stdev" else np.abs(wanted)
    wrong = both & ~(np.abs(got - wanted) <= (0 if whole else 2e-6) * size)
    assert not wrong.any(), describe("value", "", "data", wrong, got, wanted)
    return int((both & valid.any(0)).sum())


@pytest.fixture(scope="module")
def session(extension):
    """One connection for all the examples."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{extension}'")
        yield connection


@pytest.mark.parametrize("number", range(len(KERNELS)), ids=KERNELS)
def test_any_case(session, number):
    @hypothesis.seed(SEED + number)
    @settings(max_examples=EACH, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases(KERNELS[number]))
    def check(case):
        hypothesis.note(f"LAZYCOGS_SEED={SEED}")
        with tempfile.TemporaryDirectory() as folder:
            compared = compare(session, Path(folder), case)
            hypothesis.target(float(min(compared, 1000)), label="pixels compared")

    check()
