"""Makes the archive that `make bench` measures on: the same bytes on every machine with the same GDAL.

    scenes/    Sentinel-2-like: two tiles side by side in UTM zone 15, overlapping by a tenth, one in zone 16 over the
               border; three bands, uint16 at 10 m, nodata 0, DEFLATE with predictor 2, blocks of 512, overviews; and
               classes, uint8 at 20 m, nodata 0: land and water, clouds and their shadows
    islands/   eight scenes of 256 x 256 pixels on one day, far apart
    warm/      two small scenes that nothing is measured on: what is done once per process is done there

Each pixel is a landscape that is the same on all dates, clouds that are not, and noise, so that it does not compress
too well; two scenes of three are cut by the edge of an orbit. Usage: make_archive.py FOLDER small|medium
"""

import datetime
import json
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "fixtures"))
import stac  # noqa: E402

# Changes whenever the files do, so that an archive made before is made anew.
VERSION = "2"
BANDS = {"red": 900, "green": 850, "blue": 600}
MASK = "scl"
SIZES = {"small": {"side": 1024, "dates": 6}, "medium": {"side": 4200, "dates": 8}}
START, DAYS_APART = datetime.date(2023, 6, 11), 5
ZONES = {32615: "15T", 32616: "16T", 32632: "32U"}


@dataclass(frozen=True)
class Scene:
    """One item: a square of `side` pixels of 10 m whose upper left corner is (left, top)."""

    folder: str
    id: str
    epsg: int
    left: float
    top: float
    side: int
    time: datetime.datetime
    seeds: tuple  # landscape, date
    block: int = 512

    def path(self, band):
        return f"{self.folder}/{self.id}_{band}.tif"

    @property
    def footprint(self):
        """Closed ring of (lon, lat), eight points on each side."""
        along, extent = np.arange(8) / 8, self.side * 10
        u = np.concatenate([along, np.ones(8), 1 - along, np.zeros(8), [0]])
        v = np.concatenate([np.zeros(8), along, np.ones(8), 1 - along, [0]])
        lonlat = Transformer.from_crs(self.epsg, "OGC:CRS84", always_xy=True)
        return list(zip(*lonlat.transform(self.left + u * extent, self.top - v * extent)))


def border_tiles(side):
    """(name, epsg, left, top) of the three tiles around 90 W, 44 N, where zones 15 and 16 meet."""
    extent, tiles = side * 10, []
    for name, epsg, offset in [("B", 32615, -1.75), ("A", 32615, -0.85), ("C", 32616, -0.05)]:
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(-90, 44)
        tiles.append((name, epsg, round((x + offset * extent) / 60) * 60, round((y + extent / 2) / 60) * 60))
    return tiles


def day(number, second=0):
    at = datetime.datetime.combine(START, datetime.time(17, 3, second), datetime.UTC)
    return at + datetime.timedelta(days=DAYS_APART * number)


def scenes_of(size):
    """Every scene of an archive, in the order of its index."""
    side, dates = SIZES[size]["side"], SIZES[size]["dates"]
    scenes = []
    for date in range(dates):
        for number, (name, epsg, left, top) in enumerate(border_tiles(side)):
            time = day(date, 10 + number)
            id = f"{ZONES[epsg]}{name}_{time:%Y%m%d}"
            scenes.append(Scene("scenes", id, epsg, left, top, side, time, (number, date)))
    # A grid of 4096 x 4096 pixels with an island in every eighth of it.
    for number in range(8):
        left, top = 500000 + (number % 4) * 10240 + 3000, 5700000 - (number // 4) * 20480 - 7000 - 640 * number
        scenes.append(Scene("islands", f"32U_{number}", 32632, left, top, 256, day(0, number), (20 + number, 0), 256))
    for number in range(2):
        left = 400000 + number * 3000
        scenes.append(Scene("warm", f"15T_{number}", 32615, left, 4800000, 512, day(0, number), (40 + number, 0)))
    return scenes


def waves(random, along, lengths):
    """A sum of plane waves of the given lengths (in pixels) over a square, about as large as 1."""
    total = np.zeros((along.size, along.size), "float32")
    for length in lengths:
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        x = 2 * np.pi / length * np.cos(angle) * along + phase
        y = 2 * np.pi / length * np.sin(angle) * along
        total += np.outer(np.cos(y), np.sin(x)) + np.outer(np.sin(y), np.cos(x))
    return total / np.sqrt(len(lengths), dtype="float32")


def make_scene(folder, scene):
    """Writes the files of a scene; returns the share of its pixels that are clouded, in percent."""
    side, (place, date) = scene.side, scene.seeds
    along = np.arange(side, dtype="float32")
    ground = np.random.default_rng([1, place])
    land = waves(ground, along, [side / 1.3, side / 3, side / 7, 150, 70, 30])
    fields = ground.normal(0, 0.8, (side // 29 + 1, side // 41 + 1)).astype("float32")
    land += fields[np.arange(side)[:, None] // 29, np.arange(side)[None] // 41]
    sky = np.random.default_rng([2, place, date])
    cloud = np.clip(waves(sky, along, [side / 1.5, side / 2.5, side / 4, side / 9]) - sky.uniform(0.6, 2.2), 0, 1)
    edge = [2.0, 0.75, 0.35, 2.0, 0.6, 0.9][(date + 2 * place) % 6]
    seen = along[None] / side + 0.25 * along[:, None] / side < edge
    seen = seen[:, ::-1] if (date + place) % 2 else seen
    for number, (band, level) in enumerate(BANDS.items()):
        noise = np.random.default_rng([3, place, date, number]).standard_normal((side, side), "float32")
        data = level * (1 + 0.1 * np.sin(date)) * (1 + 0.12 * land) + noise * (22 + 0.022 * level) + 5500 * cloud
        write(folder, scene, band, np.where(seen, np.clip(data, 1, 12000), 0).astype("uint16"))
    write(folder, scene, MASK, classes(land, cloud, seen))
    return round(float(100 * (cloud[seen] > 0.02).mean()), 2)


def classes(land, cloud, seen):
    """What Sentinel-2's classification may have made of a scene: one number for 2 x 2 of its pixels."""
    land, cloud, seen = (field[::2, ::2] for field in (land, cloud, seen))
    shadow = np.roll(cloud, (len(cloud) // 40, len(cloud) // 60), (0, 1))
    found = np.select(
        [~seen, cloud > 0.25, cloud > 0.02, shadow > 0.02, land < -1.5, land < 0.2], [0, 9, 8, 3, 6, 5], 4
    )
    return found.astype("uint8")


def write(folder, scene, band, data):
    """A COG of a scene, whose pixels have 10 m or a multiple."""
    path, size = folder / scene.path(band), 10 * scene.side // len(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "COG", "compress": "deflate", "level": 6, "predictor": "yes", "blocksize": scene.block}
    shape = {"width": len(data), "height": len(data), "count": 1, "dtype": data.dtype, "nodata": 0}
    where = {"crs": f"EPSG:{scene.epsg}", "transform": rasterio.Affine(size, 0, scene.left, 0, -size, scene.top)}
    how = "nearest" if band == MASK else "average"
    with rasterio.open(path, "w", **shape, **where, **profile, overview_resampling=how) as file:
        file.write(data, 1)


def item_of(scene, clouds, base):
    """The STAC item of a scene whose files lie below `base`."""
    assets = {}
    for band, size, dtype in [*((band, 10, "uint16") for band in BANDS), (MASK, 20, "uint8")]:
        side = 10 * scene.side // size
        assets[band] = {
            "href": f"{base}/{scene.path(band)}",
            "proj:shape": [side, side],
            "proj:transform": [float(size), 0.0, float(scene.left), 0.0, -float(size), float(scene.top)],
            "raster:bands": [{"data_type": dtype, "nodata": 0, "spatial_resolution": float(size)}],
        }
    properties = {"eo:cloud_cover": clouds, "proj:epsg": scene.epsg, "proj:code": f"EPSG:{scene.epsg}"}
    return stac.Item(scene.id, scene.time, assets, scene.footprint, properties)


def write_index(folder, size, name, base):
    """Writes `name`_scenes.parquet and so on, with hrefs below `base`."""
    clouds = json.loads((folder / "made.json").read_text())["clouds"]
    for part in ("scenes", "islands", "warm"):
        items = [item_of(scene, clouds[scene.id], base) for scene in scenes_of(size) if scene.folder == part]
        stac.write(folder / f"{name}_{part}.parquet", items)


def make(folder, size):
    """Makes the archive unless it is there already, from this version of the script."""
    wanted = {"version": VERSION, "size": SIZES[size]}
    made = folder / "made.json"
    if made.is_file() and json.loads(made.read_text()).items() >= wanted.items():
        return
    shutil.rmtree(folder, ignore_errors=True)
    scenes = scenes_of(size)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        clouds = dict(zip([s.id for s in scenes], pool.map(make_scene, [folder] * len(scenes), scenes)))
    made.write_text(json.dumps({**wanted, "clouds": clouds}))


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2])
