//! Writes without what loses.

use hyperbytedb_columnar::accepted;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::wal::{BodyForm, WriteEntry};
use hyperbytedb_domain::{Precision, StorageError};
use hyperbytedb_line_protocol::print_point;

use super::{Conflicts, Rivals, WHOLE_ROW, bit};

/// A write without the values that lose. `place` says where it comes from.
pub fn without_losers(
    conflicts: &Conflicts,
    catalog: &Catalog,
    write: &WriteEntry,
    rivals: Rivals,
    place: impl Fn() -> String,
) -> Result<WriteEntry, StorageError> {
    let batches = accepted(write).map_err(|error| StorageError::corrupt(place(), error))?;
    let mut lines = String::new();
    for mut batch in batches {
        let version = write.tables.iter().find(|table| table.measurement == batch.measurement);
        let Some(table) = version.and_then(|version| catalog.table_by_id(version.table)) else {
            continue;
        };
        let rows = batch.rows();
        for (row, losing) in conflicts.losing(rivals, table, &batch).into_iter().enumerate() {
            if losing == WHOLE_ROW {
                continue;
            }
            for column in batch.fields.iter_mut().filter(|_| losing != 0) {
                let field = table.field(&column.name).map_or(0, |(field, _)| bit(field));
                if losing & field != 0 {
                    column.present.get_or_insert_with(|| vec![true; rows])[row] = false;
                }
            }
            if batch.fields.iter().any(|column| column.is_present(row)) {
                print_point(&batch, row, &mut lines);
            }
        }
    }
    Ok(WriteEntry {
        precision: Precision::Nanosecond,
        form: BodyForm::Lines,
        body: lines.into(),
        ..write.clone()
    })
}
