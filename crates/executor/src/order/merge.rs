//! Several row streams as one.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::error::ExecError;
use crate::row::{Row, RowStream};
use crate::scope::Scope;

/// Streams whose rows follow each other; each is dropped when it ends.
pub(crate) struct Chain<'a> {
    streams: VecDeque<Box<dyn RowStream + 'a>>,
}

impl<'a> Chain<'a> {
    pub fn new(streams: impl IntoIterator<Item = Box<dyn RowStream + 'a>>) -> Self {
        Self { streams: streams.into_iter().collect() }
    }
}

impl RowStream for Chain<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        while let Some(stream) = self.streams.front_mut() {
            if stream.next_row(row)? {
                return Ok(true);
            }
            self.streams.pop_front();
        }
        Ok(false)
    }
}

/// Streams merged by outer group and time; at the same time the rows of an earlier stream come first.
pub(crate) struct Merge<'a> {
    scope: Scope,
    inputs: Vec<Input<'a>>,
    started: bool,
}

struct Input<'a> {
    stream: Box<dyn RowStream + 'a>,
    head: Option<Row>,
}

impl Input<'_> {
    fn advance(&mut self, mut buffer: Row) -> Result<(), ExecError> {
        self.head = self.stream.next_row(&mut buffer)?.then_some(buffer);
        Ok(())
    }
}

impl<'a> Merge<'a> {
    pub fn new(streams: Vec<Box<dyn RowStream + 'a>>, scope: &Scope) -> Self {
        let inputs = streams.into_iter().map(|stream| Input { stream, head: None }).collect();
        Self { scope: scope.clone(), inputs, started: false }
    }

    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let ordering =
            self.scope.grouping.compare_outer_groups(&a.series, &b.series).then_with(|| a.time.cmp(&b.time));
        self.scope.directed(ordering)
    }
}

impl RowStream for Merge<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        if !self.started {
            self.started = true;
            for input in &mut self.inputs {
                input.advance(Row::default())?;
            }
        }
        let heads = self.inputs.iter().enumerate().filter_map(|(i, input)| Some((i, input.head.as_ref()?)));
        let Some((first, _)) = heads.min_by(|a, b| self.compare(a.1, b.1)) else { return Ok(false) };
        let input = &mut self.inputs[first];
        if let Some(mut head) = input.head.take() {
            std::mem::swap(row, &mut head);
            input.advance(head)?;
        }
        Ok(true)
    }
}
