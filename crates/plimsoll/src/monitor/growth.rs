//! Growth by the rule of the documents: the readings of a window, and the median of the slopes between its halves. No verdict.

use std::collections::VecDeque;
use std::time::Duration;

/// Readings that a window keeps at most; of closer ones the lowest counts.
const SLOTS: f64 = 120.0;
/// Readings below which there is no growth.
const FEWEST: usize = 6;

struct Reading {
    at: Duration,
    bytes: f64,
    slot: f64,
}

pub(super) struct Growth {
    window: Duration,
    begun: Option<Duration>,
    readings: VecDeque<Reading>,
}

impl Growth {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            begun: None,
            readings: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, at: Duration, bytes: f64) {
        // Another thread that sampled too was later and quicker.
        if self.readings.back().is_some_and(|last| at < last.at) {
            return;
        }
        let begun = *self.begun.get_or_insert(at);
        let since = at.saturating_sub(begun).as_secs_f64();
        let slot = (since / (self.window.as_secs_f64() / SLOTS)).floor();
        let reading = Reading { at, bytes, slot };
        match self.readings.back_mut() {
            Some(last) if last.slot == slot => {
                if bytes < last.bytes {
                    *last = reading;
                }
            }
            _ => self.readings.push_back(reading),
        }
        let oldest = at.saturating_sub(self.window);
        while self.readings.front().is_some_and(|first| first.at < oldest) {
            self.readings.pop_front();
        }
    }

    pub(super) fn bytes_per_minute(&self) -> Option<f64> {
        let count = self.readings.len();
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let span = last.at.saturating_sub(first.at);
        if count < FEWEST || span < self.window / 2 {
            return None;
        }
        let later = self.readings.iter().skip(count / 2);
        let mut slopes: Vec<f64> = self
            .readings
            .iter()
            .zip(later)
            .map(|(from, to)| {
                let minutes = to.at.saturating_sub(from.at).as_secs_f64() / 60.0;
                (to.bytes - from.bytes) / minutes
            })
            .collect();
        slopes.sort_by(f64::total_cmp);
        slopes.get(slopes.len() / 2).copied()
    }
}
