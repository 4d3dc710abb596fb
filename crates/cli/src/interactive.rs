//! The shell at a terminal: history and its search, completion, statements over several lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, KeyCode, KeyModifiers, Keybindings, MenuBuilder, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult,
    Validator, default_emacs_keybindings,
};
use std::borrow::Cow;

use crate::completion::{Completion, Names};
use crate::error::{Error, Result};
use crate::history;
use crate::session::{Flow, Session};

const MENU: &str = "completions";

/// Reads and runs lines until the user leaves.
pub fn run(session: &mut Session, version: &str) -> Result<()> {
    println!("Connected to {} version {version}", session.client.address());
    println!("hyperbytedb-cli {}: `help` lists the commands", env!("CARGO_PKG_VERSION"));
    session.interactive = true;
    let interrupted: Arc<AtomicBool> = session.interrupted.clone();
    signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted)?;
    let names = Names::default();
    let mut editor = editor(&names)?;
    loop {
        names.refresh(&session.client, &session.database);
        let line = match editor.read_line(&ShellPrompt { database: session.database.clone() }) {
            Ok(Signal::Success(line)) => line,
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => continue,
            Err(error) => return Err(Error::Output(error)),
        };
        session.interrupted.store(false, Ordering::Relaxed);
        match session.run(&line) {
            Ok(Flow::Quit) => return Ok(()),
            // Statements have told their errors.
            Ok(Flow::Continue) | Err(Error::Refused(_) | Error::Request(_) | Error::Answer(_)) => {}
            Err(error) => println!("ERR: {error}"),
        }
    }
}

fn editor(names: &Names) -> Result<Reedline> {
    let mut keys = default_emacs_keybindings();
    bind_keys(&mut keys);
    let menu = ColumnarMenu::default().with_name(MENU).with_columns(4).with_column_padding(2);
    Ok(Reedline::create()
        .with_history(Box::new(history::open()?))
        .with_hinter(Box::new(DefaultHinter::default()))
        .with_completer(Box::new(Completion::new(names.clone())))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_validator(Box::new(Whole))
        .with_edit_mode(Box::new(Emacs::new(keys))))
}

fn bind_keys(keys: &mut Keybindings) {
    let complete =
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    let newline = ReedlineEvent::Edit(vec![EditCommand::InsertNewline]);
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, newline);
}

/// Whether a statement is whole, or goes on over the next line.
struct Whole;

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_whole(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

/// No quote and no parenthesis is open. An empty last line ends any statement; points have their own rules of quotes.
pub fn is_whole(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    if first.eq_ignore_ascii_case("insert") || text.ends_with('\n') {
        return true;
    }
    let (mut open, mut quote) = (0_i32, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(end), character) if character == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => open += 1,
            (None, ')') => open -= 1,
            (None, _) => {}
        }
    }
    open <= 0 && quote.is_none()
}

struct ShellPrompt {
    database: String,
}

impl Prompt for ShellPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.database)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed(". ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn statements_go_on_while_something_is_open() {
        for whole in [
            "",
            "SELECT a FROM b",
            "SELECT mean(a) FROM \"b(\"",
            "insert cpu,host=it's v=1",
            "SELECT (\n",
            "help",
        ] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in [
            "SELECT mean(",
            "SELECT a FROM b WHERE c = 'it\\'s",
            "SELECT a FROM (SELECT b\nFROM c",
            "SELECT \"",
        ] {
            assert!(!is_whole(open), "{open}");
        }
    }
}
