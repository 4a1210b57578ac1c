"""Archives of a few pixels, made on the spot, for tests that show one rule each."""

import numpy as np
import rasterio
import stac
from helpers import call
from model import Grid

UTM = "EPSG:32633"
LEFT, TOP = 500000, 5200000


def raster(path, values, left=LEFT, top=TOP, resolution=10, crs=UTM, mask=None, blocks=16, **profile):
    """Writes a tiled GeoTIFF of `values` (rows, columns) or (bands, rows, columns); returns its path."""
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    count, height, width = values.shape
    profile = {
        "driver": "GTiff",
        "dtype": values.dtype,
        "count": count,
        "height": height,
        "width": width,
        "crs": crs,
        "transform": rasterio.Affine(resolution, 0, left, 0, -resolution, top),
        "tiled": True,
        "blockxsize": blocks,
        "blockysize": blocks,
    } | profile
    # A driver warns of options that are not its own; None takes one away.
    profile = {name: value for name, value in profile.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "w", **profile) as file:
        file.write(values)
        if mask is not None:
            file.write_mask(np.where(mask, 255, 0).astype("uint8"))
    return path


def item(name, assets, time=(2024, 5, 3, 12), footprint=None, **properties):
    """An item with `assets` {key: path}; its footprint is that of the first that is a file."""
    if footprint is None:
        footprint = stac.outline(next(path for path in assets.values() if path and path.exists()))
    hrefs = {key: path and str(path) for key, path in assets.items()}
    time = time if time is None or not isinstance(time, tuple) else stac.utc(*time)
    return stac.Item(id=name, time=time, assets=hrefs, footprint=footprint, properties=properties)


def index(folder, items, **layout):
    path = folder / "items.parquet"
    stac.write(path, items, **layout)
    return path


def stack(folder, arrays, **profile):
    """An index of one item per array, a minute apart, all at the same place."""
    paths = [raster(folder / f"{i}.tif", array, **profile) for i, array in enumerate(arrays)]
    return index(folder, [item(str(i), {"data": path}, (2024, 5, 3, 12, i)) for i, path in enumerate(paths)])


def grid(width, height=1, resolution=10, left=LEFT, top=TOP, crs=UTM):
    """The grid of `width` x `height` pixels whose upper left corner is (left, top)."""
    return Grid((left, top - height * resolution, left + width * resolution, top), crs, resolution)


def values(con, source, where, period="P1D", band="data", **named):
    """A band as a list of steps, each the pixels in row-major order; NULL is None."""
    sql = call("lazycogs_read", source, where, period, bands=[band], **named)
    rows = con.execute(f'SELECT time, "{band}" FROM {sql} ORDER BY time, y DESC, x').fetchall()
    steps = {}
    for time, value in rows:
        steps.setdefault(time, []).append(value)
    return list(steps.values())
