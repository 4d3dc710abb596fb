//! As much of a server as a shell needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is answered to a statement in a database; `None`: nothing ever, until the client goes away.
type Answers = fn(statement: &str, database: &str) -> Option<String>;

pub struct FakeServer {
    pub port: u16,
    /// Statements, in their order.
    pub seen: Arc<Mutex<Vec<String>>>,
    /// Statements whose client went away.
    pub abandoned: Arc<Mutex<Vec<String>>>,
}

impl FakeServer {
    pub fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            abandoned: Arc::default(),
        };
        let (seen, abandoned) = (server.seen.clone(), server.abandoned.clone());
        std::thread::spawn(move || {
            let scrapes = Arc::new(Mutex::new(0));
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = Connection {
                    answers,
                    seen: seen.clone(),
                    abandoned: abandoned.clone(),
                    scrapes: scrapes.clone(),
                };
                std::thread::spawn(move || connection.serve(stream));
            }
        });
        server
    }

    pub fn has_seen(&self, statement: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|seen| seen == statement)
    }
}

struct Connection {
    answers: Answers,
    seen: Arc<Mutex<Vec<String>>>,
    abandoned: Arc<Mutex<Vec<String>>>,
    scrapes: Arc<Mutex<u64>>,
}

impl Connection {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = request(&mut reader) {
            let answer = match path.as_str() {
                "/ping" => "HTTP/1.1 204 No Content\r\nX-Influxdb-Version: 1.8.10\r\n\r\n".to_owned(),
                "/metrics" => ok("text/plain", &self.metrics()),
                _ => match self.query(&body) {
                    Ok(answer) => ok("application/json", &format!("{answer}\n")),
                    Err(statement) => {
                        // Reading ends when the client goes away.
                        let _ = reader.read(&mut [0]);
                        self.abandoned.lock().unwrap().push(statement);
                        return;
                    }
                },
            };
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn query(&self, body: &[u8]) -> Result<String, String> {
        let parameter = |name: &str| {
            let mut pairs = form_urlencoded::parse(body);
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let statement = parameter("q");
        self.seen.lock().unwrap().push(statement.clone());
        (self.answers)(&statement, &parameter("db")).ok_or(statement)
    }

    /// Counters that grow from one reading to the next.
    fn metrics(&self) -> String {
        let mut scrapes = self.scrapes.lock().unwrap();
        *scrapes += 1;
        format!(
            "# HELP h h\nhyperbytedb_http_requests_total{{endpoint=\"/write\",method=\"POST\",status=\"204\"}} {}\n\
             hyperbytedb_head_bytes 12345\n",
            *scrapes * 1_000_000
        )
    }
}

fn ok(content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Path and body; `None`: the client has gone.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut path, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        if line == "\r\n" {
            break;
        }
        if path.is_empty() {
            path = line.split(['?', ' ']).nth(1)?.to_owned();
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// The answer of a statement with these columns and rows.
pub fn rows(columns: &[&str], rows: &[&[&str]]) -> String {
    format!(
        r#"{{"results":[{{"statement_id":0,"series":[{{"name":"s","columns":{columns:?},"values":{rows:?}}}]}}]}}"#
    )
}

pub const NOTHING: &str = r#"{"results":[{"statement_id":0}]}"#;
