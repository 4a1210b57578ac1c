"""GeoTIFFs whose pixels tell where they are, with a CRS as GDAL writes it or with GeoKeys of one's own choice."""

import struct

import numpy as np
import pyproj
import rasterio
import stac
from pyproj import Transformer

SIDE = 64
LONLAT = "OGC:CRS84"
# A pixel whose centre is nearer than this to the edge of a source pixel may take either neighbour.
EDGE = 1e-3


def written(path, crs, corner, pixel):
    """A GeoTIFF in `crs` (what rasterio takes) of SIDE x SIDE square pixels, its upper left corner at `corner`."""
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "int32", "crs": crs}
    transform = rasterio.Affine(pixel, 0, corner[0], 0, -pixel, corner[1])
    with rasterio.open(path, "w", transform=transform, tiled=True, blockxsize=64, blockysize=64, **profile) as file:
        file.write(numbers(), 1)
    return path


def keyed(path, keys, corner, pixel):
    """The same with `keys`: {GeoKey: code, float, list of floats or text}."""
    directory, doubles, text = [1, 1, 0, len(keys)], [], b""
    for key, value in sorted(keys.items()):
        if isinstance(value, int):
            directory += [key, 0, 1, value]
        elif isinstance(value, str):
            directory += [key, 34737, len(value) + 1, len(text)]
            text += value.encode() + b"|"
        else:
            values = np.atleast_1d(value).tolist()
            directory += [key, 34736, len(values), len(doubles)]
            doubles += values
    data = numbers().tobytes()
    shorts = {256: SIDE, 257: SIDE, 258: 32, 259: 1, 262: 1, 277: 1, 322: SIDE, 323: SIDE, 339: 2}
    tags = {tag: (3, struct.pack("<H", value)) for tag, value in shorts.items()}
    tags |= {324: (4, b""), 325: (4, struct.pack("<I", len(data)))}
    tags |= {33550: (12, struct.pack("<3d", pixel, pixel, 0)), 33922: (12, struct.pack("<6d", 0, 0, 0, *corner, 0))}
    tags |= {34735: (3, struct.pack(f"<{len(directory)}H", *directory))}
    tags |= {34736: (12, struct.pack(f"<{len(doubles)}d", *doubles)), 34737: (2, text + b"\0")}
    start = 8 + 2 + 12 * len(tags) + 4
    entries, beyond = b"", b""
    sizes = {2: 1, 3: 2, 4: 4, 12: 8}
    data_at = start + sum(len(value) for _, value in tags.values() if len(value) > 4)
    for tag, (kind, value) in sorted(tags.items()):
        value = struct.pack("<I", data_at) if tag == 324 else value
        stored = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", start + len(beyond))
        entries += struct.pack("<HHI", tag, kind, len(value) // sizes[kind]) + stored
        beyond += value if len(value) > 4 else b""
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + beyond + data)
    return path


def numbers():
    return np.arange(SIDE * SIDE, dtype="int32").reshape(SIDE, SIDE)


def flat(crs):
    """A CRS without heights."""
    crs = pyproj.CRS(crs)
    return crs.sub_crs_list[0] if crs.is_compound else crs.to_2d() if len(crs.axis_info) > 2 else crs


def corners(crs, corner, pixel, target):
    """Where in `target` the corners and the centre of a raster lie."""
    x = np.array([0, SIDE, SIDE, 0, SIDE / 2]) * pixel + corner[0]
    y = -np.array([0, 0, SIDE, SIDE, SIDE / 2]) * pixel + corner[1]
    return Transformer.from_crs(flat(crs), target, always_xy=True).transform(x, y)


def box(lon, lat):
    """A closed ring around points, generously."""
    west, south, east, north = min(lon) - 0.1, max(min(lat) - 0.1, -90), max(lon) + 0.1, min(max(lat) + 0.1, 90)
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def index(path, rasters):
    """An index of {id: (path of the file, crs, corner, pixel)}."""
    items = []
    for name, (file, crs, corner, pixel) in rasters.items():
        lon, lat = corners(crs, corner, pixel, LONLAT)
        items.append(stac.Item(name, stac.utc(2024, 5, 3), {"data": str(file)}, box(lon, lat)))
    stac.write(path, items)
    return path


def misplaced(con, items, name, crs, corner, pixel, target=LONLAT):
    """Reads a grid in `target` over a raster; the share of pixels that are not those that pyproj finds there."""
    xs, ys = corners(crs, corner, pixel, target)
    side = max(max(xs) - min(xs), max(ys) - min(ys))
    resolution = side / 40 if side > 0 else 1
    left, top = min(xs) - 2.3 * resolution, max(ys) + 2.7 * resolution
    bbox = [left, top - 45 * resolution, left + 45 * resolution, top]
    sql = "SELECT x, y, data FROM lazycogs_read(?, ?, ?, ?, NULL, bands := ['data'], ids := [?])"
    rows = con.execute(sql, [str(items), bbox, target, resolution, name]).fetchnumpy()
    to_source = Transformer.from_crs(target, flat(crs), always_xy=True)
    x, y = to_source.transform(rows["x"], rows["y"])
    col, row = (np.asarray(x) - corner[0]) / pixel, (corner[1] - np.asarray(y)) / pixel
    return disagreement(col, row, np.ma.asarray(rows["data"]))


def disagreement(col, row, found):
    inside = (col >= 0) & (col < SIDE) & (row >= 0) & (row < SIDE)
    number = np.where(inside, np.floor(row) * SIDE + np.floor(col), -1)
    sure = (np.abs(col - np.round(col)) > EDGE) & (np.abs(row - np.round(row)) > EDGE)
    assert (inside & sure).sum() > 100, "the grid misses the raster"
    return float((found.filled(-1) != number)[sure].mean())
