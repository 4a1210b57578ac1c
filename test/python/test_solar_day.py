"""Days by the sun: the day of an item's time plus an hour for each 15 degrees of longitude of its own centre."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from helpers import call
from model import Grid
from small import index, item, raster

WORLD = Grid((-180.0, -10.0, 180.0, 10.0), "EPSG:4326", 20.0)
WHEN = [datetime(2024, 5, 3, hour, 30, tzinfo=UTC) for hour in (0, 6, 11, 12, 18, 23)]
WHERE = [-179.0, -120.5, -90, -1, 0, 7.4, 89.9, 151, 178.0]


def archive(tmp_path, layout):
    """An item per time and longitude, small and wide ones, in no order of time."""
    path = raster(tmp_path / "a.tif", np.ones((4, 4), "uint8"), -180, 10, 5, crs="EPSG:4326")
    items = []
    for n, (time, lon) in enumerate((time, lon) for time in WHEN for lon in WHERE):
        west, east = (lon - 0.5, lon + 0.5) if n % 2 else (max(lon - 30, -180), min(lon + 30, 180))
        box = [(west, -5), (east, -5), (east, 5), (west, 5), (west, -5)]
        days = timedelta(days=n * 7 % 5)
        items.append(item(f"i{n * 37 % 100:02}", {"data": path}, time=None, footprint=box))
        items[-1].time = time + days
    return index(tmp_path, items, **layout), items


def day(one):
    lons = [lon for lon, _ in one.footprint]
    centre = (min(lons) + max(lons)) / 2
    local = one.time + timedelta(hours=centre / 15)
    return datetime(local.year, local.month, local.day)


@pytest.mark.parametrize("sortby", [None, ["-id"]])
@pytest.mark.parametrize("layout", [{}, {"bbox": None}])
def test_days_and_their_order(con, tmp_path, layout, sortby):
    source, items = archive(tmp_path, layout)
    named = {"sortby": sortby} if sortby else {}
    sql = call("lazycogs_explain", source, WORLD, "solar_day", chunk_size=16, **named)
    found = con.execute(
        f"SELECT time, item_id FROM {sql} WHERE chunk_col = 0 AND chunk_row = 0 ORDER BY time, read_order"
    ).fetchall()
    sql = call("lazycogs_explain", source, WORLD, "solar_day", **named)
    whole = con.execute(f"SELECT time, time_index, item_id FROM {sql}").fetchall()
    wanted = sorted(items, key=lambda one: one.id, reverse=True) if sortby else items
    wanted = sorted(((day(one), one.id) for one in wanted), key=lambda row: row[0])
    assert [(time, name) for time, _, name in whole] == wanted
    assert len({index for _, index, _ in whole}) == len({time for time, _ in wanted})
    assert found and {row for row in found} <= set(wanted)


def test_a_date_without_a_time_has_no_solar_day(con, tmp_path):
    path = raster(tmp_path / "a.tif", np.ones((4, 4), "uint8"), -180, 10, 5, crs="EPSG:4326")
    text = f"[{{id: 'a', datetime: '2024-05-03', bbox: [-180, -10, -160, 10], assets: {{data: {{href: '{path}'}}}}}}]"
    with pytest.raises(Exception, match="names no instant and no hour; use P1D"):
        con.execute(f"SET VARIABLE items = {text}")
        con.execute(f"FROM lazycogs_read(getvariable('items'), {WORLD.args}, 'solar_day')")


def test_an_item_over_the_antimeridian(con, tmp_path):
    path = raster(tmp_path / "a.tif", np.ones((4, 4), "uint8"), 170, 10, 5, crs="EPSG:4326")
    for box, wanted in [([170, -10, -176, 10], datetime(2024, 5, 4)), ([176, -10, -170, 10], datetime(2024, 5, 3))]:
        when, assets = "TIMESTAMP '2024-05-03 12:30:00'", f"{{data: {{href: '{path}'}}}}"
        text = f"[{{id: 'a', datetime: {when}, bbox: {box}, assets: {assets}}}]"
        con.execute(f"SET VARIABLE items = {text}")
        sql = f"lazycogs_explain(getvariable('items'), {WORLD.args}, 'solar_day')"
        assert con.execute(f"SELECT time FROM {sql}").fetchall() == [(wanted,)]
