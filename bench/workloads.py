"""What is measured: the same grid, items and composite for everybody."""

from dataclasses import dataclass

from make_archive import BANDS, MASK, SIZES, border_tiles
from pyproj import Transformer


@dataclass(frozen=True)
class Workload:
    """One cube: (step, band, row, column) on the grid of `bbox` and `resolution`, north up."""

    name: str
    title: str
    part: str  # of the archive
    crs: str
    resolution: float
    bbox: tuple
    period: str
    mosaic: str = "first"
    chunk_size: int | None = None
    # The call is made once before the clock in the same process.
    repeated: bool = False
    sources: tuple = ("file", "http")
    bands: tuple = tuple(BANDS)
    resampling: str = "nearest"
    overviews: bool = True
    # Classes of the mask that hide pixels before the mosaic; its nodata does in any case.
    hides: tuple = ()
    # Against GDAL without its approximation: values that differ by more count, and may be that share.
    within: float = 0
    allowed: float = 1e-5
    # The zones of make_zones.py that are counted, and by which rule. `within` is a share of the value then.
    zones: str = ""
    pixels: str = "fractional"

    @property
    def plain(self):
        """Work that every program can do."""
        return self.resampling == "nearest" and not self.hides

    @property
    def width(self):
        return round((self.bbox[2] - self.bbox[0]) / self.resolution)

    @property
    def height(self):
        return round((self.bbox[3] - self.bbox[1]) / self.resolution)


def square(left, top, pixels, resolution=10):
    extent = pixels * resolution
    return float(left), float(top - extent), float(left + extent), float(top)


def within_a(size, share, pixels):
    """A square of `pixels` x `pixels` on the grid of tile A, around the point at `share` of its width."""
    extent = SIZES[size]["side"] * 10
    _, _, left, top = border_tiles(SIZES[size]["side"])[1]
    middle = left + round(share * extent / 60) * 60, top - round(extent / 120) * 60
    return square(middle[0] - pixels * 5, middle[1] + pixels * 5, pixels)


def everything(size, crs=5070):
    """The box around all tiles, on multiples of 300 m."""
    extent, low, high = SIZES[size]["side"] * 10, [float("inf")] * 2, [float("-inf")] * 2
    for _, epsg, left, top in border_tiles(SIZES[size]["side"]):
        box = left, top - extent, left + extent, top
        found = Transformer.from_crs(epsg, crs, always_xy=True).transform_bounds(*box)
        low, high = [min(a, b) for a, b in zip(low, found)], [max(a, b) for a, b in zip(high, found[2:])]
    return tuple([v // 300 * 300.0 for v in low] + [-(-v // 300) * 300.0 for v in high])


def box_of_zones(size):
    """Most of tiles A and B, on their pixels: up to where tile C of the other zone begins."""
    extent = SIZES[size]["side"] * 10
    _, _, left, top = border_tiles(SIZES[size]["side"])[0]
    return float(left), float(top - extent), left + round(1.66 * extent / 60) * 60.0, float(top)


def workloads(size):
    """{name: Workload} for an archive of `size`, in the order of the table."""
    small = size == "small"
    window, over_border = (768, 512) if small else (2048, 2048)
    utm, albers = ("scenes", "EPSG:32615", 10.0), ("scenes", "EPSG:5070")
    native = within_a(size, 0.05, window)
    pixel = square(native[0] + window * 5, native[3] - window * 5, 1)
    border = within_a(size, 0.75, over_border)
    whole = everything(size)
    whole_utm = everything(size, 32615)
    # Over the edge of an image GDAL's average and mode count its border for more than it is: the frame of scenes.
    fine = {"overviews": False, "allowed": 4 * 35 / (10 * SIZES[size]["side"])}
    classes = {"overviews": False, "allowed": 4 * 70 / (10 * SIZES[size]["side"])}
    under_zones = {"bbox": box_of_zones(size), "period": "P1D", "bands": tuple(BANDS)[:2], "allowed": 0}
    islands = square(500000, 5700000, 4096)
    x, y = Transformer.from_crs(32632, 3035, always_xy=True).transform(520480, 5679520)
    islands_laea = square(round(x / 10) * 10 - 20480, round(y / 10) * 10 + 20480, 4096)
    found = [
        Workload("W1", f"native grid, {window} x {window}, daily, first", *utm, native, "P1D"),
        Workload("W2w", "EPSG:5070 at 30 m over everything, weekly, first", *albers, 30.0, whole, "P1W"),
        Workload("W2m", "the same, monthly", *albers, 30.0, whole, "P1M", sources=("file",)),
        Workload("W3", "overviews: EPSG:5070 at 300 m over everything, daily, first", *albers, 300.0, whole, "P1D"),
        Workload("W4", "one pixel through all dates", *utm, pixel, "P1D"),
        Workload("W4r", "the same pixel again in the same process", *utm, pixel, "P1D", repeated=True),
        Workload(
            "W5", f"{over_border} x {over_border} over the zone border, monthly median", *utm, border, "P1M", "median"
        ),
        Workload(
            "W6",
            "one tile of 4096 x 4096 over eight scenes of 256 x 256",
            "islands",
            "EPSG:32632",
            10.0,
            islands,
            "P1D",
            chunk_size=4096,
            bands=("red",),
        ),
        Workload(
            "W6p",
            "the same in EPSG:3035",
            "islands",
            "EPSG:3035",
            10.0,
            islands_laea,
            "P1D",
            chunk_size=4096,
            bands=("red",),
        ),
        Workload("K1", "W2w, bilinear", *albers, 30.0, whole, "P1W", resampling="bilinear", within=1),
        Workload("K2", "W2w, cubic", *albers, 30.0, whole, "P1W", resampling="cubic", within=1),
        Workload(
            "K3",
            "average of 3.5 x 3.5 pixels of 10 m over everything, weekly, first",
            *utm[:2],
            35.0,
            whole_utm,
            "P1W",
            resampling="average",
            within=1,
            **fine,
        ),
        Workload(
            "K4",
            "mode of 3.5 x 3.5 pixels of 20 m, classes",
            *utm[:2],
            70.0,
            whole_utm,
            "P1W",
            bands=(MASK,),
            resampling="mode",
            **classes,
        ),
        Workload(
            "M1",
            f"W5 without clouds: {MASK} at 20 m hides them",
            *utm,
            border,
            "P1M",
            "median",
            hides=(0, 1, 3, 8, 9, 10),
        ),
    ]
    for name, zones, title in [
        ("Z1", "parcels", "1,000 parcels of a hectare"),
        ("Z2", "polygons", "20 polygons of a third of a scene"),
    ]:
        shares = under_zones | {"zones": zones, "within": 1e-6}
        found.append(Workload(f"{name}f", f"{title}, daily, two bands, shares of pixels", *utm, **shares))
        centres = under_zones | {"zones": zones, "within": 1e-12, "pixels": "center"}
        found.append(Workload(f"{name}c", "the same, centres of pixels", *utm, **centres))
    return {workload.name: workload for workload in found}


def warm_up(workload):
    """A small cube of the `warm` part that takes the same path through a program as `workload`."""
    crs = "EPSG:32615" if workload.crs == "EPSG:32615" else "EPSG:5070"
    bbox = square(401000, 4799000, 100)
    if crs != "EPSG:32615":
        x, y = Transformer.from_crs(32615, crs, always_xy=True).transform(402000, 4797000)
        bbox = square(round(x), round(y), 100, 30)
    named = {"mosaic": workload.mosaic, "resampling": workload.resampling, "hides": workload.hides}
    named |= {"bands": workload.bands, "zones": "warm", "pixels": workload.pixels} if workload.zones else {}
    return Workload("warm", "", "warm", crs, 10.0 if crs == "EPSG:32615" else 30.0, bbox, workload.period, **named)
