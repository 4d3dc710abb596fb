//! What was typed before. Lines that may hold a password are not kept.

use std::path::PathBuf;

use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchDirection,
    SearchQuery,
};

use crate::error::Error;

const FILE: &str = ".hyperbytedb_history";
const MAX_ENTRIES: usize = 10_000;

/// The user's history; one that lasts as long as the shell where there is no home.
pub fn open() -> crate::error::Result<OpenHistory> {
    let history = match std::env::var_os("HOME").map(|home| PathBuf::from(home).join(FILE)) {
        Some(path) => FileBackedHistory::with_file(MAX_ENTRIES, path),
        None => FileBackedHistory::new(MAX_ENTRIES),
    };
    let inner = history.map_err(|error| Error::Usage(format!("cannot read the history: {error}")))?;
    Ok(OpenHistory { inner })
}

/// Oldest first.
pub fn lines(history: &OpenHistory) -> Vec<String> {
    let all = history.search(SearchQuery::everything(SearchDirection::Forward, None)).unwrap_or_default();
    all.into_iter().map(|item| item.command_line).collect()
}

/// A history without the lines that may have passwords.
pub struct OpenHistory {
    inner: FileBackedHistory,
}

fn is_secret(line: &str) -> bool {
    let line = line.trim_start().to_ascii_lowercase();
    line.starts_with("auth") || line.contains("password")
}

impl History for OpenHistory {
    fn save(&mut self, item: HistoryItem) -> Result<HistoryItem> {
        if is_secret(&item.command_line) { Ok(item) } else { self.inner.save(item) }
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.inner.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.inner.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.inner.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.inner.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.inner.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.inner.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.inner.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.inner.session()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_passwords_are_not_kept() {
        let mut history = OpenHistory { inner: FileBackedHistory::new(10).unwrap() };
        for line in ["SHOW DATABASES", "auth root hush", "CREATE USER u WITH PASSWORD 'hush'", "  AUTH a b"] {
            history.save(HistoryItem::from_command_line(line)).unwrap();
        }
        assert_eq!(lines(&history), ["SHOW DATABASES"]);
    }
}
