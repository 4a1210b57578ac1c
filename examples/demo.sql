-- Run it with `make demo`, or from the root of the repository in DuckDB's shell: duckdb -unsigned < examples/demo.sql

LOAD 'build/release/extension/lazycogs/lazycogs.duckdb_extension';

-- The archive: what one would get from a catalogue, as stac-geoparquet. The hrefs are relative to it.
SELECT id, datetime, "eo:cloud_cover" AS cloud_cover, "proj:code" AS crs, assets.red.href AS red
FROM 'examples/demo/items.parquet' ORDER BY datetime;

-- The cube that a call would give: nothing has been read but the index and one header per band.
SELECT band, dtype, nodata, crs, resolution, width, height, steps, first_time, last_time, items, bytes
FROM lazycogs_info('examples/demo/items.parquet', [733000, 4930400, 738000, 4934300], 'EPSG:32615', 20, 'P1M');

-- The plan: which reads each month takes, at which overview, and what they would cost. No pixel is read.
SELECT time, band, count(item_id) AS cog_reads, count(DISTINCT item_id) AS items, max(overview_resolution) AS metres,
       sum(requests) AS requests, sum(bytes) AS bytes
FROM lazycogs_explain('examples/demo/items.parquet', [733000, 4930400, 738000, 4934300], 'EPSG:32615', 20, 'P1M',
                      sortby := ['eo:cloud_cover'], headers := true)
GROUP BY time, band ORDER BY time, band;

-- Monthly NDVI: two UTM zones on one 20 m grid, the clearest scene on top.
SELECT strftime(time, '%Y-%m') AS month, round(avg((nir - red) / (nir + red)), 3) AS ndvi, count(nir) AS pixels
FROM lazycogs_read('examples/demo/items.parquet', [733000, 4930400, 738000, 4934300], 'EPSG:32615', 20, 'P1M',
                   sortby := ['eo:cloud_cover'])
GROUP BY month ORDER BY month;
