//! Views that would read what they write, through other views and continuous queries.

use super::DefinitionError;
use crate::windows::{Place, StoredQueries, StoredQuery};

/// Whether anything that the view writes comes back to its sources.
pub fn check(view: &StoredQuery, others: &StoredQueries) -> Result<(), DefinitionError> {
    let mut written: Vec<(String, Vec<Place>)> = vec![(view.key.name.clone(), view.targets.clone())];
    let mut passed: Vec<&StoredQuery> = Vec::new();
    while let Some((path, targets)) = written.pop() {
        let is_read = |sources: &[Place]| sources.iter().any(|s| targets.iter().any(|t| t.meets(s)));
        if is_read(&view.sources) {
            return Err(DefinitionError::Cycle(format!("{path}, {}", view.key.name)));
        }
        for next in others.iter().map(|query| &**query).filter(|query| query.key != view.key) {
            if is_read(&next.sources) && !passed.iter().any(|known| known.key == next.key) {
                passed.push(next);
                written.push((format!("{path}, {}", next.key.name), next.targets.clone()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::catalog::{Catalog, Command};

    use super::*;

    fn catalog(texts: &[&str]) -> Catalog {
        let mut catalog = Catalog::default();
        let database = "d".to_owned();
        catalog.apply(&Command::CreateDatabase { name: database.clone(), policy: None }).expect("a database");
        for (number, text) in texts.iter().enumerate() {
            let (name, query) = (format!("q{number}"), (*text).to_owned());
            let command = if text.contains("VIEW") {
                Command::CreateMaterializedView { database: database.clone(), name, query }
            } else {
                Command::CreateContinuousQuery { database: database.clone(), name, query }
            };
            catalog.apply(&command).expect("a query");
        }
        catalog
    }

    fn cycle(texts: &[&str], select: &str) -> Option<String> {
        let text = format!("CREATE MATERIALIZED VIEW new ON d AS SELECT mean(v) {select} GROUP BY time(1m)");
        let mut others = StoredQueries::default();
        others.update(&catalog(texts));
        let view = StoredQuery::parse("d", &text).expect("a view");
        check(&view, &others).err().map(|error| error.to_string())
    }

    const A_TO_B: &str = "CREATE MATERIALIZED VIEW q0 ON d AS SELECT mean(v) INTO b FROM a GROUP BY time(1m)";
    const B_TO_C: &str =
        "CREATE CONTINUOUS QUERY q1 ON d BEGIN SELECT mean(v) INTO c FROM b GROUP BY time(1m) END";

    #[test]
    fn a_view_must_not_read_what_comes_of_it() {
        assert_eq!(cycle(&[A_TO_B, B_TO_C], "INTO x FROM c"), None);
        assert!(cycle(&[], "INTO m FROM m").is_some());
        assert!(cycle(&[], "INTO m FROM /^m/").is_some());
        assert!(cycle(&[], "INTO d.autogen.:MEASUREMENT FROM d.autogen./^m/").is_some());
        let through = cycle(&[A_TO_B, B_TO_C], "INTO a FROM c").expect("a cycle");
        assert!(through.ends_with("new, q0, q1, new"), "{through}");
        assert!(cycle(&[A_TO_B], "INTO a FROM /b/").is_some());
    }

    #[test]
    fn another_policy_is_another_place() {
        assert_eq!(cycle(&[], "INTO d.p.m FROM d.autogen.m"), None);
        assert_eq!(cycle(&[], "INTO d.p.:MEASUREMENT FROM d.autogen./.*/"), None);
        assert_eq!(cycle(&[A_TO_B], "INTO e.autogen.a FROM d.autogen.b"), None);
    }
}
