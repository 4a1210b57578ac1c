use proptest::prelude::*;

use super::*;

fn stats(names: &[&str]) -> Vec<Stat> {
    names.iter().map(|name| Stat::parse(name).unwrap()).collect()
}

/// Statistics of whole pixels.
fn of(names: &[&str], values: &[f64]) -> Vec<Option<f64>> {
    let stats = stats(names);
    let mut summary = Summary::new(&stats);
    summary.add_run(values, &vec![1; values.len()]);
    summary.finish(&stats, 100.0)
}

#[test]
fn names_are_known_and_others_told() {
    assert_eq!(Stat::parse("median").unwrap(), Stat::parse("p50").unwrap());
    assert_eq!(Stat::parse("p99.5").unwrap(), Stat::parse("p99.500").unwrap());
    for name in ["p0", "p100", "p100.0", "p0.000001"] {
        assert!(Stat::parse(name).is_ok(), "{name}");
    }
    for name in
        ["", "p", "p101", "p100.1", "p-1", "p1e1", "p.5", "p5.", "p0.0000001", "p99999999999", "Mean", "average"]
    {
        let message = Stat::parse(name).unwrap_err().to_string();
        assert!(NAMES.iter().all(|(known, _)| message.contains(known)) && message.contains("p99.5"), "{message}");
    }
}

#[test]
fn numbers_of_a_few_values() {
    let names = ["count", "sum", "mean", "min", "max", "variance", "stdev", "variety", "covered_area"];
    let expected = [4.0, 10.0, 2.5, 0.0, 10.0, 18.75, 18.75f64.sqrt(), 2.0, 400.0];
    assert_eq!(of(&names, &[0.0, 0.0, 0.0, 10.0]), expected.map(Some));
    // Ties; -0 is 0.
    assert_eq!(of(&["majority", "minority"], &[2.0, 1.0, 2.0, 1.0]), [Some(2.0), Some(1.0)]);
    assert_eq!(of(&["variety"], &[0.0, -0.0]), [Some(1.0)]);
}

#[test]
fn a_quantile_is_the_first_value_that_reaches_it() {
    let names = ["median", "p75", "p75.000001", "p0", "p100"];
    assert_eq!(of(&names, &[0.0, 10.0, 0.0, 0.0]), [0.0, 0.0, 10.0, 0.0, 10.0].map(Some));
    // Where 0.07 * 100 is more than 7 in floats.
    let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
    for percent in 1..=100 {
        assert_eq!(of(&[&format!("p{percent}")], &hundred), [Some(f64::from(percent))]);
    }
    let stats = stats(&["median"]);
    let mut summary = Summary::new(&stats);
    [(1.0, 0.25), (3.0, 0.25), (2.0, 0.5)].into_iter().for_each(|(value, share)| summary.add(value, share));
    assert_eq!(summary.finish(&stats, 1.0), [Some(2.0)]);
}

#[test]
fn nothing_has_no_mean() {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    let zero = |name: &str| matches!(name, "count" | "variety" | "covered_area").then_some(0.0);
    let expected: Vec<Option<f64>> = names.iter().map(|name| zero(name)).collect();
    assert_eq!(of(&names, &[]), expected);
    assert_eq!(of(&names, &[f64::NAN]), expected);
    let stats = stats(&names);
    let mut summary = Summary::new(&stats);
    summary.add_run(&[1u8, 2], &[0, 0]);
    summary.add_part(&[1u8, 2], &[1, 0], &[0.0, 1.0]);
    summary.merge(&summary.clone());
    assert_eq!(summary.finish(&stats, 1.0), expected);
}

#[test]
fn equal_values_have_no_variance_and_infinite_ones_a_sum() {
    assert_eq!(of(&["variance", "min", "max"], &[0.1; 2000]), [Some(0.0), Some(0.1), Some(0.1)]);
    let infinite = of(&["sum", "mean", "max", "median"], &[1.0, f64::INFINITY, 2.0]);
    assert_eq!(infinite, [Some(f64::INFINITY), Some(f64::INFINITY), Some(f64::INFINITY), Some(2.0)]);
}

#[test]
fn a_sum_keeps_what_is_small() {
    let (mut summary, stats) = (Summary::new(&[Stat::Sum]), [Stat::Sum]);
    for value in [1e16, 1.0, 1.0, -1e16] {
        summary.add(value, 1.0);
    }
    assert_eq!(summary.finish(&stats, 1.0), [Some(2.0)]);
}

/// Values, some of them equal, some missing, with shares.
fn pixels() -> impl Strategy<Value = Vec<(f32, u8, f64)>> {
    let value = prop_oneof![(0i8..4).prop_map(f32::from), -1e4f32..1e4, Just(f32::NAN)];
    let share = prop_oneof![Just(1.0), 0.0f64..1.0];
    prop::collection::vec((value, 0u8..2, share), 0..1500)
}

const ALL: [&str; 14] = [
    "count",
    "variety",
    "min",
    "max",
    "median",
    "p10",
    "p99.5",
    "majority",
    "minority",
    "covered_area",
    "sum",
    "mean",
    "variance",
    "stdev",
];
/// Those before it do not depend on the order at all.
const FIRST_OF_SUMS: usize = 10;

fn assert_same(found: &[Option<f64>], expected: &[Option<f64>], scale: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(&found[..FIRST_OF_SUMS], &expected[..FIRST_OF_SUMS]);
    for (a, b) in found.iter().zip(expected).skip(FIRST_OF_SUMS) {
        let near = a.zip(*b).map_or(a == b, |(a, b)| (a - b).abs() <= 1e-12 * scale);
        prop_assert!(near, "{:?} {:?}", found, expected);
    }
    Ok(())
}

proptest! {
    #[test]
    fn order_cut_and_merge_change_nothing(pixels in pixels(), at in 0.0f64..1.0) {
        let stats = stats(&ALL);
        let summary_of = |pixels: &[(f32, u8, f64)]| {
            let (values, rest): (Vec<_>, Vec<_>) = pixels.iter().map(|(v, ok, share)| (*v, (*ok, *share))).unzip();
            let (valid, shares): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
            let mut summary = Summary::new(&stats);
            summary.add_part(&values, &valid, &shares);
            summary
        };
        let expected = summary_of(&pixels).finish(&stats, 3.0);
        let scale = 1e8 * pixels.len() as f64;
        let mut one_by_one = Summary::new(&stats);
        pixels.iter().rev().filter(|pixel| pixel.1 == 1).for_each(|(v, _, share)| one_by_one.add(f64::from(*v), *share));
        assert_same(&one_by_one.finish(&stats, 3.0), &expected, scale)?;
        let (a, b) = pixels.split_at((pixels.len() as f64 * at) as usize);
        let mut merged = summary_of(b);
        merged.merge(&summary_of(a));
        assert_same(&merged.finish(&stats, 3.0), &expected, scale)?;
    }

    #[test]
    fn runs_are_parts_of_whole_pixels(pixels in pixels()) {
        let stats = stats(&ALL);
        let (values, valid): (Vec<_>, Vec<_>) = pixels.iter().map(|(v, ok, _)| (*v, *ok)).unzip();
        let (mut run, mut part) = (Summary::new(&stats), Summary::new(&stats));
        run.add_run(&values, &valid);
        part.add_part(&values, &valid, &vec![1.0; values.len()]);
        assert_same(&run.finish(&stats, 3.0), &part.finish(&stats, 3.0), 1e8 * pixels.len() as f64)?;
    }

    #[test]
    fn moments_are_those_of_the_definition(pixels in pixels()) {
        let stats = stats(&["count", "sum", "mean", "variance"]);
        let mut summary = Summary::new(&stats);
        let present = pixels.iter().filter(|(value, valid, share)| *valid == 1 && !value.is_nan() && *share > 0.0);
        let present: Vec<(f64, f64)> = present.map(|(value, _, share)| (f64::from(*value), *share)).collect();
        present.iter().for_each(|(value, share)| summary.add(*value, *share));
        let by_share = |of: &dyn Fn(f64) -> f64| present.iter().map(|(value, share)| share * of(*value)).sum::<f64>();
        let (count, sum) = (by_share(&|_| 1.0), by_share(&|v| v));
        let squares = by_share(&|v| (v - sum / count).powi(2));
        let found = summary.finish(&stats, 1.0);
        let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        let near = |found: Option<f64>, expected: f64| found.is_some_and(|found| is_near(found, expected));
        prop_assert!(near(found[0], count));
        if count > 1e-6 {
            prop_assert!(near(found[1], sum) && near(found[2], sum / count) && near(found[3], squares / count), "{:?}", found);
        }
    }
}
