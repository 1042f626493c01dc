//! Many series judged together: the more metrics are looked at, the more often one of them grows by chance.

use crate::rounds::look_alpha;
use crate::series::{Series, Terms};
use crate::verdict::{More, Outcome, Overall, Reason, Verdict};

/// Judges a family of series so that the chance of any false leak among them stays below `terms.alpha`.
///
/// A leak stands only if its p-value passes the Holm step-down correction (Holm 1979) over the whole family; one that
/// does not becomes inconclusive ([`Reason::Ambiguous`]). The other verdicts are those of [`judge`](crate::judge).
pub fn judge_family(series: &[Series], terms: &Terms) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = series.iter().map(|s| crate::judge(s, terms)).collect();
    let mut order: Vec<usize> = (0..verdicts.len()).collect();
    order.sort_by(|&a, &b| verdicts[a].p_value.total_cmp(&verdicts[b].p_value));
    let alpha = look_alpha(terms);
    let mut rejected = true;
    for (rank, &i) in order.iter().enumerate() {
        rejected &= verdicts[i].p_value * (order.len() - rank) as f64 <= alpha;
        if !rejected && verdicts[i].outcome == Outcome::Leak {
            verdicts[i].outcome = Outcome::Inconclusive {
                reason: Reason::Ambiguous,
                more: More::default(),
            };
        }
    }
    verdicts
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
