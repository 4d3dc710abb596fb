//! What works on a server that is ready, beside its requests.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::continuous::ContinuousQueries;
use hyperbytedb_application::monitor::Monitor;
use hyperbytedb_application::retention::RetentionService;
use hyperbytedb_application::subscriptions::SubscriberService;
use hyperbytedb_application::warm::Warmer;
use hyperbytedb_application::windows::WindowService;
use hyperbytedb_domain::Precision;
use hyperbytedb_subscriber::Courier;

use super::Application;
use crate::batch::{BatchOptions, BatchWriter};
use crate::config::UdpConfig;
use crate::udp::{self, UdpListener};
use crate::{graphite, opentsdb};

/// How often slow queries are looked for.
const SLOW_LOOK_MIN: Duration = Duration::from_millis(10);
const SLOW_LOOK_MAX: Duration = Duration::from_secs(1);

impl Application {
    pub(super) fn start_background(&self) -> io::Result<()> {
        self.start_subscriptions()?;
        self.start_watches()?;
        self.start_listeners()?;
        self.start_schedules()?;
        let warmer = Warmer {
            catalog: self.ports.catalog.clone(),
            reader: self.statements.reader.clone(),
            flush: self.flush.clone(),
        };
        self.threads.spawn("warm", move |stop| warmer.run(stop))
    }

    fn start_subscriptions(&self) -> io::Result<()> {
        let options = self.subscriber.clone();
        let subscriber = SubscriberService {
            delivery: Arc::new(Courier::new(options.timeout)?),
            options,
            catalog: self.ports.catalog.clone(),
            wal: self.ports.wal.clone(),
            flush: self.flush.clone(),
            counts: self.statements.subscribers.clone(),
        };
        self.threads.spawn("subscriptions", move |stop| subscriber.run(stop))
    }

    fn start_watches(&self) -> io::Result<()> {
        if let Some(threshold) = self.statements.running.slow_threshold() {
            let running = self.statements.running.clone();
            self.threads.spawn("slow-queries", move |stop| {
                while stop.wait((threshold / 4).clamp(SLOW_LOOK_MIN, SLOW_LOOK_MAX)) {
                    running.log_slow();
                }
            })?;
        }
        let disk = self.disk_watch();
        self.threads.spawn("disk", move |stop| disk.run(stop))?;
        if let Some(options) = self.monitor.clone() {
            let monitor = Monitor {
                options,
                catalog: self.ports.catalog.clone(),
                commands: self.commands.clone(),
                ingestion: self.ingestion.clone(),
                statements: self.statements.clone(),
            };
            self.threads.spawn("monitor", move |stop| monitor.run(stop))?;
        }
        let backups = self.backups.clone();
        self.threads.spawn("backups", move |stop| backups.run(stop))
    }

    /// Of senders that nobody answers.
    fn start_listeners(&self) -> io::Result<()> {
        if self.udp.enabled {
            let UdpConfig { database, retention_policy, precision, bind_address, .. } = &self.udp;
            let writer = self.batch_writer("UDP", database, retention_policy);
            let listener = UdpListener {
                socket: udp::bind(bind_address, "udp.bind_address")?,
                options: BatchOptions::new(self.udp.batch_size, self.udp.batch_timeout_ms),
                writer: BatchWriter { precision: Precision::parse(precision), ..writer },
            };
            self.threads.spawn("udp", move |stop| listener.run(stop))?;
        }
        if self.graphite.enabled {
            let config = &self.graphite;
            let writer = self.batch_writer("Graphite", &config.database, &config.retention_policy);
            graphite::start(config, writer, &self.threads)?;
        }
        if self.opentsdb.enabled {
            let config = &self.opentsdb;
            let writer = self.batch_writer("OpenTSDB", &config.database, &config.retention_policy);
            opentsdb::start(config, self.max_body_bytes, writer, &self.threads)?;
        }
        Ok(())
    }

    fn batch_writer(&self, listener: &'static str, database: &str, retention_policy: &str) -> BatchWriter {
        BatchWriter {
            listener,
            database: database.to_owned(),
            retention_policy: retention_policy.to_owned(),
            precision: Precision::Nanosecond,
            catalog: self.ports.catalog.clone(),
            commands: self.commands.clone(),
            ingestion: self.ingestion.clone(),
        }
    }

    /// Only the node that holds the lease of a cluster does any of this.
    fn start_schedules(&self) -> io::Result<()> {
        if let Some(check_interval) = self.retention_interval {
            let (catalog, commands) = (self.ports.catalog.clone(), self.commands.clone());
            let retention = RetentionService { catalog, commands, check_interval, lease: self.lease() };
            self.threads.spawn("retention", move |stop| retention.run(stop))?;
        }
        if let Some(options) = self.continuous.clone() {
            let continuous = ContinuousQueries {
                options,
                catalog: self.ports.catalog.clone(),
                queries: self.statements.clone(),
                commands: self.commands.clone(),
                runs: self.statements.runs.clone(),
                lease: self.lease(),
                windows: self.windows.as_ref().map(|(_, state)| state.clone()),
                board: Arc::default(),
            };
            Arc::new(continuous).start(&self.threads)?;
        }
        if let Some((options, state)) = &self.windows {
            let windows = WindowService {
                options: options.clone(),
                state: state.clone(),
                catalog: self.ports.catalog.clone(),
                wal: self.ports.wal.clone(),
                statements: self.statements.clone(),
                queries: Default::default(),
                lease: self.lease(),
            };
            Arc::new(windows).start(&self.threads)?;
        }
        Ok(())
    }
}
