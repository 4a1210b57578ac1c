"""The programs that count zones, in the manner of peers.py.

    run(workload, index)  a numpy array (step, band, zone, statistic) of count, mean, min and max; 0 where nothing is

The zones lie beside the index, as parquet with WKB in the grid's CRS. With `fractional` a pixel counts by the share of
it that the zone covers, with `center` as a whole if its centre is inside.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from peers import PEERS, Gdal, Odc, This, read_items, step_of, threads_for

STATS = ("count", "mean", "min", "max")


def file_of(workload, index):
    return index.parent / f"zones_{workload.zones}.parquet"


def polygons(workload, index):
    """The zones, in the order of their ids, which count from 0."""
    import pyarrow.parquet as pq
    import shapely

    return list(shapely.from_wkb(pq.read_table(file_of(workload, index))["geometry"].to_numpy()))


def empty(steps, workload, zones):
    import numpy as np

    return np.zeros((steps, len(workload.bands), zones, len(STATS)))


class ThisZones(This):
    """This extension: lazycogs_zonal."""

    @staticmethod
    def can(workload):
        return True

    def run(self, workload, index):
        import numpy as np

        named = f"bands := {list(workload.bands)}, stats := {list(STATS)}, pixels := '{workload.pixels}', "
        named += f"zones_crs := '{workload.crs}', mosaic := '{workload.mosaic}'"
        where = f"'{file_of(workload, index)}', '{workload.crs}', {workload.resolution}, '{workload.period}'"
        columns = ", ".join(("time", "band", "zone_id", *STATS))
        found = self.con.execute(f"SELECT {columns} FROM lazycogs_zonal('{index}', {where}, {named})").fetchnumpy()
        times, step = np.unique(found["time"], return_inverse=True)
        names, band = np.unique(np.asarray(found["band"]).astype(str), return_inverse=True)
        band = np.array([workload.bands.index(name) for name in names])[band]
        zone = np.asarray(found["zone_id"])
        result = empty(len(times), workload, zone.max() + 1)
        for stat, name in enumerate(STATS):
            result[step, band, zone, stat] = np.ma.filled(found[name], 0)
        return result


class Labels(This):
    """This extension without lazycogs_zonal: rows of lazycogs_read joined with a table of the pixels of each zone."""

    title = "this, aggregate in SQL"

    @staticmethod
    def can(workload):
        # The table of large polygons would have a hundred million rows.
        return workload.pixels == "center" and workload.zones == "parcels"

    def run(self, workload, index):
        import numpy as np
        import pyarrow as pa

        zones, size = polygons(workload, index), workload.resolution
        parts = []
        for number, (rows, cols, inside) in enumerate(masks(workload, zones)):
            row, col = np.nonzero(inside)
            x = workload.bbox[0] + (col + cols.start + 0.5) * size
            y = workload.bbox[3] - (row + rows.start + 0.5) * size
            parts.append(pa.table({"x": x, "y": y, "zone": np.full(len(row), number)}))
        labels = pa.concat_tables(parts)
        self.con.register("labels", labels)
        stats = ", ".join(f"count({b}), avg({b}), min({b}), max({b})" for b in workload.bands)
        read = f"lazycogs_read({self.arguments(workload, index)})"
        sql = f"SELECT time, zone, {stats} FROM {read} JOIN labels USING (x, y) GROUP BY time, zone"
        found = self.con.execute(sql).fetchall()
        times = sorted({row[0] for row in found})
        result = empty(len(times), workload, len(zones))
        for time, zone, *values in found:
            result[times.index(time), :, zone] = np.array([v or 0 for v in values], float).reshape(-1, len(STATS))
        return result


class Exactextract(Gdal):
    """exactextract, one date at a time, on arrays that GDAL reads while the date before is counted."""

    title = "exactextract (GDAL)"

    @staticmethod
    def can(workload):
        return workload.pixels == "fractional"

    def prepare(self):
        super().prepare()
        import exactextract  # noqa: F401
        import pandas  # noqa: F401
        import shapely  # noqa: F401

    def run(self, workload, index):
        import numpy as np

        self.known, steps = {}, {}
        for row in read_items(index, workload):
            steps.setdefault(step_of(row["datetime"], workload.period), []).append(row)
        zones = [{"type": "Feature", "geometry": zone.__geo_interface__} for zone in polygons(workload, index)]
        threads = threads_for(workload, self.source, os.cpu_count())
        result = empty(len(steps), workload, len(zones))
        with ThreadPoolExecutor(threads) as readers:
            read = [None] * len(steps)
            for at, key in enumerate(sorted(steps)):
                read[at] = self.date(workload, steps[key], readers)
                if at:
                    result[at - 1] = self.count(workload, zones, read[at - 1])
                    read[at - 1] = None
            result[-1] = self.count(workload, zones, read[-1])
        return np.nan_to_num(result)

    def date(self, workload, rows, readers):
        """The arrays of a date, being read: for each band the target and what goes into it."""
        import numpy as np

        bands = []
        for name in workload.bands:
            target = np.zeros((workload.height, workload.width), "uint16")
            bands.append((target, [readers.submit(self.read, workload, row, name, target) for row in rows]))
        return bands

    def count(self, workload, zones, bands):
        from exactextract import exact_extract
        from exactextract.raster import NumPyRasterSource

        rasters = []
        for name, (target, reads) in zip(workload.bands, bands):
            self.compose(workload, target, reads, [])
            rasters.append(NumPyRasterSource(target, *workload.bbox, nodata=0, name=name))
        frame = exact_extract(rasters, zones, list(STATS), strategy="feature-sequential", output="pandas")
        columns = [[f"{name}_{stat}" for stat in STATS] for name in workload.bands]
        return [frame[names].to_numpy("float64") for names in columns]


class OdcZones(Odc):
    """odc-stac, one date at a time, and a window and a mask of rasterio's for each zone."""

    @staticmethod
    def can(workload):
        return workload.pixels == "center"

    def run(self, workload, index):
        import dask
        import numpy as np

        zones = polygons(workload, index)
        windows = list(masks(workload, zones))
        cube = self.open(workload, index)
        result = empty(len(cube.time), workload, len(zones))
        workers = threads_for(workload, self.source, 2 * os.cpu_count())
        with dask.config.set(scheduler="threads", num_workers=workers), ThreadPoolExecutor(os.cpu_count()) as pool:
            for step in range(len(cube.time)):
                date = cube.isel(time=step).compute().values
                counted = pool.map(lambda window, date=date: summary(date, window), windows)
                result[step] = np.stack(list(counted), axis=1)
        return result


def masks(workload, zones):
    """For each zone the rows and columns of the grid under it, and which of their pixels have their centre inside."""
    from affine import Affine
    from rasterio.features import geometry_mask

    size, (left, _, _, top) = workload.resolution, workload.bbox
    for zone in zones:
        west, south, east, north = zone.bounds
        rows = slice(max(int((top - north) // size), 0), min(int((top - south) // size) + 1, workload.height))
        cols = slice(max(int((west - left) // size), 0), min(int((east - left) // size) + 1, workload.width))
        shape = rows.stop - rows.start, cols.stop - cols.start
        place = Affine(size, 0, left + cols.start * size, 0, -size, top - rows.start * size)
        yield rows, cols, geometry_mask([zone], shape, place, invert=True)


def summary(date, window):
    """The statistics of each band of a date under a mask."""
    rows, cols, inside = window
    found = []
    for band in date:
        values = band[rows, cols][inside]
        values = values[values != 0]
        nothing = (0, 0, 0, 0)
        found.append((values.size, values.mean(), values.min(), values.max()) if values.size else nothing)
    return found


ZONAL = {"this": ThisZones, "this_sql": Labels, "odc": OdcZones, "exactextract": Exactextract}
TITLES = {name: peer.title for name, peer in (PEERS | ZONAL).items()}


def program(name, workload):
    """The class of a program that is to do a workload; None if it does nothing of the kind."""
    found = (ZONAL if workload.zones else PEERS).get(name)
    return found if found and found.can(workload) else None
