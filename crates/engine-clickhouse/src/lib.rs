//! engine-clickhouse
