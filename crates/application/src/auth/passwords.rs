//! Password hashes: Argon2id, as PHC strings; of users who come from InfluxDB, its bcrypt.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use thiserror::Error;

/// What bcrypt may cost: four times as much time as in InfluxDB, which takes 10.
pub const BCRYPT_COST_MAX: u32 = 12;
/// Of a password that nobody has.
const BCRYPT_DECOY: &str = "$2b$10$Hjq4ru8qmtb.9X5O1UY1leFHkEn1TR0MAODQxNUHFyRAEo7se9uWC";
/// Blocks of 1 KiB, and passes over them, that a hash from elsewhere may have Argon2id take.
const ARGON2_BLOCKS_MAX: u32 = 64 << 10;
const ARGON2_PASSES_MAX: u32 = 8;

/// Argon2's own error: no source of randomness, for example.
#[derive(Debug, Error)]
#[error("the password could not be hashed: {0}")]
pub struct PasswordError(#[from] argon2::password_hash::Error);

/// Hashes a password with a random salt.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

/// Whether the password has this hash.
pub fn verify(password: &str, hash: &str) -> bool {
    if is_bcrypt(hash) {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Whether a text is a hash that [`verify`] understands, and that takes it a bounded time.
pub fn is_hash(text: &str) -> bool {
    if is_bcrypt(text) {
        return text.parse::<bcrypt::HashParts>().is_ok_and(|parts| parts.get_cost() <= BCRYPT_COST_MAX);
    }
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let is_bounded = |parameters: argon2::Params| {
        parameters.m_cost() <= ARGON2_BLOCKS_MAX && parameters.t_cost() <= ARGON2_PASSES_MAX
    };
    hash.algorithm.as_str() == "argon2id" && argon2::Params::try_from(&hash).is_ok_and(is_bounded)
}

pub fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|start| hash.starts_with(start))
}

/// The hash of a password that nobody has. It, and one of bcrypt's, are checked in place of those that a user does not have,
/// so that it takes as long for each user, and for none.
pub struct Decoy(String);

impl Decoy {
    pub fn new() -> Result<Self, PasswordError> {
        Ok(Self(hash(&format!("{:x}", rand::random::<u128>()))?))
    }

    /// What stands for the hash of a user who does not exist.
    pub fn hash(&self) -> &str {
        &self.0
    }

    /// Whether the password has this hash. `has_bcrypt`: some user's is bcrypt's.
    pub fn verify(&self, password: &str, hash: &str, has_bcrypt: bool) -> bool {
        if is_bcrypt(hash) {
            verify(password, &self.0);
        } else if has_bcrypt {
            verify(password, BCRYPT_DECOY);
        }
        verify(password, hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_verify_and_differ() {
        let (a, b) = (hash("secret").unwrap(), hash("secret").unwrap());
        assert_ne!(a, b);
        assert!(verify("secret", &a) && verify("secret", &b) && !verify("other", &a));
        assert!(!verify("secret", "nonsense"));
    }

    #[test]
    fn the_hashes_of_influxdb_are_understood() {
        let of_influxdb =
            bcrypt::hash_with_result("secret", 4).unwrap().format_for_version(bcrypt::Version::TwoA);
        assert!(of_influxdb.starts_with("$2a$04$"));
        assert!(is_hash(&of_influxdb) && verify("secret", &of_influxdb) && !verify("other", &of_influxdb));
        let decoy = Decoy::new().unwrap();
        assert!(decoy.verify("secret", &of_influxdb, true) && !decoy.verify("other", decoy.hash(), true));
        assert!(is_hash(BCRYPT_DECOY));
    }

    #[test]
    fn hashes_that_cost_too_much_or_are_none_are_refused() {
        assert!(is_hash(&hash("secret").unwrap()));
        let slow = "$2a$20$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuabcdefghijklmn";
        let large = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for text in ["", "secret", "$2a$10$short", slow, large, &large.replace("4194304,t=2", "1024,t=99")] {
            assert!(!is_hash(text), "{text}");
        }
    }
}
