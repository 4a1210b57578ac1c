"""The programs that are measured, each as a class with the same methods.

    can(workload)         whether it does that at all
    prepare()             what is not timed: imports, loading the extension
    run(workload, index)  from the path of the index to a numpy array (step, band, row, column), nodata 0

Each is used as its own documentation tells, with the settings that were found best for it. `threads_for` says how many
readers it gets where it does not choose itself: more than there are processors where reads wait for a network.
"""

import datetime
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from make_archive import MASK

ROOT = Path(__file__).resolve().parent.parent
SHORT = ("W3", "W4", "W4r", "W6", "W6p")
# Both users of GDAL: one header read that is large enough, no directory listings, ranges merged, memory for blocks.
GDAL = {
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "GDAL_CACHEMAX": "512",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "50000000",
}


def threads_for(workload, source, on_files):
    """Readers for a pool of threads, of which `on_files` suit local files."""
    if source == "file":
        return on_files
    return 16 if workload.name in SHORT else 8


def step_of(time, period):
    """The first day of the step that holds `time`."""
    day = time.date()
    if period == "P1W":
        return day - datetime.timedelta(days=day.weekday())
    return day.replace(day=1) if period == "P1M" else day


def read_items(index, workload):
    """Rows of the index, in its order, whose bbox meets that of the grid."""
    import pyarrow.parquet as pq
    from pyproj import Transformer

    west, south, east, north = Transformer.from_crs(workload.crs, "OGC:CRS84", always_xy=True).transform_bounds(
        *workload.bbox, densify_pts=21
    )
    rows = pq.read_table(index).to_pylist()
    boxes = [row["bbox"] for row in rows]
    meets = [b["xmin"] <= east and b["xmax"] >= west and b["ymin"] <= north and b["ymax"] >= south for b in boxes]
    return [row for row, is_in in zip(rows, meets) if is_in]


class Peer:
    def __init__(self, source):
        self.source = source

    @staticmethod
    def can(workload):
        return True


class This(Peer):
    """This extension: the chunks of lazycogs_read_chunks, copied into an array, as in docs/recipes.md."""

    title = "this"

    def prepare(self):
        import duckdb
        import numpy  # noqa: F401

        path = (
            os.environ.get("LAZYCOGS_EXTENSION") or ROOT / "build/release/extension/lazycogs/lazycogs.duckdb_extension"
        )
        self.con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        self.con.execute(f"LOAD '{path}'")

    @staticmethod
    def arguments(workload, index):
        named = {"bands": list(workload.bands), "mosaic": workload.mosaic, "chunk_size": workload.chunk_size}
        named["resampling"] = workload.resampling
        named |= {"mask_band": MASK, "mask_values": list(workload.hides)} if workload.hides else {}
        named = "".join(f", {name} := {value!r}" for name, value in named.items() if value)
        named += "" if workload.overviews else ", overviews := false"
        where = f"{list(workload.bbox)}, '{workload.crs}', {workload.resolution}"
        return f"'{index}', {where}, '{workload.period}'{named}"

    def run(self, workload, index):
        import numpy as np

        arguments = self.arguments(workload, index)
        info = "dtype, steps, height, width, chunk_size"
        dtype, steps, height, width, side = self.con.execute(
            f"SELECT {info} FROM lazycogs_info({arguments})"
        ).fetchone()
        cube, times = np.empty((steps, len(workload.bands), height, width), dtype), {}
        chunks = self.con.execute(f"FROM lazycogs_read_chunks({arguments})")
        while rows := chunks.fetchmany(4):
            for time, row, col, _, _, _, _, h, w, *blobs in rows:
                step = times.setdefault(time, len(times))
                place = slice(row * side, row * side + h), slice(col * side, col * side + w)
                for band, blob in enumerate(blobs):
                    cube[step, band, *place] = np.frombuffer(blob, dtype).reshape(h, w)
        order = [times[time] for time in sorted(times)]
        return cube if order == list(range(steps)) else cube[order]


class ThisSql(This):
    """This extension: the mean of every band and step, computed by DuckDB from the rows of lazycogs_read."""

    title = "this, aggregate in SQL"

    @staticmethod
    def can(workload):
        return workload.plain

    def run(self, workload, index):
        import numpy as np

        means = ", ".join(f"avg({band})" for band in workload.bands)
        sql = f"SELECT {means} FROM lazycogs_read({self.arguments(workload, index)}) GROUP BY time ORDER BY time"
        return np.array(self.con.execute(sql).fetchall(), "float64")


class Lazycogs(Peer):
    """lazycogs for Python, without chunks, which is its fastest way to an array in memory."""

    title = "lazycogs (Python)"

    @staticmethod
    def can(workload):
        return workload.plain

    def prepare(self):
        if sys.version_info < (3, 12):
            sys.exit(f"it needs Python 3.12 or later, this is {sys.version.split()[0]}")
        import dask.array  # noqa: F401
        import lazycogs
        import rustac

        # The stock method stops as soon as every pixel has one value.
        stop = {"is_done": property(lambda self: False)}
        self.median = type("WholeMedian", (lazycogs.MedianMethod,), stop)
        folder = extensions_of_rustac()
        options = {"extension_directory": folder, "install_extensions": False} if folder else {}
        self.client = rustac.DuckdbClient(**options)

    def open(self, workload, index):
        """The lazy array."""
        import lazycogs

        return lazycogs.open(
            str(index),
            bbox=workload.bbox,
            crs=workload.crs,
            resolution=workload.resolution,
            bands=list(workload.bands),
            time_period=workload.period,
            mosaic_method=self.median if workload.mosaic == "median" else None,
            duckdb_client=self.client,
            store=self.store(index),
        )

    def run(self, workload, index):
        return self.open(workload, index).transpose("time", "band", "y", "x").values

    def store(self, index):
        if self.source == "file":
            return None
        import pyarrow.parquet as pq
        from obstore.store import HTTPStore

        href = pq.read_table(index, columns=["assets"])["assets"][0].as_py()["red"]["href"]
        return HTTPStore.from_url("/".join(href.split("/")[:3]), client_options={"allow_http": True})


def extensions_of_rustac():
    """A folder with the DuckDB extensions that rustac would otherwise download, from the wheels that carry them."""
    import importlib.util
    import platform

    target = None
    for name in ("icu", "parquet", "spatial"):
        found = importlib.util.find_spec(f"duckdb_extension_{name}")
        if found is None:
            return None
        folder = Path(found.submodule_search_locations[0])
        file = next(folder.glob("extensions/*/*.duckdb_extension"))
        systems = {"Linux": "linux", "Darwin": "osx"}
        machines = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
        names = systems[platform.system()], machines[platform.machine()]
        target = folder.parent / "extensions_of_rustac"
        link = target / file.parent.name / "_".join(names) / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(file)
    return str(target)


class Odc(Peer):
    """odc-stac with dask's threads."""

    title = "odc-stac"

    def prepare(self):
        import dask.array
        import numpy as np
        import odc.stac
        import pystac  # noqa: F401

        os.environ |= GDAL
        odc.stac.configure_rio(cloud_defaults=True, **{k: v for k, v in GDAL.items() if k != "GDAL_CACHEMAX"})
        # The first compute imports more of dask.
        dask.array.from_array(np.zeros(2), chunks=1).sum().compute(scheduler="threads")

    def run(self, workload, index):
        import dask

        with dask.config.set(scheduler="threads", num_workers=threads_for(workload, self.source, 2 * os.cpu_count())):
            return self.open(workload, index).transpose("time", "band", "y", "x").compute().values

    def open(self, workload, index):
        """The lazy array, each step (band, row, column)."""
        import odc.stac
        from affine import Affine
        from odc.geo.geobox import GeoBox

        items = [self.item(row) for row in read_items(index, workload)]
        size, (left, _, _, top) = workload.resolution, workload.bbox
        box = GeoBox((workload.height, workload.width), Affine(size, 0, left, 0, -size, top), workload.crs)
        median = workload.mosaic == "median"
        cube = odc.stac.load(
            items,
            bands=[*workload.bands, *([MASK] if workload.hides else [])],
            geobox=box,
            groupby="id" if median else lambda item, *_: step_of(item.datetime, workload.period),
            resampling=workload.resampling,
            use_overviews=workload.overviews,
            chunks={"x": 2048, "y": 2048},
            dtype="uint16",
            nodata=0,
            preserve_original_order=True,
            fail_on_error=True,
        )
        if workload.hides:
            cube = cube.drop_vars(MASK).where(~cube[MASK].isin(workload.hides), 0)
        cube = self.medians(cube) if median else cube
        return cube.to_array("band")

    @staticmethod
    def item(row):
        import pystac

        box = [row["bbox"][side] for side in ("xmin", "ymin", "xmax", "ymax")]
        (west, south, east, north), epsg = box, row["proj:epsg"]
        ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        item = pystac.Item(row["id"], geometry, box, row["datetime"], {"proj:epsg": epsg, "proj:code": f"EPSG:{epsg}"})
        for key, asset in row["assets"].items():
            more = {name: value for name, value in asset.items() if ":" in name}
            item.add_asset(
                key, pystac.Asset(asset["href"], media_type=asset["type"], roles=["data"], extra_fields=more)
            )
        return item

    @staticmethod
    def medians(cube):
        import numpy as np
        import xarray as xr

        months = cube["time"].values.astype("datetime64[M]")
        parts = [cube.isel(time=np.flatnonzero(months == month)).chunk(time=-1) for month in np.unique(months)]
        return xr.concat([p.where(p != 0).astype("float32").median("time").fillna(0) for p in parts], "time")


class Gdal(Peer):
    """GDAL through rasterio, by hand: a window, or a WarpedVRT of what an item covers, per item and band in a pool."""

    title = "GDAL (rasterio)"
    # Of a source pixel, by which places may be wrong: its default.
    tolerance = 0.125

    def prepare(self):
        os.environ |= GDAL
        import numpy  # noqa: F401
        import pyarrow.parquet  # noqa: F401
        import pyproj  # noqa: F401
        import rasterio.vrt  # noqa: F401
        import rasterio.warp  # noqa: F401

    def run(self, workload, index):
        import numpy as np

        self.known, steps = {}, {}
        for row in read_items(index, workload):
            steps.setdefault(step_of(row["datetime"], workload.period), []).append(row)
        dtype = "float32" if workload.mosaic == "median" else "uint16"
        cube = np.zeros((len(steps), len(workload.bands), workload.height, workload.width), dtype)
        threads = threads_for(workload, self.source, os.cpu_count())
        # So many composites are in work at a time: memory is bounded, and no reader waits for one.
        room = threading.Semaphore(threads)
        with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(os.cpu_count()) as mosaics:
            made = []
            for step, key in enumerate(sorted(steps)):
                hidden = [readers.submit(self.hidden, workload, row) for row in steps[key]] if workload.hides else []
                for band, name in enumerate(workload.bands):
                    room.acquire()
                    target = cube[step, band]
                    reads = [readers.submit(self.read, workload, row, name, target) for row in steps[key]]
                    made.append(mosaics.submit(self.compose, workload, target, reads, hidden))
                    made[-1].add_done_callback(lambda _: room.release())
            for one in made:
                one.result()
        return cube

    def read(self, workload, row, band, target):
        """The part of the grid that an item covers and its pixels; None if it can add nothing."""
        import rasterio
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT

        href = row["assets"][band]["href"].removeprefix("file://")
        with rasterio.open(href) as file:
            shape = file.crs.to_string(), file.transform, file.shape
            # The transformation is set up once per tile of the archive, not once per file.
            if shape not in self.known:
                self.known[shape] = self.place(workload, file), self.level(workload, file)
            place, level = self.known[shape]
            if place is None or (workload.mosaic == "first" and target[place].all()):
                return None
            grid = self.transform(workload, place)
            rows, cols = (side.stop - side.start for side in place)
            same_crs = file.crs.to_string() == workload.crs
            if same_crs and file.res == (workload.resolution, workload.resolution):
                col, top = (round(value) for value in ~file.transform * (grid.c, grid.f))
                return place, file.read(1, window=((top, top + rows), (col, col + cols)))
        how = {"crs": workload.crs, "transform": grid, "width": cols, "height": rows, "tolerance": self.tolerance}
        how["resampling"] = Resampling["nearest" if band == MASK and workload.hides else workload.resampling]
        if workload.resampling in ("bilinear", "cubic"):
            # Else it widens kernels for each of its blocks by another factor.
            how |= {"XSCALE": 1, "YSCALE": 1}
        with (
            rasterio.open(href, **({} if level is None else {"overview_level": level})) as file,
            WarpedVRT(file, warp_mem_limit=256, **how) as warped,
        ):
            return place, warped.read(1)

    def hidden(self, workload, row):
        """What the mask hides of the part of the grid that an item covers."""
        import numpy as np

        found = self.read(workload, row, MASK, None)
        return None if found is None else np.isin(found[1], workload.hides)

    @staticmethod
    def transform(workload, place):
        from affine import Affine

        rows, cols = place
        size, (left, _, _, top) = workload.resolution, workload.bbox
        return Affine(size, 0, left + cols.start * size, 0, -size, top - rows.start * size)

    @staticmethod
    def place(workload, file):
        """Rows and columns of the grid that a file may have pixels for."""
        from rasterio.warp import transform_bounds

        same = file.crs.to_string() == workload.crs
        box = file.bounds if same else transform_bounds(file.crs, workload.crs, *file.bounds)
        size, (left, _, _, top) = workload.resolution, workload.bbox
        # Two pixels more on each side: the densified outline is not exact, and kernels fill what is touched.
        more = 0 if same and workload.resampling == "nearest" else 2
        first, last = round((box[0] - left) / size) - more, round((box[2] - left) / size) + more
        upper, lower = round((top - box[3]) / size) - more, round((top - box[1]) / size) + more
        rows = slice(max(upper, 0), min(lower, workload.height))
        cols = slice(max(first, 0), min(last, workload.width))
        return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None

    @staticmethod
    def level(workload, file):
        """The coarsest overview that is no coarser than the grid, as this extension and lazycogs choose it."""
        from rasterio.warp import transform

        middle_x, middle_y = (workload.bbox[0] + workload.bbox[2]) / 2, (workload.bbox[1] + workload.bbox[3]) / 2
        half = workload.resolution / 2
        if not workload.overviews:
            return None
        xs, ys = (
            [middle_x - half, middle_x + half, middle_x, middle_x],
            [middle_y, middle_y, middle_y - half, middle_y + half],
        )
        xs, ys = transform(workload.crs, file.crs, xs, ys)
        across, down = (xs[1] - xs[0], ys[1] - ys[0]), (xs[3] - xs[2], ys[3] - ys[2])
        size = abs(across[0] * down[1] - across[1] * down[0]) ** 0.5
        fitting = [i for i, factor in enumerate(file.overviews(1)) if factor * file.res[0] <= size * 1.02]
        return fitting[-1] if fitting else None

    @staticmethod
    def compose(workload, target, reads, hidden):
        import numpy as np

        if workload.mosaic == "median":
            stack = np.zeros((len(reads), *target.shape), "uint16")
            for n, (layer, read) in enumerate(zip(stack, reads)):
                if (found := read.result()) is not None:
                    layer[found[0]] = found[1] if not hidden else np.where(hidden[n].result(), 0, found[1])
            for start in range(0, len(target), 128):
                target[start : start + 128] = median_of_valid(stack[:, start : start + 128])
            return
        for read in reads:
            if (found := read.result()) is not None:
                part = target[found[0]]
                np.copyto(part, found[1], where=part == 0)


class GdalExact(Gdal):
    """The same without its approximation of the transformation, and a mask that judges source pixels under their own
    centres: what the values of kernels and masks are checked against."""

    title = "GDAL, exact"
    # Of exactly 0 rasterio makes no WarpedVRT.
    tolerance = 1e-9

    @staticmethod
    def can(workload):
        return not workload.plain

    def hidden(self, workload, row):
        import numpy as np
        import rasterio
        from rasterio.warp import reproject

        band, mask = (row["assets"][name]["href"].removeprefix("file://") for name in (workload.bands[0], MASK))
        with rasterio.open(band) as file, rasterio.open(mask) as classes:
            place = self.place(workload, file)
            if place is None:
                return None
            factor = file.width // classes.width
            hides = np.isin(classes.read(1), workload.hides).astype("uint8").repeat(factor, 0).repeat(factor, 1)
            found = np.ones([side.stop - side.start for side in place], "uint8")
            where = {"src_transform": file.transform, "src_crs": file.crs, "dst_crs": workload.crs}
            where["dst_transform"] = self.transform(workload, place)
            reproject(hides, found, **where, tolerance=0, init_dest_nodata=False)
        return found == 1


def median_of_valid(stack):
    """Median along the first axis of what is not 0; 0 where there is nothing."""
    import numpy as np

    ordered = np.sort(stack, axis=0)  # zeros come first
    layers, valid = len(stack), (ordered > 0).sum(0)
    low = np.minimum(layers - valid + np.maximum(valid - 1, 0) // 2, layers - 1)
    high = np.minimum(layers - valid + valid // 2, layers - 1)
    low, high = (np.take_along_axis(ordered, at[None], 0)[0].astype("float32") for at in (low, high))
    return np.where(valid > 0, (low + high) / 2, 0)


PEERS = {"this": This, "this_sql": ThisSql, "lazycogs": Lazycogs, "odc": Odc, "gdal": Gdal, "exact": GdalExact}
