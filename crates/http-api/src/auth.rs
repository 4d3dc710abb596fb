//! Whom a request is from: `u` and `p` in the URL, or the `Authorization` header.

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyperbytedb_domain::ports::{AuthError, Caller, Credentials};

use crate::error::{ApiError, task_failed};
use crate::form::Form;
use crate::{AppState, admission, body};

/// Whom a request is from, and its body. That of a refused request is thrown away, so that the client sees why.
pub async fn enter(state: &AppState, head: &Parts, sent: Body) -> Result<(Caller, Body), ApiError> {
    match caller(state, head).await {
        Ok(caller) => Ok((caller, sent)),
        Err(error) => {
            if !head.headers.contains_key(EXPECT) {
                body::discard(sent).await;
            }
            Err(error)
        }
    }
}

/// Whom a request is from: anybody is trusted where authentication is off.
pub async fn caller(state: &AppState, head: &Parts) -> Result<Caller, ApiError> {
    let caller = authenticate(state, head).await?;
    if let Some(user) = caller.user() {
        state.rates.take_of_user(user)?;
    }
    Ok(caller)
}

async fn authenticate(state: &AppState, head: &Parts) -> Result<Caller, ApiError> {
    let Some(auth) = &state.http.auth else { return Ok(Caller::Trusted) };
    // The log may hold changes of users.
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let credentials = credentials(&head.headers, &Form::from_query(head.uri.query()));
    if let Some(known) = auth.recall(&credentials) {
        return known.map_err(refused);
    }
    let turn = match &credentials {
        Credentials::Password { user, .. } => state.logins.enter(user).await?,
        Credentials::None | Credentials::Bearer(_) => return Err(refused(AuthError::Unreadable)),
    };
    let auth = auth.clone();
    let verify = move || {
        let _turn = turn;
        auth.verify(&credentials)
    };
    crate::blocking::spawn(verify).await.map_err(task_failed)?.map_err(refused)
}

/// Lets only admins pass, and everybody where authentication is off.
pub async fn admin(state: &AppState, head: &Parts) -> Result<Caller, ApiError> {
    require_admin(state, caller(state, head).await?)
}

pub fn require_admin(state: &AppState, caller: Caller) -> Result<Caller, ApiError> {
    match &state.http.auth {
        Some(auth) if !auth.is_admin(&caller) => {
            let user = caller.user().unwrap_or("nobody");
            Err(ApiError::new(
                StatusCode::FORBIDDEN,
                format!("{user} not authorized, requires admin privilege"),
            ))
        }
        _ => Ok(caller),
    }
}

fn refused(error: AuthError) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, error.to_string())
}

/// Who a request says it is from, true or not.
pub fn named_user(headers: &HeaderMap, query: &Form) -> Option<String> {
    match credentials(headers, query) {
        Credentials::Password { user, .. } => Some(user),
        Credentials::None | Credentials::Bearer(_) => query.get("u").map(str::to_owned),
    }
}

/// As InfluxDB looks for them: parameters first, if both are there, then the header.
pub fn credentials(headers: &HeaderMap, query: &Form) -> Credentials {
    let (user, password) = (query.text("u"), query.text("p"));
    if !user.is_empty() && !password.is_empty() {
        return Credentials::Password { user: user.to_owned(), password: password.to_owned() };
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
        s if s.eq_ignore_ascii_case("token") => password(rest),
        s if s.eq_ignore_ascii_case("bearer") => Some(Credentials::Bearer(rest.to_owned())),
        _ => None,
    }
}

fn password(text: &str) -> Option<Credentials> {
    let (user, password) = text.split_once(':')?;
    Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
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
            ("u=joe&p=s", Some("Basic eDp5"), password("joe", "s")),
            ("u=joe", Some("Basic eDp5"), password("x", "y")),
            ("u=joe", None, Credentials::None),
            ("p=s", None, Credentials::None),
            ("", Some("Basic am9lOnM6Y3J0"), password("joe", "s:crt")),
            ("", Some("basic am9lOg=="), password("joe", "")),
            ("", Some("Basic OnM="), password("", "s")),
            ("", Some("Basic ###"), Credentials::None),
            ("", Some("Basic"), Credentials::None),
            ("", Some("Basic am9l"), Credentials::None),
            ("", Some("Token joe:secret"), password("joe", "secret")),
            ("", Some("Token abc"), Credentials::None),
            ("", Some("Bearer a.b.c"), Credentials::Bearer("a.b.c".into())),
            ("", Some("Digest x"), Credentials::None),
        ];
        for (query, header, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, header.parse().unwrap());
            }
            assert_eq!(credentials(&headers, &Form::from_query(Some(query))), expected, "{query} {header:?}");
        }
    }
}
