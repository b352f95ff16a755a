//! Numbers that look random, the same for the same seed on every machine and in every version.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The generator SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        // The product of two numbers of 64 bits; its upper half is below `bound`.
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// A length from 1 to `bound`, which is at least 1.
    pub(super) const fn length(&mut self, bound: usize) -> usize {
        1 + self.below(bound as u64) as usize
    }

    /// Whether something happens that does so this often, from 0.0 to 1.0.
    pub(super) fn happens(&mut self, rate: f64) -> bool {
        // What never happens draws nothing, so that a fault that is off changes nothing else.
        rate > 0.0 && ((self.next() >> 11) as f64) < rate * (1_u64 << 53) as f64
    }

    pub(super) fn time(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let span = range.end().saturating_sub(*range.start());
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        match nanos {
            0 => *range.start(),
            _ => *range.start() + Duration::from_nanos(self.below(nanos.saturating_add(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_numbers_for_ever() {
        // The first outputs of SplitMix64 for the seed 0.
        let mut chance = Chance::new(0);
        let drawn = [chance.next(), chance.next()];
        assert_eq!(drawn, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn what_is_drawn_lies_in_its_range() {
        let mut chance = Chance::new(1);
        let times = Duration::from_millis(2)..=Duration::from_millis(5);
        let mut often = 0;
        for _ in 0..10_000 {
            assert!(chance.below(7) < 7);
            assert!((1..=3).contains(&chance.length(3)));
            assert!(times.contains(&chance.time(&times)));
            assert!(chance.happens(1.0) && !chance.happens(0.0));
            often += u32::from(chance.happens(0.25));
        }
        assert!((2_200..2_800).contains(&often), "{often}");
    }
}
