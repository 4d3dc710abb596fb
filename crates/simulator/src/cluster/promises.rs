//! What nodes may answer that take points by comparing.
//!
//! Of values that differ and whose clocks nobody knows any more, most nodes decide. So of a field any value may be there that was
//! written and not deleted, but none that is older than one that a quorum had when it was answered.

use std::collections::{BTreeMap, BTreeSet};

use hyperbytedb_application::cluster::conflicts::Stamp;
use hyperbytedb_domain::Tags;

use super::content::Seen;
use super::model::Writes;
use crate::model::{Place, Points};

/// A field of a point.
type Cell<'a> = (Place, &'a Tags, i64, &'a str);

/// What is asked of a node.
pub struct Promises<'a> {
    pub writes: &'a Writes,
    pub seen: Seen<'a>,
    /// Nothing older may be in the place of these.
    pub kept: &'a BTreeSet<Stamp>,
}

impl Promises<'_> {
    /// `must_have`: whether something must be there of a record.
    pub fn hold(
        &self,
        points: &BTreeMap<Place, Points>,
        must_have: impl Fn(&Stamp) -> bool,
    ) -> Result<(), String> {
        let mut written: BTreeMap<Cell<'_>, Vec<(&Stamp, &str)>> = BTreeMap::new();
        for (stamp, place, row) in self.writes.rows(&self.seen) {
            for (field, value) in &row.fields {
                let cell = (place.clone(), &row.tags, row.time, field.as_str());
                written.entry(cell).or_default().push((stamp, value.as_str()));
            }
        }
        for (cell, values) in &written {
            let (place, tags, time, field) = cell;
            let point = points.get(place).and_then(|points| points.get(&((*tags).clone(), *time)));
            let Some(found) = point.and_then(|fields| fields.get(*field)) else {
                match values.iter().find(|(stamp, _)| must_have(stamp)) {
                    None => continue,
                    Some((stamp, _)) => {
                        let record = self.writes.describe(stamp);
                        return Err(format!(
                            "it lacks {field} of {place:?} {} {time}: {record}",
                            tags.series_key("")
                        ));
                    }
                }
            };
            let oldest = values.iter().rposition(|(stamp, _)| self.kept.contains(stamp)).unwrap_or(0);
            if !values[oldest..].iter().any(|(_, value)| *value == found.as_str()) {
                return Err(format!(
                    "{place:?} {} {time}: {field} is {found}, of {values:?}, of which those from {:?} on may be there",
                    tags.series_key(""),
                    values[oldest].0
                ));
            }
        }
        self.nothing_else(points, &written)
    }

    fn nothing_else(
        &self,
        points: &BTreeMap<Place, Points>,
        written: &BTreeMap<Cell<'_>, Vec<(&Stamp, &str)>>,
    ) -> Result<(), String> {
        for (place, points) in points {
            for ((tags, time), fields) in points {
                for (field, value) in fields {
                    if !written.contains_key(&(place.clone(), tags, *time, field.as_str())) {
                        return Err(format!(
                            "{place:?} {} {time}: {field} is {value}, which was deleted, or never written",
                            tags.series_key("")
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
