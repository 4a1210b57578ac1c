"""What an index says, in every form in which it can say it: types, text, JSON, names, faults of single items.

The oracles are pyarrow, which writes the files, Python's json, and DuckDB itself; the pixels are few and known.
"""

import gzip
import json
import time
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import stac
from helpers import call
from model import Grid
from small import grid, raster

HERE = grid(4, 4)
RING = [(13.0, 46.9), (17.0, 46.9), (17.0, 47.0), (13.0, 47.0), (13.0, 46.9)]
NOON = datetime(2024, 5, 3, 12, tzinfo=UTC)


@pytest.fixture
def ones(tmp_path):
    """A file of ones, four by four pixels; it declares no nodata."""
    return raster(tmp_path / "ones.tif", np.ones((4, 4), "uint8"))


@pytest.fixture
def place(ones):
    """A ring around the file, as (lon, lat)."""
    return stac.outline(ones)


def box_of(ring):
    lon, lat = zip(*ring)
    return {"xmin": min(lon), "ymin": min(lat), "xmax": max(lon), "ymax": max(lat)}


def table(place, **columns):
    """One row per element of the columns; bbox is that of `place`, times an hour apart unless they are given."""
    rows = len(next(iter(columns.values())))
    times = [NOON.replace(hour=12 - n % 12, minute=n // 12 % 60) for n in range(rows)]
    basic = {
        "id": pa.array([f"i{n}" for n in range(rows)]),
        "bbox": pa.array([box_of(place)] * rows),
        "datetime": pa.array(times, pa.timestamp("us", tz="UTC")),
    }
    made = {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()}
    return pa.table(basic | made)


def written(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    return path


def data(path, **facts):
    return {"data": {"href": str(path)} | facts}


def plan(con, source, period="P1Y", where=HERE, **named):
    """The ids in the order of the plan."""
    named = {"bands": ["data"], "chunk_size": 4096} | named
    text = call("lazycogs_explain", source, where, period, **named)
    rows = con.execute(f"SELECT item_id FROM {text} WHERE item_id IS NOT NULL ORDER BY time, read_order").fetchall()
    return " ".join(row[0] for row in rows)


def pixels(con, source, where=HERE, bands=("data",), **named):
    """The distinct values of each band."""
    text = call("lazycogs_read", source, where, "P1Y", bands=list(bands), **named)
    found = [con.execute(f'SELECT DISTINCT "{band}" FROM {text} ORDER BY ALL').fetchall() for band in bands]
    values = [[value for (value,) in rows] for rows in found]
    return values[0] if len(values) == 1 else values


def failures(con):
    return con.execute("SELECT item_id, asset, message FROM lazycogs_failures()").fetchall()


# -- times -----------------------------------------------------------------------------------------------------------

LAST = datetime(2024, 5, 3, 23, 59, 59, 999999, tzinfo=UTC)
TIMES = {
    "us tz": pa.timestamp("us", tz="UTC"),
    "ns tz": pa.timestamp("ns", tz="UTC"),
    "ns other tz": pa.timestamp("ns", tz="Asia/Tokyo"),
    "ms tz": pa.timestamp("ms", tz="UTC"),
    "s tz": pa.timestamp("s", tz="UTC"),
    "us": pa.timestamp("us"),
    "ns": pa.timestamp("ns"),
    "ms": pa.timestamp("ms"),
    "s": pa.timestamp("s"),
    "text": pa.string(),
    "text of small letters": pa.string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "date": pa.date32(),
}


def as_type(times, kind):
    if kind == "date":
        return pa.array([t and t.date() for t in times], pa.date32())
    if kind in ("text", "text of small letters", "dictionary"):
        texts = [t and t.isoformat().replace("+00:00", "Z") for t in times]
        texts = [t and t.lower() for t in texts] if kind != "text" else texts
        return pa.array(texts, pa.string()).cast(TIMES[kind])
    whole = [t and t.replace(microsecond=0) for t in times]
    if TIMES[kind].unit == "s":
        times = whole
    elif TIMES[kind].unit == "ms":
        times = [t and t.replace(microsecond=t.microsecond // 1000 * 1000) for t in times]
    return pa.array(times, pa.timestamp("us", tz="UTC")).cast(TIMES[kind])


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_every_type_of_timestamp(con, ones, place, tmp_path, kind, nested):
    """In the time of an item, its extent, the order, filters; the last instant of a day stays in it."""
    times = [datetime(2024, 5, 2, 1, tzinfo=UTC), LAST, datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)]
    column = as_type(times, kind)
    start = as_type([datetime(2024, 1, 1, tzinfo=UTC), None, None], kind)
    end = as_type([datetime(2024, 12, 31, tzinfo=UTC), None, None], kind)
    nulls = as_type([None] * 3, kind)
    values = {"datetime": column, "start_datetime": start, "end_datetime": end, "created": column, "updated": nulls}
    rows = table(place, assets=[data(ones)] * 3)
    if nested:
        properties = pa.StructArray.from_arrays(list(values.values()), list(values))
        rows = rows.drop_columns(["datetime"]).append_column("properties", properties)
    else:
        for name, value in values.items():
            rows = rows.drop_columns([name]) if name in rows.column_names else rows
            rows = rows.append_column(name, value)
    source = written(tmp_path / "items.parquet", rows)
    assert plan(con, source) == "i2 i0 i1"
    assert plan(con, source, sortby=["-datetime"]) == "i2 i1 i0"
    assert plan(con, source, sortby=["-created"]) == "i2 i1 i0"
    assert plan(con, source, sortby=["updated"]) == "i2 i0 i1"
    assert plan(con, source, datetime="2024-10") == "i0"
    assert plan(con, source, datetime="2024-05-03") == "i0 i1"
    assert plan(con, source, datetime="../1970-01-01") == "i2"
    assert plan(con, source, filter="created >= '2024-05-03'") == "i1"
    assert plan(con, source, filter="created < TIMESTAMP('2024-05-02T01:00:00.5Z')") == "i2 i0"
    assert plan(con, source, filter="updated IS NULL") == "i2 i0 i1"
    assert plan(con, source, filter="created > '2024-05-02' OR updated > '2024-05-02'") in ("i0 i1", "i1")
    text = call("lazycogs_explain", source, HERE, "P1D", bands=["data"])
    found = con.execute(f"SELECT time, item_id FROM {text} ORDER BY ALL").fetchall()
    days = [datetime(1969, 12, 31), datetime(2024, 5, 2), datetime(2024, 5, 3)]
    assert found == list(zip(days, ["i2", "i0", "i1"]))


def test_nanoseconds_are_cut_off_not_rounded(con, ones, place, tmp_path):
    """2024-05-03T23:59:59.9999999 belongs to that day, and so before 1970."""
    nanos = [int(datetime(2024, 5, 4, tzinfo=UTC).timestamp()) * 10**9 - 100, -100]
    column = pa.array(nanos, pa.int64()).cast(pa.timestamp("ns", tz="UTC"))
    rows = table(place, assets=[data(ones)] * 2).drop_columns(["datetime"]).append_column("datetime", column)
    source = written(tmp_path / "items.parquet", rows)
    text = call("lazycogs_explain", source, HERE, "P1D", bands=["data"])
    found = con.execute(f"SELECT time FROM {text} ORDER BY ALL").fetchall()
    # DuckDB 1.5 reads microseconds, and cuts off towards 1970.
    exact = con.execute(f"SELECT typeof(datetime) LIKE '%_NS' FROM '{source}'").fetchone()[0]
    first = datetime(1969, 12, 31) if exact else datetime(1970, 1, 1)
    assert [time for (time,) in found] == [first, datetime(2024, 5, 3)]


@pytest.mark.parametrize(
    "one, other", [("ns tz", "us tz"), ("us", "ns tz"), ("text", "ns tz"), ("date", "us tz"), ("s", "ms tz")]
)
def test_parts_with_other_types_of_time(con, ones, place, tmp_path, one, other):
    for n, kind in enumerate((one, other)):
        rows = table(place, id=[f"p{n}"], assets=[data(ones)]).drop_columns(["datetime"])
        rows = rows.append_column("datetime", as_type([datetime(2024, 5, 3 + n, tzinfo=UTC)], kind))
        written(tmp_path / f"part{n}.parquet", rows)
    assert plan(con, f"{tmp_path}/part*.parquet", "P1D") == "p0 p1"
    assert plan(con, f"{tmp_path}/part*.parquet", "P1D", sortby=["-datetime"], datetime="2024-05-04") == "p1"


@pytest.mark.parametrize("kind", ["us tz", "ns tz", "text", "s"])
def test_parts_in_which_no_item_has_a_time(con, ones, place, tmp_path, kind):
    """A column of parquet's null type in one part, or of NULLs in all."""
    nothing = pa.array([None], pa.null())
    for n, column in enumerate((as_type([NOON], kind), nothing)):
        rows = table(place, id=[f"p{n}"], assets=[data(ones)]).drop_columns(["datetime"])
        rows = rows.append_column("datetime", column).append_column("start_datetime", as_type([NOON], kind))
        rows = rows.append_column("end_datetime", nothing).append_column("updated", nothing)
        written(tmp_path / f"part{n}.parquet", rows)
    assert plan(con, f"{tmp_path}/part*.parquet", datetime="2024-05") == "p0 p1"
    assert plan(con, tmp_path / "part1.parquet", datetime="2024-05", sortby=["updated", "-end_datetime"]) == "p1"
    for condition in ("updated IS NULL", "NOT (updated > '2024-01-01') OR id = 'p1'"):
        assert plan(con, tmp_path / "part1.parquet", filter=condition) == "p1"


def test_a_time_that_is_json_text(con, ones, place, tmp_path):
    rows = table(place, assets=[json.dumps(data(ones))])
    source = written(tmp_path / "plain.parquet", rows)
    con.execute(
        "COPY (SELECT * REPLACE (to_json('2024-05-03T12:00:00Z') AS datetime, CAST(assets AS JSON) AS assets), "
        f"to_json('2024-05-03t12:00:00z') AS created FROM '{source}') TO '{tmp_path}/json.parquet'"
    )
    assert plan(con, tmp_path / "json.parquet", datetime="2024-05-03", filter="created < '2024-05-04'") == "i0"


# -- what cannot be read is said -------------------------------------------------------------------------------------

# The text of a fact, and whether Python's json takes it.
ODD = {
    "nan": '{"href": HREF, "nodata": NaN}',
    "infinity": '{"href": HREF, "nodata": Infinity}',
    "too large": '{"href": HREF, "nodata": 1e999}',
    "deep": '{"href": HREF, "extra": ' + "[" * 200 + "]" * 200 + "}",
    "deep bands": '{"href": HREF, "bands": [{"deep": ' + "[" * 200 + "]" * 200 + "}]}",
    "surrogate": '{"href": HREF, "title": "\\ud800"}',
    "twice": '{"href": "/nowhere.tif", "href": HREF}',
}


def feature(name, place, asset, minute=0):
    """The text of an item whose asset is a text."""
    box = box_of(place)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "bbox": list(box.values()),
        "geometry": stac.geojson(place),
        "properties": {"datetime": f"2024-05-03T12:{minute:02}:00Z"},
        "links": [],
        "assets": "ASSETS",
    }
    return json.dumps(item).replace('"ASSETS"', '{"data": ' + asset + "}")


def as_source(form, items, folder, place):
    """The items, texts of assets, as a file of a form."""
    texts = [feature(f"i{n}", place, asset, n) for n, asset in enumerate(items)]
    if form == "collection":
        path = folder / "items.json"
        path.write_text('{"type": "FeatureCollection", "features": [' + ",".join(texts) + "]}")
    elif form == "ndjson":
        path = folder / "items.ndjson"
        path.write_text("\n".join(texts) + "\n")
    elif form == "text":
        rows = table(place, assets=['{"data": ' + asset + "}" for asset in items])
        path = written(folder / "items.parquet", rows)
    else:
        pairs = [[("data", asset)] for asset in items]
        rows = table(place, assets=pa.array(pairs, pa.map_(pa.string(), pa.string())))
        path = written(folder / "items.parquet", rows)
    return path


@pytest.mark.parametrize("form", ["collection", "ndjson", "text", "map"])
@pytest.mark.parametrize("odd", ODD)
def test_what_python_reads_is_read(con, ones, place, tmp_path, form, odd):
    text = ODD[odd].replace("HREF", json.dumps(str(ones)))
    assert json.loads(text)["href"] == str(ones)
    good = json.dumps({"href": str(ones)})
    source = as_source(form, [good, text], tmp_path, place)
    assert sorted(plan(con, source).split()) == ["i0", "i1"]
    assert pixels(con, source, mosaic="count") == [2]
    assert pixels(con, source, filter="id = 'i1'") == [1]


DAMAGED = {
    "no href": ('{"type": "x"}', "has no href"),
    "no object": ('["href"]', "is no object"),
    "number": ("5", "is no object"),
    "bands": ('{"href": HREF, "raster:bands": "[{"}', "raster:bands"),
    "very deep": ('{"href": HREF, "nodata": ' + "[" * 5000 + "]" * 5000 + "}", "nodata"),
}
TORN = {
    "torn": ('{"href": HREF', "not readable as JSON"),
    "words only": ("soon", "not readable as JSON"),
    "words": ("{href: HREF}", "not readable as JSON"),
}


@pytest.mark.parametrize("form", ["collection", "text", "map"])
@pytest.mark.parametrize("damage", [*DAMAGED, *TORN])
@pytest.mark.parametrize("position", [0, 1])
def test_what_cannot_be_read_is_named(con, ones, place, tmp_path, form, damage, position):
    if damage in TORN and form == "collection":
        pytest.skip("the whole file is no JSON then")
    text, words = (DAMAGED | TORN)[damage]
    items = [json.dumps({"href": str(ones)})]
    items.insert(position, text.replace("HREF", json.dumps(str(ones))))
    source = as_source(form, items, tmp_path, place)
    if position == 1:
        assert pixels(con, source, mosaic="count", errors="ignore") == [1]
        assert [(item, asset) for item, asset, _ in failures(con)] == [("i1", "data")]
        assert words in failures(con)[0][2]
        info = call("lazycogs_info", source, HERE, "P1Y", bands=["data"], errors="ignore")
        assert con.execute(f"SELECT items FROM {info}").fetchone()[0] == 2
    with pytest.raises(duckdb.Error, match=f"item 'i{position}'.*data"):
        pixels(con, source, mosaic="count")
    assert f"i{position}" in plan(con, source) if position == 1 else True


@pytest.mark.parametrize("form", ["flat", "json"])
def test_an_item_without_a_time_is_named_or_listed(con, ones, place, tmp_path, form):
    good = '{"datetime": "2024-05-03T12:00:00Z"}'
    if form == "flat":
        rows = table(place, id=["a", "b"], assets=[data(ones)] * 2, datetime=["2024-05-03T12:00:00Z", "soon"])
        words = "'soon' is not a timestamp"
    else:
        rows = table(place, id=["a", "b"], assets=[data(ones)] * 2, properties=[good, "{torn"]).drop_columns(
            ["datetime"]
        )
        words = "'properties' is not readable as JSON"
    source = written(tmp_path / "items.parquet", rows)
    with pytest.raises(duckdb.Error, match=f"item 'b'.*{words}"):
        pixels(con, source)
    assert pixels(con, source, errors="ignore", mosaic="count") == [1]
    assert [(item, words in message) for item, _, message in failures(con)] == [("b", True)]
    for function in ("lazycogs_explain", "lazycogs_info"):
        con.execute("FROM lazycogs_version()")
        text = call(function, source, HERE, "P1Y", bands=["data"], errors="ignore")
        assert len(con.execute(f"FROM {text}").fetchall()) == 1
        assert [(item, words in message) for item, _, message in failures(con)] == [("b", True)]
    assert plan(con, source, errors="ignore") == "a"


@pytest.mark.parametrize("padding", [0, 1 << 20], ids=["small", "large"])
@pytest.mark.parametrize("sortby", [[], ["id"]])
def test_a_torn_first_item_is_passed_over(con, ones, place, tmp_path, padding, sortby):
    """Where no band is named, the next item says which there are."""
    torn = '{"data": {"href"'
    rows = table(place, assets=[torn, torn, json.dumps(data(ones)), json.dumps(data(ones))])
    rows = rows.append_column("padding", pa.array([np.random.default_rng(n).bytes(padding) for n in range(4)]))
    source = written(tmp_path / "items.parquet", rows)
    named = {"sortby": sortby} if sortby else {}
    with pytest.raises(duckdb.Error, match="item 'i0': the text of 'assets' is not readable as JSON"):
        con.execute(f"FROM {call('lazycogs_read', source, HERE, 'P1Y', **named)}")
    text = call("lazycogs_read", source, HERE, "P1Y", errors="ignore", mosaic="count", **named)
    assert con.execute(f"SELECT DISTINCT data FROM {text}").fetchall() == [(2,)]
    assert {item for item, *_ in failures(con)} == {"i0", "i1"}


NODATA_ONE = {
    "JSON number": ("to_json(1)", None),
    "JSON text": ("to_json('1')", None),
    "text": ("'1.0'", None),
    "decimal": ("1.0", None),
    "enum": ("CAST('1' AS ENUM('1', '2'))", None),
    "bands as text": (None, """'[{"nodata": 1}]'"""),
    "bands as JSON": (None, """CAST('[{"nodata": "1"}]' AS JSON)"""),
    "bands as JSON[]": (None, """[CAST('{"nodata": 1}' AS JSON)]"""),
    "bands as text[]": (None, """['{"nodata": 1}']"""),
    "bands as MAP[]": (None, "[MAP {'nodata': 1.0}]"),
    "bands as array": (None, "CAST([{nodata: 1}] AS STRUCT(nodata INT)[1])"),
    "bands of JSON members": (None, "[{nodata: to_json('1'), name: 'band'}]"),
}


@pytest.mark.parametrize("told", NODATA_ONE)
def test_nodata_in_any_type(con, ones, place, tmp_path, told):
    """The file's ones are nodata, whatever the type of the column that says so."""
    plain = written(tmp_path / "plain.parquet", table(place, assets=[data(ones)]))
    nodata, bands = NODATA_ONE[told]
    member = f"nodata: {nodata}" if nodata else f'"raster:bands": {bands}'
    rows = f"SELECT * REPLACE ({{data: {{href: assets.data.href, {member}}}}} AS assets) FROM '{plain}'"
    con.execute(f"COPY ({rows}) TO '{tmp_path}/items.parquet'")
    assert pixels(con, tmp_path / "items.parquet") == [None]
    con.execute(f"SET VARIABLE items = (SELECT list(i) FROM ({rows}) i)")
    text = call("lazycogs_read", "ITEMS", HERE, "P1Y").replace("'ITEMS'", "getvariable('items')")
    assert con.execute(f"SELECT DISTINCT data FROM {text}").fetchall() == [(None,)]


def test_infinite_nodata_in_a_member_of_json(con, place, tmp_path):
    values = np.full((4, 4), np.inf, "float32")
    path = raster(tmp_path / "inf.tif", values)
    plain = written(tmp_path / "plain.parquet", table(place, assets=[data(path)]))
    for n, nodata in enumerate(["to_json('inf')", "'inf'::DOUBLE", "'Infinity'"]):
        rows = f"SELECT * REPLACE ({{data: {{href: assets.data.href, nodata: {nodata}}}}} AS assets) FROM '{plain}'"
        con.execute(f"COPY ({rows}) TO '{tmp_path}/items{n}.parquet'")
        assert pixels(con, tmp_path / f"items{n}.parquet") == [None]


@pytest.mark.parametrize("kind", ["ENUM", "VARCHAR", "JSON"])
def test_hrefs_of_other_types(con, ones, place, tmp_path, kind):
    plain = written(tmp_path / "plain.parquet", table(place, assets=[data(ones)]))
    href = {"ENUM": f"CAST(assets.data.href AS ENUM('{ones}'))", "VARCHAR": "assets.data.href"}
    asset = {"JSON": "to_json(assets.data)"}.get(kind) or f"{{href: {href[kind]}}}"
    con.execute(f"COPY (SELECT * REPLACE ({{data: {asset}}} AS assets) FROM '{plain}') TO '{tmp_path}/items.parquet'")
    assert pixels(con, tmp_path / "items.parquet") == [1]
    rows = f"SELECT * REPLACE ({{data: {asset}}} AS assets) FROM '{plain}'"
    con.execute(f"SET VARIABLE items = (SELECT list(i) FROM ({rows}) i)")
    text = call("lazycogs_read", "ITEMS", HERE, "P1Y").replace("'ITEMS'", "getvariable('items')")
    assert con.execute(f"SELECT DISTINCT data FROM {text}").fetchall() == [(1,)]


# -- what an item says for all of its assets -------------------------------------------------------------------------


def spread(rows, form, values):
    """Properties of an item, in columns of their own, a STRUCT, JSON text, or MAP-like text in a column."""
    names = list(values)
    if form == "flat":
        for name in names:
            rows = rows.append_column(name, pa.array([values[name]]))
        return rows
    rows = rows.drop_columns(["datetime"])
    values = {"datetime": "2024-05-03T12:00:00Z"} | values
    if form == "struct":
        return rows.append_column("properties", pa.array([values]))
    return rows.append_column("properties", pa.array([json.dumps(values)]))


@pytest.mark.parametrize("form", ["flat", "struct", "json"])
@pytest.mark.parametrize("assets", ["struct", "json", "map"])
def test_facts_of_the_item_hold_for_its_assets(con, place, tmp_path, form, assets):
    values = np.array([[0, 1], [2, 3]] * 2).repeat(2, axis=1).astype("int16")
    path = raster(tmp_path / "few.tif", values)
    of_item = {"nodata": 1.0, "raster:scale": 0.5, "raster:offset": 10.0}

    def source(name, **facts):
        column = {
            "struct": pa.array([data(path, **facts)]),
            "json": pa.array([json.dumps(data(path, **facts))]),
            "map": pa.array([[("data", json.dumps(data(path, **facts)["data"]))]], pa.map_(pa.string(), pa.string())),
        }
        return written(tmp_path / f"{name}.parquet", spread(table(place, assets=column[assets]), form, of_item))

    plain = source("plain")
    assert pixels(con, plain) == [0, 2, 3, None]
    assert pixels(con, plain, scale=True) == [10.0, 11.0, 11.5, None]
    own = source("own", nodata=2, **{"raster:scale": 2.0})
    assert pixels(con, own) == [0, 1, 3, None], "what the asset says comes first"
    assert pixels(con, own, scale=True) == [10.0, 12.0, 16.0, None], "each fact by itself"
    band = source("band", **{"raster:bands": [{"nodata": 3, "offset": 1.0}]})
    assert pixels(con, band) == [0, 1, 2, None]
    assert pixels(con, band, scale=True) == [1.0, 1.5, 2.0, None]


def test_a_fact_of_the_asset_holds_for_each_of_its_bands(con, place, tmp_path):
    path = raster(tmp_path / "two.tif", np.array([np.full((4, 4), 1), np.full((4, 4), 2)], "uint8"))
    source = written(tmp_path / "items.parquet", table(place, assets=[data(path, nodata=2)]))
    assert pixels(con, source, bands=["data:1", "data:2"]) == [[1], [None]]


# -- NaN, NULL and missing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["double", "float", "json", "nested json"])
def test_nan_is_missing(con, ones, place, tmp_path, form):
    values = [5.0, float("nan"), None, 1.0, float("inf"), 3.0]
    ids = ["five", "nan", "null", "one", "inf", "three"]
    rows = table(place, id=ids, assets=[data(ones)] * 6)
    if form in ("double", "float"):
        rows = rows.append_column("p", pa.array(values, {"double": pa.float64(), "float": pa.float32()}[form]))
        rows = rows.append_column("nothing", pa.array([None] * 6, pa.null()))
    else:
        texts = [
            json.dumps({"datetime": f"2024-05-03T12:0{n}:00Z", "p": v, "nothing": None}) for n, v in enumerate(values)
        ]
        rows = rows.drop_columns(["datetime"]).append_column("properties", pa.array(texts))
    source = written(tmp_path / "items.parquet", rows)
    assert plan(con, source, sortby=["p"]) == "one three five inf nan null"
    assert plan(con, source, sortby=["-p"]) == "inf five three one nan null"
    assert plan(con, source, filter="p > 2", sortby=["p"]) == "three five inf"
    assert plan(con, source, filter="p < 4", sortby=["p"]) == "one three"
    assert plan(con, source, filter="NOT (p >= 3)", sortby=["p"]) == "one"
    assert plan(con, source, filter="p <> 3", sortby=["p"]) == "one five inf"
    assert plan(con, source, filter="p BETWEEN 2 AND 1e300", sortby=["p"]) == "three five"
    assert plan(con, source, filter="p IN (1, 5)", sortby=["p"]) == "one five"
    assert plan(con, source, filter="p + 1 > 2", sortby=["p"]) == "three five inf"
    assert plan(con, source, filter="p IS NULL", sortby=["p"]) == "nan null"
    assert plan(con, source, sortby=["nothing", "p"]) == "one three five inf nan null"
    for condition in ("nothing = 'x'", "nothing > 3", "nothing = true", "nothing LIKE 'a%'"):
        assert plan(con, source, filter=f"p = 1 OR {condition}") == "one", condition
    assert plan(con, source, filter="nothing IS NULL AND p = 1") == "one"


def test_filters_on_numbers_still_skip_row_groups(con, ones, place, tmp_path):
    """The condition on a column of doubles is one that DuckDB holds against statistics; here only the rows count."""
    rows = table(place, assets=[data(ones)] * 100, p=[float(n) for n in range(100)])
    pq.write_table(rows, tmp_path / "items.parquet", row_group_size=10)
    assert len(plan(con, tmp_path / "items.parquet", filter="p >= 95").split()) == 5


# -- many ------------------------------------------------------------------------------------------------------------


def test_many_ids(con, ones, place, tmp_path):
    ids = [f"it's\n{n}" for n in range(2000)]
    source = written(tmp_path / "items.parquet", table(place, id=ids, assets=[data(ones)] * 2000))
    wanted = [*ids[500:1700:3], *[f"absent {n}" for n in range(20000)]]
    con.execute("CREATE TABLE wanted AS SELECT unnest(?) AS id", [wanted])
    con.execute("SET VARIABLE wanted = (SELECT list(id) FROM wanted)")
    for sortby in ([], ["-datetime"]):
        text = call("lazycogs_explain", source, HERE, "P1Y", bands=["data"], ids="IDS", sortby=sortby)
        text = text.replace("'IDS'", "getvariable('wanted')")
        if not sortby:
            text = text.replace(", sortby := []", "")
        found = [row[0] for row in con.execute(f"SELECT item_id FROM {text} ORDER BY read_order").fetchall()]
        assert sorted(found) == sorted(ids[500:1700:3])
        assert sortby or found == ids[500:1700:3], "in the order of the file"
    with pytest.raises(duckdb.Error, match="no item matches.*'?none 0.* and 15 more"):
        pixels(con, source, ids=[f"none {n}" for n in range(20)])


def test_many_asset_keys(con, ones, place, tmp_path):
    """The time does not grow with the square of the keys; only those that are asked for count."""
    keys = [f"k{n}" for n in range(800)]
    fact = {"type": stac.COG_TYPE, "roles": ["data"], "nodata": 0.0, "raster:bands": [{"nodata": 1.0, "scale": 2.0}]}
    one = {key: {"href": str(ones)} | fact for key in keys}
    source = written(tmp_path / "items.parquet", table(place, assets=[one] * 3))
    assert pixels(con, source, bands=["k7"]) == [None]
    info = call("lazycogs_info", source, HERE, "P1Y", bands=["k799", "k1"])
    assert con.execute(f"SELECT band, nodata FROM {info}").fetchall() == [("k799", 1.0), ("k1", 1.0)]
    text = call("lazycogs_info", source, HERE, "P1Y")
    assert con.execute(f"SELECT count(*) FROM {text}").fetchone() == (800,)
    many = call("lazycogs_explain", source, HERE, "P1Y", bands=keys[:100])
    assert con.execute(f"SELECT count(item_id) FROM {many}").fetchone() == (300,)


# -- names of the file and ours --------------------------------------------------------------------------------------

OURS = [
    "c1",
    "c0",
    "filename",
    "FileName",
    "base",
    "file_row_number",
    "file_index",
    "rowid",
    "item",
    "t",
    "json",
    "band",
]
OURS += ["v", "k", "lazycogs 1", "Lazycogs file", "read_parquet", "items", "objects", "xmin", "href", "row", "red", "i"]


@pytest.mark.parametrize("kind", ["number", "text", "struct"])
@pytest.mark.parametrize("name", OURS)
def test_a_column_named_like_one_of_ours(con, ones, place, tmp_path, name, kind):
    """The same plan as without the column, relative hrefs included; and the column is a property like any other."""
    value = {"number": [3, 2, 1], "text": ["/x/c", "/x/b", "/x/a"], "struct": [{"nodata": 1, "href": "no"}] * 3}[kind]
    assets = [{"data": {"href": ones.name, "raster:bands": [{"nodata": 5.0}]}}] * 3
    times = pa.array([NOON.replace(hour=h) for h in (3, 1, 2)], pa.timestamp("us", tz="UTC"))
    rows = table(place, assets=assets, datetime=times).append_column(name, pa.array(value))
    source = written(tmp_path / "items.parquet", rows)
    assert plan(con, source) == "i0 i1 i2"
    assert plan(con, source, period=None) == "i1 i2 i0"
    assert pixels(con, source) == [1]
    assert pixels(con, [source, source], mosaic="count") == [6]
    if kind != "struct":
        assert plan(con, source, sortby=[name]) == "i2 i1 i0"
        smallest = "1" if kind == "number" else "'/x/a'"
        assert plan(con, source, filter=f'"{name}" = {smallest}') == "i2"
    absolute = pa.array([{"data": {"href": str(ones)}}] * 3)
    by_value = rows.set_column(rows.column_names.index("assets"), "assets", absolute)
    con.register("mine", by_value)
    con.execute("SET VARIABLE items = (SELECT list(m) FROM mine m)")
    text = call("lazycogs_explain", "ITEMS", HERE, None, bands=["data"]).replace("'ITEMS'", "getvariable('items')")
    found = con.execute(f"SELECT item_id FROM {text} ORDER BY time, read_order").fetchall()
    assert [item for (item,) in found] == ["i1", "i2", "i0"]
    text = call("lazycogs_explain", "ITEMS", HERE, "P1Y", bands=["data"]).replace("'ITEMS'", "getvariable('items')")
    found = con.execute(f"SELECT item_id FROM {text} ORDER BY time, read_order").fetchall()
    assert [item for (item,) in found] == ["i0", "i1", "i2"]


def test_hive_keys_beside_columns(con, ones, place, tmp_path):
    """`datetime=2024-05-01` in a folder's name hides no column; other keys stay."""
    for day in (1, 2):
        times = pa.array([datetime(2024, 5, day, h, tzinfo=UTC) for h in (1, 13)], pa.timestamp("us", tz="UTC"))
        rows = table(place, id=[f"{day}a", f"{day}b"], assets=[data(ones)] * 2, datetime=times)
        written(tmp_path / f"all/datetime=2024-05-0{day}/part={day}/items.parquet", rows)
    for source in (tmp_path / "all", f"{tmp_path}/all/*/*/*.parquet"):
        assert plan(con, source, None) == "1a 1b 2a 2b"
        assert plan(con, source, None, datetime="2024-05-02T13:00:00Z") == "2b"
        assert plan(con, source, None, filter="part = 2", sortby=["-part"]) == "2a 2b"
        assert plan(con, source, sortby=["-part"]) == "2a 2b 1a 1b"
        assert plan(con, source, filter="part = 1", hive_partitioning=True) == "1a 1b"


def test_endings_of_names_in_a_folder(con, ones, place, tmp_path):
    for n, name in enumerate(["a.parquet", "b.PARQUET", "month=5/c.parq", "month=5/d.Parquet"]):
        written(tmp_path / "all" / name, table(place, id=[f"i{n}"], assets=[data(ones)]))
    (tmp_path / "all" / "notes.txt").write_text("no items")
    assert plan(con, tmp_path / "all") == "i0 i1 i2 i3"
    written(tmp_path / "one" / "x.parq", table(place, assets=[data(ones)]))
    assert plan(con, tmp_path / "one") == "i0"


# -- columns that nobody asks for, and parts that differ -------------------------------------------------------------


@pytest.mark.parametrize("by_value", [False, True], ids=["file", "by value"])
def test_a_variant_that_nobody_asks_for(con, ones, place, tmp_path, by_value):
    plain = written(tmp_path / "plain.parquet", table(place, assets=[data(ones)] * 3))
    rows = f"SELECT *, {{x: 1}}::VARIANT AS odd, 5::VARIANT AS filename FROM '{plain}'"
    try:
        con.execute(f"COPY ({rows}) TO '{tmp_path}/items.parquet'")
    except duckdb.Error as error:
        pytest.skip(f"this DuckDB has no VARIANT: {error}")
    text = call("lazycogs_explain", tmp_path / "items.parquet", HERE, "P1Y", bands=["data"], sortby=["-datetime"])
    if by_value:
        con.execute(f"SET VARIABLE items = (SELECT list(i) FROM ({rows}) i)")
        text = text.replace(f"'{tmp_path}/items.parquet'", "getvariable('items')")
    found = con.execute(f"SELECT item_id FROM {text} ORDER BY read_order").fetchall()
    assert [item for (item,) in found] == ["i0", "i1", "i2"]


ASSETS_AS = {
    "struct": "assets",
    "other struct": "{other: assets.data, data: {href: assets.data.href, nodata: 9}}",
    "text": "to_json(assets)::VARCHAR",
    "json": "to_json(assets)",
    "map": "MAP {'data': {href: assets.data.href}}",
    "map of text": "MAP {'data': to_json(assets.data)::VARCHAR}",
}
BBOX_AS = {
    "struct": "bbox",
    "list": "[bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax]",
    "six": "[bbox.xmin, bbox.ymin, 0, bbox.xmax, bbox.ymax, 9]",
    "text": "to_json([bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax])::VARCHAR",
}


@pytest.mark.parametrize("one", ASSETS_AS)
@pytest.mark.parametrize("other", ASSETS_AS)
def test_parts_with_other_assets(con, ones, place, tmp_path, one, other):
    for n, form in enumerate((one, other)):
        plain = written(tmp_path / "plain.parquet", table(place, id=[f"b{n}", f"a{n}"], assets=[data(ones.name)] * 2))
        con.execute(
            f"COPY (SELECT * REPLACE ({ASSETS_AS[form]} AS assets) FROM '{plain}') TO '{tmp_path}/part{n}.parquet'"
        )
    assert plan(con, f"{tmp_path}/part*.parquet") == "b0 a0 b1 a1"
    assert plan(con, [f"{tmp_path}/part1.parquet", f"{tmp_path}/part0.parquet"]) == "b1 a1 b0 a0"
    assert pixels(con, f"{tmp_path}/part*.parquet", mosaic="count") == [4]


PROPERTIES_AS = {
    "struct": "{cloud: c, platform: 's'}",
    "text": """'{"cloud": ' || c || ', "snow": 1}'""",
    "json": "to_json({cloud: c})",
    "words": "'none'",
}


@pytest.mark.parametrize("one", PROPERTIES_AS)
@pytest.mark.parametrize("other", PROPERTIES_AS)
def test_parts_with_other_properties(con, ones, place, tmp_path, one, other):
    """Members are found in each of them, or nowhere."""
    for n, form in enumerate((one, other)):
        rows = table(place, id=[f"b{n}", f"a{n}"], assets=[data(ones)] * 2, c=[2 - n, 4 - n])
        plain = written(tmp_path / "plain.parquet", rows)
        columns = f"* EXCLUDE (c), {PROPERTIES_AS[form]} AS properties"
        con.execute(f"COPY (SELECT {columns} FROM '{plain}') TO '{tmp_path}/part{n}.parquet'")
    if one == other == "words":
        return
    known = [
        name for name, value in [("b1", 1), ("b0", 2), ("a1", 3), ("a0", 4)] if (one, other)[int(name[1])] != "words"
    ]
    unknown = [name for name in ("b0", "a0", "b1", "a1") if name not in known]
    parts = f"{tmp_path}/part*.parquet"
    assert plan(con, parts, sortby=["cloud"]) == " ".join(known + unknown)
    assert plan(con, parts, sortby=["-properties.cloud"]) == " ".join(known[::-1] + unknown)
    assert plan(con, parts, filter="cloud > 2") == " ".join(name for name in ("a0", "a1") if name in known)


def test_a_folder_that_changes_is_looked_at_again(con, ones, place, tmp_path):
    """What is known of its files is kept as long as they are those, by their names, too."""
    folder = tmp_path / "all"
    for month in (1, 2):
        written(folder / f"month={month}" / "items.parquet", table(place, id=[f"i{month}"], assets=[data(ones)]))
    time.sleep(0.1)
    assert plan(con, folder, filter="month = 2") == plan(con, folder, filter="month = 2") == "i2"
    assert plan(con, folder) == plan(con, folder) == "i1 i2"
    written(folder / "month=3" / "items.parquet", table(place, id=["i3"], assets=[json.dumps(data(ones))]))
    assert plan(con, folder) == "i1 i2 i3"
    (folder / "month=1").rename(folder / "month=5")
    time.sleep(0.1)
    assert plan(con, folder, filter="month = 5") == "i1"
    (folder / "month=2" / "items.parquet").unlink()
    assert plan(con, folder) == "i3 i1"


# -- JSON files ------------------------------------------------------------------------------------------------------


FILES = {
    "collection": lambda items: '{"type": "FeatureCollection", "features": [' + ", ".join(items) + "]}",
    "type last": lambda items: (
        '{"n": {"features": [1]}, "features": [' + ",".join(items) + '], "type": "FeatureCollection"}'
    ),
    "array": lambda items: f"[{','.join(items)}]\n",
    "lines": "\n".join,
    "indented": lambda items: "\n".join(json.dumps(json.loads(item), indent=1) for item in items),
    "collections": lambda items: "\n".join(FILES["collection"]([item]) for item in items),
    # This DuckDB reads.
    "escaped": lambda items: '{"\\u0074ype": "FeatureCollection", "features": [' + ", ".join(items) + "]}",
}


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("end", [".json", ".json.gz"])
def test_forms_of_json_files(con, ones, place, tmp_path, form, end):
    texts = [
        feature(f"i'{n}\\n\u00e9", place, json.dumps({"href": ones.name, "x": "]}" * (n % 60)})) for n in range(5000)
    ]
    path = tmp_path / f"items{end}"
    content = FILES[form](texts).encode()
    path.write_bytes(gzip.compress(content, 1) if end.endswith("gz") else content)
    ids = " ".join(json.loads(text)["id"] for text in texts)
    assert plan(con, path) == ids
    assert plan(con, path, ids=["i'7\\n\u00e9"]) == "i'7\\n\u00e9"
    assert pixels(con, path, ids=["i'4999\\n\u00e9"]) == [1]


def test_a_json_file_is_kept_until_it_changes(con, ones, place, tmp_path):
    path = tmp_path / "items.json"
    for name in ("a", "b"):
        path.write_text(FILES["collection"]([feature(name, place, json.dumps({"href": ones.name}))]))
        for _ in range(2):
            time.sleep(0.1)
            for text in (path, f"{tmp_path}/*.json"):
                assert plan(con, text) == plan(con, text, filter="id <> 'x'") == name
    path.write_text('{"type": "FeatureCollection", "features": [{"type": "Feature"')
    with pytest.raises(duckdb.Error, match="Malformed JSON"):
        plan(con, path)


@pytest.mark.parametrize(
    "one, other", [("struct", "list"), ("list", "struct"), ("text", "struct"), ("six", "list"), ("text", "six")]
)
def test_parts_with_other_boxes(con, ones, place, tmp_path, one, other):
    for n, form in enumerate((one, other)):
        plain = written(tmp_path / "plain.parquet", table(place, id=[f"b{n}", f"a{n}"], assets=[data(ones)] * 2))
        con.execute(f"COPY (SELECT * REPLACE ({BBOX_AS[form]} AS bbox) FROM '{plain}') TO '{tmp_path}/part{n}.parquet'")
    assert plan(con, f"{tmp_path}/part*.parquet") == "b0 a0 b1 a1"
    assert plan(con, f"{tmp_path}/part*.parquet", where=grid(4, 4, left=700000)) == ""


def nested(ring, depth):
    """GeoArrow's lists of points; a depth of three is several polygons."""
    points = [{"x": x, "y": y} for x, y in ring]
    return pa.array([[points]] * 2 if depth == 2 else [[[points]]] * 2)


GEOMETRY_AS = {
    "wkb": lambda ring: pa.array([stac.wkb(ring)] * 2),
    "text": lambda ring: pa.array([" " + json.dumps(stac.geojson(ring))] * 2),
    "polygon": lambda ring: nested(ring, 2),
    "multipolygon": lambda ring: nested(ring, 3),
    "interleaved": lambda ring: pa.array([[[list(point) for point in ring]]] * 2),
    "struct": lambda ring: pa.array([stac.geojson(ring)] * 2),
    "null": lambda ring: pa.array([None] * 2, pa.null()),
}


PAIRS = list(zip(GEOMETRY_AS, [*GEOMETRY_AS][1:] + [*GEOMETRY_AS][:1])) + [("wkb", "polygon"), ("struct", "polygon")]


@pytest.mark.parametrize("one, other", PAIRS + [pair[::-1] for pair in PAIRS])
def test_parts_with_other_geometries(con, ones, place, tmp_path, one, other):
    """Nothing but the geometry tells where the items are, unless it is NULL."""
    for n, form in enumerate((one, other)):
        rows = table(place, id=[f"b{n}", f"a{n}"], assets=[data(ones)] * 2, geometry=GEOMETRY_AS[form](place))
        if form != "null":
            rows = rows.set_column(rows.column_names.index("bbox"), "bbox", pa.nulls(2, rows["bbox"].type))
        written(tmp_path / f"part{n}.parquet", rows)
    assert plan(con, f"{tmp_path}/part*.parquet") == "b0 a0 b1 a1"
    assert plan(con, f"{tmp_path}/part*.parquet", where=grid(4, 4, left=700000)) == ""


@pytest.mark.parametrize("one", ["struct", "text"])
@pytest.mark.parametrize("kind", ["ns tz", "date", "text"])
def test_parts_whose_properties_are_text_or_structured(con, ones, place, tmp_path, one, kind):
    """A STRUCT in one part, JSON text in the other."""
    for n, form in enumerate((one, "text" if one == "struct" else "struct")):
        times = [NOON.replace(day=3 + n), NOON.replace(day=5 + n)]
        rows = table(place, id=[f"b{n}", f"a{n}"], assets=[data(ones)] * 2).drop_columns(["datetime"])
        if form == "struct":
            members = {"datetime": as_type(times, kind), "p": pa.array([n + 1.5, n])}
            properties = pa.StructArray.from_arrays(list(members.values()), list(members))
        else:
            texts = [{"datetime": t.isoformat().replace("+00:00", "Z"), "p": p} for t, p in zip(times, (n + 1.5, n))]
            properties = pa.array(list(map(json.dumps, texts)))
        written(tmp_path / f"part{n}.parquet", rows.append_column("properties", properties))
    source = f"{tmp_path}/part*.parquet"
    assert plan(con, source, "P1D") == "b0 b1 a0 a1"
    assert plan(con, source, sortby=["p"]) == "a0 a1 b0 b1"
    assert plan(con, source, filter="p > 1", datetime="2024-05-04") == "b1"


# -- bands by name, and other hrefs ----------------------------------------------------------------------------------


@pytest.fixture
def analytic(tmp_path):
    """A file of three bands, 1, 2 and 3, which it describes itself."""
    path = raster(tmp_path / "analytic.tif", np.array([np.full((4, 4), n) for n in (1, 2, 3)], "uint8"))
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("eins", "zwei & mehr", "drei")
    return path


@pytest.mark.parametrize("form", ["struct", "json", "map"])
@pytest.mark.parametrize("member", ["eo:bands", "bands"])
def test_bands_by_name(con, ones, analytic, place, tmp_path, form, member):
    common = "common_name" if member == "eo:bands" else "eo:common_name"
    bands = [{"name": "B2", common: "blue"}, {"name": "B3", common: "green"}, {"name": "B4", common: "red"}]
    assets = {
        "analytic": {"href": str(analytic), member: bands},
        "green": {"href": str(ones)},
        "nir": {"href": str(ones), member: [{"name": "B8", common: "nir08"}]},
        "visual": {"href": str(analytic), member: bands[:1]},
    }
    column = {
        "struct": [assets],
        "json": [json.dumps(assets)],
        "map": pa.array([[(k, json.dumps(v)) for k, v in assets.items()]], pa.map_(pa.string(), pa.string())),
    }[form]
    source = written(tmp_path / "items.parquet", table(place, assets=column))
    names = ["analytic:red", "analytic:B3", "analytic:1", "analytic:zwei & mehr", "red", "green", "nir08"]
    assert pixels(con, source, bands=names) == [[3], [2], [1], [2], [3], [1], [1]]
    with pytest.raises(duckdb.Error, match="'blue' is the common name.*'analytic:1', 'visual'"):
        pixels(con, source, bands=["blue"])
    with pytest.raises(duckdb.Error, match="'analytic' has no band 'swir'; there are 'analytic:B2'.*'analytic:drei'"):
        pixels(con, source, bands=["analytic:swir"])
    with pytest.raises(duckdb.Error, match="no item has band 'swir'"):
        pixels(con, source, bands=["swir"])


def test_a_named_band_of_an_asset_that_the_first_item_lacks(con, ones, analytic, place, tmp_path):
    named = {"href": str(analytic), "eo:bands": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    assets = [json.dumps(data(ones)), json.dumps({"analytic": named})]
    source = written(tmp_path / "items.parquet", table(place, assets=assets))
    assert pixels(con, source, bands=["analytic:b"]) == [2]


@pytest.mark.parametrize("form", ["struct", "json", "map of text", "nested text"])
def test_another_href(con, ones, place, tmp_path, form):
    twos = raster(tmp_path / "twos.tif", np.full((4, 4), 2, "uint8"))
    other = {"alternate": {"s3": {"href": str(twos), "title": "x"}}}
    rows = [data(ones, **other), data(ones, alternate=None)]
    column = {
        "struct": rows,
        "json": [json.dumps(row) for row in rows],
        "map of text": pa.array(
            [[("data", json.dumps(row["data"]))] for row in rows], pa.map_(pa.string(), pa.string())
        ),
        "nested text": [data(ones, alternate=json.dumps(other["alternate"])), data(ones, alternate=None)],
    }[form]
    source = written(tmp_path / "items.parquet", table(place, assets=column))
    assert pixels(con, source, mosaic="lowest") == [1]
    first = {"asset_href": "alternate.s3", "ids": ["i0"]}
    assert pixels(con, source, **first) == [2]
    hrefs = call("lazycogs_explain", source, HERE, "P1Y", bands=["data"], **first)
    assert con.execute(f"SELECT href FROM {hrefs}").fetchall() == [(str(twos),)]
    with pytest.raises(duckdb.Error, match="item 'i1' asset 'data': has no 'alternate.s3'"):
        pixels(con, source, asset_href="alternate.s3", mosaic="highest")
    assert pixels(con, source, asset_href="alternate.s3", mosaic="count", errors="ignore") == [1]
    assert [(item, message.split(": ")[-1]) for item, _, message in failures(con)] == [("i1", "has no 'alternate.s3'")]


# -- filters ---------------------------------------------------------------------------------------------------------


TRIANGLE = [[14.9, 46.9], [15.3, 46.9], [15.3, 47.9], [14.9, 46.9]]
# A shape, and which of the items meet it by their triangles, and which by the boxes around them.
SHAPES = {
    "corner": ({"type": "Polygon", "coordinates": [TRIANGLE]}, "i1 i2", "i0 i1 i2"),
    "beyond the long sides": ({"type": "Point", "coordinates": [15.4, 47.9]}, "", "i1 i2"),
    "inside of two": ({"type": "Point", "coordinates": [15.1, 46.1]}, "i1 i2", "i1 i2"),
    "a line across all": (
        {"type": "LineString", "coordinates": [[13, 46.5], [17, 46.5]]},
        "i0 i1 i2 i3",
        "i0 i1 i2 i3",
    ),
}


def well_known(shape):
    def points(line):
        return "(" + ", ".join(f"{x} {y}" for x, y in line) + ")"

    coordinates = shape["coordinates"]
    text = {"Point": lambda: points([coordinates]), "LineString": lambda: points(coordinates)}
    polygon = lambda: "(" + ", ".join(map(points, coordinates)) + ")"  # noqa: E731
    return shape["type"].upper() + text.get(shape["type"], polygon)()


@pytest.mark.parametrize("form", ["wkb", "none"])
@pytest.mark.parametrize("case", SHAPES)
def test_items_that_meet_a_shape(con, ones, place, tmp_path, form, case):
    """Right triangles over (x, 46), (x + 1, 46), (x, 48)."""
    rings = [[(x, 46.0), (x + 1, 46.0), (x, 48.0), (x, 46.0)] for x in (14.0, 14.5, 15.0, 15.5)]
    rows = table(place, assets=[data(ones)] * 4, bbox=[box_of(ring) for ring in rings], p=[1, 2, 3, 4])
    if form == "wkb":
        rows = rows.append_column("geometry", pa.array([stac.wkb(ring) for ring in rings]))
    source = written(tmp_path / "items.parquet", rows)
    world = Grid((10, 40, 20, 50), "EPSG:4326", 1)
    shape, by_triangle, by_box = SHAPES[case]
    wanted = by_triangle if form == "wkb" else by_box
    spatial = {"op": "s_intersects", "args": [{"property": "geometry"}, shape]}
    both = {"and": [spatial, {"op": "gte", "args": [{"property": "p"}, 2]}]}
    text = f"S_INTERSECTS(geometry, {well_known(shape)})"
    some = " ".join(name for name in wanted.split() if name != "i0")
    cases = [(text, wanted), (json.dumps(spatial), wanted), (json.dumps(both), some), (f"p >= 2 AND {text}", some)]
    for condition, ids in cases:
        for named in ({}, {"sortby": ["p"]}):
            assert plan(con, source, where=world, filter=condition, **named) == ids
    with pytest.raises(duckdb.Error, match="only s_intersects is supported, by itself or joined"):
        plan(con, source, where=world, filter=f"p = 1 OR {text}")


@pytest.mark.parametrize("op, wanted", [("lt", "i0"), ("lte", "i0 i1"), ("gt", "i2"), ("gte", "i1 i2"), ("eq", "i1")])
def test_older_names_of_operators(con, ones, place, tmp_path, op, wanted):
    source = written(tmp_path / "items.parquet", table(place, assets=[data(ones)] * 3, p=[1, 2, 3]))
    assert plan(con, source, filter=json.dumps({"op": op, "args": [{"property": "p"}, 2]})) == wanted
    assert plan(con, source, filter=json.dumps({op: [{"property": "p"}, 2]})) == wanted
