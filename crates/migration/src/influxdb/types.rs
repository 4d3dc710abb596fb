//! Fields that have several types. InfluxDB keeps a type by shard; a server has one by field of a measurement and policy.
//!
//! All shards are looked at before the first point is sent, so the type does not depend on the order in which they come. It
//! is the one in which InfluxDB's queries answer over all of them: float before integer, unsigned, string and boolean. As
//! there, integers become floats, and values that are no numbers beside numbers cannot be had: they are left out and
//! counted, or stored in fields of their own.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use hyperbytedb_domain::FieldType;
use hyperbytedb_influx_files::{ValueType, Values, split_key};

use super::plan::{Plan, ShardPlan};
use super::source::Source;
use crate::client::{Server, quote};
use crate::error::Error;

/// Database and retention policy.
type PolicyName = (String, String);
/// By field, for a measurement as the keys of series have it.
type Fields<T> = HashMap<Vec<u8>, T>;
type Measurements<T> = HashMap<Vec<u8>, Fields<T>>;

/// The fields whose values are not all stored as they are.
#[derive(Debug, Default)]
pub struct Types(HashMap<PolicyName, Measurements<Field>>);

/// A field with values of several types.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The type that it has on the server.
    pub stored: FieldType,
    /// The fields for its values of types that cannot be stored as that one; none where they are left out.
    apart: Vec<(FieldType, Vec<u8>)>,
}

/// What becomes of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit<'a> {
    AsTheyAre,
    Converted(FieldType),
    Apart(&'a [u8]),
    LeftOut,
}

impl Field {
    pub fn fit(&self, found: FieldType) -> Fit<'_> {
        if found == self.stored {
            return Fit::AsTheyAre;
        }
        if is_wider(self.stored, found) {
            return Fit::Converted(self.stored);
        }
        let name = self.apart.iter().find(|(apart, _)| *apart == found);
        name.map_or(Fit::LeftOut, |(_, name)| Fit::Apart(name))
    }
}

/// Whether InfluxDB answers such values, where the field is of the other type.
fn is_wider(stored: FieldType, found: FieldType) -> bool {
    use FieldType::{Float, Integer, Unsigned};
    matches!((stored, found), (Float, Integer | Unsigned) | (Integer, Unsigned))
}

pub const fn type_of(values: &Values) -> FieldType {
    field_type(values.value_type())
}

const fn field_type(found: ValueType) -> FieldType {
    match found {
        ValueType::Float => FieldType::Float,
        ValueType::Integer => FieldType::Integer,
        ValueType::Unsigned => FieldType::Unsigned,
        ValueType::Boolean => FieldType::Boolean,
        ValueType::String => FieldType::String,
    }
}

impl Types {
    /// Looks at all shards, and at what the server has already, whose types count more.
    pub fn find(
        source: &Source,
        plan: &Plan,
        server: &Server,
        temp_dir: Option<&Path>,
        split: bool,
    ) -> Result<Self, Error> {
        let mut by_policy: HashMap<PolicyName, Measurements<BTreeSet<FieldType>>> = HashMap::new();
        for shard in &plan.shards {
            let found = by_policy.entry((shard.database.clone(), shard.policy.clone())).or_default();
            add_shard(source, shard, temp_dir, found)?;
        }
        let mut types = Self::default();
        for (policy, found) in by_policy {
            let existing = on_server(server, &policy)?;
            let fields = several(&found, &existing, split);
            types.0.insert(policy, fields);
        }
        Ok(types)
    }

    /// Those of a series.
    pub fn of(&self, shard: &ShardPlan, series: &[u8]) -> Option<&Fields<Field>> {
        // A tuple of texts cannot be asked for without making one; there are a few policies.
        let is_of = |(database, policy): &PolicyName| *database == shard.database && *policy == shard.policy;
        let (_, measurements) = self.0.iter().find(|(name, _)| is_of(name))?;
        if measurements.is_empty() { None } else { measurements.get(measurement_of(series)) }
    }
}

fn add_shard(
    source: &Source,
    plan: &ShardPlan,
    temp_dir: Option<&Path>,
    found: &mut Measurements<BTreeSet<FieldType>>,
) -> Result<(), Error> {
    let shard = source.shard(plan, temp_dir)?;
    shard.files.each_type(&plan.range, |key, value_type| {
        let Some((series, field)) = split_key(key) else { return };
        let measurement = measurement_of(series);
        // Names are copied when they are new, not for each key.
        let fields = match found.get_mut(measurement) {
            Some(fields) => fields,
            None => found.entry(measurement.to_vec()).or_default(),
        };
        let types = match fields.get_mut(field) {
            Some(types) => types,
            None => fields.entry(field.to_vec()).or_default(),
        };
        types.insert(field_type(value_type));
    })?;
    Ok(())
}

/// The fields that the policy has on the server.
fn on_server(server: &Server, (database, policy): &PolicyName) -> Result<Measurements<FieldType>, Error> {
    let mut found = Measurements::<FieldType>::new();
    let statement = format!("SHOW FIELD KEYS ON {} FROM {}./.*/", quote(database), quote(policy));
    server.each("", &statement, |series| {
        let fields = found.entry(as_in_keys(&series.name)).or_default();
        for row in &series.values {
            let text = |at: usize| row.get(at).and_then(|value| value.as_str());
            if let Some((name, kind)) = text(0).zip(text(1).and_then(FieldType::parse)) {
                let first = fields.entry(name.as_bytes().to_vec()).or_insert(kind);
                *first = kind.min(*first);
            }
        }
    })?;
    Ok(found)
}

fn several(
    found: &Measurements<BTreeSet<FieldType>>,
    existing: &Measurements<FieldType>,
    split: bool,
) -> Measurements<Field> {
    let mut several = Measurements::<Field>::new();
    for (measurement, fields) in found {
        for (name, types) in fields {
            let on_server = existing.get(measurement).and_then(|fields| fields.get(name)).copied();
            let Some(stored) = on_server.or_else(|| types.first().copied()) else { continue };
            if types.iter().all(|found| *found == stored) {
                continue;
            }
            let others =
                types.iter().filter(|found| split && **found != stored && !is_wider(stored, **found));
            let apart = others.map(|found| (*found, name_apart(name, *found, fields))).collect();
            several.entry(measurement.clone()).or_default().insert(name.clone(), Field { stored, apart });
        }
    }
    several
}

/// A name that no field of the measurement has.
fn name_apart<T>(field: &[u8], kind: FieldType, fields: &Fields<T>) -> Vec<u8> {
    let mut name = [field, b"_", kind.name().as_bytes()].concat();
    while fields.contains_key(&name) {
        name.push(b'_');
    }
    name
}

/// What stands before the tags of a series key.
pub fn measurement_of(series: &[u8]) -> &[u8] {
    let mut is_escaped = false;
    let end = series.iter().position(|&byte| {
        let ends = byte == b',' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    &series[..end.unwrap_or(series.len())]
}

/// A measurement's name as the keys of series have it.
fn as_in_keys(name: &str) -> Vec<u8> {
    name.replace(',', "\\,").replace(' ', "\\ ").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use FieldType::{Boolean, Float, Integer, String, Unsigned};

    fn field(types: &[FieldType], on_server: Option<FieldType>, split: bool) -> Option<Field> {
        let of = |types: &[FieldType]| types.iter().copied().collect::<BTreeSet<_>>();
        let fields = HashMap::from([(b"v".to_vec(), of(types)), (b"v_string".to_vec(), of(&[String]))]);
        let existing = on_server.map(|kind| (b"m".to_vec(), HashMap::from([(b"v".to_vec(), kind)])));
        let found = HashMap::from([(b"m".to_vec(), fields)]);
        several(&found, &existing.into_iter().collect(), split).remove(&b"m"[..])?.remove(&b"v"[..])
    }

    #[test]
    fn the_type_is_the_one_in_which_influxdb_answers() {
        for (types, stored) in [
            (&[Integer, Float][..], Float),
            (&[String, Boolean], String),
            (&[Unsigned, Integer], Integer),
            (&[Boolean, String, Integer, Float], Float),
        ] {
            assert_eq!(field(types, None, false).unwrap().stored, stored, "{types:?}");
        }
        assert_eq!(field(&[Integer], None, false), None);
        assert_eq!(field(&[Integer], Some(Integer), false), None);
        // What the server has cannot become another.
        assert_eq!(field(&[Integer], Some(Float), false).unwrap().fit(Integer), Fit::Converted(Float));
        assert_eq!(field(&[Float], Some(Integer), false).unwrap().fit(Float), Fit::LeftOut);
    }

    #[test]
    fn what_cannot_be_converted_gets_a_field_of_its_own() {
        let types = [Boolean, String, Integer, Float];
        let left_out = field(&types, None, false).unwrap();
        assert_eq!((left_out.fit(String), left_out.fit(Boolean)), (Fit::LeftOut, Fit::LeftOut));
        let split = field(&types, None, true).unwrap();
        assert_eq!(split.fit(Float), Fit::AsTheyAre);
        assert_eq!(split.fit(Integer), Fit::Converted(Float));
        // `v_string` is another field.
        assert_eq!(split.fit(String), Fit::Apart(b"v_string_"));
        assert_eq!(split.fit(Boolean), Fit::Apart(b"v_boolean"));
    }

    #[test]
    fn measurements_are_found_in_keys() {
        assert_eq!(measurement_of(b"a\\,b\\ c,host=x"), b"a\\,b\\ c");
        assert_eq!(measurement_of(b"m"), b"m");
        assert_eq!(as_in_keys("a,b c"), b"a\\,b\\ c");
    }
}
