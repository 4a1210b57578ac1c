"""What is valid in a file: one source per band, as GDAL takes it; an internal mask, else nodata, else an alpha band.

Files of every combination, against `read_masks` of rasterio.
"""

import itertools
import zlib

import numpy as np
import pytest
import rasterio
import tiffs
from helpers import call
from small import LEFT, TOP, UTM, grid, index, item, raster

WIDTH, HEIGHT = 23, 19
WHERE = grid(WIDTH, HEIGHT)
PLACE = {f"t{tag}": value for tag, value in tiffs.utm(LEFT, TOP).items()}
GREY, RGB = 1, 2
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
MASK, OVERVIEW = 4, 1


def noise(shape, dtype="uint8", most=3, seed=1):
    """Few values, so that many are nodata and many opaque."""
    return np.random.default_rng(seed).integers(0, most, shape).astype(dtype)


def one(path, footprint=None):
    """An index of one item with the file as `data`."""
    return index(path.parent, [item("one", {"data": path}, footprint=footprint)])


def masked(con, items, where, bands, **named):
    """Each band as a masked array, read through SQL."""
    names = ["data"] if bands == 1 else [f"data:{n}" for n in range(1, bands + 1)]
    columns = ", ".join(f'"{name}"' for name in names)
    sql = f"SELECT {columns} FROM {call('lazycogs_read', items, where, bands=names, **named)} ORDER BY y DESC, x"
    found = con.execute(sql).fetchnumpy()
    return [np.ma.asarray(found[name]).reshape(where.shape) for name in names]


def same_as_gdal(con, path, where=WHERE, overview=None, **named):
    """Validity of each band, and the values of what is valid. Returns the number of invalid pixels."""
    options = {} if overview is None else {"overview_level": overview}
    with rasterio.open(path, **options) as file:
        values = file.read()
        valid = [file.read_masks(n) != 0 for n in file.indexes]
        flags = file.mask_flag_enums
    found = masked(con, one(path), where, len(values), **named)
    for n, band in enumerate(found):
        got = ~np.ma.getmaskarray(band)
        wrong = got != valid[n]
        assert not wrong.any(), f"band {n + 1}: {wrong.sum()} of {wrong.size} pixels, where GDAL has {flags[n]}"
        assert (band.data[got] == values[n][got]).all()
    return sum(int((~v).sum()) for v in valid)


@pytest.mark.parametrize("bands, photometric, extra", [
    (1, GREY, []),
    (1, GREY, [UNASSOCIATED]),
    (2, GREY, [UNASSOCIATED]),
    (2, GREY, [ASSOCIATED]),
    (2, GREY, [UNSPECIFIED]),
    (3, RGB, []),
    (3, GREY, [UNSPECIFIED, UNASSOCIATED]),
    (4, RGB, [UNASSOCIATED]),
    (4, RGB, [UNSPECIFIED]),
    (4, GREY, [UNASSOCIATED]),
    (4, GREY, [UNASSOCIATED, UNSPECIFIED, UNSPECIFIED]),
    (4, GREY, [UNSPECIFIED, UNSPECIFIED, ASSOCIATED]),
    (5, RGB, [UNSPECIFIED, UNASSOCIATED]),
    (5, RGB, [UNASSOCIATED]),
])  # fmt: skip
def test_every_combination(con, tmp_path, bands, photometric, extra):
    """Bands, alpha in any place, mask, nodata of any kind, types that may have an alpha band and others."""
    checked, invalid = 0, 0
    kinds = itertools.product(("uint8", "uint16", "int16"), (None, "0", "-9999", "300"), (False, True), (1, 2))
    for number, (dtype, nodata, mask, planar) in enumerate(kinds):
        tags = PLACE | {"t262": (tiffs.SHORT, [photometric])}
        if extra:
            tags["t338"] = (tiffs.SHORT, extra)
        if nodata:
            tags["t42113"] = (2, nodata.encode() + b"\0")
        images = [tiffs.image(noise((bands, HEIGHT, WIDTH), dtype), 5, planar, **tags)]
        if mask:
            images.append(mask_of(1))
        path = tiffs.write(tmp_path / str(number) / "file.tif", *images)
        invalid += same_as_gdal(con, path)
        checked += 1
    assert checked == 48 and invalid > 2000


def mask_of(bands, bits=1, shape=(HEIGHT, WIDTH), kind=MASK, **tags):
    values = noise((bands, *shape), most=2 if bits else 4, seed=2)
    return tiffs.image(values, 4, bits=bits, t254=(tiffs.LONG, [kind]), t262=(tiffs.SHORT, [4]), **tags)


@pytest.mark.parametrize("bits", [1, None], ids=["1 bit", "8 bits"])
@pytest.mark.parametrize("bands", [1, 3], ids=["one for all", "one for each"])
@pytest.mark.parametrize("planar", [1, 2])
def test_masks_of_any_kind(con, tmp_path, bits, bands, planar):
    """A mask of one bit or of bytes, for all bands or one for each, in strips of its own, as GDAL reads it."""
    image = tiffs.image(noise((3, HEIGHT, WIDTH)), 7, 2, codec=zlib.compress, t42113=(2, b"0\0"), **PLACE)
    path = tiffs.write(tmp_path / "file.tif", image, mask_of(bands, bits, planar=planar))
    assert same_as_gdal(con, path) > 100
    assert same_as_gdal(con, path, chunk_size=16) > 100


@pytest.mark.parametrize("bands", [1, 2])
def test_a_mask_for_each_band_in_another_crs(con, tmp_path, bands):
    """Read through windows, where the masks of the bands must not be mixed up."""
    values = np.stack([np.full((64, 64), 10 + n, "uint8") for n in range(2)])
    mask = np.zeros((bands, 64, 64), "uint8")
    mask[0, :, :32] = 1
    mask[-1, :, 32:] = 1
    kind = {"t254": (tiffs.LONG, [MASK]), "t262": (tiffs.SHORT, [4])}
    path = tiffs.write(tmp_path / "file.tif", tiffs.image(values, 8, **PLACE), tiffs.image(mask, 8, 2, bits=1, **kind))
    found = masked(con, one(path), grid(8, 8, 40, LEFT + 150, TOP - 150, "EPSG:25833"), 2)
    left = ~np.ma.getmaskarray(found[0]), ~np.ma.getmaskarray(found[1])
    assert left[0][:, :4].all() and left[1][:, 4:].all()
    assert (left[0][:, 4:].any(), left[1][:, :4].any()) == ((True, True) if bands == 1 else (False, False))


def test_dark_pixels_under_a_mask(con, tmp_path):
    """The file of the report: an internal mask and nodata 0. What the mask lets through is valid, zero or not."""
    values, mask = noise((HEIGHT, WIDTH)), noise((HEIGHT, WIDTH), most=2, seed=2)
    path = raster(tmp_path / "file.tif", values, mask=mask, nodata=0)
    same_as_gdal(con, path)
    [band] = masked(con, one(path), WHERE, 1)
    dark = (values == 0) & (mask == 1)
    assert dark.sum() > 50 and (band[dark] == 0).sum() == dark.sum()


@pytest.mark.parametrize("layout", ["mask", "alpha"])
def test_overviews_have_masks_of_their_own(con, tmp_path, layout):
    values = noise((2, 96, 80), most=4)
    if layout == "mask":
        path = raster(tmp_path / "file.tif", values[0], mask=noise((96, 80), most=2, seed=2), nodata=0)
    else:
        path = raster(tmp_path / "file.tif", values, photometric="minisblack", alpha="yes")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "r+") as file:
        file.build_overviews([2])
    assert same_as_gdal(con, path, grid(80, 96)) > 100
    assert same_as_gdal(con, path, grid(40, 48, 20), overview=0) > 100


def test_a_mask_that_only_an_overview_has(con, tmp_path):
    """It masks nothing, in no resolution: GDAL has one only for the overview opened by itself."""
    values = noise((1, 64, 64))
    small = tiffs.image(values[:, ::2, ::2], 8, t254=(tiffs.LONG, [OVERVIEW]))
    of_small = mask_of(1, shape=(32, 32), kind=MASK | OVERVIEW)
    path = tiffs.write(tmp_path / "file.tif", tiffs.image(values, 8, **PLACE), small, of_small)
    assert same_as_gdal(con, path, grid(64, 64)) == 0
    [band] = masked(con, one(path), grid(32, 32, 20), 1)
    assert not np.ma.getmaskarray(band).any() and (band.data == values[0, ::2, ::2]).all()


@pytest.mark.parametrize("colour", ["Alpha", "Undefined"])
def test_what_gdal_metadata_say_of_the_last_band(con, tmp_path, colour):
    xml = f'<GDALMetadata><Item name="COLORINTERP" sample="1" role="colorinterp">{colour}</Item></GDALMetadata>\0'
    extra = UNSPECIFIED if colour == "Alpha" else UNASSOCIATED
    tags = PLACE | {"t338": (tiffs.SHORT, [extra]), "t42112": (2, xml.encode())}
    path = tiffs.write(tmp_path / "file.tif", tiffs.image(noise((2, HEIGHT, WIDTH)), **tags))
    assert (same_as_gdal(con, path) > 0) == (colour == "Alpha")


def test_an_alpha_band_asked_for_by_name_is_data(con, tmp_path):
    """GDAL has no mask for it; an internal mask holds for it as for the others."""
    values = noise((2, HEIGHT, WIDTH))
    tags = PLACE | {"t338": (tiffs.SHORT, [UNASSOCIATED])}
    alone = tiffs.write(tmp_path / "a" / "file.tif", tiffs.image(values, 5, **tags))
    assert np.ma.getmaskarray(masked(con, one(alone), WHERE, 2)[1]).sum() == 0
    both = tiffs.write(tmp_path / "b" / "file.tif", tiffs.image(values, 5, **tags), mask_of(1))
    same_as_gdal(con, both)
    assert np.ma.getmaskarray(masked(con, one(both), WHERE, 2)[1]).sum() > 100


def told_by(tmp_path, source, nodata):
    """A file of two bands that says what is valid by `source`, and its values."""
    values = noise((2, HEIGHT, WIDTH), most=4)
    tags = dict(PLACE)
    if source == "nodata":
        tags["t42113"] = (2, nodata)
    if source == "alpha":
        tags["t338"] = (tiffs.SHORT, [UNASSOCIATED])
    images = [tiffs.image(values, **tags)] + ([mask_of(1)] if source == "mask" else [])
    path = tiffs.write(tmp_path / "file.tif", *images)
    return path, values


@pytest.mark.parametrize("source", ["mask", "nodata", "alpha", "nothing"])
def test_an_explicit_nodata_counts_besides(con, tmp_path, source):
    """Beside mask and alpha, and in the place of the file's nodata."""
    path, values = told_by(tmp_path, source, b"0\0")
    with rasterio.open(path) as file:
        valid = file.read_masks(1) != 0 if source != "nodata" else np.ones_like(values[0], bool)
    band = masked(con, one(path), WHERE, 2, nodata=3)[0]
    assert (~np.ma.getmaskarray(band) == (valid & (values[0] != 3))).all()


@pytest.mark.parametrize("source", ["mask", "nodata", "alpha", "nothing"])
def test_nodata_of_stac_counts_where_the_file_says_nothing(con, tmp_path, source):
    """Who opens the file with GDAL does not see it."""
    path, values = told_by(tmp_path, source, b"1\0")
    with rasterio.open(path) as file:
        valid = file.read_masks(1) != 0
    if source == "nothing":
        valid = values[0] != 2
    sql = (
        "SET VARIABLE items = [{id: 'one', datetime: TIMESTAMP '2024-05-03', bbox: [-180.0, -90, 180, 90], "
        'assets: {data: {href: $href, "raster:bands": [{nodata: 2}, {nodata: 2}]}}}]'
    )
    con.execute(sql, {"href": str(path)})
    box = [float(value) for value in WHERE.bbox]
    sql = f"""SELECT "data:1" FROM lazycogs_read(getvariable('items'), {box}, '{UTM}', 10, 'P1D', bands := ['data:1'])
              ORDER BY y DESC, x"""
    band = np.ma.asarray(con.execute(sql).fetchnumpy()["data:1"]).reshape(WHERE.shape)
    assert (~np.ma.getmaskarray(band) == valid).all()


def test_bands_of_one_file_keep_their_alpha_apart(con, tmp_path):
    """Colours under an alpha band and that band itself in one call: each is judged by its own source."""
    values = noise((4, HEIGHT, WIDTH))
    tags = PLACE | {"t338": (tiffs.SHORT, [UNASSOCIATED]), "t262": (tiffs.SHORT, [RGB])}
    path = tiffs.write(tmp_path / "file.tif", tiffs.image(values, 5, codec=zlib.compress, **tags))
    found = masked(con, one(path), WHERE, 4)
    assert all((~np.ma.getmaskarray(band) == (values[3] != 0)).all() for band in found[:3])
    assert not np.ma.getmaskarray(found[3]).any()
