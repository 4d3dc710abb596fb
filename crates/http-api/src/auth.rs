//! The credentials of a request: `u` and `p`, or the `Authorization` header.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyperbytedb_domain::ports::{AuthPort, Credentials};

use crate::error::ApiError;
use crate::form::Form;

/// As InfluxDB looks for them: parameters first, then the header.
pub fn credentials(headers: &HeaderMap, form: &Form) -> Credentials {
    if let Some(user) = form.get("u").filter(|u| !u.is_empty()) {
        let password = form.get("p").unwrap_or_default().to_owned();
        return Credentials::Password { user: user.to_owned(), password };
    }
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .and_then(|(scheme, rest)| from_header(scheme, rest.trim()))
        .unwrap_or(Credentials::None)
}

fn from_header(scheme: &str, rest: &str) -> Option<Credentials> {
    match scheme {
        s if s.eq_ignore_ascii_case("basic") => {
            let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            password(&decoded)
        }
        s if s.eq_ignore_ascii_case("token") => {
            password(rest).or_else(|| Some(Credentials::Token(rest.to_owned())))
        }
        s if s.eq_ignore_ascii_case("bearer") => Some(Credentials::Token(rest.to_owned())),
        _ => None,
    }
}

fn password(text: &str) -> Option<Credentials> {
    let (user, password) = text.split_once(':')?;
    Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
}

/// The user's name, where users are known.
pub fn authenticate(
    auth: Option<&dyn AuthPort>,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Option<String>, ApiError> {
    match auth {
        Some(auth) => auth
            .authenticate(&credentials(headers, form))
            .map_err(|text| ApiError::new(StatusCode::UNAUTHORIZED, text)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_who_one_is() {
        let password = |user: &str, password: &str| Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let cases = [
            ("", None, Credentials::None),
            ("u=joe&p=s%26crt", None, password("joe", "s&crt")),
            ("u=joe", Some("Basic eDp5"), password("joe", "")),
            ("", Some("Basic am9lOnM6Y3J0"), password("joe", "s:crt")),
            ("", Some("basic am9lOg=="), password("joe", "")),
            ("", Some("Basic ###"), Credentials::None),
            ("", Some("Token joe:secret"), password("joe", "secret")),
            ("", Some("Token abc"), Credentials::Token("abc".into())),
            ("", Some("Bearer a.b.c"), Credentials::Token("a.b.c".into())),
            ("", Some("Digest x"), Credentials::None),
        ];
        for (query, header, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, header.parse().unwrap());
            }
            assert_eq!(credentials(&headers, &Form::from_query(Some(query))), expected);
        }
    }
}
