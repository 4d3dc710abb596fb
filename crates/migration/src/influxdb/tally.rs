//! Values of fields with several types: converting them, counting what became of them, and saying so.

use std::collections::{BTreeMap, BTreeSet};

use hyperbytedb_domain::FieldType;
use hyperbytedb_influx_files::{Points, Values};
use parking_lot::Mutex;

use super::plan::ShardPlan;
use super::types::{Fit, measurement_of, type_of};

/// Fields and shards of each that are named.
const FIELDS_SHOWN: usize = 50;
const SHARDS_SHOWN: usize = 20;

/// What became of the values of a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub values: u64,
    /// Integers that no float is equal to.
    pub rounded: u64,
    pub left_out: u64,
}

impl Counted {
    fn add(&mut self, other: Self) {
        self.values += other.values;
        self.rounded += other.rounded;
        self.left_out += other.left_out;
    }
}

/// Makes points what they are stored as; those left over may be none.
pub fn convert(points: &mut Points, fit: Fit<'_>) -> Counted {
    let values = points.len() as u64;
    let mut counted = Counted { values, ..Counted::default() };
    match fit {
        Fit::AsTheyAre | Fit::Apart(_) => {}
        Fit::LeftOut => {
            counted.left_out = values;
            points.clear();
        }
        Fit::Converted(FieldType::Integer) => {
            if let Values::Unsigned(values) = &points.values {
                let fits: Vec<bool> = values.iter().map(|value| i64::try_from(*value).is_ok()).collect();
                points.retain(|at, _| fits[at]);
                counted.left_out = fits.iter().filter(|fits| !**fits).count() as u64;
            }
            if let Values::Unsigned(values) = &points.values {
                points.values = Values::Integer(values.iter().map(|value| value.cast_signed()).collect());
            }
        }
        Fit::Converted(_) => {
            let floats: Vec<f64> = match &points.values {
                Values::Integer(values) => {
                    let is_rounded = |value: &&i64| (**value as f64) as i128 != i128::from(**value);
                    counted.rounded = values.iter().filter(is_rounded).count() as u64;
                    values.iter().map(|value| *value as f64).collect()
                }
                Values::Unsigned(values) => {
                    let is_rounded = |value: &&u64| (**value as f64) as i128 != i128::from(**value);
                    counted.rounded = values.iter().filter(is_rounded).count() as u64;
                    values.iter().map(|value| *value as f64).collect()
                }
                Values::Float(_) | Values::Boolean(_) | Values::String(_) => return counted,
            };
            points.values = Values::Float(floats);
        }
    }
    counted
}

/// The values of a field that have one type: database, policy, measurement, field, type.
type Key = (String, String, Vec<u8>, Vec<u8>, FieldType);

#[derive(Debug)]
struct Found {
    becomes: String,
    counted: Counted,
    shards: BTreeSet<u64>,
}

/// The counts of all shards.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<Key, Found>>);

impl Tally {
    pub fn add(
        &self,
        shard: &ShardPlan,
        series: &[u8],
        field: &[u8],
        found: FieldType,
        fit: Fit<'_>,
        counted: Counted,
    ) {
        let (database, policy) = (shard.database.clone(), shard.policy.clone());
        let key = (database, policy, measurement_of(series).to_vec(), field.to_vec(), found);
        let mut all = self.0.lock();
        let entry = all.entry(key).or_insert_with(|| Found {
            becomes: becomes(found, fit),
            counted: Counted::default(),
            shards: BTreeSet::new(),
        });
        entry.counted.add(counted);
        entry.shards.insert(shard.id);
    }

    pub fn left_out(&self) -> u64 {
        self.0.lock().values().map(|found| found.counted.left_out).sum()
    }

    /// What became of the fields' values, and what to do about those that were left out.
    pub fn lines(&self) -> Vec<String> {
        let all = self.0.lock();
        let mut lines = Vec::new();
        let mut fields = BTreeSet::new();
        for ((database, policy, measurement, field, kind), found) in all.iter() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let name = format!("{database}.{policy}.{}: field {}", text(measurement), text(field));
            if fields.insert(name.clone()) {
                if fields.len() > FIELDS_SHOWN {
                    continue;
                }
                lines.push(format!("types differ: {name}"));
            }
            if fields.len() <= FIELDS_SHOWN {
                lines.push(format!("  {}", found.line(*kind)));
            }
        }
        if fields.len() > FIELDS_SHOWN {
            lines.push(format!("types differ in {} fields more", fields.len() - FIELDS_SHOWN));
        }
        let left_out: u64 = all.values().map(|found| found.counted.left_out).sum();
        if left_out > 0 {
            lines.push(format!(
                "{left_out} values are not of their field's type and are left out: import once more with --split-types to \
                 have them in fields of their own"
            ));
        }
        lines
    }
}

fn becomes(found: FieldType, fit: Fit<'_>) -> String {
    match fit {
        Fit::AsTheyAre => format!("stored as {found}"),
        Fit::Converted(stored) => format!("stored as {stored}"),
        Fit::Apart(name) => format!("stored in the field {}", String::from_utf8_lossy(name)),
        Fit::LeftOut => "left out".to_owned(),
    }
}

impl Found {
    fn line(&self, kind: FieldType) -> String {
        let shown: Vec<String> = self.shards.iter().take(SHARDS_SHOWN).map(u64::to_string).collect();
        let more = self.shards.len().saturating_sub(SHARDS_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let Counted { values, rounded, left_out } = self.counted;
        let mut line =
            format!("{values} of type {kind} (shards {}{more}): {}", shown.join(", "), self.becomes);
        if rounded > 0 {
            line += &format!("; {rounded} are rounded");
        }
        if left_out > 0 && left_out < values {
            line += &format!("; {left_out} are too large and left out");
        }
        line
    }
}

/// The counts of one column, by the types that its runs have.
#[derive(Debug, Default)]
pub struct ColumnCounts(Vec<(FieldType, Counted)>);

impl ColumnCounts {
    pub fn convert(&mut self, points: &mut Points, fit: Fit<'_>) {
        let found = type_of(&points.values);
        let counted = convert(points, fit);
        match self.0.iter_mut().find(|(kind, _)| *kind == found) {
            Some((_, counts)) => counts.add(counted),
            None => self.0.push((found, counted)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (FieldType, Counted)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: Values) -> Points {
        Points { times: (0..values.len() as i64).collect(), values }
    }

    #[test]
    fn integers_become_floats_and_rounded_ones_are_counted() {
        let mut integers = points(Values::Integer(vec![-3, (1 << 53) + 1, i64::MAX, i64::MIN]));
        let counted = convert(&mut integers, Fit::Converted(FieldType::Float));
        assert_eq!(counted, Counted { values: 4, rounded: 2, left_out: 0 });
        let floats =
            vec![-3.0, 9_007_199_254_740_992.0, 9_223_372_036_854_775_808.0, -9_223_372_036_854_775_808.0];
        assert_eq!(integers.values, Values::Float(floats));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut unsigned = points(Values::Unsigned(vec![1, u64::MAX, 3]));
        let counted = convert(&mut unsigned, Fit::Converted(FieldType::Integer));
        assert_eq!(counted, Counted { values: 3, rounded: 0, left_out: 1 });
        assert_eq!((unsigned.times, unsigned.values), (vec![0, 2], Values::Integer(vec![1, 3])));
        let mut booleans = points(Values::Boolean(vec![true]));
        assert_eq!(convert(&mut booleans, Fit::LeftOut).left_out, 1);
        assert!(booleans.is_empty());
    }

    #[test]
    fn the_report_names_field_shards_and_what_to_do() {
        let tally = Tally::default();
        for id in [7, 3] {
            let shard = ShardPlan { database: "d".into(), policy: "p".into(), id, range: 0..=1 };
            let counted = Counted { values: 5, rounded: 0, left_out: 5 };
            tally.add(&shard, b"m,host=a", b"v", FieldType::String, Fit::LeftOut, counted);
        }
        let lines = tally.lines();
        assert_eq!(
            lines[..2],
            ["types differ: d.p.m: field v", "  10 of type string (shards 3, 7): left out"]
        );
        assert!(
            lines[2].starts_with("10 values are not of their field's type")
                && lines[2].contains("--split-types")
        );
    }
}
