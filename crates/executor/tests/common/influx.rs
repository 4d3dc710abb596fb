//! Answers of a real InfluxDB, to write expectations from.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// An InfluxDB at `host:port`.
pub struct Influx {
    pub address: String,
}

impl Influx {
    /// A body posted to a path with URL parameters.
    pub fn post(&self, path: &str, parameters: &[(&str, &str)], body: &str) -> String {
        let query: Vec<String> = parameters.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect();
        let mut stream = TcpStream::connect(&self.address).expect("InfluxDB runs");
        write!(
            stream,
            "POST {path}?{} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            query.join("&"),
            self.address,
            body.len(),
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// The series of a statement's answer, or its error.
    pub fn answer(&self, database: &str, statement: &str) -> Result<Vec<Value>, String> {
        let body = self.post("/query", &[("db", database), ("q", statement)], "");
        let answer: Value = serde_json::from_str(&body).expect("an answer in JSON");
        let result = &answer["results"][0];
        match answer["error"].as_str().or(result["error"].as_str()) {
            Some(error) => Err(error.to_owned()),
            None => Ok(result["series"].as_array().cloned().unwrap_or_default()),
        }
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}
