//! The judge on arbitrary series: columns of any length, any number in them, any terms.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use plimsoll_judge::{
    Axis, Outcome, PairedOutcome, Quantity, Series, Terms, evaluate, judge, judge_paired, rules,
};

/// A number that is mostly plausible, often odd, and now and then any bit pattern.
fn number(u: &mut Unstructured<'_>) -> Result<f64> {
    Ok(match u.int_in_range(0..=9)? {
        0 => f64::from_bits(u.arbitrary()?),
        1 => *u.choose(&[
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
        ])?,
        2 | 3 => f64::from(u.arbitrary::<i32>()?) * 4096.0,
        _ => 2e7 + f64::from(u.arbitrary::<i16>()?),
    })
}

fn numbers(u: &mut Unstructured<'_>, n: usize) -> Result<Vec<f64>> {
    let known = match u.int_in_range(0..=3)? {
        0 => 0,
        1 => u.int_in_range(0..=n)?,
        _ => n,
    };
    (0..known).map(|_| number(u)).collect()
}

fn series(u: &mut Unstructured<'_>) -> Result<Series> {
    let most = *u.choose(&[8_usize, 30, 100, 400])?;
    let n = u.int_in_range(0..=most)?;
    let even = u.arbitrary::<bool>()?;
    let step: u32 = u.arbitrary()?;
    let mut series = Series {
        metric: (*u.choose(&["rss", "live_bytes", "listeners"])?).to_owned(),
        quantity: *u.choose(&[Quantity::Bytes, Quantity::Count])?,
        axis: *u.choose(&[Axis::Operations, Axis::Time])?,
        resolution: number(u)?,
        t_ns: (0..n as u64)
            .map(|i| {
                if even {
                    Ok(i * u64::from(step))
                } else {
                    u.arbitrary()
                }
            })
            .collect::<Result<_>>()?,
        ..Series::default()
    };
    series.value = (0..n).map(|_| number(u)).collect::<Result<_>>()?;
    series.ops = if even && u.arbitrary()? {
        (0..n).map(|i| i as f64 * 1e3).collect()
    } else {
        numbers(u, n)?
    };
    series.load = numbers(u, n)?;
    series.response_bytes_per_op = numbers(u, n)?;
    series.operation_ns = numbers(u, n)?;
    series.error_share = numbers(u, n)?;
    series.collected = vec![u.arbitrary()?; n];
    if u.ratio(1, 4)? {
        series.epoch = (0..n)
            .map(|_| u.int_in_range(0..=3))
            .collect::<Result<_>>()?;
    }
    Ok(series)
}

fn terms(u: &mut Unstructured<'_>) -> Result<Terms> {
    let usual = Terms::default();
    if u.ratio(1, 2)? {
        return Ok(usual);
    }
    Ok(Terms {
        alpha: number(u)?,
        floor: u.arbitrary::<bool>()?.then(|| number(u)).transpose()?,
        planned_ns: u.arbitrary()?,
        look: u.arbitrary()?,
        looks: u.arbitrary()?,
        idle_growth_per_op: number(u)?,
        sway: number(u)?,
        limit: u.arbitrary::<bool>()?.then(|| number(u)).transpose()?,
        expected_rate: u.arbitrary::<bool>()?.then(|| number(u)).transpose()?,
        warm_up_operations: u.arbitrary()?,
        settled: u.arbitrary()?,
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let (Ok(one), Ok(terms)) = (series(&mut u), terms(&mut u)) else {
        return;
    };
    let verdict = judge(&one, &terms);
    assert!(
        (0.0..=1.0).contains(&verdict.leak_probability),
        "{verdict:?}"
    );
    if let Outcome::NoLeak(bound) = verdict.outcome {
        assert!(!bound.rate.is_nan(), "{verdict:?}");
    }
    if let Some(fit) = &verdict.fit {
        assert_eq!(
            (fit.t_ns.len(), fit.model.len()),
            (fit.envelope.len(), fit.envelope.len())
        );
    }
    // Compared as text: NaN is NaN there.
    assert_eq!(format!("{:?}", judge(&one, &terms)), format!("{verdict:?}"));
    for rule in rules() {
        let _ = evaluate(rule, &one, None);
    }
    if let Ok(other) = series(&mut u) {
        let paired = judge_paired(&one, &other, &terms);
        if let PairedOutcome::Equivalent { within } = paired.outcome {
            assert!(within >= 0.0, "{paired:?}");
        }
    }
});
