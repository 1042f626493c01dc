//! Reads memory at an interval beside the work, in a thread of its own: no runtime that is busy delays it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::apart::Whose;
use crate::meter::Meter;

/// What the readings come to. Of fixed size: who measures the process may not grow in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Samples {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    /// Sum of squared distances from the mean (Welford 1962).
    squares: f64,
    pub(crate) most: f64,
}

impl Samples {
    fn push(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (value - self.mean);
        self.most = self.most.max(value);
    }

    /// Standard deviation over the mean; NaN for fewer than two readings.
    pub(crate) fn volatility(&self) -> f64 {
        if self.count < 2 {
            return f64::NAN;
        }
        (self.squares / (self.count - 1) as f64).sqrt() / self.mean
    }
}

/// Reads until it is stopped.
#[derive(Debug)]
pub(crate) struct Sampler {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    samples: Samples,
    /// The most since [`Sampler::peak_since`] was asked last.
    most: f64,
    is_over: bool,
}

impl Sampler {
    /// Begins. Without a thread to be had, nothing is read.
    pub(crate) fn start(interval: Duration, whose: Whose) -> Self {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let read = move || {
            let meter = Meter::of(whose);
            let (state, over) = &*theirs;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            while !state.is_over {
                let bytes = meter.read().bytes;
                state.samples.push(bytes);
                state.most = state.most.max(bytes);
                let waited = over.wait_timeout(state, interval);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        let builder = std::thread::Builder::new().name("plimsoll-sampler".to_owned());
        Self {
            shared,
            thread: builder.spawn(read).ok(),
        }
    }

    /// The most since this was asked last.
    pub(crate) fn peak_since(&self) -> f64 {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.most)
    }

    /// Ends, and tells.
    pub(crate) fn stop(self) -> Samples {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .samples
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let (state, over) = &*self.shared;
        state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        over.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn mean_and_volatility_are_those_of_the_readings() {
        let mut samples = Samples::default();
        for value in [10.0, 12.0, f64::NAN, 14.0] {
            samples.push(value);
        }
        assert_eq!((samples.count, samples.mean, samples.most), (3, 12.0, 14.0));
        assert!((samples.volatility() - 2.0 / 12.0).abs() < 1e-12);
        assert!(Samples::default().volatility().is_nan());
    }
}
