//! How long messages took, counted by classes that are two percent wide.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A histogram that many tasks add to.
pub struct Latency {
    classes: Vec<AtomicU64>,
}

/// Each class is so much larger than the one before it.
const RATIO: f64 = 1.02;

/// Up to half an hour in nanoseconds.
const CLASSES: usize = 1500;

impl Latency {
    pub fn new() -> Self {
        Self {
            classes: (0..CLASSES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub fn add(&self, latency: Duration) {
        let nanos = latency.as_nanos().max(1) as f64;
        let class = (nanos.ln() / RATIO.ln()) as usize;
        self.classes[class.min(CLASSES - 1)].fetch_add(1, Ordering::Relaxed);
    }

    pub fn clear(&self) {
        self.classes
            .iter()
            .for_each(|class| class.store(0, Ordering::Relaxed));
    }

    pub fn count(&self) -> u64 {
        let counts = self
            .classes
            .iter()
            .map(|class| class.load(Ordering::Relaxed));
        counts.sum()
    }

    /// The latency in milliseconds that `part` of all stay within; of none it is no number, which
    /// is within no bound.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut left = (self.count() as f64 * part).ceil() as u64;
        if left == 0 {
            return f64::NAN;
        }
        for (class, count) in self.classes.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count >= left {
                return RATIO.powi(class as i32 + 1) / 1e6;
            }
            left -= count;
        }
        f64::NAN
    }

    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// For a row that is there to be read.
    pub fn summary(&self) -> String {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| self.quantile(part));
        let count = self.count();
        format!("p50 {p50:.2}, p99 {p99:.2}, p99.9 {p999:.2} ms of {count}")
    }
}
