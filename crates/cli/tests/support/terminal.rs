//! A pseudo terminal with what it shows.

use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

const ROWS: NonZero<u16> = NonZero::new(40).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(100).unwrap();
const PATIENCE: Duration = Duration::from_secs(20);
/// How a program asks where the cursor is.
const CURSOR_QUESTION: &[u8] = b"\x1b[6n";

pub struct Terminal {
    pty: Arc<Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
    child: Child,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    pub fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(ROWS.get(), COLUMNS.get())).unwrap();
        let command = Command::new(program).args(arguments).env("TERM", "xterm-256color");
        let child = command.envs(environment.iter().copied()).spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let (from, shown) = (pty.clone(), screen.clone());
        // Ends when the program has left the terminal.
        std::thread::spawn(move || show(&from, &shown));
        Self { pty, screen, child }
    }

    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as wanted, and returns what it shows then.
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if is_so(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}; the screen:\n{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the screen is so before long.
    pub fn is_soon(&self, is_so: impl Fn(&str) -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(1);
        while !is_so(&self.text()) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    pub fn until_shown(&self, part: &str) -> String {
        self.until(part, |text| text.contains(part))
    }

    /// Waits until the last line is this, as where a prompt waits.
    pub fn until_last_line(&self, line: &str) -> String {
        self.until(line, |text| text.trim_end().lines().last().is_some_and(|last| last.trim_end() == line))
    }

    pub fn exit_code(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the program goes on; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn show(mut pty: &Pty, screen: &Mutex<vt100::Parser>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pty.read(&mut buffer) {
        let bytes = &buffer[..length];
        screen.lock().unwrap().process(bytes);
        if bytes.windows(CURSOR_QUESTION.len()).any(|window| window == CURSOR_QUESTION) {
            let (row, column) = screen.lock().unwrap().screen().cursor_position();
            if pty.write_all(format!("\x1b[{};{}R", row + 1, column + 1).as_bytes()).is_err() {
                return;
            }
        }
    }
}
