//! Password hashes: Argon2id, as PHC strings.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use thiserror::Error;

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
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
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
}
