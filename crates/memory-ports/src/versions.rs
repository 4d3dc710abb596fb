//! What was written to a store since its last sync, version by version.

use crate::random::Random;

/// The states of a store that writes one after the other: the synced one, then one for each later write. A power failure
/// keeps any of them.
#[derive(Debug)]
pub(crate) struct Versions<S>(Vec<S>);

impl<S: Default> Default for Versions<S> {
    fn default() -> Self {
        Self(vec![S::default()])
    }
}

impl<S: Clone> Versions<S> {
    /// A synced state.
    pub fn of(state: S) -> Self {
        Self(vec![state])
    }

    pub fn now(&self) -> &S {
        &self.0[self.0.len() - 1]
    }

    /// Writes. `synced`: it, and all before it, will survive.
    pub fn write<T>(&mut self, synced: bool, change: impl FnOnce(&mut S) -> T) -> T {
        let mut state = self.now().clone();
        let answer = change(&mut state);
        self.0.push(state);
        if synced {
            self.sync();
        }
        answer
    }

    pub fn sync(&mut self) {
        let last = self.0.len() - 1;
        self.0.drain(..last);
    }

    pub fn fail_power(&mut self, random: &mut Random) {
        let kept = random.below(self.0.len());
        self.0.truncate(kept + 1);
        self.sync();
    }
}
