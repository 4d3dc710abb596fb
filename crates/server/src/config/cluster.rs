//! What the settings of a cluster must be.

use hyperbytedb_cluster::{MESSAGE_BYTES_MAX, PROTOCOL, PROTOCOL_LEAST};
use hyperbytedb_domain::cluster::Consistency;

use super::{ClusterConfig, ConfigError};

impl ClusterConfig {
    /// Where the other nodes reach this one.
    pub fn reached_address(&self) -> &str {
        if self.advertise_address.is_empty() { &self.bind_address } else { &self.advertise_address }
    }

    /// `body_bytes_max`: of what clients send.
    pub fn validate(&self, wal_max_bytes: u64, body_bytes_max: usize) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Invalid(text));
        if !self.enabled {
            return Ok(());
        }
        if self.node_id == 0 {
            return refuse("cluster.node_id must be greater than 0".to_owned());
        }
        if Consistency::parse(&self.write_consistency).is_none() {
            let level = &self.write_consistency;
            return refuse(format!(
                "cluster.write_consistency is {level:?}: it must be any, one, quorum or all"
            ));
        }
        if self.secret.is_redacted() {
            let text =
                "cluster.secret is what a printed configuration shows in place of it: put the secret there";
            return refuse(text.to_owned());
        }
        let is_local =
            ["127.", "localhost:", "[::1]"].iter().any(|local| self.bind_address.starts_with(local));
        if self.tls_certificate.is_empty() != self.tls_ca.is_empty() {
            let text =
                "cluster.tls_certificate and cluster.tls_ca go together: nodes show each other who they are";
            return refuse(text.to_owned());
        }
        if self.secret.is_empty() && self.tls_ca.is_empty() && !is_local {
            return refuse(
                "cluster.secret or cluster.tls_ca must be set: whoever reaches cluster.bind_address could change everything"
                    .to_owned(),
            );
        }
        let reached = self.reached_address();
        if is_unspecified(reached) {
            return refuse(format!(
                "cluster.bind_address is {:?} and cluster.advertise_address {:?}: no other node reaches this one at {reached:?}: set cluster.advertise_address to an address that they can reach",
                self.bind_address, self.advertise_address
            ));
        }
        if !(PROTOCOL_LEAST..=PROTOCOL).contains(&self.protocol) {
            return refuse(format!("cluster.protocol must be {PROTOCOL_LEAST} to {PROTOCOL}"));
        }
        if self.hints_max_bytes > wal_max_bytes / 2 {
            return refuse("cluster.hints_max_bytes must be at most half of wal.max_bytes".to_owned());
        }
        if body_bytes_max.saturating_add(self.batch_bytes) > MESSAGE_BYTES_MAX {
            return refuse(format!(
                "http.max_body_bytes and http.max_inflated_body_bytes, each with cluster.batch_bytes, must be at most {MESSAGE_BYTES_MAX}: a node could not send the others what it has taken"
            ));
        }
        Ok(())
    }
}

/// Whether an address is all of a machine's own, which means nothing on another one.
fn is_unspecified(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.is_empty() || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}
