//! The points of one field of one series, merged from all files that have some.

use std::ops::RangeInclusive;

use crate::error::Error;
use crate::tsm::{Entry, TsmFile};
use crate::{Malformed, Points};

/// Points that are put together before they are given out, where they come from several files by turns.
const RUN_POINTS: usize = 1000;

/// Reads the points of a column in the order of time.
#[derive(Debug)]
pub struct ColumnReader<'a> {
    field: Vec<u8>,
    /// Oldest source first.
    streams: Vec<Stream<'a>>,
}

impl<'a> ColumnReader<'a> {
    pub(super) fn new(field: &[u8], streams: Vec<Stream<'a>>) -> Self {
        Self { field: field.to_vec(), streams }
    }

    /// The name of the field, not escaped.
    pub fn field(&self) -> &[u8] {
        &self.field
    }

    /// Reads the next points into `out`, whose old content goes; false when there are none left. Points of one call have
    /// one type; the next ones may have another, where a field was deleted and written anew.
    pub fn read(&mut self, out: &mut Points) -> Result<bool, Error> {
        out.clear();
        while out.len() < RUN_POINTS {
            let Some((first, limit)) = self.first() else { break };
            let stream = &mut self.streams[first];
            if !stream.is_loaded() {
                stream.load()?;
                continue;
            }
            if !out.is_empty() && !out.values.has_type_of(&stream.loaded.values) {
                break;
            }
            let time = stream.loaded.times[stream.at];
            let end = limit.map_or(stream.loaded.len(), |limit| stream.end_before(limit));
            if end > stream.at {
                stream.give(end, out);
                continue;
            }
            // Several streams begin at one time, or may do so.
            if let Some(waiting) = self.streams.iter_mut().find(|s| !s.is_loaded() && s.head() == Some(time))
            {
                waiting.load()?;
                continue;
            }
            if !self.give_latest(time, out) {
                break;
            }
        }
        Ok(!out.is_empty())
    }

    /// The stream that goes on first, and where the next other one does.
    fn first(&self) -> Option<(usize, Option<i64>)> {
        let mut heads = self.streams.iter().enumerate().filter_map(|(at, stream)| Some((stream.head()?, at)));
        let mut first = heads.next()?;
        let mut limit = None;
        for head in heads {
            let later = if head.0 < first.0 { std::mem::replace(&mut first, head) } else { head };
            limit = Some(limit.map_or(later.0, |limit: i64| limit.min(later.0)));
        }
        Some((first.1, limit))
    }

    /// Takes the point of that time from the latest stream that has one, and lets all others go past it; false when its
    /// type begins another run.
    fn give_latest(&mut self, time: i64, out: &mut Points) -> bool {
        let mut given = false;
        for stream in self.streams.iter_mut().rev().filter(|stream| stream.head() == Some(time)) {
            if given {
                stream.at += 1;
            } else if out.is_empty() || out.values.has_type_of(&stream.loaded.values) {
                stream.give(stream.at + 1, out);
                given = true;
            } else {
                return false;
            }
        }
        true
    }
}

/// The points of one source.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    blocks: Option<Blocks<'a>>,
    loaded: Points,
    /// The next one of those loaded.
    at: usize,
}

impl<'a> Stream<'a> {
    /// Appends the streams of a column of a file. They are several only where blocks overlap; later blocks win.
    pub fn add_file(
        tsm: &'a TsmFile,
        entries: &[Entry],
        deleted: &'a [RangeInclusive<i64>],
        range: &RangeInclusive<i64>,
        streams: &mut Vec<Self>,
    ) -> Result<(), Error> {
        let mut layers: Vec<Vec<Entry>> = Vec::new();
        for entry in entries {
            if !entry.has_points(range, deleted) {
                continue;
            }
            let reaches =
                |layer: &Vec<Entry>| layer.last().is_some_and(|last| last.max_time >= entry.min_time);
            let place = layers.iter().rposition(reaches).map_or(0, |layer| layer + 1);
            match layers.get_mut(place) {
                Some(layer) => layer.push(*entry),
                None if place < MAX_LAYERS => layers.push(vec![*entry]),
                None => {
                    let problem = Malformed("the index has too many blocks of a field for one time");
                    return Err(Error::corrupt(tsm.path(), 0)(problem));
                }
            }
        }
        streams.extend(layers.into_iter().map(|mut entries| {
            entries.reverse();
            let blocks = Blocks { tsm, entries, deleted, range: range.clone(), buffer: Vec::new() };
            Self { blocks: Some(blocks), loaded: Points::default(), at: 0 }
        }));
        Ok(())
    }

    pub fn of_points(points: &Points, range: &RangeInclusive<i64>) -> Self {
        let mut loaded = points.clone();
        loaded.retain(|_, time| range.contains(&time));
        Self { blocks: None, loaded, at: 0 }
    }

    fn is_loaded(&self) -> bool {
        self.at < self.loaded.len()
    }

    /// The time of the next point, or the earliest that it may have; none when there is none.
    fn head(&self) -> Option<i64> {
        match self.loaded.times.get(self.at) {
            Some(time) => Some(*time),
            None => self.blocks.as_ref()?.entries.last().map(|entry| entry.min_time),
        }
    }

    fn load(&mut self) -> Result<(), Error> {
        self.at = 0;
        self.loaded.clear();
        match &mut self.blocks {
            Some(blocks) => blocks.read_next(&mut self.loaded),
            None => Ok(()),
        }
    }

    /// Behind the last loaded point before that time.
    fn end_before(&self, limit: i64) -> usize {
        match self.loaded.times.last() {
            Some(last) if *last < limit => self.loaded.len(),
            _ => self.at + self.loaded.times[self.at..].partition_point(|time| *time < limit),
        }
    }

    fn give(&mut self, end: usize, out: &mut Points) {
        if out.is_empty() && self.at == 0 && end == self.loaded.len() {
            std::mem::swap(out, &mut self.loaded);
            self.loaded.clear();
        } else {
            out.append(&self.loaded, self.at..end);
            self.at = end;
        }
    }
}

/// How many blocks of one file may hold one time. It is one but for files of some early versions.
const MAX_LAYERS: usize = 64;

/// Blocks of one file that hold a column and do not overlap.
#[derive(Debug)]
struct Blocks<'a> {
    tsm: &'a TsmFile,
    /// Those left, the next one last.
    entries: Vec<Entry>,
    deleted: &'a [RangeInclusive<i64>],
    range: RangeInclusive<i64>,
    buffer: Vec<u8>,
}

impl<'a> Blocks<'a> {
    fn read_next(&mut self, points: &mut Points) -> Result<(), Error> {
        let Some(entry) = self.entries.pop() else { return Ok(()) };
        self.tsm.read(&entry, &mut self.buffer, points)?;
        if !self.deleted.is_empty() || !self.contains(&entry) {
            points.retain(|_, time| {
                self.range.contains(&time) && !self.deleted.iter().any(|gone| gone.contains(&time))
            });
        }
        Ok(())
    }

    fn contains(&self, entry: &Entry) -> bool {
        self.range.contains(&entry.min_time) && self.range.contains(&entry.max_time)
    }
}
