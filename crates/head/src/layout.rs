//! How a row of field values is laid out in words of 64 bits: its time, which fields it has, then a word for each field.

use std::sync::Arc;

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::scan::FieldId;

/// Which fields the rows of a chunk can have, by rising number. Shared by all rows that are alike.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    fields: Box<[(FieldId, FieldType)]>,
    has_text: bool,
}

const BITS: usize = u64::BITS as usize;

impl Layout {
    pub fn new(mut fields: Vec<(FieldId, FieldType)>) -> Self {
        fields.sort_unstable_by_key(|(id, _)| *id);
        fields.dedup_by_key(|(id, _)| *id);
        let has_text = fields.iter().any(|(_, field_type)| *field_type == FieldType::String);
        Self { fields: fields.into(), has_text }
    }

    pub fn fields(&self) -> &[(FieldId, FieldType)] {
        &self.fields
    }

    pub fn has_text(&self) -> bool {
        self.has_text
    }

    /// Position of a field among the fields.
    pub fn position(&self, field: FieldId) -> Option<usize> {
        self.fields.binary_search_by_key(&field, |(id, _)| *id).ok()
    }

    pub fn presence_words(&self) -> usize {
        self.fields.len().div_ceil(BITS)
    }

    /// The word of a field, by its position.
    pub fn word(&self, position: usize) -> usize {
        1 + self.presence_words() + position
    }

    /// Words of a row.
    pub fn stride(&self) -> usize {
        self.word(self.fields.len())
    }

    /// A layout with the fields of both.
    pub fn union(left: &Arc<Self>, right: &Arc<Self>) -> Arc<Self> {
        if Arc::ptr_eq(left, right) || right.fields.iter().all(|(id, _)| left.position(*id).is_some()) {
            return left.clone();
        }
        Arc::new(Self::new(left.fields.iter().chain(&right.fields).copied().collect()))
    }
}

/// Whether a row has the field at a position.
pub fn is_present(row: &[u64], position: usize) -> bool {
    row[1 + position / BITS] >> (position % BITS) & 1 == 1
}

pub fn set_present(row: &mut [u64], position: usize) {
    row[1 + position / BITS] |= 1 << (position % BITS);
}
