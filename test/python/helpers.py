"""Calls of the table functions, and the comparison of what they give with the model."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


class Sql(str):
    """What is SQL already."""


def call(function, items, grid, period="P1D", **named):
    """The text of a call; values of `named` become SQL literals."""
    period = "NULL" if period is None else literal(period)
    extra = "".join(f", {name} := {literal(value)}" for name, value in named.items())
    return f"{function}({literal(items)}, {grid.args}, {period}{extra})"


def literal(value):
    if isinstance(value, Sql):
        return value
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def moved(index, base, path, name=lambda href: href.removeprefix("./")):
    """A copy of an index at `path`, whose hrefs begin with `base`; `name` is what stays of each one."""
    table = pq.read_table(index)
    rows = table.to_pylist()
    for row in rows:
        for asset in row["assets"].values():
            asset["href"] = f"{base}/{name(asset['href'])}"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return path


def read(connection, items, grid, period="P1D", **named):
    """lazycogs_read as {time: {band: masked array of the grid's shape}}, after a check of the coordinates."""
    sql = f"FROM {call('lazycogs_read', items, grid, period, **named)} ORDER BY time, y DESC, x"
    columns = connection.execute(sql).fetchnumpy()
    names = list(columns)
    assert names[:3] == ["time", "y", "x"]
    times = columns["time"].reshape(-1, grid.height * grid.width)
    assert (times == times[:, :1]).all(), "a step does not have one row per pixel"
    x, y = grid.centres()
    cube = {}
    for index, time in enumerate(times[:, 0]):
        rows = slice(index * grid.height * grid.width, (index + 1) * grid.height * grid.width)
        assert np.allclose(columns["x"][rows].reshape(grid.shape), x, rtol=0, atol=grid.resolution * 1e-6)
        assert np.allclose(columns["y"][rows].reshape(grid.shape), y, rtol=0, atol=grid.resolution * 1e-6)
        step = time.astype("datetime64[us]").item()
        cube[step] = {name: np.ma.asarray(columns[name])[rows].reshape(grid.shape) for name in names[3:]}
    return cube


def assert_same(found, wanted, exact=True, most_doubt=0.15, least=1):
    """Compares a cube with the model's, where the model is sure. Reports counts and the first difference."""
    assert list(found) == list(wanted)
    compared = 0
    for step, bands in wanted.items():
        assert list(found[step]) == list(bands)
        for name, band in bands.items():
            got, sure = found[step][name], ~band.doubt
            assert band.doubt.mean() <= most_doubt, "too many pixels are left out for this to be a test"
            valid = ~np.ma.getmaskarray(got)
            wrong = sure & (valid != band.valid)
            assert not wrong.any(), describe("validity", step, name, wrong, valid, band.valid)
            both = sure & valid
            value, expected = got.data.astype(np.float64), band.values.astype(np.float64)
            same = value == expected if exact else np.isclose(value, expected, rtol=1e-6, atol=1e-6)
            assert not (both & ~same).any(), describe("value", step, name, both & ~same, value, expected)
            compared += int(both.sum())
    assert compared >= least, "no valid pixel was compared"
    return compared


def describe(what, step, band, wrong, found, wanted):
    row, col = np.argwhere(wrong)[0]
    return (
        f"{step} {band}: {what} differs in {wrong.sum()} of {wrong.size} pixels; first at row {row}, column {col}: "
        f"{found[row, col]} instead of {wanted[row, col]}"
    )
