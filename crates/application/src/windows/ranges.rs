//! A set of times, as ranges.

use std::collections::BTreeMap;

/// Ranges of time apart from each other, by their start: starts included, ends excluded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<i64, i64>);

impl Ranges {
    pub fn of(start: i64, end: i64) -> Self {
        let mut ranges = Self::default();
        ranges.insert(start, end);
        ranges
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, i64)> {
        self.0.iter().map(|(&start, &end)| (start, end))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nanoseconds in all of them.
    pub fn length(&self) -> u64 {
        self.iter().map(|(start, end)| end.abs_diff(start)).sum()
    }

    /// Adds a range; what it touches becomes one with it.
    pub fn insert(&mut self, start: i64, end: i64) {
        if start >= end {
            return;
        }
        let (mut from, mut to) = (start, end);
        while let Some((&other, &other_end)) = self.0.range(..=to).next_back() {
            if other_end < from {
                break;
            }
            (from, to) = (from.min(other), to.max(other_end));
            self.0.remove(&other);
        }
        self.0.insert(from, to);
    }

    pub fn extend(&mut self, other: &Self) {
        other.iter().for_each(|(start, end)| self.insert(start, end));
    }

    pub fn remove(&mut self, start: i64, end: i64) {
        if start >= end {
            return;
        }
        while let Some((&other, &other_end)) = self.0.range(..end).next_back() {
            if other_end <= start {
                break;
            }
            self.0.remove(&other);
            if other < start {
                self.0.insert(other, start);
            }
            if end < other_end {
                self.0.insert(end, other_end);
            }
        }
    }

    /// What is in both.
    pub fn within(&self, start: i64, end: i64) -> Self {
        let mut inside = self.clone();
        inside.remove(i64::MIN, start);
        inside.remove(end, i64::MAX);
        inside
    }

    /// Fills the narrowest gaps until there are few ranges.
    pub fn limit(&mut self, max: usize) {
        if self.0.len() <= max.max(1) {
            return;
        }
        let all: Vec<(i64, i64)> = self.iter().collect();
        let mut gaps: Vec<u64> = all.windows(2).map(|pair| pair[1].0.abs_diff(pair[0].1)).collect();
        let kept = max.max(1) - 1;
        let (_, &mut widest_filled, _) = {
            let position = gaps.len() - kept - 1;
            gaps.select_nth_unstable(position)
        };
        for pair in all.windows(2) {
            if pair[1].0.abs_diff(pair[0].1) <= widest_filled {
                self.insert(pair[0].1, pair[1].0);
            }
        }
    }
}

impl From<&[(i64, i64)]> for Ranges {
    fn from(ranges: &[(i64, i64)]) -> Self {
        let mut set = Self::default();
        ranges.iter().for_each(|&(start, end)| set.insert(start, end));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(i64, i64)]) -> Ranges {
        Ranges::from(of)
    }

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(ranges(&[(5, 6), (1, 2), (3, 4)]).iter().collect::<Vec<_>>(), [(1, 2), (3, 4), (5, 6)]);
        assert_eq!(ranges(&[(1, 2), (3, 4), (2, 3)]), ranges(&[(1, 4)]));
        assert_eq!(ranges(&[(1, 9), (3, 4), (0, 2), (4, 4)]), ranges(&[(0, 9)]));
        assert_eq!(ranges(&[(i64::MIN, 3), (2, i64::MAX)]).length(), u64::MAX);
    }

    #[test]
    fn what_is_removed_leaves_the_rest() {
        let mut set = ranges(&[(0, 10), (20, 30), (40, 50)]);
        set.remove(5, 45);
        assert_eq!(set, ranges(&[(0, 5), (45, 50)]));
        set.remove(1, 2);
        assert_eq!(set, ranges(&[(0, 1), (2, 5), (45, 50)]));
        assert_eq!(set.within(3, 46), ranges(&[(3, 5), (45, 46)]));
        set.remove(i64::MIN, i64::MAX);
        assert!(set.is_empty());
    }

    #[test]
    fn few_ranges_hold_all_times_of_many() {
        let mut set = ranges(&[(0, 1), (2, 3), (10, 11), (13, 14), (30, 31)]);
        set.limit(3);
        assert_eq!(set, ranges(&[(0, 3), (10, 14), (30, 31)]));
        set.limit(1);
        assert_eq!(set, ranges(&[(0, 31)]));
    }
}
