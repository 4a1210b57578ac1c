use super::*;
use crate::items::fields::Properties;

fn resolve(name: &str) -> Result<Field> {
    let flat = [
        ("eo:cloud_cover", Kind::Number),
        ("naip:year", Kind::Text),
        ("datetime", Kind::Time),
        ("created", Kind::Text),
        ("flag", Kind::Boolean),
        ("instruments", Kind::List),
        ("proj:centroid", Kind::Other),
        ("json", Kind::Json),
        ("sun", Kind::Float),
        ("nothing", Kind::Null),
    ];
    let flat = flat.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
    Properties { flat, ..Properties::default() }
        .resolve(name)
        .ok_or_else(|| Error::Argument(format!("filter: no item has a field '{name}'")))
}

#[track_caller]
fn check(filter: &str, sql: &str) {
    assert_eq!(to_sql(filter, &resolve), Ok(sql.to_owned()), "{filter}");
}

#[track_caller]
fn refused(filter: &str, part: &str) {
    let message = to_sql(filter, &resolve).expect_err(filter).to_string();
    assert!(message.starts_with("filter: ") && message.contains(part), "{filter}: {message}");
}

#[test]
fn comparisons() {
    check("eo:cloud_cover < 20", r#"("eo:cloud_cover" < 20)"#);
    check("properties.eo:cloud_cover <= 0.5", r#"("eo:cloud_cover" <= 5e-1)"#);
    check("naip:year = '20''22'", r#"("naip:year" = '20''22')"#);
    check("naip:year = 2022", r#"(nullif(TRY_CAST("naip:year" AS DOUBLE), CAST('nan' AS DOUBLE)) = 2022)"#);
    check("eo:cloud_cover > '7'", r#"("eo:cloud_cover" > 7)"#);
    check("flag = true", r#"("flag" = true)"#);
    check(
        "json <> 3",
        r#"(nullif(TRY_CAST(TRY(json_extract_string("json", '$')) AS DOUBLE), CAST('nan' AS DOUBLE)) <> 3)"#,
    );
    check("eo:cloud_cover between 1 and -2", r#"("eo:cloud_cover" BETWEEN 1 AND -2)"#);
}

#[test]
fn logic_lists_and_patterns() {
    check(
        "flag and not json = 'a' or flag",
        r#"(("flag" AND (NOT (TRY(json_extract_string("json", '$')) = 'a'))) OR "flag")"#,
    );
    check("naip:year in ('a', 'b')", r#"("naip:year" IN ('a', 'b'))"#);
    check("naip:year not in (1)", r#"(NOT (nullif(TRY_CAST("naip:year" AS DOUBLE), CAST('nan' AS DOUBLE)) IN (1)))"#);
    check("naip:year like 'a%'", r#"("naip:year" LIKE 'a%' ESCAPE '\')"#);
    check("casei(naip:year) = casei('A')", r#"(lower("naip:year") = lower('A'))"#);
    check("eo:cloud_cover is not null", r#"(NOT ("eo:cloud_cover" IS NULL))"#);
    check("a_contains(instruments, ('msi'))", r#"list_has_all(CAST("instruments" AS VARCHAR[]), ['msi'])"#);
}

#[test]
fn nan_is_missing_and_a_property_of_nulls_compares_with_anything() {
    check("sun > 3", r#"(CASE WHEN NOT isnan("sun") THEN "sun" END > 3)"#);
    check("nothing = 'a'", r#"(CAST("nothing" AS VARCHAR) = 'a')"#);
    check("nothing < 3", r#"(TRY_CAST(CAST("nothing" AS VARCHAR) AS DOUBLE) < 3)"#);
    check("nothing = true", r#"(TRY_CAST(CAST("nothing" AS VARCHAR) AS BOOLEAN) = true)"#);
    assert!(to_sql("nothing > '1970-01-01' or t_after(nothing, DATE('1970-01-01'))", &resolve).is_ok());
    assert!(to_sql("a_contains(nothing, ('a'))", &resolve).is_ok());
}

#[test]
fn shapes_stand_beside_the_sql() {
    let of = |filter: &str| parts(filter, &resolve).map(|(sql, shapes)| (sql, shapes.len()));
    let shape = "S_INTERSECTS(geometry, POLYGON((0 0, 1 0, 1 1, 0 0)))";
    assert_eq!(of(shape), Ok(("true".into(), 1)));
    assert_eq!(
        of(&format!("flag AND {shape} AND naip:year = 'a'")),
        Ok(("(\"flag\" AND (\"naip:year\" = 'a'))".into(), 1))
    );
    let json = r#"{"op":"s_intersects","args":[{"property":"geometry"},{"type":"Point","coordinates":[1,2]}]}"#;
    assert_eq!(of(json), Ok(("true".into(), 1)));
    for filter in [format!("flag OR {shape}"), format!("NOT {shape}"), "S_INTERSECTS(flag, POINT(0 0))".into()] {
        assert!(of(&filter).unwrap_err().to_string().contains("s_intersects"), "{filter}");
    }
}

#[test]
fn arithmetic() {
    check("eo:cloud_cover * 2 + 1 > 3", r#"((("eo:cloud_cover" * 2) + 1) > 3)"#);
    check("eo:cloud_cover ^ 2 = 4", r#"(power("eo:cloud_cover", 2) = 4)"#);
}

#[test]
fn times() {
    check("datetime >= '1970-01-02'", r#"(epoch_us("datetime") >= 86400000000)"#);
    check("datetime < TIMESTAMP('1970-01-01T00:00:01+00:00')", r#"(epoch_us("datetime") < 1000000)"#);
    check(
        "naip:year = DATE('1970-01-02')",
        r#"(epoch_us(TRY_CAST(upper(trim(CAST("naip:year" AS VARCHAR))) AS TIMESTAMPTZ)) = 86400000000)"#,
    );
    check(
        "created = '1970-01-02'",
        r#"(epoch_us(TRY_CAST(upper(trim(CAST("created" AS VARCHAR))) AS TIMESTAMPTZ)) = 86400000000)"#,
    );
    check("t_before(datetime, DATE('1970-01-02'))", r#"(epoch_us("datetime") < 86400000000)"#);
    check("t_after(datetime, DATE('1970-01-01'))", r#"(epoch_us("datetime") > 86399999999)"#);
    check(
        "t_intersects(datetime, INTERVAL('..', '1970-01-01T00:00:01Z'))",
        r#"(epoch_us("datetime") <= 1000000 AND epoch_us("datetime") >= -9223372036854775808)"#,
    );
}

#[test]
fn json() {
    check(EXAMPLE_JSON, r#"("eo:cloud_cover" < 20)"#);
    check(
        r#"{"op":"isNull","args":[{"property":"json"}]}"#,
        r#"(CASE WHEN NOT coalesce(isnan(TRY_CAST(TRY(json_extract_string("json", '$')) AS DOUBLE)), false) THEN TRY(json_extract_string("json", '$')) END IS NULL)"#,
    );
    let less = r#"{"op": "lte", "args": [{"property": "naip:year"}, "20"]}"#;
    check(less, r#"("naip:year" <= '20')"#);
    let older =
        r#"{"and": [{"gte": [{"property": "naip:year"}, "2"]}, {"not": {"eq": [{"property": "flag"}, true]}}]}"#;
    check(older, r#"(("naip:year" >= '2') AND (NOT ("flag" = true)))"#);
    refused(r#"{"op":"=","args":[{"property":"json"}, null]}"#, "IS NULL");
    refused(r#"{"op":"=","args":["#, "line 1 column");
    refused(r#"{"no":1}"#, "not CQL2 JSON");
    refused(r#"{"op":"in","args":[{"property":"json"}, []]}"#, "at least one");
    refused(r#"{"op":"between","args":[{"property":"json"}]}"#, "'between' with 1 argument");
}

#[test]
fn the_place_of_an_error_is_shown() {
    refused("eo:cloud_cover <", "1:17");
    refused("", "CQL2 text");
    refused("eo:cloud_cover = = 2", "^");
}

#[test]
fn what_cannot_be_compared_is_named() {
    refused("nope = 1", "'nope'");
    refused("proj:centroid = 1", "'proj:centroid' is not a number");
    refused("datetime > 'soon'", "'soon' is not a time");
    refused("eo:cloud_cover > 'much'", "'much'");
    refused("s_intersects(geometry, POINT(0 0))", "spatial");
    refused("foo(1) = 2", "'foo'");
    refused("eo:cloud_cover", "not true or false");
    refused("eo:cloud_cover = null", "IS NULL");
    refused("t_before(datetime, INTERVAL('..','b'))", "'b'");
}

#[test]
fn hostile_filters_end_quickly() {
    let started = std::time::Instant::now();
    refused(&"(".repeat(MAX_PARENTHESES), "");
    refused(&format!("{}a b{}", "(".repeat(MAX_PARENTHESES), ")".repeat(MAX_PARENTHESES)), "");
    refused(&"(".repeat(50), "parentheses");
    refused(&"a".repeat(MAX_LENGTH + 1), "longer");
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn the_longest_chains_do_not_exhaust_the_stack() {
    let fill = |unit: &str| unit.repeat((MAX_LENGTH - 100) / unit.len());
    assert!(to_sql(&format!("flag{}", fill(" or flag")), &resolve).is_ok());
    refused(&format!("{}flag", fill("not ")), "operations inside each other");
    refused(&format!("1{}=2", fill("+1")), "operations inside each other");
    assert!(to_sql(&format!("{}1=2", fill("-")), &resolve).is_ok(), "signs of a number fold");
    refused(&fill("-"), "");
    refused(&fill("a="), "");
}
