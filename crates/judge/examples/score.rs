//! Judges one CSV of the corpus (`t_s,bytes,ops,load,post_gc,epoch`) and prints the flat object `plimsoll.verdict/1`.
//!
//! `score CSV [--planned SECONDS] [--metric NAME] [--limit BYTES] [--axis time|op]`; 0 = unknown.
#![expect(clippy::print_stdout, reason = "an example program")]
#![expect(
    clippy::disallowed_methods,
    reason = "the judge is pure; the example around it reads a file"
)]

use plimsoll_judge::{Axis, Outcome, Series, Terms, Verdict, judge};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_default();
    let (mut terms, mut series) = (
        Terms::default(),
        Series {
            axis: Axis::Time,
            ..Series::default()
        },
    );
    while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
        let number = value.parse::<f64>().ok().filter(|v| *v > 0.0);
        match flag.as_str() {
            "--planned" => terms.planned_ns = number.map(|s| (s * 1e9) as u64),
            "--limit" => terms.limit = number,
            "--metric" => series.metric = value,
            "--axis" if value == "op" => series.axis = Axis::Operations,
            _ => {}
        }
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    read_csv(&text, &mut series);
    println!("{}", json(&judge(&series, &terms)));
}

fn read_csv(text: &str, series: &mut Series) {
    let mut known_epoch = true;
    for line in text.lines().skip(1) {
        let cell: Vec<Option<f64>> = line.split(',').map(|c| c.trim().parse().ok()).collect();
        let number = |i: usize| cell.get(i).copied().flatten();
        series.t_ns.push((number(0).unwrap_or(0.0) * 1e9) as u64);
        series.value.push(number(1).unwrap_or(f64::NAN));
        series.ops.push(number(2).unwrap_or(f64::NAN));
        series.load.push(number(3).unwrap_or(f64::NAN));
        series.collected.push(number(4) == Some(1.0));
        series.epoch.push(number(5).unwrap_or(0.0) as u32);
        known_epoch &= number(5).is_some();
    }
    if !known_epoch {
        series.epoch.clear();
    }
}

fn json(v: &Verdict) -> String {
    let text = |x: Option<f64>| {
        x.filter(|v| v.is_finite())
            .map_or("null".into(), |v| format!("{v}"))
    };
    let verdict = match v.outcome {
        Outcome::Leak => "leak",
        Outcome::NoLeak(_) => "no_leak",
        Outcome::Inconclusive { .. } => "inconclusive",
    };
    let reason = match &v.outcome {
        Outcome::Inconclusive { reason, .. } => format!("{reason:?}").replace('"', "'"),
        _ => String::new(),
    };
    let growth = v.estimate.as_ref();
    let per_second = growth.and_then(|g| g.per_second);
    // The interval is in the unit of the axis; the document wants bytes per second on both axes.
    let factor = growth
        .and_then(|g| g.per_second.filter(|_| g.rate != 0.0).map(|s| s / g.rate))
        .unwrap_or(1.0);
    let limit = growth.and_then(|g| g.time_to_limit);
    format!(
        "{{\"schema\":\"plimsoll.verdict/1\",\"verdict\":\"{verdict}\",\"pattern\":\"{}\",\"confidence\":{},\
         \"rate_bytes_per_s\":{},\"rate_bytes_per_op\":{},\"rate_ci_low\":{},\"rate_ci_high\":{},\"tte_s\":{},\
         \"tte_lo_s\":{},\"tte_hi_s\":{},\"onset_s\":{},\"detectable_bytes_per_s\":{},\"reason\":\"{reason}\",\
         \"p\":{:e}}}",
        format!("{:?}", v.pattern).to_lowercase(),
        v.leak_probability,
        text(per_second),
        text(growth.and_then(|g| g.per_operation)),
        text(growth.and_then(|g| g.per_second_interval).map(|i| i.low)),
        text(growth.and_then(|g| g.per_second_interval).map(|i| i.high)),
        text(limit.map(|l| l.seconds)),
        text(limit.map(|l| l.interval.low)),
        text(limit.map(|l| l.interval.high)),
        text(growth.and_then(|g| g.onset).map(|o| o.t_ns as f64 / 1e9)),
        text(v.detectable.map(|d| d * factor)),
        v.p_value,
    )
}
