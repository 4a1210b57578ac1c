"""TIFFs in strips: each layout, codec, predictor and type that rasterio writes, and some that it only reads."""

import resource
import time
import zlib

import duckdb
import numpy as np
import pytest
import rasterio
import stac
import tiffs
from helpers import call
from pyproj import Transformer
from server import RangeServer
from small import LEFT, TOP, grid, index, item, raster
from test_masks_like_gdal import PLACE, masked, noise, one, same_as_gdal

WIDTH, HEIGHT = 37, 29
WHERE = grid(WIDTH, HEIGHT)
STRIPED = {"tiled": None, "blockxsize": None}
CODECS = ["none", "lzw", "deflate", "zstd", "lzma", "packbits", "lerc", "lerc_deflate", "lerc_zstd"]


def texture(shape=(HEIGHT, WIDTH), dtype="uint16"):
    """Smooth, with noise: no two rows are equal."""
    row, col = np.indices(shape[-2:])
    values = row * 7 + col * 3 + np.random.default_rng(3).integers(0, 9, shape)
    return values.astype(dtype)


def same(con, path, where=WHERE, **named):
    """Every band, pixel by pixel, as rasterio reads it."""
    with rasterio.open(path) as file:
        values = file.read(masked=True)
    found = masked(con, one(path), where, len(values), **named)
    for band, wanted in zip(found, values):
        assert (np.ma.getmaskarray(band) == (np.ma.getmaskarray(wanted) | np.isnan(wanted.data))).all()
        assert (band.filled(0) == wanted.filled(0)).all()


def layout(con, path):
    return con.execute(f"SELECT DISTINCT layout FROM {call('lazycogs_info', one(path), WHERE)}").fetchall()


@pytest.mark.parametrize("rows", [1, 4, 29, 1000], ids=lambda rows: f"{rows} rows")
@pytest.mark.parametrize("codec", CODECS)
def test_codecs(con, tmp_path, codec, rows):
    """Whole strips and a shorter last one, one strip for all rows, and more rows in a strip than the image has."""
    rows = {"blockysize": min(rows, HEIGHT)}
    path = raster(tmp_path / "file.tif", texture(), compress=codec, **STRIPED, **rows)
    same(con, path)
    same(con, path, chunk_size=16)
    assert layout(con, path) == [("striped",)]


@pytest.mark.parametrize("codec, bands", [("jpeg", 1), ("jpeg", 3), ("webp", 3), ("webp", 4)])
def test_lossy_codecs(con, tmp_path, codec, bands):
    """As GDAL decodes them: JPEG within its rounding, WebP without loss. The last strip has three rows."""
    exact = {"webp_lossless": True} if codec == "webp" else {"jpeg_quality": 95}
    values = texture((bands, 67, 37), "uint8")
    path = raster(tmp_path / "file.tif", values, compress=codec, blockysize=16, **STRIPED, **exact)
    with rasterio.open(path) as file:
        wanted, block = file.read(), file.block_shapes[0]
    assert block == (16, 37)
    found = masked(con, one(path), grid(37, 67), bands)
    most = 0 if codec == "webp" else 2
    assert max(np.abs(f.astype(int) - w).max() for f, w in zip(found, wanted)) <= most
    assert all(f.count() > 2000 for f in found)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("dtype, predictor", [
    ("uint8", 2), ("int16", 2), ("uint32", 2), ("int64", 2), ("float32", 2), ("float32", 3), ("float64", 3),
])  # fmt: skip
@pytest.mark.parametrize("endianness", ["little", "big"])
@pytest.mark.parametrize("bigtiff", ["no", "yes"])
def test_layouts(con, tmp_path, interleave, dtype, predictor, endianness, bigtiff):
    """Planes side by side or one after the other, differences along rows, both orders of bytes, BigTIFF."""
    profile = {"interleave": interleave, "endianness": endianness, "bigtiff": bigtiff}
    values = texture((3, HEIGHT, WIDTH), dtype)
    path = raster(
        tmp_path / "file.tif", values, compress="lzw", predictor=predictor, blockysize=5, **STRIPED, **profile
    )
    same(con, path)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [*range(1, 8), *range(9, 16), *range(17, 32)])
def test_odd_depths(con, tmp_path, bits, order):
    dtype = "uint8" if bits < 8 else "uint16" if bits < 16 else "uint32"
    values = np.random.default_rng(bits).integers(0, 2**bits, (2, HEIGHT, WIDTH)).astype(dtype)
    path = tiffs.write(tmp_path / "file.tif", tiffs.image(values, 4, bits=bits, order=order, **PLACE), order=order)
    same(con, path)
    tiled = raster(tmp_path / "tiled" / "file.tif", values, nbits=bits) if bits < 17 else None
    if tiled:
        same(con, tiled)


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("without, rows", [
    ((tiffs.ROWS_PER_STRIP,), None),
    ((), 2**32 - 1),
    ((), HEIGHT),
    ((), HEIGHT - 1),
])  # fmt: skip
def test_one_strip(con, tmp_path, planar, without, rows):
    """RowsPerStrip left out or as large as it can be: the image is one strip. Or all but one row of it."""
    values = texture((2, HEIGHT, WIDTH))
    for name, codec in (("plain", None), ("packed", zlib.compress)):
        path = tiffs.write(
            tmp_path / name / "file.tif", tiffs.image(values, rows, planar, codec=codec, **PLACE), without=without
        )
        same(con, path)


def test_a_last_strip_that_is_stored_whole(con, tmp_path):
    """As some writers do: the rows below the edge of the image are not read."""
    values = texture((1, HEIGHT, WIDTH))
    padded = np.concatenate([values, np.full((1, 3, WIDTH), 9, values.dtype)], axis=1)
    for codec in (None, zlib.compress):
        tags, blocks = tiffs.image(padded, 16, codec=codec, **PLACE)
        path = tiffs.write(tmp_path / "file.tif", (tags | {tiffs.LENGTH: (tiffs.LONG, [HEIGHT])}, blocks))
        same(con, path)


@pytest.mark.parametrize("nodata", [None, 7])
def test_strips_that_are_not_stored(con, tmp_path, nodata):
    """They hold nodata, or zeros."""
    tags = PLACE | ({"t42113": (2, b"7\0")} if nodata else {})
    image = tiffs.image(texture((2, HEIGHT, WIDTH)), 6, 2, fill=lambda strip: strip in (1, 4, 7), **tags)
    path = tiffs.write(tmp_path / "file.tif", image)
    same(con, path)
    same(con, path, chunk_size=16)


def test_masks_and_overviews_in_strips(con, tmp_path):
    """Under a tiled image, and the other way round."""
    values, mask = noise((1, 64, 48), most=200), noise((1, 64, 48), most=2, seed=5)
    kind = {"t254": (tiffs.LONG, [4]), "t262": (tiffs.SHORT, [4])}
    blocks = [values[0, r : r + 16, c : c + 16].tobytes() for r in range(0, 64, 16) for c in range(0, 48, 16)]
    tile = {f"t{tiffs.TILE_WIDTH}": (tiffs.SHORT, [16]), f"t{tiffs.TILE_LENGTH}": (tiffs.SHORT, [16])}
    tiled = (tiffs.image(values, **PLACE, **tile)[0], blocks)
    small = tiffs.image(values[:, ::2, ::2], 5, codec=zlib.compress, t254=(tiffs.LONG, [1]))
    small_mask = tiffs.image(mask[:, ::2, ::2], 7, bits=1, **kind | {"t254": (tiffs.LONG, [5])})
    path = tiffs.write(tmp_path / "a" / "file.tif", tiled, tiffs.image(mask, 11, bits=1, **kind), small, small_mask)
    with rasterio.open(path) as file:
        assert (file.block_shapes, file.overviews(1)) == ([(16, 16)], [2])
    assert same_as_gdal(con, path, grid(48, 64)) > 500
    assert same_as_gdal(con, path, grid(48, 64), chunk_size=16) > 500
    assert same_as_gdal(con, path, grid(24, 32, 20), overview=0) > 100
    assert layout(con, path) == [("tiled",)]

    tile = {name: (tiffs.SHORT, [32]) for name in tile}
    packed = np.zeros((64, 64), "uint8")
    packed[:, :48] = mask[0]
    blocks = [tiffs.pack(packed[r : r + 32, c : c + 32], 1) for r in (0, 32) for c in (0, 32)]
    tiled_mask = (tiffs.image(mask, bits=1, **kind, **tile)[0], blocks)
    path = tiffs.write(tmp_path / "b" / "file.tif", tiffs.image(values, 9, **PLACE), tiled_mask)
    assert same_as_gdal(con, path, grid(48, 64)) > 500


def test_in_another_crs(con, tmp_path):
    """Windows across strips: what a tiled copy of the same pixels gives."""
    values = texture((1, 200, 150))
    striped = tiffs.write(tmp_path / "a" / "file.tif", tiffs.image(values, 7, codec=zlib.compress, **PLACE))
    tiled = raster(tmp_path / "b" / "file.tif", values)
    x, y = Transformer.from_crs("EPSG:32633", "EPSG:25832", always_xy=True).transform(LEFT + 300, TOP - 300)
    where = grid(90, 90, 10, round(x), round(y), "EPSG:25832")
    [a], [b] = (masked(con, one(path), where, 1, chunk_size=16) for path in (striped, tiled))
    assert (a.filled(0) == b.filled(0)).all() and a.count() > 5000


def stats(con):
    return dict(con.execute("SELECT counter, value FROM lazycogs_cache_stats()").fetchall())


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("rows", [1, 8])
def test_a_small_file_is_one_request(con, tmp_path, bands, rows):
    """All strips of it, whose bytes explain says beforehand."""
    con.execute("SET lazycogs_cache_size = '0'")
    values = texture((bands, 200, 300))
    path = tiffs.write(tmp_path / "file.tif", tiffs.image(values, rows, **PLACE))
    time.sleep(0.1)  # the header of a file written just now is not kept from explain to read
    names = ["data"] if bands == 1 else ["data:1"]
    text = call("lazycogs_explain", one(path), grid(300, 200), bands=names, headers=True)
    planned = con.execute(f"SELECT sum(requests), sum(bytes), sum(tiles) FROM {text}").fetchone()
    assert planned == (1, values.nbytes, -(-200 // rows))
    before = stats(con)
    con.execute(f"FROM {call('lazycogs_read', one(path), grid(300, 200), bands=names)}").fetchall()
    after = stats(con)
    assert (after["requests"] - before["requests"], after["bytes"] - before["bytes"]) == planned[:2]


def test_a_window_costs_the_strips_under_it(con, tmp_path):
    """As wide as the image, and no more rows than the strips that the window meets."""
    con.execute("SET lazycogs_cache_size = '0'")
    values = texture((1, 256, 300))
    path = tiffs.write(tmp_path / "file.tif", tiffs.image(values, 16, **PLACE))
    text = call("lazycogs_explain", one(path), grid(10, 20, 10, LEFT + 500, TOP - 400), headers=True)
    found = con.execute(f"SELECT requests, bytes, tiles FROM {text}").fetchall()
    assert found == [(1, 2 * 16 * 300 * 2, 2)]


SIDE = (6000, 6400)


def large(path, **profile):
    """77 MB of pixels whose values tell their place."""
    row, col = np.indices(SIDE, "uint16")
    return raster(path, row * 31 + col, blockysize=SIDE[0], **STRIPED | profile)


def check_large(con, path):
    corners = [(0, 0), (3000, 3100), (5990, 6390)]
    for row, col in corners:
        where = grid(10, 10, 10, LEFT + col * 10, TOP - row * 10)
        [found] = masked(con, one(path), where, 1)
        wanted = (np.add.outer(np.arange(row, row + 10) * 31, np.arange(col, col + 10))).astype("uint16")
        assert (found.data == wanted).all() and not np.ma.getmaskarray(found).any()


def test_a_large_uncompressed_strip_is_read_by_its_rows(con, tmp_path):
    """One strip of 77 MB: a window of 10 rows costs those and some beside them."""
    path = large(tmp_path / "file.tif")
    with rasterio.open(path) as file:
        assert file.profile.get("compress") is None
    before = stats(con)
    check_large(con, path)
    assert stats(con)["bytes"] - before["bytes"] < 4 << 20
    con.execute("SET lazycogs_memory_budget = '32MB'")
    total = con.execute(
        f"SELECT sum(data::BIGINT) FROM {call('lazycogs_read', one(path), grid(6400, 2000))}"
    ).fetchone()
    row, col = np.indices((2000, 6400), "uint16")
    assert total == (int((row * 31 + col).sum(dtype="int64")),)


def test_a_large_compressed_strip_is_read_within_the_budget(con, tmp_path):
    """It must be decoded as a whole; where the budget is too small for that, the error says so."""
    path = large(tmp_path / "file.tif", compress="zstd", zstd_level=1)
    check_large(con, path)
    before = stats(con)
    count = f"SELECT count(data) FROM {call('lazycogs_read', one(path), grid(6400, 6000))}"
    assert con.execute(count).fetchone() == (6400 * 6000,)
    assert stats(con)["tiles_decoded"] - before["tiles_decoded"] <= 2, "decoded for each output tile"
    con.execute("SET lazycogs_memory_budget = '64MB'")
    with pytest.raises(duckdb.Error, match=r"a strip of 6400 x 6000 pixels .* lazycogs_memory_budget is 64 MB"):
        con.execute(count).fetchall()


def test_damaged_strips_are_errors_or_missing(con, tmp_path):
    """A strip that ends early, in the file or by its own count, and one behind the end of the file."""
    values = texture((1, HEIGHT, WIDTH))
    tags, blocks = tiffs.image(values, 6, **PLACE)
    here = stac.outline(tiffs.write(tmp_path / "good.tif", (tags, blocks)))
    cut = tiffs.write(tmp_path / "a.tif", (tags, blocks))
    cut.write_bytes(cut.read_bytes()[:-60])
    short = tiffs.write(tmp_path / "b.tif", (tags, [*blocks[:2], blocks[2][:-1], *blocks[3:]]))
    far = tiffs.write(tmp_path / "c.tif", (tags | {tiffs.STRIP_OFFSETS: (tiffs.LONG, [1 << 30] * 5)}, blocks))
    zero = tiffs.write(tmp_path / "d.tif", (tags | {tiffs.ROWS_PER_STRIP: (tiffs.LONG, [0])}, blocks))
    few = tiffs.write(tmp_path / "e.tif", (tags | {tiffs.ROWS_PER_STRIP: (tiffs.LONG, [2])}, blocks))
    for path, why in [
        (cut, "truncated|beyond its end|holds"),
        (short, "holds"),
        (far, "beyond its end|truncated"),
        (zero, "RowsPerStrip is 0"),
        (few, "lists 5 offsets"),
    ]:
        with pytest.raises(duckdb.Error, match=why):
            con.execute(f"FROM {call('lazycogs_read', one(path, here), WHERE)}").fetchall()


def peak():
    """The most memory that the process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_forged_strips_take_no_memory(con, tmp_path):
    """A header of some hundred bytes that claims billions of pixels is refused, or only what is needed is read."""
    sparse_column = 2
    values = texture((1, 4, 4), "uint8")
    good = tiffs.write(tmp_path / "good.tif", tiffs.image(values, **PLACE))
    here = stac.outline(good)
    con.execute(f"FROM {call('lazycogs_read', one(good), grid(4, 4, 10))}").fetchall()
    before = peak()
    side = 2**31 - 1
    for number, (width, height, offset, count) in enumerate(
        [(side, side, 0, 0), (side, 1, 0, 0), (1, side, 0, 0), (side, side, 8, 2**32 - 1), (1, side, 8, 2**32 - 1)]
    ):
        tags, blocks = tiffs.image(values, **PLACE)
        tags |= {tiffs.WIDTH: (tiffs.LONG, [width]), tiffs.LENGTH: (tiffs.LONG, [height])}
        tags |= {tiffs.STRIP_OFFSETS: (tiffs.LONG, [offset]), tiffs.STRIP_BYTES: (tiffs.LONG, [count])}
        path = tiffs.write(tmp_path / f"{number}.tif", (tags, blocks))
        sql = f"FROM {call('lazycogs_read', one(path, here), grid(4, 4, 10))}"
        if number == sparse_column:
            assert [row[3] for row in con.execute(f"{sql} ORDER BY y DESC, x").fetchall()] == [0, None, None, None] * 4
        else:
            with pytest.raises(duckdb.Error, match="strips of .* take .* MiB; at most|truncated|beyond its end"):
                con.execute(sql).fetchall()
    assert peak() - before < 64 << 20


def test_output_tiles_side_by_side_share_strips(con, tmp_path):
    """A strip that 16 output tiles cut is fetched and decoded about once, over http, with a small budget, too."""
    values = texture((1, 1500, 2000))
    for codec in (None, zlib.compress):
        path = tiffs.write(tmp_path / "data" / "file.tif", tiffs.image(values, 8, codec=codec, **PLACE))
        for budget in ("256MB", "64MB"):
            con.execute(f"SET lazycogs_memory_budget = '{budget}'; SET lazycogs_cache_size = '0'")
            with RangeServer(tmp_path / "data", lifetime=60) as served:
                items = [item("one", {"data": path})]
                items[0].assets["data"] = f"{served.url}/file.tif"
                text = call("lazycogs_read", index(tmp_path, items), grid(2000, 1500), chunk_size=128)
                before = stats(con)
                total = con.execute(f"SELECT count(data), sum(data::BIGINT) FROM {text}").fetchone()
                assert total == (values.size, values.sum(dtype="int64"))
                assert served.bytes_sent() < 1.5 * path.stat().st_size
                assert stats(con)["tiles_decoded"] - before["tiles_decoded"] < 1.5 * 1500 / 8
