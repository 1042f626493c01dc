//! The clocks of a run: whether the wall clock jumped, the machine slept, or we were not scheduled.
//!
//! Readings carry monotonic times, so none of this moves them; it has to be told for their wall times to be right, and
//! for silence not to be taken for calm.

use std::time::Duration;

use crate::os::{self, Clocks};

/// The wall clock is told again once it moved so far against the monotonic one.
const JUMP_NS: i128 = 100_000_000;
/// And every so often, so that slow drift is known as well.
const RETELL_NS: i128 = 60_000_000_000;
/// Shorter pauses are those of a busy machine.
const PAUSE_NS: i128 = 1_000_000_000;

/// Looks at the clocks again and again.
#[derive(Debug)]
pub struct ClockWatch {
    last: Clocks,
    told: Clocks,
}

/// What the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockChange {
    /// The wall clock in nanoseconds since 1970, where it should be noted: it jumped, or a minute has passed.
    pub unix_ns: Option<u64>,
    /// How far the wall clock jumped beyond the time that passed, in nanoseconds; sleep is no jump.
    pub jumped_ns: Option<i64>,
    /// How long the machine was suspended since the last look.
    pub suspended: Option<Duration>,
    /// How much later than expected this look is, if that is more than a second: we were stopped or starved.
    pub late: Option<Duration>,
}

impl ClockWatch {
    /// From now on.
    pub fn start() -> Self {
        let now = os::clocks();
        Self {
            last: now,
            told: now,
        }
    }

    /// Looks again; `expected` is how long after the last look this one was meant to be.
    pub fn look(&mut self, expected: Duration) -> ClockChange {
        self.judge(os::clocks(), expected)
    }

    fn judge(&mut self, now: Clocks, expected: Duration) -> ClockChange {
        let passed = now.monotonic - self.last.monotonic;
        let asleep = now.boot - self.last.boot - passed;
        let wall = now.unix - self.last.unix;
        let jump = wall - passed - asleep;
        let late = passed - i128::try_from(expected.as_nanos()).unwrap_or(0);
        let slept = asleep > PAUSE_NS;
        let jumped = jump.abs() > JUMP_NS;
        // Slow drift adds up between two tellings.
        let drift = (now.unix - self.told.unix) - (now.boot - self.told.boot);
        let due = now.monotonic - self.told.monotonic >= RETELL_NS || drift.abs() > JUMP_NS;
        let tell = slept || jumped || due;
        self.last = now;
        if tell {
            self.told = now;
        }
        let length = |ns: i128| Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
        ClockChange {
            unix_ns: tell.then(|| u64::try_from(now.unix).unwrap_or(0)),
            jumped_ns: jumped
                .then(|| i64::try_from(jump).unwrap_or(if jump < 0 { i64::MIN } else { i64::MAX })),
            suspended: slept.then(|| length(asleep)),
            late: (late > PAUSE_NS).then(|| length(late)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn clocks(monotonic: i128, boot: i128, unix: i128) -> Clocks {
        Clocks {
            monotonic,
            boot,
            unix: 1_800_000_000 * SECOND + unix,
        }
    }

    fn watch() -> ClockWatch {
        let start = clocks(0, 0, 0);
        ClockWatch {
            last: start,
            told: start,
        }
    }

    #[test]
    fn time_that_passes_is_no_news() {
        let mut watch = watch();
        for second in 1..60 {
            let at = second * SECOND;
            let change = watch.judge(clocks(at, at, at + 1000), Duration::from_secs(1));
            assert_eq!(change, ClockChange::default(), "{second}");
        }
        let at = 60 * SECOND;
        let change = watch.judge(clocks(at, at, at), Duration::from_secs(1));
        assert!(change.unix_ns.is_some() && change.jumped_ns.is_none());
    }

    #[test]
    fn a_set_clock_is_a_jump_and_sleep_is_not() {
        let second = Duration::from_secs(1);
        let back = watch().judge(clocks(SECOND, SECOND, -3599 * SECOND), second);
        assert_eq!(back.jumped_ns, Some(-3_600_000_000_000));
        assert!(back.unix_ns.is_some() && back.suspended.is_none());

        let slept = watch().judge(clocks(SECOND, 601 * SECOND, 601 * SECOND), second);
        assert_eq!(slept.suspended, Some(Duration::from_mins(10)));
        assert!(slept.unix_ns.is_some() && slept.jumped_ns.is_none() && slept.late.is_none());

        let both = watch().judge(clocks(SECOND, 601 * SECOND, 4201 * SECOND), second);
        assert_eq!(both.suspended, Some(Duration::from_mins(10)));
        assert_eq!(both.jumped_ns, Some(3_600_000_000_000));
    }

    #[test]
    fn a_look_that_comes_late_was_not_calm() {
        let change = watch().judge(
            clocks(9 * SECOND, 9 * SECOND, 9 * SECOND),
            Duration::from_secs(1),
        );
        assert_eq!(change.late, Some(Duration::from_secs(8)));
        assert_eq!(change.jumped_ns, None);
    }

    #[test]
    fn the_real_clocks_are_calm() {
        let mut watch = ClockWatch::start();
        let change = watch.look(Duration::ZERO);
        assert_eq!((change.jumped_ns, change.suspended), (None, None));
    }
}
