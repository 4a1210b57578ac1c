"""Makes small TIFFs for the fuzz targets: one per codec, type, predictor, layout and kind of georeference.

Smooth pixels in tiles of 16 x 16: what a mutation breaks should be a structure, not noise. Usage: make_seeds.py FOLDER
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

UTM = {"crs": CRS.from_epsg(32615), "transform": Affine(10, 0, 500_000, 0, -10, 4_950_000)}
ALBERS = "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=23 +lon_0=-96 +ellps=GRS80 +towgs84=1,2,3,0,0,0,0 +units=us-ft"
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
CODECS = ["none", "deflate", "lzw", "zstd", "packbits", "lzma", "lerc", "lerc_deflate", "lerc_zstd", "webp", "jpeg"]


def write(path, dtype="uint8", bands=1, size=(24, 40), overviews=(), mask=False, alpha=False, zeros=False, **profile):
    """Writes a GeoTIFF whose bands are ramps, or zeros."""
    height, width = size
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width))
    data = np.stack([ramp + 7 * band for band in range(bands)]).astype(dtype)
    shape = {"height": height, "width": width, "count": bands, "dtype": dtype}
    profile = UTM | {"tiled": True, "blockxsize": 16, "blockysize": 16} | profile
    profile = {name: value for name, value in profile.items() if value is not None or name in ("crs", "transform")}
    data = data * (not zeros)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_TIFF_OVR_BLOCKSIZE="64"):
        with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
            if alpha:
                file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
            file.write(data)
            if mask:
                file.write_mask(ramp % 5 > 0)
        if overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews(overviews)


def kinds():
    """Names, and the arguments of `write` that make what they say."""
    for codec in CODECS:
        bands = 3 if codec == "webp" else 1
        yield f"codec_{codec}", {"compress": codec, "bands": bands}
    yield "jpeg_ycbcr", {"compress": "jpeg", "photometric": "ycbcr", "bands": 3}
    yield "jpeg_4", {"compress": "jpeg", "bands": 4}
    yield "webp_alpha", {"compress": "webp", "bands": 4, "alpha": True, "webp_lossless": True}
    yield "lerc_alpha", {"compress": "lerc", "bands": 4, "alpha": True}
    for dtype in TYPES:
        yield f"type_{dtype}", {"dtype": dtype, "compress": "deflate", "predictor": 2}
        if dtype not in ("uint64", "int64"):
            yield f"lerc_{dtype}", {"dtype": dtype, "compress": "lerc", "bands": 2}
    for dtype in ("float32", "float64"):
        yield f"predictor_3_{dtype}", {"dtype": dtype, "compress": "lzw", "predictor": 3, "nodata": float("nan")}
    yield "float16", {"dtype": "float32", "nbits": 16, "compress": "zstd", "predictor": 3}
    for bits in (1, 2, 4, 7):
        yield f"bits_{bits}", {"nbits": bits, "compress": "deflate"}
    yield "bits_12", {"dtype": "uint16", "nbits": 12, "compress": "packbits", "bands": 3}
    yield "separate", {"bands": 3, "interleave": "band", "compress": "lzw", "overviews": [2]}
    yield "big_endian", {"dtype": "uint16", "endianness": "big", "compress": "deflate", "predictor": 2}
    yield "bigtiff", {"bigtiff": "yes", "compress": "zstd", "overviews": [2, 4]}
    yield "overviews_and_masks", {"compress": "deflate", "mask": True, "overviews": [2, 4]}
    yield "sparse", {"sparse_ok": True, "size": (80, 80), "nodata": 0}
    yield "rotated", {"transform": Affine(8, 3, 500_000, 3, -8, 4_950_000), "nodata": -9999, "dtype": "int16"}
    yield "south_up", {"transform": Affine(10, 0, 500_000, 0, 10, 4_950_000)}
    yield "degrees", {"crs": CRS.from_epsg(4326), "transform": Affine(0.1, 0, -180, 0, -0.1, 90)}
    yield "geokeys", {"crs": CRS.from_string(ALBERS), "transform": Affine(100, 0, 0, 0, -100, 9e6)}
    yield "geokeys_lonlat", {"crs": CRS.from_string("+proj=longlat +a=6378000 +rf=300 +pm=paris")}
    yield "geokeys_esri", {"crs": CRS.from_string("ESRI:54009"), "geotiff_keys_flavor": "esri_pe"}
    yield "no_crs", {"crs": None}
    yield "nowhere", {"crs": None, "transform": None}


def striped_kinds():
    """The same for strips, whose last one is shorter."""
    strips = {"tiled": False, "blockxsize": None, "blockysize": 5}
    for codec in CODECS:
        rows = 8 if codec == "jpeg" else 5
        yield f"strips_{codec}", strips | {"compress": codec, "bands": 3 if codec == "webp" else 1, "blockysize": rows}
    yield "strips_jpeg_ycbcr", strips | {"compress": "jpeg", "photometric": "ycbcr", "bands": 3, "blockysize": 16}
    yield "strips_predictor_3", strips | {"dtype": "float32", "compress": "deflate", "predictor": 3}
    yield "strips_separate", strips | {"bands": 3, "interleave": "band", "compress": "deflate", "mask": True}
    yield "strips_bits", strips | {"dtype": "uint16", "nbits": 11, "bigtiff": "yes", "endianness": "big"}
    yield "strips_sparse", strips | {"sparse_ok": True, "size": (80, 80), "nodata": 0}
    # Large enough to be cut, but not stored: a mutation may make it claim that it is.
    yield "strips_cut", strips | {"size": (1100, 1000), "blockysize": 1100, "sparse_ok": True, "zeros": True}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    for name, arguments in [*kinds(), *striped_kinds()]:
        write(folder / f"{name}.tif", **arguments)


if __name__ == "__main__":
    main()
