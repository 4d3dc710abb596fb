//! Remembers which passwords were checked against which hashes, so that a client's next request costs microseconds.
//!
//! Whether a password has a given hash never changes, and each hash has a salt of its own: so an entry is of one user, password
//! and hash. Nothing need be dropped when a user changes, for the new hash finds no old entry, whatever the order in which changes
//! and checks meet. (The name is for users who do not exist: they share a hash, and one must not answer faster for what was asked
//! of another.) Passwords are not kept: an entry is found by a digest under a key that lives as long as the process.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use sha2::Sha256;

type Digest = [u8; 32];

/// Wrong passwords that are remembered: a client that goes on sending one must not keep the server hashing.
const REFUSED_ENTRIES: usize = 1024;

pub struct Verifications {
    /// Of the length that HMAC-SHA256 takes as it is.
    key: [u8; 64],
    right: Cache<Digest, Instant>,
    wrong: Cache<Digest, Instant>,
    time_to_live: Duration,
}

impl Verifications {
    /// Right passwords are forgotten when they were not used for `time_to_live`, wrong ones that long after they were checked.
    pub fn new(entries: usize, time_to_live: Duration) -> Self {
        let (right, wrong) = (Cache::new(entries), Cache::new(REFUSED_ENTRIES.min(entries)));
        Self { key: rand::random(), right, wrong, time_to_live }
    }

    /// Whether the user's password has the hash, if that is remembered.
    pub fn recall(&self, user: &str, password: &str, hash: &str) -> Option<bool> {
        let digest = self.digest(user, password, hash);
        if let Some(used) = self.fresh(&self.right, &digest) {
            // Not at each use: that would make readers wait for each other.
            if used.elapsed() > self.time_to_live / 2 {
                self.right.insert(digest, Instant::now());
            }
            return Some(true);
        }
        self.fresh(&self.wrong, &digest).map(|_| false)
    }

    pub fn remember(&self, user: &str, password: &str, hash: &str, is_right: bool) {
        let cache = if is_right { &self.right } else { &self.wrong };
        cache.insert(self.digest(user, password, hash), Instant::now());
    }

    fn fresh(&self, cache: &Cache<Digest, Instant>, digest: &Digest) -> Option<Instant> {
        let at = cache.get(digest)?;
        if at.elapsed() < self.time_to_live {
            return Some(at);
        }
        cache.remove(digest);
        None
    }

    fn digest(&self, user: &str, password: &str, hash: &str) -> Digest {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        for part in [user, password, hash] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_of_one_user_password_and_hash() {
        let known = Verifications::new(100, Duration::from_secs(60));
        known.remember("u", "p", "hash", true);
        known.remember("u", "q", "hash", false);
        assert_eq!(known.recall("u", "p", "hash"), Some(true));
        assert_eq!(known.recall("u", "q", "hash"), Some(false));
        for (user, password, hash) in
            [("u", "p", "other"), ("v", "q", "hash"), ("up", "", "hash"), ("u", "ph", "ash")]
        {
            assert_eq!(known.recall(user, password, hash), None);
        }
    }

    #[test]
    fn entries_age_and_are_bounded() {
        let known = Verifications::new(10, Duration::ZERO);
        known.remember("u", "p", "hash", true);
        assert_eq!(known.recall("u", "p", "hash"), None);
        for number in 0..1000 {
            known.remember("u", &number.to_string(), "hash", number % 2 == 0);
        }
        assert!(known.right.len() <= 10 && known.wrong.len() <= 10);
    }
}
