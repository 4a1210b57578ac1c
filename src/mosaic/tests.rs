use proptest::prelude::*;

use super::*;

/// Feeds one row per item; `None` is not valid.
fn run(method: Method, items: &[Vec<Option<f64>>], dtype: DataType) -> Vec<Option<f64>> {
    let mut mosaic = method.start::<f64>(items[0].len(), method.reverses());
    let ordered: Vec<_> = if method.reverses() { items.iter().rev().collect() } else { items.iter().collect() };
    for item in ordered {
        let values: Vec<f64> = item.iter().map(|v| v.unwrap_or(1e9)).collect();
        let valid: Vec<u8> = item.iter().map(|v| u8::from(v.is_some())).collect();
        mosaic.feed(0, &values, &valid);
    }
    let (pixels, valid) = mosaic.finish(dtype);
    let values: Vec<f64> = crate::with_pixels!(&pixels, v => v.iter().map(|x| x.to_f64()).collect());
    values.into_iter().zip(valid).map(|(v, ok)| (ok == 1).then_some(v)).collect()
}

#[test]
fn each_method_by_hand() {
    let items = [vec![Some(2.0), None, None], vec![Some(4.0), Some(8.0), None], vec![Some(9.0), None, None]];
    for (method, expected) in [
        (Method::First, [Some(2.0), Some(8.0), None]),
        (Method::Last, [Some(9.0), Some(8.0), None]),
        (Method::Highest, [Some(9.0), Some(8.0), None]),
        (Method::Lowest, [Some(2.0), Some(8.0), None]),
        (Method::Mean, [Some(5.0), Some(8.0), None]),
        (Method::Median, [Some(4.0), Some(8.0), None]),
        (Method::Count, [Some(3.0), Some(1.0), Some(0.0)]),
    ] {
        assert_eq!(run(method, &items, DataType::Float64), expected, "{method:?}");
    }
    let eight: Vec<_> = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].iter().map(|v| vec![Some(*v)]).collect();
    assert_eq!(run(Method::Stdev, &eight, DataType::Float64), [Some(2.0)]);
    assert_eq!(run(Method::Median, &eight, DataType::Float64), [Some(4.5)]);
}

#[test]
fn only_first_and_last_stop_early() {
    let mut first = Method::First.start::<u8>(2, false);
    first.feed(0, &[1, 2], &[1, 0]);
    assert!(!first.is_done());
    first.feed(1, &[3], &[1]);
    assert!(first.is_done());
    let mut highest = Method::Highest.start::<u8>(1, false);
    highest.feed(0, &[1], &[1]);
    assert!(!highest.is_done());
}

#[test]
fn output_saturates() {
    assert_eq!(run(Method::First, &[vec![Some(300.0), Some(-5.0)]], DataType::UInt8), [Some(255.0), Some(0.0)]);
    assert_eq!(run(Method::Count, &vec![vec![Some(1.0)]; 300], DataType::UInt8), [Some(255.0)]);
}

proptest! {
    #[test]
    fn moments_and_median_equal_their_definitions(
        items in proptest::collection::vec(proptest::option::weighted(0.8, -1e6f64..1e6), 1..40),
    ) {
        let rows: Vec<_> = items.iter().map(|v| vec![*v]).collect();
        let mut seen: Vec<f64> = items.iter().flatten().copied().collect();
        let n = seen.len() as f64;
        let mean = seen.iter().sum::<f64>() / n;
        let stdev = (seen.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        seen.sort_by(f64::total_cmp);
        for (method, expected) in [(Method::Mean, mean), (Method::Stdev, stdev)] {
            let got = run(method, &rows, DataType::Float64)[0];
            match got {
                None => prop_assert!(seen.is_empty()),
                Some(got) => prop_assert!((got - expected).abs() <= 1e-6 * (1.0 + expected.abs())),
            }
        }
        if let Some(got) = run(Method::Median, &rows, DataType::Float64)[0] {
            prop_assert_eq!(got, (seen[(seen.len() - 1) / 2] + seen[seen.len() / 2]) / 2.0);
        }
    }
}

#[test]
fn last_among_others_takes_items_in_their_order() {
    let mut last = Method::Last.start::<u8>(3, false);
    last.feed(0, &[1, 2, 3], &[1, 1, 0]);
    last.feed(1, &[4, 5], &[0, 0]);
    last.feed(0, &[6], &[1]);
    assert!(!last.is_done() && last.settled().is_none());
    let (pixels, valid) = last.finish(DataType::UInt8);
    assert_eq!((&pixels.as_bytes()[..2], valid), (&[6, 2][..], vec![1, 1, 0]));
    let order = |methods: &[Method]| Order::of(methods.iter().copied());
    assert_eq!(order(&[Method::Last, Method::Last]), Order { reverses: true, stops_early: true });
    assert_eq!(order(&[Method::First]), Order { reverses: false, stops_early: true });
    for mixed in [[Method::First, Method::Last], [Method::First, Method::Median], [Method::Last, Method::Mean]] {
        assert_eq!(order(&mixed), Order { reverses: false, stops_early: false });
    }
}
