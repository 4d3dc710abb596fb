//! How Go prints texts that InfluxDB's messages quote.

/// A text as Go's `%q` writes it, as far as names need it.
pub fn go_quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '"' | '\\' => out.extend(c.escape_default()),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}
