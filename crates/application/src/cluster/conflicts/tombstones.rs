//! Deletes that what comes late must not undo.

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::{DeleteScope, Table, TableId};
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{FieldValue, Tags};
use regex::Regex;

/// A delete that records may still be on their way from before it, or that took rows that are remembered.
pub struct Tombstone {
    pub agreed_index: u64,
    /// It is in the log behind it.
    pub behind: Sequence,
    /// The record that was noted next.
    pub next_number: u64,
    scope: DeleteScope,
    regexes: HashMap<String, Regex>,
}

/// By table.
#[derive(Default)]
pub struct Tombstones {
    by_table: HashMap<TableId, Vec<Tombstone>>,
    count: usize,
}

impl Tombstones {
    pub fn push(&mut self, tombstone: Tombstone) {
        self.by_table.entry(tombstone.scope.table).or_default().push(tombstone);
        self.count += 1;
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// In the order of the log.
    pub fn of(&self, table: TableId) -> &[Tombstone] {
        self.by_table.get(&table).map_or(&[], Vec::as_slice)
    }

    /// All of them are in the log behind it.
    pub fn behind(&self) -> Option<Sequence> {
        self.by_table.values().filter_map(|of_table| of_table.first()).map(|first| first.behind).min()
    }

    pub fn retain(&mut self, is_wanted: impl Fn(&Tombstone) -> bool) {
        self.by_table.retain(|_, of_table| {
            of_table.retain(&is_wanted);
            !of_table.is_empty()
        });
        self.count = self.by_table.values().map(Vec::len).sum();
    }
}

impl Tombstone {
    pub fn new(scope: &DeleteScope, agreed_index: u64, behind: Sequence, next_number: u64) -> Self {
        let mut regexes = HashMap::new();
        if let Some(filter) = &scope.filter {
            compile(filter, &mut regexes);
        }
        Self { agreed_index, behind, next_number, scope: scope.clone(), regexes }
    }

    pub fn covers(&self, table: &Table, tags: &Tags, time: i64) -> bool {
        self.scope.table == table.id
            && self.scope.time.min <= time
            && time <= self.scope.time.max
            && self.scope.filter.as_ref().is_none_or(|filter| self.matches(filter, table, tags))
    }

    fn matches(&self, filter: &Predicate, table: &Table, tags: &Tags) -> bool {
        let text = |operand: &Operand| match operand {
            Operand::Tag(tag) => {
                let key = table.tags.get(tag.0 as usize);
                let value = key.and_then(|key| tags.iter().find(|(name, _)| name == key));
                Some(value.map_or_else(String::new, |(_, value)| value.to_owned()))
            }
            Operand::Literal(FieldValue::String(text)) => Some(text.to_string()),
            Operand::Literal(_) | Operand::Field(_) => None,
        };
        match filter {
            Predicate::Constant(value) => *value,
            Predicate::And(terms) => terms.iter().all(|term| self.matches(term, table, tags)),
            Predicate::Or(terms) => terms.iter().any(|term| self.matches(term, table, tags)),
            Predicate::Compare { left, op, right } => {
                let (Some(left), Some(right)) = (text(left), text(right)) else { return false };
                match op {
                    CompareOp::Eq => left == right,
                    CompareOp::Ne => left != right,
                    CompareOp::Lt => left < right,
                    CompareOp::Le => left <= right,
                    CompareOp::Gt => left > right,
                    CompareOp::Ge => left >= right,
                }
            }
            Predicate::Regex { operand, pattern, negated } => {
                let regex = self.regexes.get(pattern);
                let found = text(operand).zip(regex).map(|(text, regex)| regex.is_match(&text));
                found.is_some_and(|found| found != *negated)
            }
        }
    }
}

fn compile(filter: &Predicate, regexes: &mut HashMap<String, Regex>) {
    match filter {
        Predicate::And(terms) | Predicate::Or(terms) => terms.iter().for_each(|term| compile(term, regexes)),
        Predicate::Regex { pattern, .. } => {
            // It was checked when the statement was.
            if let Ok(regex) = Regex::new(pattern) {
                regexes.insert(pattern.clone(), regex);
            }
        }
        Predicate::Constant(_) | Predicate::Compare { .. } => {}
    }
}
