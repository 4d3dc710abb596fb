//! Sends accepted points to the destinations of subscriptions: line protocol as POST /write, or one datagram a line.
//!
//! Requests are asynchronous inside, so that one that waits for a stalled receiver can be given up at once.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::net::UdpSocket;
use std::time::Duration;

use hyperbytedb_domain::ports::{Delivery, DeliveryError, DeliveryPort};
use reqwest::{Client, StatusCode};
use tokio::runtime::{Builder, Runtime};

/// How often a request that is under way looks whether it is still wanted.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes of an answer's text in a message.
const TEXT_CHARS_MAX: usize = 300;

pub struct Courier {
    runtime: Option<Runtime>,
    http: Client,
    udp: UdpSocket,
}

impl Courier {
    /// `timeout`: of one request.
    pub fn new(timeout: Duration) -> std::io::Result<Self> {
        // Fails where somebody has chosen before who does the cryptography.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("subscriber").enable_all().build()?;
        let http = Client::builder()
            .timeout(timeout)
            .user_agent("HyperbyteDB")
            .build()
            .map_err(std::io::Error::other)?;
        let udp = UdpSocket::bind("0.0.0.0:0")?;
        Ok(Self { runtime: Some(runtime), http, udp })
    }

    async fn post(&self, delivery: &Delivery<'_>) -> Result<(), DeliveryError> {
        let url = format!("{}/write", delivery.destination.trim_end_matches('/'));
        let parameters = [
            ("consistency", ""),
            ("db", delivery.database),
            ("precision", "ns"),
            ("rp", delivery.retention_policy),
        ];
        let request = self.http.post(url).query(&parameters).body(delivery.lines.clone());
        let response = request.send().await.map_err(|error| DeliveryError::Failed(chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text: String = response.text().await.unwrap_or_default().chars().take(TEXT_CHARS_MAX).collect();
        let text = format!("{status}: {}", text.trim());
        let may_succeed = status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        Err(if may_succeed { DeliveryError::Failed(text) } else { DeliveryError::Refused(text) })
    }

    /// Nobody answers a datagram: what the system takes is delivered.
    fn send(&self, address: &str, lines: &[u8]) -> Result<(), DeliveryError> {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.udp.send_to(line, address).map_err(|error| DeliveryError::Refused(error.to_string()))?;
        }
        Ok(())
    }
}

impl DeliveryPort for Courier {
    fn deliver(&self, delivery: &Delivery<'_>, is_over: &dyn Fn() -> bool) -> Result<(), DeliveryError> {
        if let Some(address) = delivery.destination.strip_prefix("udp://") {
            return self.send(address, &delivery.lines);
        }
        let Some(runtime) = &self.runtime else { return Err(DeliveryError::GivenUp) };
        let given_up = async {
            while !is_over() {
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
        };
        runtime.block_on(async {
            tokio::select! {
                sent = self.post(delivery) => sent,
                () = given_up => Err(DeliveryError::GivenUp),
            }
        })
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        // What is still under way, such as the look-up of a name, must not hold up a stop.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An error with its causes: the outermost says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    fn delivery(destination: &str) -> Delivery<'_> {
        let lines = bytes::Bytes::from_static(b"m v=1 1\nm v=2 2\n");
        Delivery { destination, database: "d", retention_policy: "rp", lines }
    }

    #[test]
    fn a_stalled_receiver_is_given_up() {
        let stalled = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", stalled.local_addr().unwrap());
        let courier = Courier::new(Duration::from_secs(60)).unwrap();
        let started = Instant::now();
        let over = || started.elapsed() > Duration::from_millis(200);
        assert_eq!(courier.deliver(&delivery(&url), &over), Err(DeliveryError::GivenUp));
        drop(courier);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn nobody_there_may_be_somebody_later() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let courier = Courier::new(Duration::from_secs(60)).unwrap();
        let sent = courier.deliver(&delivery(&format!("http://{free}")), &|| false);
        assert!(matches!(sent, Err(DeliveryError::Failed(_))), "{sent:?}");
    }

    #[test]
    fn a_datagram_a_line() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let url = format!("udp://{}", receiver.local_addr().unwrap());
        let courier = Courier::new(Duration::from_secs(60)).unwrap();
        courier.deliver(&delivery(&url), &|| false).unwrap();
        let mut buffer = [0; 100];
        for expected in ["m v=1 1", "m v=2 2"] {
            let read = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..read], expected.as_bytes());
        }
    }
}
