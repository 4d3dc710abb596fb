//! Parsing speed: MB/s of line protocol on one core.

#![allow(clippy::unwrap_used)] // a test may panic

use divan::counter::{BytesCount, ItemsCount};
use hyperbytedb_domain::Precision;
use hyperbytedb_line_protocol::{ParseOptions, parse};
use std::fmt::Write;

fn main() {
    divan::main();
}

/// A small generator of numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to 100.
    fn percent(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 * 100.0
    }
}

const FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];
const REGIONS: [&str; 4] = ["us-east-1", "eu-central-1", "ap-southeast-1", "sa-east-1"];

/// CPU points of `series` series in turn: five fields with two decimals, five with all digits.
fn cpu_lines(lines: usize, series: usize) -> String {
    let mut numbers = Numbers(42);
    let mut body = String::new();
    for line in 0..lines {
        let (host, cpu) = (line % series / 4, line % 4);
        let region = REGIONS[host % REGIONS.len()];
        let _ = write!(body, "cpu,cpu=cpu{cpu},datacenter=dc{},host=h{host},region={region} ", host % 16);
        for (at, field) in FIELDS.iter().enumerate() {
            let value = numbers.percent();
            let _ = match at {
                0 => write!(body, "{field}={value:.2}"),
                1..5 => write!(body, ",{field}={value:.2}"),
                _ => write!(body, ",{field}={value}"),
            };
        }
        let time = 1_795_305_600_000_000_000 + (line / series) as u64 * 10_000_000_000;
        let _ = writeln!(body, " {time}");
    }
    body
}

/// Requests of several measurements, with integers, booleans, strings and fields that come and go.
fn mixed_lines(lines: usize) -> String {
    let mut numbers = Numbers(43);
    let mut body = String::new();
    for line in 0..lines {
        let (bytes, used, host) = (numbers.next() >> 20, numbers.percent(), line / 3 % 50);
        let time = 1_795_305_600_000_000_000 + line as u64;
        let _ = match line % 3 {
            0 => writeln!(body, "disk,host=h{host},path=/data free={bytes}i,used_percent={used} {time}"),
            1 if line % 2 == 0 => writeln!(body, "net,host=h{host} in={bytes}i,up=true,drop=0i {time}"),
            1 => writeln!(body, "net,host=h{host} in={bytes}i,up=t,out={bytes}i {time}"),
            _ => writeln!(
                body,
                "log,host=h{host},level=info message=\"request {bytes} took {used} ms\",code=200i {time}"
            ),
        };
    }
    body
}

fn run(bencher: divan::Bencher, lines: usize, body: String) {
    let options = ParseOptions::new(Precision::Nanosecond, 0);
    bencher.counter(BytesCount::of_slice(body.as_bytes())).counter(ItemsCount::new(lines)).bench(|| {
        let parsed = parse(divan::black_box(body.as_bytes()), &options);
        assert!(parsed.errors.is_empty());
        parsed
    });
}

/// Each series comes once or twice, as in a write of every host's metrics.
#[divan::bench]
fn cpu_4000_series(bencher: divan::Bencher) {
    run(bencher, 5000, cpu_lines(5000, 4000));
}

/// Series repeat fifty times.
#[divan::bench]
fn cpu_100_series(bencher: divan::Bencher) {
    run(bencher, 5000, cpu_lines(5000, 100));
}

#[divan::bench]
fn mixed(bencher: divan::Bencher) {
    run(bencher, 5000, mixed_lines(5000));
}
