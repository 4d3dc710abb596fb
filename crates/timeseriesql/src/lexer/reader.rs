//! Characters with positions, and a few steps back.
//!
//! Errors must point where InfluxDB's do, and those positions follow from how its reader counts: a
//! line end of any kind is one `\n`, the end of the text counts as one character, and only the last
//! few characters can be read again. So this reader counts the same way.

use super::Position;

/// Stands for the end of the text; a NUL in the text ends it too.
pub const EOF: char = '\0';

/// How many characters can be read again.
const HISTORY: usize = 3;

pub struct Reader<'a> {
    text: &'a str,
    offset: usize,
    next: Position,
    at_end: bool,
    history: [(char, Position); HISTORY],
    last: usize,
    unread: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            next: Position::default(),
            at_end: false,
            history: [(EOF, Position::default()); HISTORY],
            last: 0,
            unread: 0,
        }
    }

    /// The next character, [`EOF`] past the end.
    pub fn read(&mut self) -> (char, Position) {
        if self.unread > 0 {
            self.unread -= 1;
            return self.current();
        }
        let character = self.decode();
        self.last = (self.last + 1) % HISTORY;
        self.history[self.last] = (character, self.next);
        if character == '\n' {
            self.next.line += 1;
            self.next.character = 0;
        } else if !self.at_end {
            self.next.character += 1;
        }
        self.at_end |= character == EOF;
        self.current()
    }

    /// Steps one character back, at most [`HISTORY`] in a row.
    pub fn unread(&mut self) {
        self.unread += 1;
    }

    /// The character last read and not stepped back over.
    pub fn current(&self) -> (char, Position) {
        self.history[(self.last + 2 * HISTORY - self.unread) % HISTORY]
    }

    /// The next character, left to be read; but the end of the text is consumed.
    pub fn peek(&mut self) -> char {
        let (character, _) = self.read();
        if character != EOF {
            self.unread();
        }
        character
    }

    fn decode(&mut self) -> char {
        let Some(character) = self.text[self.offset..].chars().next() else {
            return EOF;
        };
        self.offset += character.len_utf8();
        if character != '\r' {
            return character;
        }
        if self.text[self.offset..].starts_with('\n') {
            self.offset += 1;
        }
        '\n'
    }
}
