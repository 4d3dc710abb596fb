//! Panics of Arrow's reader, which takes some things for granted. Whoever sends such a body is told that it is malformed; a
//! message and a backtrace for each would let him fill the log.

use std::cell::Cell;
use std::panic::{UnwindSafe, catch_unwind};

thread_local! {
    static FORESEEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be one of these.
pub fn is_foreseen() -> bool {
    FORESEEN.get()
}

/// Runs what may panic; `None`: it has.
pub fn catch<T>(run: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    let before = FORESEEN.replace(true);
    let result = catch_unwind(run);
    FORESEEN.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_foreseen_only_within() {
        assert_eq!(catch(is_foreseen), Some(true));
        assert!(!is_foreseen());
        assert_eq!(catch(|| -> u8 { panic!("foreseen") }), None);
        assert!(!is_foreseen());
    }
}
