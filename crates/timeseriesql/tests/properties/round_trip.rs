//! What is printed parses to the tree it was printed from.

use hyperbytedb_timeseriesql::{ast::*, parse_expr, parse_query};
use proptest::{collection::vec, option, prelude::*};

use super::generate::*;

fn check(statement: Statement) -> Result<(), TestCaseError> {
    let printed = statement.to_string();
    let parsed =
        parse_query(&printed).map_err(|error| TestCaseError::fail(format!("{error}\nprinted: {printed}")))?;
    prop_assert_eq!(&parsed.statements, &[statement], "printed: {}", printed);
    Ok(())
}

fn duration() -> impl Strategy<Value = Option<i64>> {
    option::of(prop_oneof![Just(0), (0..10_000i64).prop_map(|h| h * 3_600_000_000_000), 0..i64::MAX])
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    vec(measurement().prop_map(Source::Measurement), 0..3)
}

fn cardinality() -> impl Strategy<Value = CardinalityOf> {
    prop_oneof![
        Just(CardinalityOf::Series),
        Just(CardinalityOf::Measurement),
        Just(CardinalityOf::TagKey),
        Just(CardinalityOf::FieldKey),
        tag_key_filter().prop_map(CardinalityOf::TagValues),
    ]
}

fn name_or_all() -> impl Strategy<Value = NameOrAll> {
    prop_oneof![Just(NameOrAll::Unset), Just(NameOrAll::All), name().prop_map(NameOrAll::Name)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expressions(expr in expr()) {
        let printed = expr.to_string();
        let parsed = parse_expr(&printed)
            .map_err(|error| TestCaseError::fail(format!("{error}\nprinted: {printed}")))?;
        prop_assert_eq!(parsed, expr, "printed: {}", printed);
    }

    #[test]
    fn selects(statement in select()) {
        check(Statement::Select(Box::new(statement)))?;
    }

    #[test]
    fn show_statements(
        (database, sources, condition) in (option::of(name()), sources(), option::of(expr())),
        (key, sort_fields, dimensions) in (tag_key_filter(), sort_fields(), dimensions()),
        [limit, offset, slimit, soffset] in [count(), count(), count(), count()],
        of in cardinality(),
        (databases, policies) in (name_or_all(), name_or_all()),
        (exact, source) in (any::<bool>(), option::of(measurement())),
    ) {
        check(Statement::ShowSeries(ShowSeriesStatement {
            database: database.clone(),
            sources: sources.clone(),
            condition: condition.clone(),
            sort_fields: sort_fields.clone(),
            limit,
            offset,
        }))?;
        check(Statement::ShowTagKeys(ShowTagKeysStatement {
            database: database.clone(),
            sources: sources.clone(),
            key: Some(key.clone()),
            condition: condition.clone(),
            sort_fields: sort_fields.clone(),
            limit,
            offset,
            slimit,
            soffset,
        }))?;
        check(Statement::ShowTagValues(ShowTagValuesStatement {
            database: database.clone(),
            sources: sources.clone(),
            key,
            condition: condition.clone(),
            sort_fields: sort_fields.clone(),
            limit,
            offset,
        }))?;
        check(Statement::ShowFieldKeys(ShowFieldKeysStatement {
            database: database.clone(),
            sources: sources.clone(),
            sort_fields: sort_fields.clone(),
            limit,
            offset,
        }))?;
        check(Statement::ShowMeasurements(ShowMeasurementsStatement {
            database: databases,
            retention_policy: policies,
            source,
            condition: condition.clone(),
            sort_fields,
            limit,
            offset,
        }))?;
        check(Statement::ShowCardinality(ShowCardinalityStatement {
            of,
            exact,
            database,
            sources,
            condition,
            dimensions,
            limit,
            offset,
        }))?;
    }

    #[test]
    fn catalogue_statements(
        (name, database, policy) in (name(), name(), name()),
        (duration_ns, shard_duration_ns) in (duration(), duration()),
        (future, past) in (duration(), duration()),
        (replication, default) in (1..=i32::MAX as u32, any::<bool>()),
        (urls, all) in (vec(text(), 1..4), any::<bool>()),
    ) {
        check(Statement::CreateDatabase(CreateDatabaseStatement {
            name: name.clone(),
            retention_policy: Some(DatabaseRetentionPolicy {
                name: Some(policy.clone()),
                duration_ns,
                replication: Some(replication),
                shard_duration_ns,
                future_write_limit_ns: future,
                past_write_limit_ns: past,
            }),
        }))?;
        check(Statement::CreateRetentionPolicy(CreateRetentionPolicyStatement {
            name: policy.clone(),
            database: database.clone(),
            duration_ns: duration_ns.unwrap_or(0),
            replication,
            shard_duration_ns,
            default,
            future_write_limit_ns: future,
            past_write_limit_ns: past,
        }))?;
        check(Statement::AlterRetentionPolicy(AlterRetentionPolicyStatement {
            name: policy.clone(),
            database: database.clone(),
            duration_ns,
            replication: Some(replication),
            shard_duration_ns,
            default,
            future_write_limit_ns: future,
            past_write_limit_ns: past,
        }))?;
        check(Statement::CreateSubscription(CreateSubscriptionStatement {
            name,
            database,
            retention_policy: policy,
            mode: if all { SubscriptionMode::All } else { SubscriptionMode::Any },
            destinations: urls,
        }))?;
    }
}
