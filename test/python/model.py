"""The meaning of every number, said a second time: slow, in numpy, rasterio and pyproj, without a look at the engine.

`cube` gives what lazycogs_read must give. Where two correct programs may differ, because the centre of an output pixel
falls within 0.01 source pixel of the edge between two, it says so in `doubt`.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import rasterio
from pyproj import CRS, Transformer
from rasterio.vrt import WarpedVRT

EPOCH_2000 = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Grid:
    """The output grid: bbox (xmin, ymin, xmax, ymax) and resolution in units of `crs`; row 0 is in the north."""

    bbox: tuple
    crs: str
    resolution: float

    @property
    def width(self):
        return max(1, round((self.bbox[2] - self.bbox[0]) / self.resolution))

    @property
    def height(self):
        return max(1, round((self.bbox[3] - self.bbox[1]) / self.resolution))

    @property
    def shape(self):
        return self.height, self.width

    def axes(self):
        """x of the columns' centres and y of the rows' centres."""
        x = self.bbox[0] + (np.arange(self.width) + 0.5) * self.resolution
        y = self.bbox[3] - (np.arange(self.height) + 0.5) * self.resolution
        return x, y

    def centres(self):
        """x and y of every pixel centre, as two arrays of `shape`."""
        return np.meshgrid(*self.axes())

    @property
    def args(self):
        """bbox, crs and resolution as SQL literals."""
        return f"{[float(v) for v in self.bbox]}::DOUBLE[], '{self.crs}', {self.resolution}"


@dataclass
class Item:
    """One row of the index, with the hrefs of its assets resolved to paths; `order` is its row."""

    id: str
    order: int
    time: datetime
    end: datetime
    assets: dict
    bbox: tuple
    properties: dict = field(default_factory=dict)


def load_items(parquet):
    """The items of a flat stac-geoparquet file with bbox and assets as STRUCT."""
    items = []
    for order, row in enumerate(pq.read_table(parquet).to_pylist()):
        time = row["datetime"] or row["start_datetime"]
        assets = {}
        for key, asset in row["assets"].items():
            if asset and asset.get("href"):
                assets[key] = str((Path(parquet).parent / asset["href"]).resolve())
        bbox = tuple(row["bbox"][k] for k in ("xmin", "ymin", "xmax", "ymax"))
        items.append(Item(row["id"], order, time, row.get("end_datetime") or time, assets, bbox, row))
    return items


# -- steps -----------------------------------------------------------------------------------------------------------


def step_of(time, period):
    """The start of the step that an instant (UTC) falls into; naive, as DuckDB's TIMESTAMP gives it."""
    if period is None:
        start = time
    elif period == "P1Y":
        start = datetime(time.year, 1, 1, tzinfo=UTC)
    elif period == "P1M":
        start = datetime(time.year, time.month, 1, tzinfo=UTC)
    else:
        day = datetime(time.year, time.month, time.day, tzinfo=UTC)
        if period == "P1D":
            start = day
        elif period == "P1W":
            start = day - timedelta(days=day.weekday())
        else:
            number = int(period.strip("PTHDW"))
            window = timedelta(**{{"H": "hours", "D": "days", "W": "weeks"}[period[-1]]: number})
            start = EPOCH_2000 + (time - EPOCH_2000) // window * window
    return start.replace(tzinfo=None)


# -- which items -----------------------------------------------------------------------------------------------------


def outline(xmin, ymin, xmax, ymax, steps=50):
    """Points along the border of a box."""
    s = np.linspace(0, 1, steps)
    x = np.concatenate([xmin + s * (xmax - xmin)] * 2 + [np.full(steps, xmin), np.full(steps, xmax)])
    y = np.concatenate([np.full(steps, ymin), np.full(steps, ymax)] + [ymin + s * (ymax - ymin)] * 2)
    return x, y


def touches(item, grid):
    """Whether the item's box and the grid's, in degrees and narrower than half the Earth, share a point (no poles)."""
    to_degrees = Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
    lon, lat = to_degrees.transform(*outline(*grid.bbox))
    west, south, east, north = item.bbox
    lon = beside(lon, 360, (west + east) / 2)
    return west <= max(lon) and east >= min(lon) and south <= max(lat) and north >= min(lat)


def beside(x, period, middle):
    """Coordinates that come round after `period`, without jumps, and counted as those near `middle` are."""
    x = np.unwrap(x, period=period)
    return x + period * np.round((middle - x.mean()) / period)


def in_order(items, sortby):
    """Items by `sortby` (`-` in front: descending), ties and no `sortby` at all in the order of the file."""
    ordered = sorted(items, key=lambda item: item.order)
    for name in reversed(sortby or []):
        key, descending = name.lstrip("+-"), name.startswith("-")
        ordered.sort(key=lambda item: item.properties[key], reverse=descending)
    return ordered


# -- pixels ----------------------------------------------------------------------------------------------------------


@dataclass
class Level:
    """One resolution of one band: values, what is valid, the geotransform, the CRS."""

    values: np.ndarray
    valid: np.ndarray
    transform: rasterio.Affine
    crs: object


def overview_of(path, grid):
    """The overview to read (None: full resolution), by the area of an output pixel amid what the file covers."""
    with rasterio.open(path) as file:
        sizes = [math.sqrt(abs(file.transform.determinant))]
        source, bounds, overviews = file.crs, file.bounds, len(file.overviews(1))
    for level in range(overviews):
        # The factors that GDAL tells are rounded; the sizes are not.
        with rasterio.open(path, overview_level=level) as file:
            sizes.append(math.sqrt(abs(file.transform.determinant)))
    there = Transformer.from_crs(source, grid.crs, always_xy=True)
    back = Transformer.from_crs(grid.crs, source, always_xy=True)
    x, y = there.transform(
        *outline(bounds.left, min(bounds.bottom, bounds.top), bounds.right, max(bounds.bottom, bounds.top))
    )
    if CRS(grid.crs).is_geographic:
        x = beside(x, 360, (grid.bbox[0] + grid.bbox[2]) / 2)
    cx = (max(min(x), grid.bbox[0]) + min(max(x), grid.bbox[2])) / 2
    cy = (max(min(y), grid.bbox[1]) + min(max(y), grid.bbox[3])) / 2
    half = grid.resolution / 2
    xs, ys = back.transform([cx - half, cx + half, cx, cx], [cy, cy, cy - half, cy + half])
    area = abs((xs[1] - xs[0]) * (ys[3] - ys[2]) - (xs[3] - xs[2]) * (ys[1] - ys[0]))
    fitting = [i for i, size in enumerate(sizes) if size <= math.sqrt(area) * 1.02]
    best = max(fitting, default=0)
    return None if best == 0 else best - 1


def representable(number, dtype):
    """Whether a pixel of this type can equal the number."""
    if math.isnan(number):
        return False
    if np.issubdtype(dtype, np.floating):
        return True
    limits = np.iinfo(dtype)
    return number == int(number) and limits.min <= number <= limits.max


@lru_cache(maxsize=512)
def load_level(path, overview, band=1, nodata=None):
    """Reads a whole band at one level and works out, pixel by pixel, what is valid."""
    options = {} if overview is None else {"overview_level": overview}
    with rasterio.open(path, **options) as file:
        values = file.read(band)
        own = file.nodatavals[band - 1]
        explicit = nodata is not None and representable(nodata, values.dtype)
        own = nodata if explicit else own
        valid = np.ones(values.shape, bool)
        if np.issubdtype(values.dtype, np.floating):
            valid &= ~np.isnan(values)
        # One source for each band, as GDAL has it: an internal mask, else nodata, else an alpha band.
        flags = [flag.name for flag in file.mask_flag_enums[band - 1]]
        masked = "per_dataset" in flags
        if masked:
            valid &= file.read_masks(band) != 0
        if own is not None and representable(own, values.dtype) and (explicit or not masked):
            valid &= values != np.array(own).astype(values.dtype)
        return Level(values, valid, file.transform, file.crs)


def nearest(level, grid):
    """The source pixel of every output pixel: values, valid, doubt; each of the grid's shape."""
    x, y = grid.centres()
    if CRS(level.crs) != CRS(grid.crs):
        x, y = Transformer.from_crs(grid.crs, level.crs, always_xy=True).transform(x, y)
    inverse = ~level.transform
    height, width = level.values.shape
    with np.errstate(invalid="ignore"):
        col = inverse.a * x + inverse.b * y + inverse.c
        row = inverse.d * x + inverse.e * y + inverse.f
        if CRS(level.crs).is_geographic and inverse.b == 0:
            # A longitude comes round: the one nearest to the middle of the source counts.
            turn = 2 * math.pi / CRS(level.crs).axis_info[0].unit_conversion_factor * abs(inverse.a)
            col = col - turn * np.floor((col - width / 2) / turn + 0.5)
        finite = np.isfinite(col) & np.isfinite(row)
        near = (abs(col - width / 2) < width / 2 + 0.01) & (abs(row - height / 2) < height / 2 + 0.01)
        doubt = finite & near & ((abs(col - np.rint(col)) < 0.01) | (abs(row - np.rint(row)) < 0.01))
    col = np.floor(np.where(finite, col, -1)).astype(int)
    row = np.floor(np.where(finite, row, -1)).astype(int)
    inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    row, col = np.where(inside, row, 0), np.where(inside, col, 0)
    return level.values[row, col], inside & level.valid[row, col], doubt


# -- mosaics ---------------------------------------------------------------------------------------------------------


def compose(method, values, valid):
    """Stacks of (item, height, width), in order of priority, to one array and its validity."""
    any_valid = valid.any(axis=0)
    if method in ("first", "last"):
        at = valid.argmax(axis=0) if method == "first" else len(valid) - 1 - valid[::-1].argmax(axis=0)
        return np.take_along_axis(values, at[None], axis=0)[0], any_valid
    if method == "count":
        return valid.sum(axis=0), np.ones_like(any_valid)
    masked = np.ma.masked_array(values, ~valid)
    if method in ("highest", "lowest"):
        found = masked.max(axis=0) if method == "highest" else masked.min(axis=0)
        return found.filled(0), any_valid
    masked = masked.astype(np.float64)
    found = {"mean": np.ma.mean, "median": np.ma.median, "stdev": np.ma.std}[method](masked, axis=0)
    return np.ma.filled(found, 0).astype(np.float32), any_valid


@dataclass
class Band:
    values: np.ndarray
    valid: np.ndarray
    doubt: np.ndarray


def cube(items, grid, period, bands, mosaic="first", sortby=None, nodata=None):
    """{time: {band: Band}} for the items that touch the grid. A band is an asset key; `asset:2` is its second band."""
    items = [item for item in in_order(items, sortby) if touches(item, grid)]
    steps = sorted({step_of(item.time, period) for item in items})
    return {
        step: {
            band: composite([i for i in items if step_of(i.time, period) == step], grid, band, mosaic, nodata)
            for band in bands
        }
        for step in steps
    }


@lru_cache(maxsize=256)
def layer(path, grid, band, nodata):
    """One item's band on the grid; kept, since tests ask for the same again and again."""
    return nearest(load_level(path, overview_of(path, grid), band, nodata), grid)


def composite(items, grid, band, mosaic, nodata):
    asset, _, number = band.partition(":")
    layers = []
    for item in items:
        if asset in item.assets:
            path = item.assets[asset]
            layers.append(layer(path, grid, int(number or 1), nodata))
    if not layers:
        empty = np.zeros(grid.shape, bool)
        return Band(np.zeros(grid.shape), empty | (mosaic == "count"), empty)
    values, valid, doubt = map(np.stack, zip(*layers))
    return Band(*compose(mosaic, values, valid), doubt.any(axis=0))


def warp_nearest(path, grid, overview=None):
    """rasterio's own answer: WarpedVRT, nearest. Returns a masked array.

    The tolerance of the transform is a billionth of a pixel: rasterio 1.4.4 refuses 0 together with a grid.
    """
    options = {} if overview is None else {"overview_level": overview}
    transform = rasterio.Affine(grid.resolution, 0, grid.bbox[0], 0, -grid.resolution, grid.bbox[3])
    with rasterio.open(path, **options) as file:
        shape = {"width": grid.width, "height": grid.height}
        with WarpedVRT(file, crs=grid.crs, transform=transform, tolerance=1e-9, **shape) as warped:
            return warped.read(1, masked=True)
