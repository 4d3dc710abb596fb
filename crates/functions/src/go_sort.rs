//! Sorting exactly as Go's `sort.Sort` does.
//!
//! It is not stable: which of several equal points ends at a rank (`percentile`, `mode`) is decided by the
//! algorithm, a pattern-defeating quicksort (Go 1.19 and later), and its constants.

/// Below this length insertion sort does it all.
const INSERTION_MAX: usize = 12;
/// From this length on the pivot is a median of medians.
const NINTHER_MIN: usize = 50;
/// Steps and shortest length of the attempt to repair an almost sorted range.
const REPAIR_STEPS: usize = 5;
const REPAIR_LENGTH_MIN: usize = 50;

pub fn sort_by<T>(data: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let bad_pivots = usize::BITS - data.len().leading_zeros();
    let length = data.len();
    Sorter { data, less }.quick(0, length, bad_pivots);
}

#[derive(PartialEq, Eq)]
enum Pattern {
    Unknown,
    Increasing,
    Decreasing,
}

/// Ranges are `[from, to)`.
struct Sorter<'a, T, F> {
    data: &'a mut [T],
    less: F,
}

impl<T, F: Fn(&T, &T) -> bool> Sorter<'_, T, F> {
    fn less(&self, a: usize, b: usize) -> bool {
        (self.less)(&self.data[a], &self.data[b])
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.data.swap(a, b);
    }

    fn quick(&mut self, mut from: usize, mut to: usize, mut bad_pivots: u32) {
        let (mut balanced, mut partitioned) = (true, true);
        loop {
            let length = to - from;
            if length <= INSERTION_MAX {
                return self.insertion(from, to);
            }
            if bad_pivots == 0 {
                return self.heap(from, to);
            }
            if !balanced {
                self.shuffle(from, to);
                bad_pivots -= 1;
            }
            let (mut pivot, mut pattern) = self.choose_pivot(from, to);
            if pattern == Pattern::Decreasing {
                self.data[from..to].reverse();
                pivot = (to - 1) - (pivot - from);
                pattern = Pattern::Increasing;
            }
            if balanced && partitioned && pattern == Pattern::Increasing && self.repair(from, to) {
                return;
            }
            if from > 0 && !self.less(from - 1, pivot) {
                from = self.partition_equal(from, to, pivot);
                continue;
            }
            let (middle, already) = self.partition(from, to, pivot);
            partitioned = already;
            let (left, right) = (middle - from, to - middle);
            if left < right {
                balanced = left >= length / 8;
                self.quick(from, middle, bad_pivots);
                from = middle + 1;
            } else {
                balanced = right >= length / 8;
                self.quick(middle + 1, to, bad_pivots);
                to = middle;
            }
        }
    }

    fn insertion(&mut self, from: usize, to: usize) {
        for i in from + 1..to {
            let mut at = i;
            while at > from && self.less(at, at - 1) {
                self.swap(at, at - 1);
                at -= 1;
            }
        }
    }

    fn heap(&mut self, from: usize, to: usize) {
        let length = to - from;
        for root in (0..=(length - 1) / 2).rev() {
            self.sift_down(from, root, length);
        }
        for end in (0..length).rev() {
            self.swap(from, from + end);
            self.sift_down(from, 0, end);
        }
    }

    fn sift_down(&mut self, from: usize, mut root: usize, length: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= length {
                return;
            }
            if child + 1 < length && self.less(from + child, from + child + 1) {
                child += 1;
            }
            if !self.less(from + root, from + child) {
                return;
            }
            self.swap(from + root, from + child);
            root = child;
        }
    }

    /// Moves three elements of the middle to places drawn from a generator seeded by the length.
    fn shuffle(&mut self, from: usize, to: usize) {
        let length = to - from;
        let mut random = length as u64;
        let mask = (1_u64 << (64 - random.leading_zeros())) - 1;
        let middle = from + (length / 4) * 2;
        for i in 0..3 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let mut other = (random & mask) as usize;
            if other >= length {
                other -= length;
            }
            self.swap(middle - 1 + i, from + other);
        }
    }

    fn choose_pivot(&self, from: usize, to: usize) -> (usize, Pattern) {
        let length = to - from;
        let mut swaps = 0;
        let quarter = length / 4;
        let mut quartiles = [from + quarter, from + quarter * 2, from + quarter * 3];
        if length >= NINTHER_MIN {
            quartiles = quartiles.map(|at| self.median(at - 1, at, at + 1, &mut swaps));
        }
        let [low, middle, high] = quartiles;
        let pivot = self.median(low, middle, high, &mut swaps);
        let pattern = match swaps {
            0 => Pattern::Increasing,
            12 => Pattern::Decreasing,
            _ => Pattern::Unknown,
        };
        (pivot, pattern)
    }

    fn median(&self, a: usize, b: usize, c: usize, swaps: &mut u32) -> usize {
        let mut ordered = |a, b| {
            if self.less(b, a) {
                *swaps += 1;
                (b, a)
            } else {
                (a, b)
            }
        };
        let (a, b) = ordered(a, b);
        let (b, _) = ordered(b, c);
        ordered(a, b).1
    }

    /// Tries to sort an almost sorted range in a few steps.
    fn repair(&mut self, from: usize, to: usize) -> bool {
        let mut at = from + 1;
        for _ in 0..REPAIR_STEPS {
            while at < to && !self.less(at, at - 1) {
                at += 1;
            }
            if at == to {
                return true;
            }
            if to - from < REPAIR_LENGTH_MIN {
                return false;
            }
            self.swap(at, at - 1);
            if at - from >= 2 {
                let mut left = at - 1;
                while left >= 1 && self.less(left, left - 1) {
                    self.swap(left, left - 1);
                    left -= 1;
                }
            }
            if to - at >= 2 {
                let mut right = at + 1;
                while right < to && self.less(right, right - 1) {
                    self.swap(right, right - 1);
                    right += 1;
                }
            }
        }
        false
    }

    /// Smaller elements to the left of the pivot, the others to the right; whether that was so already.
    fn partition(&mut self, from: usize, to: usize, pivot: usize) -> (usize, bool) {
        self.swap(from, pivot);
        let (mut i, mut j) = (from + 1, to - 1);
        let mut already = true;
        loop {
            while i <= j && self.less(i, from) {
                i += 1;
            }
            while i <= j && !self.less(j, from) {
                j -= 1;
            }
            if i > j {
                break;
            }
            already = false;
            self.swap(i, j);
            i += 1;
            j -= 1;
        }
        self.swap(j, from);
        (j, already)
    }

    /// Elements equal to the pivot to the left; where the greater ones begin.
    fn partition_equal(&mut self, from: usize, to: usize, pivot: usize) -> usize {
        self.swap(from, pivot);
        let (mut i, mut j) = (from + 1, to - 1);
        loop {
            while i <= j && !self.less(from, i) {
                i += 1;
            }
            while i <= j && self.less(from, j) {
                j -= 1;
            }
            if i > j {
                return i;
            }
            self.swap(i, j);
            i += 1;
            j -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorts(mut values in prop::collection::vec(0_u8..40, 0..400)) {
            let mut sorted = values.clone();
            sorted.sort();
            sort_by(&mut values, |a, b| a < b);
            prop_assert_eq!(values, sorted);
        }
    }

    #[test]
    fn sorts_patterns() {
        for length in [13, 60, 500] {
            for pattern in [0, 1, 2, 7] {
                let mut values: Vec<usize> = (0..length)
                    .map(|i| if pattern == 0 { length - i } else { i * i * pattern % length })
                    .collect();
                let mut sorted = values.clone();
                sorted.sort();
                sort_by(&mut values, |a, b| a < b);
                assert_eq!(values, sorted);
            }
        }
    }
}
