"""Archives, grids and methods drawn at random: whatever they are, the rows are those of the model.

What is drawn: the pixels and how files mark missing ones, the CRS of each file and how it is written down, where on
Earth all that is and how longitudes are counted, the layout of the index, and the call. LAZYCOGS_EXAMPLES draws more
cases, and others each time; LAZYCOGS_SEED draws those of a seed, which a failure prints.
"""

import json
import math
import os
import random
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import stac
from helpers import Sql, assert_same, read
from model import Grid, Item, beside, cube, touches
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from test_georeference import spelled
from test_index_forms import OURS, TIMES, as_type
from test_place import geo, points

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = int(os.environ.get("LAZYCOGS_EXAMPLES", "0"))
SEED = int(os.environ.get("LAZYCOGS_SEED") or (random.SystemRandom().randrange(2**32) if EXAMPLES else 1))
METHODS = ["first", "last", "highest", "lowest", "mean", "median", "stdev", "count"]
NODATA = {"uint8": [0, 255], "int16": [-9999, 0], "uint16": [0, 65535], "int32": [-1], "float32": [-9999.0, np.nan]}


@dataclass(frozen=True)
class Place:
    """Where a case is, the CRSs of its files and of its grids."""

    lon: float
    lat: float
    files: tuple
    grids: tuple


# Borders of two UTM zones, so that both see it well; the second one is the antimeridian. Only datums that PROJ ties to
# each other in one way: ED50 lies 120 metres beside itself by way of WGS 84, where footprints are.
PLACES = [
    Place(
        12.0,
        47.0,
        ("EPSG:32632", "EPSG:32633", "EPSG:25832", "EPSG:3035", "EPSG:4258"),
        ("EPSG:32632", "EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:3035"),
    ),
    Place(
        180.0,
        -17.0,
        ("EPSG:32760", "EPSG:32701", "EPSG:3832", "EPSG:4326"),
        ("EPSG:32760", "EPSG:32701", "EPSG:4326", "EPSG:3832"),
    ),
]


@dataclass(frozen=True)
class Scene:
    """One item: a raster of `size` x `size` pixels, its corner off from the common place by `shift` metres."""

    crs: str
    form: str
    resolution: float
    size: int
    shift: tuple
    nodata: float | None
    masked: bool
    overviews: bool
    day: int
    seed: int


@dataclass(frozen=True)
class Layout:
    """How one part of an index says what it says."""

    bbox: str
    geometry: str
    assets: str
    properties: str
    time: str
    longitudes: str
    metadata: bool


@dataclass(frozen=True)
class Archive:
    source: str
    parts: tuple
    # Columns of others, and what is in them.
    columns: tuple


BBOXES = ["struct", "float32", "struct_z", "list", "text", "null", "absent"]
GEOMETRIES = ["wkb", "geojson", "points", "interleaved", "absent"]
LONGITUDES = ["-180 to 180", "split", "0 to 360", "a turn less", "continuous", "a turn more"]
THEIRS = [*OURS, "step", "time", "x", "y", "id_1", "ids", "place", "order", "data", "geom", "count"]


@st.composite
def scenes(draw, dtype, place):
    return Scene(
        crs=draw(st.sampled_from(place.files)),
        form=draw(st.sampled_from(["code", "code", "base", "unit"])),
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
def grids(draw, place):
    """A grid of at most 60 x 60 pixels over the common place."""
    crs = draw(st.sampled_from(place.grids))
    x, y = at(place, crs)
    metre = 1 / 90000 if crs == "EPSG:4326" else 1
    if crs == "EPSG:4326":
        x += 360 * draw(st.sampled_from([0, 0, -1] if place.lon == 180 else [0, 0, -1, 1]))
    resolution = draw(st.sampled_from([5.3, 9.1, 10, 17.7, 31, 55])) * metre
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    left = x + draw(st.integers(-200, 100)) * 1.37 * metre
    bottom = y + draw(st.integers(-200, 100)) * 1.37 * metre
    return Grid((left, bottom, left + width * resolution, bottom + height * resolution), crs, resolution)


@st.composite
def layouts(draw, properties):
    bbox = draw(st.sampled_from(BBOXES))
    told = bbox not in ("null", "absent")
    return Layout(
        bbox=bbox,
        geometry=draw(st.sampled_from(GEOMETRIES if told else GEOMETRIES[:-1])),
        assets=draw(st.sampled_from(["struct", "map", "json"])),
        properties=draw(st.sampled_from(properties)),
        time=draw(st.sampled_from(sorted(TIMES))),
        longitudes=draw(st.sampled_from(LONGITUDES)),
        metadata=draw(st.booleans()),
    )


@st.composite
def archives(draw):
    source = draw(st.sampled_from(["parquet", "parquet", "parts", "list", "ndjson", "collection", "value"]))
    count = draw(st.integers(2, 3)) if source in ("parts", "list") else 1
    columns = draw(st.dictionaries(st.sampled_from(THEIRS), st.sampled_from(["number", "text", "struct"]), max_size=3))
    # Columns of their own and members of `properties` do not go together.
    properties = draw(st.sampled_from([["flat"], ["nested", "json"]]))
    return Archive(source, tuple(draw(layouts(properties)) for _ in range(count)), tuple(columns.items()))


@st.composite
def cases(draw):
    place = draw(st.sampled_from(PLACES))
    dtype = draw(st.sampled_from(sorted(NODATA)))
    items = draw(st.lists(scenes(dtype, place), min_size=1, max_size=4))
    named = {"mosaic": draw(st.sampled_from(METHODS)), "chunk_size": draw(st.integers(16, 64))}
    nodata = draw(st.sampled_from([None, None, NODATA[dtype][-1]]))
    if nodata is not None and not np.isnan(nodata):
        named["nodata"] = nodata
    sortby = draw(st.sampled_from([None, ["eo:cloud_cover"], ["-eo:cloud_cover", "-datetime"]]))
    if sortby:
        named["sortby"] = sortby
    archive = draw(archives())
    dated = any(layout.time == "date" for layout in archive.parts)
    # A date names no instant.
    period = draw(st.sampled_from(["P1D", "P1M", "P2D", "P1D" if dated else None]))
    return place, dtype, items, archive, draw(grids(place)), period, named


def at(place, crs):
    return Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(place.lon, place.lat)


# -- files -----------------------------------------------------------------------------------------------------------


def pixels(scene, dtype):
    """Few distinct values, so that ties and nodata are common; NaN among floats."""
    draw = np.random.default_rng(scene.seed)
    values = draw.integers(0, 40, (scene.size, scene.size)).astype(dtype)
    if scene.nodata is not None:
        values[draw.random(values.shape) < 0.3] = scene.nodata
    if dtype == "float32":
        values[draw.random(values.shape) < 0.1] = np.nan
    return values, np.where(draw.random(values.shape) < 0.3, 0, 255).astype("uint8")


def write_scene(path, scene, dtype, place):
    crs = spelled(CRS(scene.crs), scene.form, random.Random(scene.seed))
    x, y = at(place, crs)
    unit = crs.axis_info[0].unit_conversion_factor
    metre = (math.radians(1 / 90000) if crs.is_geographic else 1) / unit
    pixel = scene.resolution * metre
    transform = rasterio.Affine(pixel, 0, x + scene.shift[0] * metre, 0, -pixel, y + scene.shift[1] * metre)
    profile = {"driver": "GTiff", "width": scene.size, "height": scene.size, "count": 1, "dtype": dtype}
    wkt = rasterio.crs.CRS.from_wkt(crs.to_wkt("WKT2_2019"))
    profile |= {"crs": wkt, "transform": transform, "nodata": scene.nodata, "compress": "deflate"}
    values, mask = pixels(scene, dtype)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"):
        with rasterio.open(path, "w", tiled=True, blockxsize=16, blockysize=16, **profile) as file:
            file.write(values, 1)
            if scene.masked:
                file.write_mask(mask)
        if scene.overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4], Resampling.nearest)
    # What GeoTIFF cannot say GDAL puts beside the file, where nobody looks who reads a COG.
    path.with_suffix(".tif.aux.xml").unlink(missing_ok=True)


# -- the index -------------------------------------------------------------------------------------------------------


def counted(ring, way):
    """The parts of a footprint and its (west, east), in a way of counting longitudes. The ring is continuous."""
    lon = np.array([x for x, _ in ring])
    lats = [y for _, y in ring]
    turns = {"a turn less": -360, "continuous": 0, "a turn more": 360}
    if way in turns:
        lon = lon + turns[way]
        return [list(zip(lon.tolist(), lats))], (lon.min(), lon.max())
    low = -180 if way != "0 to 360" else 0
    west, east = ((edge - low) % 360 + low for edge in (lon.min(), lon.max()))
    if way == "split" and west > east:
        return [box(west, min(lats), 180, max(lats)), box(-180, min(lats), east, max(lats))], (west, east)
    return [list(zip(((lon - low) % 360 + low).tolist(), lats))], (west, east)


def box(west, south, east, north):
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def edges_of(ring, way):
    (west, east), lats = counted(ring, way)[1], [y for _, y in ring]
    return [float(west), float(min(lats)), float(east), float(max(lats))]


def geojson(parts):
    if len(parts) == 1:
        return stac.geojson(parts[0])
    return {"type": "MultiPolygon", "coordinates": [stac.geojson(part)["coordinates"] for part in parts]}


def geometry_column(rings, layout):
    """The column, and the encoding that GeoParquet names."""
    shapes = [counted(ring, layout.longitudes)[0] for ring in rings]
    if layout.geometry == "geojson":
        return pa.array([json.dumps(geojson(parts)) for parts in shapes]), None
    if layout.geometry == "wkb":
        whole = [struct.pack("<BII", 1, 6, len(parts)) + b"".join(map(stac.wkb, parts)) for parts in shapes]
        return pa.array([stac.wkb(p[0]) if len(p) == 1 else w for p, w in zip(shapes, whole)], pa.binary()), "WKB"
    nested = [[[points(part, layout.geometry == "interleaved")] for part in parts] for parts in shapes]
    if all(len(parts) == 1 for parts in shapes):
        return pa.array([parts[0] for parts in nested]), "polygon"
    return pa.array(nested), "multipolygon"


def bbox_column(rings, layout):
    boxes = [edges_of(ring, layout.longitudes) for ring in rings]
    names = ["xmin", "ymin", "xmax", "ymax"]
    if layout.bbox == "list":
        return pa.array(boxes, pa.list_(pa.float64()))
    if layout.bbox == "text":
        return pa.array([json.dumps(edges) for edges in boxes])
    number = pa.float32() if layout.bbox == "float32" else pa.float64()
    rows = [dict(zip(names, edges)) for edges in boxes]
    if layout.bbox == "struct_z":
        rows, names = [row | {"zmin": 0.0, "zmax": 9.0} for row in rows], [*names[:2], "zmin", *names[2:], "zmax"]
    rows = [None for _ in rows] if layout.bbox == "null" else rows
    return pa.array(rows, pa.struct([(name, number) for name in names]))


def seen_time(time, kind):
    """A time as a column of that type gives it."""
    if kind == "date":
        return time.replace(hour=0, minute=0, second=0, microsecond=0)
    if TIMES[kind] in (TIMES["text"], TIMES["dictionary"]):
        return time
    return as_type([time], kind).cast(pa.timestamp("us", tz="UTC")).to_pylist()[0]


def theirs(kind, count):
    values = {"number": range(count), "text": [f"/x/{n}" for n in range(count)]}
    return list(values.get(kind, [{"href": "no", "nodata": n} for n in range(count)]))


def part(rows, layout, columns):
    """The table of `rows` (id, time, path, ring, cloud cover)."""
    ids, times, paths, rings, clouds = map(list, zip(*rows))
    table = {"id": pa.array(ids)}
    metadata = {}
    if layout.bbox != "absent":
        table["bbox"] = bbox_column(rings, layout)
    if layout.geometry != "absent":
        table["geometry"], encoding = geometry_column(rings, layout)
        # GeoArrow is known by its shape; WKB without metadata is a BLOB.
        metadata = geo(encoding, geometry_types=[]) if encoding and layout.metadata else {}
    items = [stac.Item(i, None, {"data": str(path)}, []) for i, path in zip(ids, paths)]
    table["assets"] = stac.assets_column(items, layout.assets)
    if layout.properties == "json":
        texts = [{"datetime": t.isoformat().replace("+00:00", "Z"), "eo:cloud_cover": c} for t, c in zip(times, clouds)]
        table["properties"] = pa.array(list(map(json.dumps, texts)))
    else:
        values = {"datetime": as_type(times, layout.time), "eo:cloud_cover": pa.array(clouds)}
        if layout.properties == "nested":
            values = {"properties": pa.StructArray.from_arrays(list(values.values()), list(values))}
        table |= values
    there = {name.lower() for name in table}
    table |= {name: pa.array(theirs(kind, len(ids))) for name, kind in columns if name.lower() not in there}
    return pa.table(table).replace_schema_metadata(metadata)


def feature(row, layout, columns):
    name, time, path, ring, cloud = row
    own = {"datetime": time.isoformat().replace("+00:00", "Z"), "eo:cloud_cover": cloud}
    found = {"type": "Feature", "id": name, "properties": own, "assets": {"data": {"href": str(path)}}}
    if layout.bbox not in ("null", "absent"):
        found["bbox"] = edges_of(ring, layout.longitudes)
    elif layout.bbox == "null":
        found["bbox"] = None
    if layout.geometry != "absent":
        found["geometry"] = geojson(counted(ring, layout.longitudes)[0])
    own |= {name: theirs(kind, 1)[0] for name, kind in columns if name.lower() not in {"datetime", "eo:cloud_cover"}}
    return found


def write_archive(session, folder, place, dtype, scenes_, archive):
    """The archive, and what the model makes of it: the `items` argument and the items."""
    rows, items = [], []
    for number, scene in enumerate(scenes_):
        path = folder / f"{number}.tif"
        write_scene(path, scene, dtype, place)
        ring = stac.outline(path)
        lon = beside([x for x, _ in ring], 360, place.lon).tolist()
        time = stac.utc(2024, 5, scene.day, 12, number).replace(microsecond=scene.seed * 7)
        rows.append((str(number), time, path, list(zip(lon, [y for _, y in ring])), scene.seed % 3))
    share = math.ceil(len(rows) / len(archive.parts))
    shares = [rows[n * share : (n + 1) * share] for n in range(len(archive.parts))]
    for these, layout in zip(shares, archive.parts):
        in_json = layout.properties == "json" or archive.source in ("ndjson", "collection")
        for name, time, path, ring, cloud in these:
            time = time if in_json else seen_time(time, layout.time)
            properties = {"eo:cloud_cover": cloud, "datetime": time}
            edges = tuple(edges_of(ring, "continuous"))
            items.append(Item(name, len(items), time, time, {"data": str(path)}, edges, properties))
    return write_index(session, folder, archive, shares), items


def write_index(session, folder, archive, shares):
    if archive.source in ("ndjson", "collection"):
        features = [feature(row, archive.parts[0], archive.columns) for row in shares[0]]
        path = folder / f"items.{'ndjson' if archive.source == 'ndjson' else 'json'}"
        lines = "\n".join(map(json.dumps, features))
        whole = json.dumps({"type": "FeatureCollection", "features": features})
        path.write_text(lines if archive.source == "ndjson" else whole)
        return path
    paths = []
    for number, (rows, layout) in enumerate(zip(shares, archive.parts)):
        if rows:
            paths.append(folder / f"part{number}.parquet")
            pq.write_table(part(rows, layout, archive.columns), paths[-1])
    if archive.source == "value":
        session.execute(f"SET VARIABLE items = (SELECT list(mine) FROM '{paths[0]}' mine)")
        return Sql("getvariable('items')")
    return {"parts": folder / "part*.parquet", "list": paths}.get(archive.source, paths[0])


# -- the comparison --------------------------------------------------------------------------------------------------


def is_nothing(bands, mosaic):
    return all((values.filled(1) == 0).all() if mosaic == "count" else values.mask.all() for values in bands.values())


def is_near(items, grid):
    """Whether an item lies within the margin around the grid."""
    west, south, east, north = grid.bbox
    margin = 40 * max(1e-5, grid.resolution if grid.crs == "EPSG:4326" else 1)
    wider = Grid((west - margin, south - margin, east + margin, north + margin), grid.crs, grid.resolution)
    return any(touches(item, wider) for item in items)


def told(session, source, grid, period, named):
    try:
        return read(session, source, grid, period, bands=["data"], **named)
    except duckdb.Error as error:
        if "no item matches" in str(error):
            return {}
        raise


def compare(session, folder, case):
    """The number of pixels that agree."""
    place, dtype, scenes_, archive, grid, period, named = case
    source, items = write_archive(session, folder, place, dtype, scenes_, archive)
    extra = {key: named[key] for key in ("mosaic", "sortby", "nodata") if key in named}
    wanted = cube(items, grid, period, ["data"], **extra)
    assume(wanted)
    found = told(session, source, grid, period, named)
    # A step of nothing may be there or not: an item's box meets the grid, and its footprint does not; or it is near.
    mosaic, near = named["mosaic"], is_near(items, grid)
    found = {time: bands for time, bands in found.items() if time in wanted or not (near and is_nothing(bands, mosaic))}
    there = {
        time: {name: np.ma.masked_array(band.values, ~band.valid) for name, band in bands.items()}
        for time, bands in wanted.items()
    }
    wanted = {time: bands for time, bands in wanted.items() if time in found or not is_nothing(there[time], mosaic)}
    return assert_same(found, wanted, exact=mosaic not in ("mean", "median", "stdev"), most_doubt=1, least=0)


@pytest.fixture(scope="module")
def session(extension):
    """One connection for all the examples."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{extension}'")
        yield connection


@hypothesis.seed(SEED)
@settings(max_examples=EXAMPLES or 60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_any_archive_on_any_grid(session, case):
    hypothesis.note(f"LAZYCOGS_SEED={SEED}")
    with tempfile.TemporaryDirectory() as folder:
        compared = compare(session, Path(folder), case)
        hypothesis.target(float(min(compared, 1000)), label="pixels compared")
