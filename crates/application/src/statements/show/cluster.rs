//! SHOW SERVERS, and the nodes in SHOW DIAGNOSTICS.

use hyperbytedb_domain::ports::NodeInfo;
use hyperbytedb_domain::result::SeriesBlock;

use super::super::rows::{Rows, integer, text};

/// In SHOW DIAGNOSTICS.
pub const MODULE: &str = "cluster";

/// As early releases of InfluxDB had it: those that hold data, then those that vote. Here a node does both, once it has joined.
pub fn servers(nodes: &[NodeInfo]) -> Vec<SeriesBlock> {
    let block = |name: &str, is_listed: fn(&NodeInfo) -> bool| {
        let mut rows = Rows::new(name, &["id", "http_addr", "tcp_addr"]);
        for node in nodes.iter().filter(|node| is_listed(node)) {
            rows.row([integer(node.id as i64), text(&node.http_address), text(&node.address)]);
        }
        rows.block()
    };
    if nodes.is_empty() {
        return Vec::new();
    }
    vec![block("data_nodes", |_| true), block("meta_nodes", |node| node.role != "learner")]
}

/// Who leads and who lags.
pub fn diagnostics(nodes: &[NodeInfo]) -> Option<SeriesBlock> {
    let columns = ["id", "role", "state", "lag_records", "lag_bytes", "lag_seconds"];
    let mut rows = Rows::new(MODULE, &columns);
    for node in nodes {
        let lags = [node.lag_records, node.lag_bytes, node.lag_secs].map(|lag| integer(lag as i64));
        let [records, bytes, seconds] = lags;
        rows.row([integer(node.id as i64), text(&node.role), text(&node.state), records, bytes, seconds]);
    }
    (!nodes.is_empty()).then(|| rows.block())
}
