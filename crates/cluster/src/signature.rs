//! Who may speak: a request carries a keyed hash of itself, made with the secret that all nodes share.
//!
//! Time is part of what is signed, so an old request cannot be sent again; and one that asks for a change is taken once
//! (`access`).

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// How far clocks may be apart.
pub const SIGNATURE_AGE_MAX: Duration = Duration::from_secs(60);
/// Changes remembered at one time. There are few.
const SEEN_MAX: usize = 100_000;

/// What all nodes know, and nobody else.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(secret: &str) -> Self {
        Self(secret.as_bytes().to_vec())
    }

    /// `parts` are told apart by their lengths.
    fn mac(&self, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Some(mac)
    }

    pub fn sign(&self, parts: &[&[u8]]) -> String {
        let tag = self.mac(parts).map(|mac| mac.finalize().into_bytes());
        tag.map_or_else(String::new, |tag| hex(&tag))
    }

    /// Takes as long for a wrong signature as for the right one.
    pub fn verify(&self, parts: &[&[u8]], signature: &str) -> bool {
        let Some(tag) = unhex(signature) else { return false };
        self.mac(parts).is_some_and(|mac| mac.verify_slice(&tag).is_ok())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    digits.chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Whether a request was signed a moment ago.
pub fn is_recent(signed_ms: u64) -> bool {
    u128::from(now_ms().abs_diff(signed_ms)) <= SIGNATURE_AGE_MAX.as_millis()
}

/// Signatures of the changes asked for a moment ago.
#[derive(Default)]
pub struct Seen(Mutex<HashMap<String, u64>>);

impl Seen {
    /// False the second time.
    pub fn is_new(&self, signature: &str, signed_ms: u64) -> bool {
        let mut seen = self.0.lock();
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, signed_ms| is_recent(*signed_ms));
        }
        seen.len() < SEEN_MAX && seen.insert(signature.to_owned(), signed_ms).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_signs() {
        let secret = Secret::new("s");
        let signature = secret.sign(&[b"POST", b"/x", b"body"]);
        assert!(secret.verify(&[b"POST", b"/x", b"body"], &signature));
        assert!(!secret.verify(&[b"POST", b"/xb", b"ody"], &signature));
        assert!(!Secret::new("t").verify(&[b"POST", b"/x", b"body"], &signature));
        for wrong in ["", "zz", "abc", &signature[2..]] {
            assert!(!secret.verify(&[b"POST", b"/x", b"body"], wrong), "{wrong}");
        }
    }

    #[test]
    fn a_change_is_taken_once() {
        let seen = Seen::default();
        assert!(seen.is_new("a", now_ms()) && seen.is_new("b", now_ms()) && !seen.is_new("a", now_ms()));
        assert!(is_recent(now_ms() + 1000) && !is_recent(now_ms() - 61_000) && !is_recent(0));
    }
}
