//! Graphite's plaintext protocol over TCP or UDP.

use std::net::UdpSocket;
use std::sync::Arc;

use hyperbytedb_application::threads::{Stop, Threads};
use hyperbytedb_application::waiting::now_ns;
use hyperbytedb_domain::settings;
use hyperbytedb_graphite::{GraphiteParser, LineError};
use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::stats::GRAPHITE;

use crate::batch::{BatchOptions, BatchWriter};
use crate::config::GraphiteConfig;
use crate::line_listener::{self, LineListener, Lines};
use crate::udp::{self, Datagrams};

/// Opens the port and listens.
pub fn start(config: &GraphiteConfig, writer: BatchWriter, threads: &Threads) -> std::io::Result<()> {
    let lines = GraphiteLines(config.parser().map_err(std::io::Error::other)?);
    let listener = LineListener::new(
        lines,
        BatchOptions::new(config.batch_size, config.batch_timeout_ms),
        writer,
        config.max_connections,
    );
    let (address, setting) = (&config.bind_address, settings::GRAPHITE_BIND_ADDRESS);
    if config.protocol == "udp" {
        let socket = udp::bind(address, setting)?;
        listener.start_writer(threads)?;
        return threads.spawn(GraphiteLines::THREADS, move |stop| receive(&listener, &socket, stop));
    }
    listener.start(line_listener::bind(address, setting)?, threads)
}

fn receive(listener: &Arc<LineListener<GraphiteLines>>, socket: &UdpSocket, stop: &Stop) {
    listener.writer.create_database();
    let mut datagrams = Datagrams::of(socket, || metrics::GRAPHITE_READ_ERRORS.increment(1));
    while !stop.is_set() {
        let datagram = datagrams.next(stop, None);
        listener.lines.received(datagram.len());
        for line in datagram.split(|&byte| byte == b'\n') {
            listener.take(line);
        }
    }
}

struct GraphiteLines(GraphiteParser);

impl Lines for GraphiteLines {
    const NAME: &'static str = "Graphite";
    const THREADS: &'static str = "graphite";

    fn connections_changed(&self, by: i64) {
        GRAPHITE.conns_active.add(by);
        GRAPHITE.conns_handled.add(by.max(0));
    }

    fn received(&self, bytes: usize) {
        GRAPHITE.bytes_rx.add(bytes as i64);
    }

    fn take(&self, line: &str, point: &mut String) -> Option<&'static str> {
        if line.is_empty() {
            return None;
        }
        metrics::GRAPHITE_LINES.increment(1);
        GRAPHITE.points_rx.increment();
        match self.0.print(line, now_ns(), point) {
            Ok(()) => {}
            // Graphite's clients send it for what they do not know.
            Err(LineError::Unsupported { value: "NaN", .. }) => GRAPHITE.points_nan_fail.increment(),
            Err(error) => {
                GRAPHITE.points_parse_fail.increment();
                tracing::info!(line, %error, "Graphite: unable to parse line");
            }
        }
        None
    }

    fn was_too_long(&self) {
        GRAPHITE.points_parse_fail.increment();
    }

    fn written(&self, points: usize, is_taken: bool) {
        if is_taken {
            GRAPHITE.batches_tx.increment();
            GRAPHITE.points_tx.add(points as i64);
        } else {
            GRAPHITE.batches_tx_fail.increment();
            metrics::GRAPHITE_WRITE_ERRORS.increment(1);
        }
    }
}
