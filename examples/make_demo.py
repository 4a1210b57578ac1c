"""Makes examples/demo: a small archive in the manner of Sentinel-2, with a landscape that never was.

Two tiles, one in UTM zone 15 and one in zone 16, overlap along the border of the zones; each is seen on a few days from
April to July. Red and near infrared as uint16 reflectance times 10000, nodata 0 beyond the edge of the orbit, 10 m
pixels, overviews 20, 40 and 80 m. Fields green up at their own pace, the river stays dark, and clouds come and go. What
tells of them is there in three manners, at 20 m: classes (`scl`, as Sentinel-2 has them), a probability in percent
(`cld`), and bits (`qa_pixel`, as Landsat has them).

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
RIM = 0.006  # of the hills of a sky: so much of a cloud no processor sees
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


def masks(sky, edge, seen, red, nir):
    """What a processor may have made of a sky whose clouds begin at `edge`: {asset: pixels of 20 m}.

    Each misses the rims of clouds, but `qa_pixel` has a bit for what is near them.
    """
    sky, red, nir = (band.reshape(SIZE // 2, 2, SIZE // 2, 2).mean((1, 3)) for band in (sky, red, nir))
    seen = seen.reshape(SIZE // 2, 2, SIZE // 2, 2).all((1, 3))
    water, green = red > nir, (nir - red) / (nir + red) > 0.4
    cloud = sky > edge + RIM
    scl = np.select([~seen, sky > edge + 0.05, cloud, water, green], [0, 9, 8, 6, 4], 5)
    chance = np.rint((50 + 600 * (sky - edge - RIM)).clip(0, 100) / 5) * 5
    ground = np.where(water, 1 << 7, 0) + 0b0101_0101_0100_0000  # clear, nothing likely
    qa = np.select([~seen, cloud, sky > edge - 2 * RIM], [1, 0b0101_0111_0000_1000, ground ^ 0b0100_0010], ground)
    cld = np.where(seen, chance, 255)
    return {"scl": scl.astype(np.uint8), "cld": cld.astype(np.uint8), "qa_pixel": qa.astype(np.uint16)}


# What marks a pixel that is missing.
NODATA = {"red": 0, "nir": 0, "scl": 0, "cld": 255, "qa_pixel": 1}


def scene(tile, month, dom, cloudy):
    """The bands of one scene, and the share of its pixels under cloud in percent."""
    epsg, left, top = TILES[tile]
    col, row = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    x, y = left + col * 10, top - row * 10
    if epsg != 32615:
        x, y = Transformer.from_crs(epsg, 32615, always_xy=True).transform(x, y)
    day = (np.datetime64(f"2024-{month:02}-{dom:02}") - np.datetime64("2024-01-01")).astype(int)
    red, nir = landscape(x, y, day)
    sky = smooth(f"clouds {month}-{dom}", x, y, 1400)
    begins = np.quantile(sky, 1 - cloudy) if cloudy else 2.0
    cloud, ground = sky > begins, (red, nir)
    red, nir = np.where(cloud, 0.62, red), np.where(cloud, 0.64, nir)
    random = np.random.default_rng(zlib.crc32(f"{tile}{month}{dom}".encode()))
    # Steps of 20 keep the files small; the noise of a real instrument is of that order.
    bands = [np.rint((band + random.normal(0, 0.001, band.shape)) * 500) * 20 for band in (red, nir)]
    edge = 60 + 8 * (day % 11) if epsg == 32615 else -(40 + 5 * (day % 7))
    seen = col + row * 0.21 > edge if edge > 0 else col + row * 0.21 < SIZE + edge
    red, nir = (np.where(seen, band.clip(1, 10000), 0).astype(np.uint16) for band in bands)
    return {"red": red, "nir": nir} | masks(sky, begins, seen, *ground), 100 * cloud[seen].mean()


def write(path, data, nodata, epsg, left, top):
    side, size = len(data), 10 * SIZE // len(data)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": data.dtype, "nodata": nodata}
    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2, "zlevel": 9}
    # Through a plain file: the COG driver puts header and overviews where a reader over http wants them.
    with rasterio.MemoryFile() as memory:
        place = {"crs": f"EPSG:{epsg}", "transform": rasterio.Affine(size, 0, left, 0, -size, top)}
        with memory.open(**profile, **place, **tiling) as file:
            file.write(data, 1)
            # Up to 80 m; there is no average of classes.
            how = Resampling.average if size == 10 else Resampling.nearest
            file.build_overviews([factor for factor in (2, 4, 8) if factor * size <= 80], how)
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
            for band, data in bands.items():
                write(DEMO / name / f"{band}.tif", data, NODATA[band], epsg, left, top)
            # Not of the role `data`: a call that names no bands has the reflectances.
            mask = {"type": None, "roles": ["data-mask", "cloud"]}
            assets = {band: {"href": f"./{name}/{band}.tif"} for band in bands}
            for band in ("scl", "cld", "qa_pixel"):
                assets[band] |= mask
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
