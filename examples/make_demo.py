"""Makes examples/demo: a small archive in the manner of Sentinel-2, with a landscape that never was.

Two tiles, one in UTM zone 15 and one in zone 16, overlap along the border of the zones; each is seen on a few days from
April to July. Red and near infrared as uint16 reflectance times 10000, nodata 0 beyond the edge of the orbit, 10 m
pixels, overviews 20, 40 and 80 m. Fields green up at their own pace, the river stays dark, and clouds come and go.

The result is in the repository; run this only to change it:
    configure/duckdb-2.0.0/bin/python examples/make_demo.py
"""

import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from pyproj import Transformer
from rasterio.enums import Resampling

DEMO = Path(__file__).resolve().parent / "demo"
sys.path.insert(0, str(DEMO.parents[1] / "test" / "fixtures"))
import stac  # noqa: E402

SIZE = 360  # pixels of 10 m along each side of a tile
TILES = {"15TYK": (32615, 733000, 4934000), "16TBQ": (32616, 257600, 4934300)}
# Day of 2024, tiles seen, share of the sky under cloud.
DAYS = [
    ((4, 8), ["15TYK", "16TBQ"], 0.05),
    ((4, 28), ["15TYK"], 0.30),
    ((5, 13), ["15TYK", "16TBQ"], 0.00),
    ((5, 31), ["16TBQ"], 0.15),
    ((6, 12), ["15TYK", "16TBQ"], 0.10),
    ((6, 27), ["15TYK"], 0.00),
    ((7, 17), ["15TYK", "16TBQ"], 0.20),
]


def smooth(name, x, y, size):
    """A random surface between 0 and 1, its hills about `size` metres apart; the same ground gives the same value."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    total = np.zeros(x.shape)
    for angle in random.uniform(0, np.pi, 6):
        phase = random.uniform(0, 2 * np.pi)
        total += np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / size * random.uniform(0.6, 1.4) + phase)
    return 0.5 + total / 12


def landscape(x, y, day):
    """Red and near infrared reflectance of the ground at `x`, `y` (metres in zone 15) on a day of the year."""
    field = np.floor(x / 410).astype(int) * 7919 + np.floor(y / 330).astype(int) * 104729
    crop = (field % 101) / 100
    green_up = 118 + 45 * crop  # the day on which half of the crop's leaves are there
    cover = (0.12 + 0.80 / (1 + np.exp(-(day - green_up) / 9))) * (0.85 + 0.15 * smooth("soil", x, y, 900))
    river_y = 4932400 + 500 * np.sin(x / 900) + 180 * np.sin(x / 310)
    bank = abs(y - river_y)
    forest = smooth("forest", x, y, 1700) > 0.62
    cover = np.where(forest, 0.35 + 0.5 / (1 + np.exp(-(day - 125) / 6)), cover)
    red = 0.16 * (1 - cover) + 0.03 * cover
    nir = 0.22 * (1 - cover) + 0.46 * cover
    water = bank < 70
    return np.where(water, 0.035, red), np.where(water, 0.02, nir)


def scene(tile, month, dom, cloudy):
    """The two bands of one scene as uint16, and the share of its pixels under cloud in percent."""
    epsg, left, top = TILES[tile]
    col, row = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    x, y = left + col * 10, top - row * 10
    if epsg != 32615:
        x, y = Transformer.from_crs(epsg, 32615, always_xy=True).transform(x, y)
    day = (np.datetime64(f"2024-{month:02}-{dom:02}") - np.datetime64("2024-01-01")).astype(int)
    red, nir = landscape(x, y, day)
    sky = smooth(f"clouds {month}-{dom}", x, y, 1400)
    cloud = sky > np.quantile(sky, 1 - cloudy) if cloudy else np.zeros(sky.shape, bool)
    red, nir = np.where(cloud, 0.62, red), np.where(cloud, 0.64, nir)
    random = np.random.default_rng(zlib.crc32(f"{tile}{month}{dom}".encode()))
    # Steps of 20 keep the files small; the noise of a real instrument is of that order.
    bands = [np.rint((band + random.normal(0, 0.001, band.shape)) * 500) * 20 for band in (red, nir)]
    edge = 60 + 8 * (day % 11) if epsg == 32615 else -(40 + 5 * (day % 7))
    seen = col + row * 0.21 > edge if edge > 0 else col + row * 0.21 < SIZE + edge
    return [np.where(seen, band.clip(1, 10000), 0).astype(np.uint16) for band in bands], 100 * cloud[seen].mean()


def write(path, data, epsg, left, top):
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "dtype": "uint16", "nodata": 0}
    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2, "zlevel": 9}
    # Through a plain file: the COG driver puts header and overviews where a reader over http wants them.
    with rasterio.MemoryFile() as memory:
        place = {"crs": f"EPSG:{epsg}", "transform": rasterio.Affine(10, 0, left, 0, -10, top)}
        with memory.open(**profile, **place, **tiling) as file:
            file.write(data, 1)
            file.build_overviews([2, 4, 8], Resampling.average)
        cog = {"driver": "COG", "blocksize": 256, "compress": "deflate", "predictor": "yes", "level": 9}
        with memory.open() as file:
            rasterio.shutil.copy(file, path, overviews="force_use_existing", **cog)


def main():
    shutil.rmtree(DEMO, ignore_errors=True)
    items = []
    for (month, day), tiles, cloudy in DAYS:
        for tile in tiles:
            name = f"S2_{tile}_2024{month:02}{day:02}"
            epsg, left, top = TILES[tile]
            bands, cloud_cover = scene(tile, month, day, cloudy)
            (DEMO / name).mkdir(parents=True)
            for band, data in zip(("red", "nir"), bands):
                write(DEMO / name / f"{band}.tif", data, epsg, left, top)
            assets = {band: f"./{name}/{band}.tif" for band in ("red", "nir")}
            properties = {
                "proj:code": f"EPSG:{epsg}",
                "eo:cloud_cover": round(float(cloud_cover), 1),
                "constellation": "made-up",
            }
            time = stac.utc(2024, month, day, 17, 0, 11 if epsg == 32615 else 25)
            items.append(stac.Item(name, time, assets, stac.outline(DEMO / name / "red.tif"), properties))
    stac.write(DEMO / "items.parquet", items)


if __name__ == "__main__":
    main()
