//! Exit codes: the contract with CI.

/// How an invocation of `plimsoll` ended; the same for every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitCode {
    /// 0: no leak, and every rule and budget holds.
    Holds,
    /// 1: a leak, or a rule or budget is broken.
    Broken,
    /// 2: knowable before the start: a flag, a file, a configuration key, a command not found, a port taken.
    Usage,
    /// 3: the data could not settle it.
    Inconclusive,
    /// 4: the subject or the load failed: never ready, died, hung, too many errors.
    Failed,
    /// 70: our own bug.
    Internal,
    /// 130: interrupted.
    Interrupted,
}

impl ExitCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Holds,
        Self::Broken,
        Self::Usage,
        Self::Inconclusive,
        Self::Failed,
        Self::Internal,
        Self::Interrupted,
    ];

    /// The number the process exits with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Holds => 0,
            Self::Broken => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Failed => 4,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// What it means, in a phrase.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Holds => "no leak, and all rules hold",
            Self::Broken => "leak, or a rule is broken",
            Self::Usage => "wrong flag, file, configuration or command; port taken",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "the subject or the load failed",
            Self::Internal => "a bug in plimsoll",
            Self::Interrupted => "interrupted",
        }
    }

    /// The code that stands for both when several subjects were checked: 70 > 130 > 2 > 4 > 1 > 3 > 0.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        const fn rank(code: ExitCode) -> u8 {
            match code {
                ExitCode::Internal => 6,
                ExitCode::Interrupted => 5,
                ExitCode::Usage => 4,
                ExitCode::Failed => 3,
                ExitCode::Broken => 2,
                ExitCode::Inconclusive => 1,
                ExitCode::Holds => 0,
            }
        }
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_beats_inconclusive_and_a_failed_subject_beats_both() {
        assert_eq!(
            ExitCode::Inconclusive.worst(ExitCode::Broken),
            ExitCode::Broken
        );
        assert_eq!(ExitCode::Broken.worst(ExitCode::Failed), ExitCode::Failed);
        assert_eq!(
            ExitCode::Internal.worst(ExitCode::Interrupted),
            ExitCode::Internal
        );
        assert_eq!(ExitCode::Holds.worst(ExitCode::Holds).code(), 0);
    }
}
