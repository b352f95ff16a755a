//! Queues that are mostly empty or hold one element.

use std::collections::VecDeque;

/// First in, first out. The first lies in place, so that a queue of one needs no memory of its own:
/// in a large room, each place that is looked at for a member is a miss of the cache.
#[derive(Debug)]
pub(crate) struct Line<T> {
    first: Option<T>,
    rest: VecDeque<T>,
}

/// An empty queue keeps room for twice as many elements at most.
const KEPT: usize = 16;

impl<T> Line<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, element: T) {
        if self.is_empty() {
            self.first = Some(element);
        } else {
            self.rest.push_back(element);
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.first.take().or_else(|| self.rest.pop_front())
    }

    /// Leaves room for as many elements as there were at once, to save the next ones an allocation;
    /// but a connection that waits is not to keep what it needed once.
    pub(crate) fn keep_room(&mut self, had: usize) {
        let kept = had.saturating_sub(1).min(KEPT);
        if self.rest.capacity() > 2 * kept {
            self.rest.shrink_to(kept);
        }
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_its_order_whatever_is_taken_between() {
        for taken in 1..5 {
            let (mut line, mut expected) = (Line::new(), VecDeque::new());
            for n in 0..100 {
                line.push_back(n);
                expected.push_back(n);
                assert_eq!(line.len(), expected.len());
                assert!(line.iter().eq(&expected));
                if n % 4 < taken {
                    assert_eq!(line.pop_front(), expected.pop_front());
                }
                assert_eq!(line.is_empty(), expected.is_empty());
            }
            assert!(std::iter::from_fn(|| line.pop_front()).eq(expected));
            assert_eq!(line.pop_front(), None);
        }
    }

    #[test]
    fn an_empty_line_keeps_room_for_a_few() {
        let mut line = Line::new();
        line.push_back(1);
        assert_eq!(line.rest.capacity(), 0);
        (0..1000).for_each(|n| line.push_back(n));
        while line.pop_front().is_some() {}
        line.keep_room(1001);
        assert!((1..=2 * KEPT).contains(&line.rest.capacity()));
        line.keep_room(1);
        assert_eq!(line.rest.capacity(), 0);
    }
}
