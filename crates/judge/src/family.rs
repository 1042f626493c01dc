//! Many series judged together: the more metrics are looked at, the more often one of them grows by chance.

use crate::series::{Series, Terms};
use crate::verdict::{More, Outcome, Overall, Reason, Verdict};

/// Judges a family of series on the same terms so that the chance of any false leak among them stays below
/// `terms.alpha`: [`judge`](crate::judge) for each, then [`correct_family`].
pub fn judge_family(series: &[Series], terms: &Terms) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = series.iter().map(|s| crate::judge(s, terms)).collect();
    correct_family(&mut verdicts);
    verdicts
}

/// Corrects verdicts that were reached apart, on terms of their own, for having been asked together.
///
/// A leak stands only if its p-value passes the Holm step-down correction (Holm 1979) over the whole family, each at
/// the alpha its own guarantee names; one that does not becomes inconclusive ([`Reason::Ambiguous`]). The other
/// verdicts stay as they are.
pub fn correct_family(verdicts: &mut [Verdict]) {
    let mut order: Vec<usize> = (0..verdicts.len()).collect();
    order.sort_by(|&a, &b| verdicts[a].p_value.total_cmp(&verdicts[b].p_value));
    let mut rejected = true;
    for (rank, &i) in order.iter().enumerate() {
        let verdict = &mut verdicts[i];
        rejected &= verdict.p_value * (order.len() - rank) as f64 <= verdict.guarantee.alpha;
        if !rejected && verdict.outcome == Outcome::Leak {
            verdict.outcome = Outcome::Inconclusive {
                reason: Reason::Ambiguous,
                more: More::default(),
            };
        }
    }
}

/// The verdict on a run: a leak if any judged series leaks, no leak if all of them are no leak, else inconclusive.
/// Nothing judged is inconclusive.
pub fn overall(verdicts: &[Verdict]) -> Overall {
    if verdicts.iter().any(|v| v.outcome == Outcome::Leak) {
        Overall::Leak
    } else if !verdicts.is_empty()
        && verdicts
            .iter()
            .all(|v| matches!(v.outcome, Outcome::NoLeak(_)))
    {
        Overall::NoLeak
    } else {
        Overall::Inconclusive
    }
}
