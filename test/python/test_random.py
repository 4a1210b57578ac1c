"""Archives, grids and methods drawn at random: whatever they are, the rows are those of the model.

LAZYCOGS_EXAMPLES draws more of them, and others each time.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pytest
import rasterio
import stac
from helpers import assert_same, read
from model import Grid, cube, load_items, touches
from pyproj import Transformer
from rasterio.enums import Resampling

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = int(os.environ.get("LAZYCOGS_EXAMPLES", "0"))
# A place near the border of two UTM zones, so that both see it well.
LON, LAT = 12.0, 47.0
ZONES = ["EPSG:32632", "EPSG:32633"]
METHODS = ["first", "last", "highest", "lowest", "mean", "median", "stdev", "count"]
NODATA = {"uint8": [0, 255], "int16": [-9999, 0], "uint16": [0, 65535], "int32": [-1], "float32": [-9999.0, np.nan]}


@dataclass(frozen=True)
class Scene:
    """One item: a raster of `size` x `size` pixels, its corner off from the common place by `shift` metres."""

    crs: str
    resolution: float
    size: int
    shift: tuple
    nodata: float | None
    masked: bool
    overviews: bool
    day: int
    seed: int


@st.composite
def scenes(draw, dtype):
    return Scene(
        crs=draw(st.sampled_from(ZONES)),
        resolution=draw(st.sampled_from([7.5, 10, 13, 20])),
        size=draw(st.integers(17, 70)),
        shift=draw(st.tuples(st.integers(-300, 300), st.integers(-300, 300))),
        nodata=draw(st.sampled_from([None, NODATA[dtype][0]])),
        masked=draw(st.booleans()),
        overviews=draw(st.booleans()),
        day=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def grids(draw):
    """A grid of at most 60 x 60 pixels over the common place."""
    crs = draw(st.sampled_from([*ZONES, "EPSG:4326", "EPSG:3857", "EPSG:3035"]))
    x, y = place(crs)
    metre = 1 / 90000 if crs == "EPSG:4326" else 1
    resolution = draw(st.sampled_from([5.3, 9.1, 10, 17.7, 31, 55])) * metre
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    left = x + draw(st.integers(-200, 100)) * 1.37 * metre
    bottom = y + draw(st.integers(-200, 100)) * 1.37 * metre
    return Grid((left, bottom, left + width * resolution, bottom + height * resolution), crs, resolution)


@st.composite
def cases(draw):
    dtype = draw(st.sampled_from(sorted(NODATA)))
    items = draw(st.lists(scenes(dtype), min_size=1, max_size=4))
    named = {"mosaic": draw(st.sampled_from(METHODS)), "chunk_size": draw(st.integers(16, 64))}
    nodata = draw(st.sampled_from([None, None, NODATA[dtype][-1]]))
    if nodata is not None and not np.isnan(nodata):
        named["nodata"] = nodata
    sortby = draw(st.sampled_from([None, ["eo:cloud_cover"], ["-eo:cloud_cover", "-datetime"]]))
    if sortby:
        named["sortby"] = sortby
    return dtype, items, draw(grids()), draw(st.sampled_from(["P1D", "P1M", "P2D", None])), named


def place(crs):
    return Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(LON, LAT)


def pixels(scene, dtype):
    """Few distinct values, so that ties and nodata are common; NaN among floats."""
    draw = np.random.default_rng(scene.seed)
    values = draw.integers(0, 40, (scene.size, scene.size)).astype(dtype)
    if scene.nodata is not None:
        values[draw.random(values.shape) < 0.3] = scene.nodata
    if dtype == "float32":
        values[draw.random(values.shape) < 0.1] = np.nan
    return values, np.where(draw.random(values.shape) < 0.3, 0, 255).astype("uint8")


def write_scene(path, scene, dtype):
    x, y = place(scene.crs)
    transform = rasterio.Affine(scene.resolution, 0, x + scene.shift[0], 0, -scene.resolution, y + scene.shift[1])
    profile = {"driver": "GTiff", "width": scene.size, "height": scene.size, "count": 1, "dtype": dtype}
    profile |= {"crs": scene.crs, "transform": transform, "nodata": scene.nodata, "compress": "deflate"}
    values, mask = pixels(scene, dtype)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"):
        with rasterio.open(path, "w", tiled=True, blockxsize=16, blockysize=16, **profile) as file:
            file.write(values, 1)
            if scene.masked:
                file.write_mask(mask)
        if scene.overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4], Resampling.nearest)


def write_archive(folder, dtype, scenes_):
    items = []
    for number, scene in enumerate(scenes_):
        path = folder / f"{number}.tif"
        write_scene(path, scene, dtype)
        items.append(
            stac.Item(
                id=str(number),
                time=stac.utc(2024, 5, scene.day, 12, number),
                assets={"data": str(path)},
                footprint=stac.outline(path),
                properties={"eo:cloud_cover": scene.seed % 3},
            )
        )
    stac.write(folder / "items.parquet", items, geometry=None)
    return folder / "items.parquet"


def is_near(index, grid, bands, mosaic):
    """Whether a step is one of nothing: an item lies within the margin around the grid and has no pixels there."""
    west, south, east, north = grid.bbox
    margin = 40 * max(1e-5, grid.resolution if grid.crs == "EPSG:4326" else 1)
    wider = Grid((west - margin, south - margin, east + margin, north + margin), grid.crs, grid.resolution)
    nothing = all(
        (values.filled(1) == 0).all() if mosaic == "count" else values.mask.all() for values in bands.values()
    )
    return nothing and any(touches(item, wider) for item in load_items(index))


@pytest.fixture(scope="module")
def session(extension):
    """One connection for all the examples."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{extension}'")
        yield connection


@settings(
    max_examples=EXAMPLES or 120,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(case=cases())
def test_any_archive_on_any_grid(session, case):
    dtype, scenes_, grid, period, named = case
    with tempfile.TemporaryDirectory() as folder:
        index = write_archive(Path(folder), dtype, scenes_)
        extra = {key: named[key] for key in ("mosaic", "sortby", "nodata") if key in named}
        wanted = cube(load_items(index), grid, period, ["data"], **extra)
        assume(wanted)
        found = read(session, index, grid, period, bands=["data"], **named)
        found = {
            step: bands
            for step, bands in found.items()
            if step in wanted or not is_near(index, grid, bands, named["mosaic"])
        }
        compared = assert_same(
            found, wanted, exact=named["mosaic"] not in ("mean", "median", "stdev"), most_doubt=1, least=0
        )
        hypothesis.target(float(min(compared, 1000)), label="pixels compared")
