"""Times lazycogs_read beside rasterio's WarpedVRT, on the same files in the same run, and checks that the values agree.

The archive is made once, in build/bench: four dates of one tile of 4096 x 4096 uint16 pixels, deflate with predictor 2,
overviews. Each case is run three times and the median is shown; nothing is emptied between the runs, so the files are
in the operating system's cache for both sides, and headers and tiles in the extension's own. rasterio reads the dates
one after the other, as a loop in Python does, with its default tolerance of an eighth of a pixel.
"""

import platform
import statistics
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import rasterio
import rasterio.warp
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test" / "fixtures")]
import stac  # noqa: E402

SIZE, DATES = 4096, (3, 8, 13, 18)
X, Y = 500000, 5000000
CASES = {
    "same grid, 10 m": ((X, Y - 40960, X + 40960, Y), "EPSG:32615", 10),
    "web mercator, 20 m": ((-10350000, 5585000, -10295000, 5640000), "EPSG:3857", 20),
    "degrees, 0.001 (overview)": ((-93.0, 44.79, -92.49, 45.15), "EPSG:4326", 0.001),
}


def make_archive(folder):
    if (folder / "items.parquet").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for day in DATES:
        random = np.random.default_rng(day)
        row, col = np.mgrid[:SIZE, :SIZE]
        waves = 3000 + 2000 * np.sin(row / 300) * np.cos(col / 200)
        data = (waves + random.integers(0, 100, row.shape)).astype("uint16")
        data[:, : 100 * day] = 0
        path = folder / f"{day}.tif"
        shape = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "dtype": "uint16", "nodata": 0}
        place = {"crs": "EPSG:32615", "transform": rasterio.Affine(10, 0, X, 0, -10, Y)}
        tiling = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2}
        with rasterio.open(path, "w", **shape, **place, **tiling) as file:
            file.write(data, 1)
            file.build_overviews([2, 4, 8, 16], Resampling.nearest)
        items.append(stac.Item(f"d{day}", stac.utc(2024, 5, day), {"b": f"{day}.tif"}, stac.outline(path)))
    stac.write(folder / "items.parquet", items)


def with_lazycogs(con, index, case):
    """Sum and number of valid pixels of the monthly composite."""
    bbox, crs, resolution = case
    sql = f"SELECT sum(b), count(b) FROM lazycogs_read('{index}', {list(bbox)}, '{crs}', {resolution}, 'P1M')"
    return con.execute(sql).fetchone()


def overview_for(path, case):
    """The overview that the extension's rule picks: coarsest whose pixels are no larger than the output's."""
    bbox, crs, resolution = case
    middle = [(bbox[0] + bbox[2]) / 2] * 2, [(bbox[1] + bbox[3]) / 2 + s * resolution / 2 for s in (-1, 1)]
    with rasterio.open(path) as file:
        _, y = rasterio.warp.transform(crs, file.crs, *middle)
        fitting = [i for i, factor in enumerate(file.overviews(1)) if factor * 10 <= abs(y[1] - y[0]) * 1.02]
    return {"overview_level": fitting[-1]} if fitting else {}


def with_rasterio(folder, case):
    bbox, crs, resolution = case
    width, height = (round((bbox[i + 2] - bbox[i]) / resolution) for i in (0, 1))
    grid = {"crs": crs, "transform": rasterio.Affine(resolution, 0, bbox[0], 0, -resolution, bbox[3])}
    composite = np.zeros((height, width), "uint16")
    for day in DATES:
        path = folder / f"{day}.tif"
        with (
            rasterio.open(path, **overview_for(path, case)) as file,
            WarpedVRT(file, width=width, height=height, **grid) as warped,
        ):
            found = warped.read(1)
        composite = np.where(composite == 0, found, composite)
        if composite.all():
            break
    return int(composite.sum(dtype="int64")), int((composite != 0).sum())


def median_of_three(function, *args):
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        result = function(*args)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), result


def main():
    folder = ROOT / "build" / "bench"
    make_archive(folder)
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{ROOT}/build/release/extension/lazycogs/lazycogs.duckdb_extension'")
    threads = con.execute("SELECT current_setting('threads')").fetchone()[0]
    print(f"{platform.machine()}, {threads} threads, DuckDB {duckdb.__version__}, rasterio {rasterio.__version__}")
    print(f"{'case':28} {'lazycogs':>10} {'rasterio':>10} {'output Mpx':>11}")
    for name, case in CASES.items():
        ours, mine = median_of_three(with_lazycogs, con, folder / "items.parquet", case)
        theirs, oracle = median_of_three(with_rasterio, folder, case)
        # Centres on an edge between two pixels may fall either way.
        apart = max(abs(a - b) / b for a, b in zip(mine, oracle))
        if apart > 1e-3:
            sys.exit(f"{name}: the values do not agree: {mine} and {oracle}")
        bbox, _, resolution = case
        pixels = (bbox[2] - bbox[0]) * (bbox[3] - bbox[1]) / resolution**2 / 1e6
        print(f"{name:28} {ours:8.2f} s {theirs:8.2f} s {pixels:11.1f}")


if __name__ == "__main__":
    main()
