"""Writes tests/zones/expected.json: polygons, and what others make of them.

Polygons are in columns and rows of a small raster, rows downwards. `shares` are shapely's areas of the intersections
with its pixels, `center` and `all_touched` what GDAL's rasterizer burns (through rasterio), `stats` exactextract's over
random values with gaps.
Usage: zones_oracle.py, with shapely, exactextract, rasterio and numpy installed.
"""

import json
import math
from pathlib import Path

import exactextract
import numpy as np
import rasterio.features
import shapely
from exactextract.raster import NumPyRasterSource
from rasterio.transform import Affine
from shapely.affinity import scale, translate
from shapely.geometry import MultiPolygon, Polygon, box, mapping

WIDTH, HEIGHT = 9, 7
NODATA = -1
STATS = ["count", "sum", "mean", "min", "max", "stdev", "variance", "majority", "minority", "variety"]
random = np.random.default_rng(20)


def star(x, y, radius, corners, snap=None):
    """A polygon whose corners lie around a point, at random distances."""
    angles = np.sort(random.uniform(0, 2 * math.pi, corners))
    lengths = random.uniform(0.3, 1, corners) * radius
    ring = np.column_stack([x + lengths * np.cos(angles), y + lengths * np.sin(angles)])
    return Polygon(np.round(ring / snap) * snap if snap else ring)


def anywhere():
    return random.uniform(-1, WIDTH + 1), random.uniform(-1, HEIGHT + 1)


def with_hole():
    outer = star(*anywhere(), random.uniform(2, 6), random.integers(5, 12))
    hole = scale(outer, 0.4, 0.4, origin=outer.representative_point())
    return outer.difference(hole)


def multi():
    parts = [star(*anywhere(), random.uniform(0.3, 3), random.integers(3, 9)) for _ in range(4)]
    return shapely.union_all([part for part in parts if part.is_valid])


def sliver():
    x, y = anywhere()
    dx, dy = random.uniform(-6, 6, 2)
    return Polygon([(x, y), (x + dx, y + dy), (x + dx + 1e-3, y + dy + 1e-6)])


KINDS = {
    "star": lambda: star(*anywhere(), random.uniform(0.1, 8), random.integers(3, 30)),
    "on corners": lambda: star(*anywhere(), random.uniform(2, 6), random.integers(3, 12), snap=1),
    "on halves": lambda: star(*anywhere(), random.uniform(2, 6), random.integers(3, 12), snap=0.5),
    "hole": with_hole,
    "multi": multi,
    "sliver": sliver,
    "box": lambda: box(*np.sort(random.uniform(-1, WIDTH + 1, (2, 2)), axis=0).ravel()),
    "within a pixel": lambda: translate(star(0.5, 0.5, 0.4, 7), random.integers(0, WIDTH), random.integers(0, HEIGHT)),
    "clockwise": lambda: star(*anywhere(), random.uniform(1, 6), 9).reverse(),
}


def burned(zone, all_touched):
    mask = rasterio.features.rasterize(
        [mapping(zone)], (HEIGHT, WIDTH), transform=Affine.identity(), all_touched=all_touched, dtype="uint8"
    )
    return ["".join(map(str, row)) for row in mask]


def stats_of(zone, values):
    up = shapely.transform(zone, lambda at: at * [1, -1] + [0, HEIGHT])
    source = NumPyRasterSource(values.astype("float64"), 0, 0, WIDTH, HEIGHT, nodata=NODATA)
    feature = {"type": "Feature", "properties": {}, "geometry": mapping(up)}
    found = exactextract.exact_extract(source, feature, STATS)[0]["properties"]
    return {name: None if found[name] is None or math.isnan(found[name]) else float(found[name]) for name in STATS}


def case(kind):
    zone = KINDS[kind]()
    if not zone.is_valid or zone.is_empty or not isinstance(zone, (Polygon, MultiPolygon)) or zone.area == 0:
        return case(kind)
    shares = [[zone.intersection(box(c, r, c + 1, r + 1)).area for c in range(WIDTH)] for r in range(HEIGHT)]
    values = random.integers(0, 4, (HEIGHT, WIDTH)) * 10
    values[random.uniform(size=values.shape) < 0.15] = NODATA
    return {
        "kind": kind,
        "geometry": mapping(zone),
        "shares": shares,
        "center": burned(zone, False),
        "all_touched": burned(zone, True),
        "values": values.tolist(),
        "stats": stats_of(zone, values),
    }


if __name__ == "__main__":
    cases = [case(kind) for _ in range(8) for kind in KINDS]
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in cases)
    target = Path(__file__).parent.parent / "tests" / "zones" / "expected.json"
    target.write_text(f"[\n{lines}\n]\n")
