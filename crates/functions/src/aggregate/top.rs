//! top and bottom: the greatest or least points, with or without one per tag combination.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use hyperbytedb_domain::FieldValue;

use super::Reduce;
use crate::typed::Number;
use crate::{Aux, Point};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Greatest,
    Least,
}

/// A candidate; the heap's greatest is the one to give up first: the worse value, then the later time,
/// then the later arrival.
#[derive(Debug, Clone)]
struct Candidate<T> {
    direction: Direction,
    value: T,
    time: i64,
    arrival: u64,
    aux: Aux,
}

impl<T: Number> Ord for Candidate<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let value = match self.direction {
            Direction::Greatest => other.value.order(&self.value),
            Direction::Least => self.value.order(&other.value),
        };
        value.then(self.time.cmp(&other.time)).then(self.arrival.cmp(&other.arrival))
    }
}

impl<T: Number> PartialOrd for Candidate<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Number> PartialEq for Candidate<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Number> Eq for Candidate<T> {}

#[derive(Debug)]
pub struct Top<T> {
    limit: usize,
    tags: usize,
    direction: Direction,
    arrivals: u64,
    heap: BinaryHeap<Candidate<T>>,
    /// With tags: the best point of each combination.
    bests: HashMap<Vec<u8>, Candidate<T>>,
}

impl<T: Number> Top<T> {
    pub fn new(limit: usize, tags: usize, direction: Direction) -> Self {
        Self { limit, tags, direction, arrivals: 0, heap: BinaryHeap::new(), bests: HashMap::new() }
    }

    fn offer(&mut self, candidate: Candidate<T>) {
        if self.heap.len() < self.limit {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// The tag values with a zero byte behind each: equal and ordered as the values are.
    fn tag_key(aux: &[FieldValue], tags: usize) -> Vec<u8> {
        let mut key = Vec::new();
        for tag in aux.iter().take(tags) {
            if let FieldValue::String(value) = tag {
                key.extend_from_slice(value.as_bytes());
            }
            key.push(0);
        }
        key
    }
}

impl<T: Number> Reduce for Top<T> {
    fn push(&mut self, point: &Point) {
        let Some(value) = T::from_value(&point.value) else { return };
        self.arrivals += 1;
        let candidate = Candidate {
            direction: self.direction,
            value,
            time: point.time,
            arrival: self.arrivals,
            aux: point.aux.clone(),
        };
        if self.tags == 0 {
            return self.offer(candidate);
        }
        match self.bests.entry(Self::tag_key(&point.aux, self.tags)) {
            Entry::Occupied(mut best) => {
                if candidate < *best.get() {
                    best.insert(candidate);
                }
            }
            Entry::Vacant(place) => {
                place.insert(candidate);
            }
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let mut bests: Vec<_> = self.bests.drain().collect();
        bests.sort_by(|(a_key, a), (b_key, b)| a.time.cmp(&b.time).then_with(|| a_key.cmp(b_key)));
        for (arrival, (_, mut best)) in bests.into_iter().enumerate() {
            best.arrival = arrival as u64;
            self.offer(best);
        }
        self.arrivals = 0;
        let mut chosen = std::mem::take(&mut self.heap).into_sorted_vec();
        chosen.sort_by_key(|candidate| candidate.time);
        for Candidate { value, time, aux, .. } in chosen {
            emit(Point { time, value: value.into_value(), aux });
        }
    }

    fn held(&self) -> usize {
        self.heap.len() + self.bests.len()
    }
}
