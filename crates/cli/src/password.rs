//! Asks for a line at the terminal, showing it or not.

use std::io::{self, IsTerminal, Write};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal;

use crate::error::{Error, Result};

pub fn ask(prompt: &str, shown: bool) -> Result<String> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage("unable to prompt for a password with no TTY".to_owned()));
    }
    print!("{prompt}");
    io::stdout().flush()?;
    terminal::enable_raw_mode()?;
    let line = read_keys(shown);
    terminal::disable_raw_mode()?;
    println!();
    line
}

fn read_keys(shown: bool) -> Result<String> {
    let mut line = String::new();
    loop {
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Enter => return Ok(line),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Err(Error::Interrupted);
            }
            KeyCode::Backspace => {
                let erased = line.pop();
                if erased.is_some() && shown {
                    print!("\u{8} \u{8}");
                }
            }
            KeyCode::Char(character) => {
                line.push(character);
                if shown {
                    print!("{character}");
                }
            }
            _ => {}
        }
        io::stdout().flush()?;
    }
}
