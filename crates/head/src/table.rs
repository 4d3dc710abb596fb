//! The newest points of one table.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::points::FieldColumn;
use hyperbytedb_domain::scan::{FieldId, Predicate, TagId};
use hyperbytedb_domain::time::MIN_TIME;
use hyperbytedb_domain::{EngineError, SeriesId, Tags, TimeRange};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, Rows};
use crate::filter::{Filter, RowFilter, Verdict, postings};
use crate::layout::Layout;
use crate::packed::PackedRows;
use crate::series::SeriesHead;
use crate::tags::{Ordinal, TagValues};

/// Slots of series that are gone before the table's index is built anew.
const GONE_MIN: usize = 1024;
/// Bytes of an entry of the index beside the series itself, about.
const ENTRY_BYTES: usize = 64;
/// Layouts of rows that are looked at for one that is alike.
const LAYOUTS_MAX: usize = 16;

/// Rows of one write for one table.
#[derive(Debug, Clone, Copy)]
pub struct NewRows<'a> {
    pub table: &'a Table,
    pub times: &'a [i64],
    /// Index into `series`, one a row.
    pub series_of_row: &'a [u32],
    pub series: &'a [(SeriesId, Tags)],
    pub fields: &'a [(FieldId, FieldColumn)],
}

/// From which time on every point of the table is here.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Horizon {
    /// The last time that points which never were here can have; `None` = not known.
    stored: Option<i64>,
    /// Everything before has left.
    evicted: i64,
}

/// Points of one table.
#[derive(Debug)]
pub struct TableHead {
    pub table: TableId,
    index: RwLock<Index>,
    /// Held by whoever adds or removes points or series; readers do without.
    changing: Mutex<Changes>,
    horizon: Mutex<Horizon>,
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Changes {
    /// Layouts of late, so that rows that are alike share one.
    layouts: VecDeque<Arc<Layout>>,
    /// How often points were removed.
    removals: u64,
}

#[derive(Debug, Default)]
pub struct Index {
    by_id: HashMap<SeriesId, Ordinal>,
    /// By ordinal; `None` = gone.
    series: Vec<Option<Arc<SeriesHead>>>,
    gone: usize,
    /// By number of the tag.
    tags: Vec<TagValues>,
}

impl TableHead {
    /// `is_new`: the engine holds nothing of the table.
    pub fn new(table: TableId, is_new: bool) -> Self {
        let stored = is_new.then_some(MIN_TIME - 1);
        Self {
            table,
            index: RwLock::default(),
            changing: Mutex::default(),
            horizon: Mutex::new(Horizon { stored, evicted: MIN_TIME }),
            bytes: AtomicUsize::new(0),
        }
    }

    /// The time from which on every point is here; the greatest number while that is not known.
    pub fn complete_from(&self) -> i64 {
        self.horizon.lock().complete_from()
    }

    pub fn is_known(&self) -> bool {
        self.horizon.lock().stored.is_some()
    }

    /// Sets the greatest time that the engine may have held before the first point came here.
    pub fn know_stored(&self, max_time: Option<i64>) {
        self.horizon.lock().stored.get_or_insert(max_time.unwrap_or(MIN_TIME - 1));
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes the rows of a log record. Rows before the horizon are left to the engine.
    pub fn push(&self, rows: NewRows<'_>) {
        let mut changing = self.changing.lock();
        let evicted = self.horizon.lock().evicted;
        let packed = PackedRows::new(rows, changing.layout_of(rows.fields), evicted);
        self.add(rows, &packed, SeriesHead::push);
    }

    /// Takes rows of the engine, which yield to what is here, unless points were removed since `removals` were counted.
    /// False: they were.
    pub fn fill(&self, rows: NewRows<'_>, removals: u64) -> bool {
        let mut changing = self.changing.lock();
        if changing.removals != removals {
            return false;
        }
        let packed = PackedRows::new(rows, changing.layout_of(rows.fields), i64::MIN);
        self.add(rows, &packed, SeriesHead::fill);
        true
    }

    /// How often points were removed.
    pub fn removals(&self) -> u64 {
        self.changing.lock().removals
    }

    /// Hands each series its rows. `put` returns how many bytes more it holds.
    fn add(&self, rows: NewRows<'_>, packed: &PackedRows, put: impl Fn(&SeriesHead, Rows<'_>) -> isize) {
        let ordinals = self.ordinals_of(rows);
        // Series get other numbers only from who holds `changing`.
        let index = self.index.read();
        let mut bytes = 0;
        for (number, &ordinal) in ordinals.iter().enumerate() {
            if let Some(series) = index.at(ordinal) {
                bytes += put(series, packed.rows_of(number));
            }
        }
        self.add_bytes(bytes);
    }

    fn add_bytes(&self, bytes: isize) {
        if bytes >= 0 {
            self.bytes.fetch_add(bytes as usize, Ordering::Relaxed);
        } else {
            self.release(bytes.unsigned_abs());
        }
    }

    fn release(&self, bytes: usize) {
        // Overwritten text makes the account a little wrong; it must not wrap around.
        let _ = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(bytes)));
    }

    /// The numbers of the series, which are added if need be.
    fn ordinals_of(&self, rows: NewRows<'_>) -> Vec<Ordinal> {
        {
            let index = self.index.read();
            let known = rows.series.iter().map_while(|(id, _)| index.by_id.get(id).copied());
            let known: Vec<Ordinal> = known.collect();
            if known.len() == rows.series.len() {
                return known;
            }
        }
        let mut index = self.index.write();
        let mut added = 0;
        let ordinals = rows.series.iter().map(|(id, tags)| match index.by_id.get(id) {
            Some(&ordinal) => ordinal,
            None => {
                let ordinal = index.series.len() as Ordinal;
                let series = index.add(rows.table, *id, tags);
                added += series.base_bytes() + ENTRY_BYTES;
                ordinal
            }
        });
        let ordinals = ordinals.collect();
        self.add_bytes(added as isize);
        ordinals
    }

    /// The series that can have rows which meet a condition, and for each what is left of it.
    pub fn select<T>(
        &self,
        filter: Option<&Predicate>,
        table: &Table,
        only: Option<&[SeriesId]>,
        mut take: impl FnMut(&Index, &Arc<SeriesHead>, Option<RowFilter>) -> T,
    ) -> Result<Vec<T>, EngineError> {
        let index = self.index.read();
        let postings = filter.and_then(|filter| postings(&index, filter));
        let mut filter = filter.map(|filter| Filter::new(filter, table)).transpose()?;
        let mut selected = Vec::new();
        let mut visit = |series: &Arc<SeriesHead>| {
            let rest = match &mut filter {
                None => None,
                Some(filter) => match filter.of_series(&index, series) {
                    Verdict::None => return,
                    Verdict::All => None,
                    Verdict::Rows(rest) => Some(rest),
                },
            };
            selected.push(take(&index, series, rest));
        };
        if let Some(only) = only {
            only.iter().filter_map(|id| index.get(*id)).for_each(&mut visit);
            return Ok(selected);
        }
        match postings {
            Some(postings) => postings.iter().filter_map(|&o| index.at(o)).for_each(&mut visit),
            None => index.series.iter().flatten().for_each(&mut visit),
        }
        Ok(selected)
    }

    /// Removes the rows of a range whose series meet a condition over tags. A condition that cannot be evaluated ends
    /// the head: from then on the engine answers.
    pub fn remove(&self, table: &Table, filter: Option<&Predicate>, range: TimeRange) {
        let mut changing = self.changing.lock();
        changing.removals += 1;
        let Ok(selected) = self.select(filter, table, None, |_, series, _| series.clone()) else {
            drop(changing);
            return self.evict(i64::MAX);
        };
        let freed = selected.iter().map(|series| series.remove(range)).sum();
        self.release(freed);
        self.drop_empty_series(&changing, &selected);
    }

    /// Drops what is older than a time.
    pub fn evict(&self, before: i64) {
        {
            let mut horizon = self.horizon.lock();
            horizon.evicted = horizon.evicted.max(before);
        }
        let series: Vec<Arc<SeriesHead>> = self.index.read().series.iter().flatten().cloned().collect();
        let freed = series.iter().map(|series| series.evict(before)).sum();
        self.release(freed);
        self.drop_empty_series(&self.changing.lock(), &series);
    }

    /// Everything from a time on is here now.
    pub fn extend_to(&self, from: i64) {
        let mut horizon = self.horizon.lock();
        horizon.stored = horizon.stored.map(|stored| stored.min(from.saturating_sub(1)));
    }

    /// Drops those of the series that have no points any more.
    fn drop_empty_series(&self, _changing: &MutexGuard<'_, Changes>, series: &[Arc<SeriesHead>]) {
        let mut index = self.index.write();
        let freed = index.drop_empty(series);
        drop(index);
        self.release(freed);
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read()
    }

    pub(crate) fn horizon(&self) -> Horizon {
        *self.horizon.lock()
    }

    pub(crate) fn restore_horizon(&self, horizon: Horizon) {
        *self.horizon.lock() = horizon;
    }

    /// Takes a series that was read back. `tag_values`: what its codes mean, by number of the tag.
    pub(crate) fn restore_series(
        &self,
        id: SeriesId,
        codes: &[u32],
        tag_values: &[Vec<String>],
        chunks: Vec<Chunk>,
    ) {
        let mut index = self.index.write();
        let series = index.add_with(id, tag_values.len(), |tag| {
            let code = codes.get(tag).copied().unwrap_or(0) as usize;
            let value = code.checked_sub(1).and_then(|at| tag_values[tag].get(at));
            value.map_or("", String::as_str)
        });
        drop(index);
        let bytes = series.restore(chunks) + series.base_bytes() + ENTRY_BYTES;
        self.add_bytes(bytes as isize);
    }

    /// The same layout, as other rows share it.
    pub(crate) fn shared_layout(&self, layout: Layout) -> Arc<Layout> {
        self.changing.lock().shared_layout(layout)
    }

    pub fn for_each_chunk(&self, mut visit: impl FnMut(i64, usize)) {
        self.index.read().series.iter().flatten().for_each(|series| series.for_each_chunk(&mut visit));
    }
}

impl Changes {
    /// The layout of these fields, shared where it can be.
    fn layout_of(&mut self, fields: &[(FieldId, FieldColumn)]) -> Arc<Layout> {
        let fields = fields.iter().map(|(id, column)| (*id, column.values.field_type()));
        self.shared_layout(Layout::new(fields.collect()))
    }

    fn shared_layout(&mut self, layout: Layout) -> Arc<Layout> {
        if let Some(known) = self.layouts.iter().find(|known| ***known == layout) {
            return known.clone();
        }
        let layout = Arc::new(layout);
        self.layouts.push_front(layout.clone());
        self.layouts.truncate(LAYOUTS_MAX);
        layout
    }
}

impl Horizon {
    fn complete_from(self) -> i64 {
        self.stored.map_or(i64::MAX, |stored| stored.saturating_add(1).max(self.evicted))
    }
}

impl Index {
    fn get(&self, id: SeriesId) -> Option<&Arc<SeriesHead>> {
        self.at(*self.by_id.get(&id)?)
    }

    fn at(&self, ordinal: Ordinal) -> Option<&Arc<SeriesHead>> {
        self.series.get(ordinal as usize)?.as_ref()
    }

    /// The value of a series' tag.
    pub fn tag_value(&self, series: &SeriesHead, tag: TagId) -> &str {
        let tag = tag.0 as usize;
        self.tag(tag).map_or("", |values| values.value(series.code(tag)))
    }

    /// The same, shared.
    pub fn shared_tag_value(&self, series: &SeriesHead, tag: TagId) -> Arc<str> {
        let tag = tag.0 as usize;
        self.tag(tag).and_then(|values| values.shared_value(series.code(tag))).unwrap_or_else(|| "".into())
    }

    /// The values of a tag; `None` when no series has it.
    pub fn tag(&self, tag: usize) -> Option<&TagValues> {
        self.tags.get(tag)
    }

    fn add(&mut self, table: &Table, id: SeriesId, tags: &Tags) -> Arc<SeriesHead> {
        self.add_with(id, table.tags.len(), |tag| tags.get(&table.tags[tag]).unwrap_or_default())
    }

    /// Adds a series by the values of its tags.
    fn add_with<'a>(
        &mut self,
        id: SeriesId,
        tags: usize,
        value: impl Fn(usize) -> &'a str,
    ) -> Arc<SeriesHead> {
        let ordinal = self.series.len() as Ordinal;
        if self.tags.len() < tags {
            self.tags.resize_with(tags, TagValues::default);
        }
        let values = self.tags.iter_mut().take(tags).enumerate();
        let codes: Box<[u32]> = values.map(|(tag, values)| values.add(value(tag), ordinal)).collect();
        self.put(Arc::new(SeriesHead::new(id, codes)))
    }

    pub(crate) fn all_series(&self) -> impl Iterator<Item = &Arc<SeriesHead>> {
        self.series.iter().flatten()
    }

    /// By number of the tag: its values by code, from 1 on.
    pub(crate) fn tag_values(&self) -> Vec<Vec<String>> {
        self.tags.iter().map(TagValues::all).collect()
    }

    fn put(&mut self, series: Arc<SeriesHead>) -> Arc<SeriesHead> {
        self.by_id.insert(series.id, self.series.len() as Ordinal);
        self.series.push(Some(series.clone()));
        series
    }

    fn drop_empty(&mut self, series: &[Arc<SeriesHead>]) -> usize {
        let mut freed = 0;
        for id in series.iter().map(|series| series.id) {
            // Whoever names a series may hold one that has been numbered anew since: what counts is what is here.
            let Some(&ordinal) = self.by_id.get(&id) else { continue };
            let Some(slot) = self.series.get_mut(ordinal as usize) else { continue };
            if let Some(series) = slot.take_if(|series| series.is_empty()) {
                freed += series.base_bytes() + ENTRY_BYTES;
                self.by_id.remove(&id);
                self.gone += 1;
            }
        }
        if self.gone > GONE_MIN && self.gone > self.series.len() / 2 {
            self.compact();
        }
        freed
    }

    /// Numbers the series anew and forgets tag values that none has.
    fn compact(&mut self) {
        let old = std::mem::take(self);
        self.tags.resize_with(old.tags.len(), TagValues::default);
        for series in old.series.into_iter().flatten() {
            let ordinal = self.series.len() as Ordinal;
            let codes = self.tags.iter_mut().zip(&old.tags).enumerate();
            let codes: Box<[u32]> =
                codes.map(|(tag, (new, old))| new.add(old.value(series.code(tag)), ordinal)).collect();
            self.put(Arc::new(series.with_codes(codes)));
        }
    }
}
