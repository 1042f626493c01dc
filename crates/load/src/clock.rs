//! When operations of an open loop are due, and a timer that wakes for the next.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A schedule: operation `i` is due at a time that does not depend on what became of the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start: Instant,
    rate: f64,
    ramp_s: f64,
}

impl Schedule {
    pub(crate) fn new(start: Instant, rate: f64, ramp: Duration) -> Self {
        Self {
            start,
            rate,
            ramp_s: ramp.as_secs_f64(),
        }
    }

    /// When operation `index`, counted from 0, is due. While the rate rises, `rate·t²/2·ramp` operations are due by `t`.
    pub(crate) fn due(&self, index: u64) -> Instant {
        let index = index as f64;
        let in_ramp = self.rate * self.ramp_s / 2.0;
        let seconds = if index < in_ramp {
            (2.0 * self.ramp_s * index / self.rate).sqrt()
        } else {
            self.ramp_s / 2.0 + index / self.rate
        };
        // A rate of next to nothing is bounded before it gets here; the cap keeps the addition from overflowing.
        self.start + Duration::from_secs_f64(seconds.min(1e9))
    }
}

/// A timer descriptor. The wait of epoll has a resolution of a millisecond, this one of nanoseconds.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    set: Option<Instant>,
}

impl Timer {
    pub(crate) fn try_new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd, set: None })
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Becomes readable at `at`.
    pub(crate) fn set(&mut self, at: Instant, now: Instant) -> io::Result<()> {
        if self.set == Some(at) {
            return Ok(());
        }
        // Zero would disarm it.
        let left = at
            .saturating_duration_since(now)
            .max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec)?;
        self.set = Some(at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_due_at_a_constant_rate() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 200.0, Duration::ZERO);
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(1_999) - start, Duration::from_millis(9_995));
    }

    #[test]
    fn a_ramp_rises_to_the_rate_and_costs_half_its_time() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 100.0, Duration::from_secs(4));
        // 200 operations in the first four seconds, a quarter of them in the first two.
        assert_eq!(schedule.due(50) - start, Duration::from_secs(2));
        assert_eq!(schedule.due(200) - start, Duration::from_secs(4));
        assert_eq!(schedule.due(300) - start, Duration::from_secs(5));
    }
}
