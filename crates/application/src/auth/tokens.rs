//! JSON Web Tokens signed with the shared secret, as InfluxDB 1.x takes them: HMAC with SHA-2, an `exp`, and a `username`.
//!
//! A token is only ever checked with HMAC, whatever its header says. Crates that know all methods bring RSA and elliptic curves,
//! none of which may be used here.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::{Sha256, Sha384, Sha512};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The user's name in a token that is signed and valid at `now`, in seconds since 1970. Errors have InfluxDB's texts.
pub fn user_name(token: &str, secret: &str, now: f64) -> Result<String, String> {
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        return Err("token contains an invalid number of segments".to_owned());
    };
    let algorithm = object(header)?.get("alg").and_then(Value::as_str).map(str::to_owned);
    let claims_of = object(claims)?;
    let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
    let signature = decoded(signature)?;
    let verified = match algorithm.as_deref() {
        Some("HS256") => is_signed(&Hmac::<Sha256>::new_from_slice(secret.as_bytes()), signed, &signature),
        Some("HS384") => is_signed(&Hmac::<Sha384>::new_from_slice(secret.as_bytes()), signed, &signature),
        Some("HS512") => is_signed(&Hmac::<Sha512>::new_from_slice(secret.as_bytes()), signed, &signature),
        Some(other) => return Err(format!("unexpected signing method: {other}")),
        None => return Err("signing method (alg) is unspecified.".to_owned()),
    };
    if !verified {
        return Err("signature is invalid".to_owned());
    }
    check_times(&claims_of, now)?;
    match claims_of.get("username") {
        Some(Value::String(name)) if name.is_empty() => Err("token must contain a username".to_owned()),
        Some(Value::String(name)) => Ok(name.clone()),
        _ => Err("username in token must be a string".to_owned()),
    }
}

/// Compares in constant time.
fn is_signed<M: Mac + Clone, E>(mac: &Result<M, E>, signed: &[u8], signature: &[u8]) -> bool {
    let Ok(mac) = mac else { return false };
    mac.clone().chain_update(signed).verify_slice(signature).is_ok()
}

fn check_times(claims: &Map<String, Value>, now: f64) -> Result<(), String> {
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    if time("nbf").is_some_and(|from| now < from) {
        return Err("Token is not valid yet".to_owned());
    }
    if time("iat").is_some_and(|issued| now < issued) {
        return Err("Token used before issued".to_owned());
    }
    match time("exp") {
        Some(expires) if expires <= 0.0 => Err("token expiration required".to_owned()),
        Some(expires) if now > expires => Err("Token is expired".to_owned()),
        Some(_) => Ok(()),
        None => Err("token expiration required".to_owned()),
    }
}

fn decoded(segment: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(segment).map_err(|_| "the token is not base64".to_owned())
}

fn object(segment: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(&decoded(segment)?).map_err(|_| "the token is not made of JSON objects".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: f64 = 1000.0;

    fn token(header: &Value, claims: &Value, secret: &str) -> String {
        let encode = |bytes: &[u8]| BASE64.encode(bytes).trim_end_matches('=').to_owned();
        let signed =
            format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let mac = |signed: &str| match header["alg"].as_str() {
            Some("HS512") => Hmac::<Sha512>::new_from_slice(secret.as_bytes())
                .unwrap()
                .chain_update(signed)
                .finalize()
                .into_bytes()
                .to_vec(),
            _ => Hmac::<Sha256>::new_from_slice(secret.as_bytes())
                .unwrap()
                .chain_update(signed)
                .finalize()
                .into_bytes()
                .to_vec(),
        };
        format!("{signed}.{}", encode(&mac(&signed)))
    }

    fn ask(header: Value, claims: Value) -> Result<String, String> {
        user_name(&token(&header, &claims, "secret"), "secret", NOW)
    }

    #[test]
    fn tokens_as_influxdb_takes_them() {
        let fine = json!({"username": "joe", "exp": 1001});
        assert_eq!(ask(json!({"alg": "HS256"}), fine.clone()).as_deref(), Ok("joe"));
        assert_eq!(ask(json!({"alg": "HS512"}), fine.clone()).as_deref(), Ok("joe"));
        for (header, claims, expected) in [
            (json!({"alg": "none"}), fine.clone(), "unexpected signing method: none"),
            (json!({"alg": "RS256"}), fine.clone(), "unexpected signing method: RS256"),
            (json!({"typ": "JWT"}), fine.clone(), "signing method (alg) is unspecified."),
            (json!({"alg": "HS384"}), fine.clone(), "signature is invalid"),
            (json!({"alg": "HS256"}), json!({"username": "joe"}), "token expiration required"),
            (json!({"alg": "HS256"}), json!({"username": "joe", "exp": 0}), "token expiration required"),
            (json!({"alg": "HS256"}), json!({"username": "joe", "exp": "x"}), "token expiration required"),
            (json!({"alg": "HS256"}), json!({"username": "joe", "exp": 999}), "Token is expired"),
            (
                json!({"alg": "HS256"}),
                json!({"username": "joe", "exp": 2000, "nbf": 1001}),
                "Token is not valid yet",
            ),
            (
                json!({"alg": "HS256"}),
                json!({"username": "joe", "exp": 2000, "iat": 1001}),
                "Token used before issued",
            ),
            (json!({"alg": "HS256"}), json!({"exp": 1001}), "username in token must be a string"),
            (json!({"alg": "HS256"}), json!({"exp": 1001, "username": ""}), "token must contain a username"),
        ] {
            assert_eq!(ask(header.clone(), claims.clone()).unwrap_err(), expected, "{header} {claims}");
        }
        let other = token(&json!({"alg": "HS256"}), &fine, "another secret");
        assert_eq!(user_name(&other, "secret", NOW).unwrap_err(), "signature is invalid");
    }

    #[test]
    fn what_is_no_token_is_an_error() {
        for text in ["", "a.b", "a.b.c", "..", "e30.e30.", "x", "é.é.é", "e30.W10.e30", "....."] {
            assert!(user_name(text, "secret", NOW).is_err(), "{text}");
        }
    }
}
