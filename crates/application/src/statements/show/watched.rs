//! The series index, on behalf of a statement that may be ended: walks look now and then whether they must stop. What was
//! removed before a restart is removed again before it is read.

use std::ops::ControlFlow;

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::ports::SeriesIndexPort;
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, StorageError, Tags};

use super::super::StatementError;

/// Steps of a walk between two looks.
const STEPS_UNWATCHED: u32 = 1_000;

/// Waits until no removal from before a restart is left to be carried out again in a table.
type Settle<'a> = dyn Fn(TableId, &QueryContext) -> Result<(), EngineError> + 'a;

#[derive(Clone, Copy)]
pub struct WatchedIndex<'a> {
    index: &'a dyn SeriesIndexPort,
    settle: &'a Settle<'a>,
    context: &'a QueryContext,
}

impl<'a> WatchedIndex<'a> {
    pub fn new(index: &'a dyn SeriesIndexPort, settle: &'a Settle<'a>, context: &'a QueryContext) -> Self {
        Self { index, settle, context }
    }

    fn settled(&self, table: TableId) -> Result<(), StatementError> {
        self.context.check()?;
        Ok((self.settle)(table, self.context)?)
    }

    /// As [`SeriesIndexPort::series_count`].
    pub fn series_count(&self, table: TableId) -> Result<u64, StatementError> {
        self.settled(table)?;
        Ok(self.index.series_count(table)?)
    }

    /// As [`SeriesIndexPort::tag_keys`].
    pub fn tag_keys(&self, table: TableId) -> Result<Vec<String>, StatementError> {
        self.settled(table)?;
        Ok(self.index.tag_keys(table)?)
    }

    /// As [`SeriesIndexPort::for_each_series`], or [`SeriesIndexPort::for_each_series_with_tag`] when a tag is given.
    pub fn for_each_series(
        &self,
        table: TableId,
        tag: Option<(&str, &str)>,
        visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
    ) -> Result<(), StatementError> {
        self.settled(table)?;
        let mut watch = Watch::new(self.context);
        let mut watched = |id, tags: &Tags| {
            watch.step()?;
            visit(id, tags)
        };
        let walked = match tag {
            Some((key, value)) => self.index.for_each_series_with_tag(table, key, value, &mut watched),
            None => self.index.for_each_series(table, &mut watched),
        };
        watch.end(walked)
    }

    /// As [`SeriesIndexPort::for_each_tag_value`].
    pub fn for_each_tag_value(
        &self,
        table: TableId,
        key: &str,
        visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), StatementError> {
        self.settled(table)?;
        let mut watch = Watch::new(self.context);
        let walked = self.index.for_each_tag_value(table, key, &mut |value| {
            watch.step()?;
            visit(value)
        });
        watch.end(walked)
    }
}

/// Why a walk broke off, if it did.
struct Watch<'a> {
    context: &'a QueryContext,
    steps: u32,
    ended: Result<(), EngineError>,
}

impl<'a> Watch<'a> {
    fn new(context: &'a QueryContext) -> Self {
        Self { context, steps: 0, ended: Ok(()) }
    }

    fn step(&mut self) -> ControlFlow<()> {
        self.steps += 1;
        if self.steps == STEPS_UNWATCHED {
            self.steps = 0;
            self.ended = self.context.check();
        }
        if self.ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn end(self, walked: Result<(), StorageError>) -> Result<(), StatementError> {
        self.ended?;
        Ok(walked?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use hyperbytedb_domain::catalog::{Catalog, Table};
    use hyperbytedb_domain::ports::SeriesRefusal;

    use super::*;

    /// An index whose walks never end by themselves.
    struct Endless;

    impl SeriesIndexPort for Endless {
        fn for_each_series(
            &self,
            _: TableId,
            visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
        ) -> Result<(), StorageError> {
            let tags = Tags::default();
            while visit(tags.series_id(), &tags).is_continue() {}
            Ok(())
        }

        fn for_each_series_with_tag(
            &self,
            table: TableId,
            _: &str,
            _: &str,
            visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
        ) -> Result<(), StorageError> {
            self.for_each_series(table, visit)
        }

        fn series_with_tag(
            &self,
            _: TableId,
            _: &str,
            _: &str,
            _: usize,
        ) -> Result<Option<Vec<SeriesId>>, StorageError> {
            Ok(None)
        }

        fn for_each_tag_value(
            &self,
            _: TableId,
            _: &str,
            visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
        ) -> Result<(), StorageError> {
            while visit("value").is_continue() {}
            Ok(())
        }

        fn series_count(&self, _: TableId) -> Result<u64, StorageError> {
            Ok(1)
        }

        fn tag_keys(&self, _: TableId) -> Result<Vec<String>, StorageError> {
            Ok(Vec::new())
        }

        fn register(
            &self,
            _: &Table,
            _: &[(SeriesId, &Tags)],
        ) -> Result<Vec<Result<bool, SeriesRefusal>>, StorageError> {
            unreachable!("walks only read")
        }

        fn remove_series(&self, _: &Table, _: &[SeriesId]) -> Result<(), StorageError> {
            unreachable!("walks only read")
        }

        fn drop_table(&self, _: TableId) -> Result<(), StorageError> {
            unreachable!("walks only read")
        }

        fn restore(&self, _: &Table, _: &[(SeriesId, &Tags)]) -> Result<(), StorageError> {
            unreachable!("walks only read")
        }

        fn settle(&self, _: TableId, _: &[SeriesId]) -> Result<(), StorageError> {
            unreachable!("walks only read")
        }

        fn unsettled(&self) -> Result<Vec<(TableId, Vec<SeriesId>)>, StorageError> {
            unreachable!("walks only read")
        }

        fn retain_tables(&self, _: &Catalog) -> Result<(), StorageError> {
            unreachable!("walks only read")
        }
    }

    const TABLE: TableId = TableId(1);

    /// Each way to walk; `step` is called at each step.
    fn walks(context: &QueryContext, step: &dyn Fn()) -> [Result<(), StatementError>; 3] {
        let index = WatchedIndex::new(&Endless, &|_, _| Ok(()), context);
        let mut on_series = |_, _: &Tags| {
            step();
            ControlFlow::Continue(())
        };
        [
            index.for_each_series(TABLE, None, &mut on_series),
            index.for_each_series(TABLE, Some(("host", "a")), &mut on_series),
            index.for_each_tag_value(TABLE, "host", &mut |_| {
                step();
                ControlFlow::Continue(())
            }),
        ]
    }

    #[test]
    fn a_killed_statement_ends_its_walks() {
        let context = QueryContext::unbounded();
        for walked in walks(&context, &|| context.cancel.cancel()) {
            assert!(matches!(walked, Err(StatementError::Engine(EngineError::Cancelled))));
        }
        let index = WatchedIndex::new(&Endless, &|_, _| Ok(()), &context);
        assert!(index.series_count(TABLE).is_err() && index.tag_keys(TABLE).is_err());
    }

    #[test]
    fn a_statement_past_its_deadline_ends_its_walks() {
        let deadline = Some(Instant::now() + Duration::from_millis(20));
        let context = QueryContext { deadline, ..QueryContext::unbounded() };
        for walked in walks(&context, &|| {}) {
            assert!(matches!(walked, Err(StatementError::Engine(EngineError::Timeout))));
        }
    }

    #[test]
    fn a_walk_that_its_visitor_ends_is_no_error() {
        let context = QueryContext::unbounded();
        let index = WatchedIndex::new(&Endless, &|_, _| Ok(()), &context);
        assert!(index.for_each_series(TABLE, None, &mut |_, _| ControlFlow::Break(())).is_ok());
    }
}
