//! Users: who sends a request ([`AuthService`]), and what they may do ([`access`], [`privileges`]).

pub mod access;
pub mod first_users;
pub(crate) mod passwords;
pub mod privileges;
pub mod tokens;
mod verifications;

use hyperbytedb_metrics as metrics;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::ports::{AuthError, AuthPort, Caller, CatalogPort, Credentials};

use self::access::Access;
pub use self::access::Refusal;
use self::passwords::Decoy;
pub use self::passwords::PasswordError;
use self::verifications::Verifications;

/// How often a password is checked anew because it changed meanwhile.
const CHECKS_MAX: usize = 3;

/// Settings of authentication.
#[derive(Debug, Clone)]
pub struct AuthOptions {
    /// What tokens are signed with; empty: tokens are refused.
    pub shared_secret: String,
    /// Time that a verified password is remembered after its last use.
    pub cache_ttl: Duration,
    /// Passwords that are remembered.
    pub cache_entries: usize,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self { shared_secret: String::new(), cache_ttl: Duration::from_secs(300), cache_entries: 10_000 }
    }
}

/// Finds out whom a request is from. The catalogue is asked at each request, so a change of a user counts at once.
pub struct AuthService {
    catalog: Arc<dyn CatalogPort>,
    options: AuthOptions,
    known: Verifications,
    decoy: Decoy,
}

impl AuthService {
    pub fn new(catalog: Arc<dyn CatalogPort>, options: AuthOptions) -> Result<Self, PasswordError> {
        let known = Verifications::new(options.cache_entries, options.cache_ttl);
        Ok(Self { catalog, options, known, decoy: Decoy::new()? })
    }

    fn hash_of<'a>(&'a self, user: &str, catalog: &'a Catalog) -> &'a str {
        catalog.users.get(user).map_or(self.decoy.hash(), |user| &user.password_hash)
    }

    fn check_password(&self, user: &str, password: &str) -> Result<Caller, AuthError> {
        for _ in 0..CHECKS_MAX {
            let catalog = self.catalog.catalog();
            let hash = self.hash_of(user, &catalog);
            let has_bcrypt = catalog.users.values().any(|user| passwords::is_bcrypt(&user.password_hash));
            let is_right = self.decoy.verify(password, hash, has_bcrypt);
            self.known.remember(user, password, hash, is_right);
            if !is_right {
                break;
            }
            // A password that was changed meanwhile is no longer right.
            if self.hash_of(user, &self.catalog.catalog()) == hash {
                return Ok(Caller::User(user.into()));
            }
        }
        Err(refused())
    }

    fn check_token(&self, token: &str, catalog: &Catalog) -> Result<Caller, AuthError> {
        if self.options.shared_secret.is_empty() {
            return Err(AuthError::Token("bearer auth disabled".to_owned()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let user = tokens::user_name(token, &self.options.shared_secret, now).map_err(AuthError::Token)?;
        if !catalog.users.contains_key(&user) {
            return Err(AuthError::Token("user not found".to_owned()));
        }
        Ok(Caller::User(user.into()))
    }
}

fn refused() -> AuthError {
    metrics::AUTH_FAILURES.increment(1);
    AuthError::Failed
}

impl AuthPort for AuthService {
    fn recall(&self, credentials: &Credentials) -> Option<Result<Caller, AuthError>> {
        let catalog = self.catalog.catalog();
        if !catalog.has_admin() {
            return Some(Ok(Caller::Nobody));
        }
        match credentials {
            Credentials::None => Some(Err(AuthError::Unreadable)),
            Credentials::Password { user, .. } if user.is_empty() => Some(Err(AuthError::UsernameRequired)),
            Credentials::Password { user, password } => {
                let known = self.known.recall(user, password, self.hash_of(user, &catalog));
                let hit =
                    if known.is_some() { &metrics::AUTH_CACHE_HITS } else { &metrics::AUTH_CACHE_MISSES };
                hit.increment(1);
                let is_right = known?;
                Some(if is_right { Ok(Caller::User(user.as_str().into())) } else { Err(refused()) })
            }
            Credentials::Bearer(token) => Some(self.check_token(token, &catalog)),
        }
    }

    fn verify(&self, credentials: &Credentials) -> Result<Caller, AuthError> {
        match self.recall(credentials) {
            Some(known) => known,
            None => match credentials {
                Credentials::Password { user, password } => self.check_password(user, password),
                Credentials::None | Credentials::Bearer(_) => Err(AuthError::Unreadable),
            },
        }
    }

    fn is_admin(&self, caller: &Caller) -> bool {
        Access::of(caller, &self.catalog.catalog()).is_all()
    }
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::catalog::Command;
    use hyperbytedb_memory_ports::MemoryPorts;

    use super::*;

    struct Server {
        catalog: Arc<dyn CatalogPort>,
        auth: AuthService,
    }

    impl Server {
        fn new() -> Self {
            let catalog: Arc<dyn CatalogPort> = MemoryPorts::default().catalog;
            let options = AuthOptions { shared_secret: "secret".into(), ..AuthOptions::default() };
            Self { auth: AuthService::new(catalog.clone(), options).unwrap(), catalog }
        }

        fn apply(&self, command: Command) {
            let mut catalog = (*self.catalog.catalog()).clone();
            catalog.apply(&command).unwrap();
            self.catalog.publish(catalog, self.catalog.applied() + 1).unwrap();
        }

        fn create(&self, name: &str, password: &str, admin: bool) {
            let password_hash = passwords::hash(password).unwrap();
            self.apply(Command::CreateUser { name: name.into(), password_hash, admin });
        }

        fn recall(&self, user: &str, password: &str) -> Option<Result<Caller, AuthError>> {
            self.auth.recall(&credentials(user, password))
        }

        fn verify(&self, user: &str, password: &str) -> Result<Caller, AuthError> {
            self.auth.verify(&credentials(user, password))
        }
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials::Password { user: user.into(), password: password.into() }
    }

    #[test]
    fn without_an_admin_nobody_is_asked() {
        let server = Server::new();
        assert_eq!(server.auth.recall(&Credentials::None), Some(Ok(Caller::Nobody)));
        server.create("joe", "p", false);
        assert_eq!(server.recall("joe", "p"), Some(Ok(Caller::Nobody)));
        server.create("adm", "p", true);
        assert_eq!(server.auth.recall(&Credentials::None), Some(Err(AuthError::Unreadable)));
        assert_eq!(server.recall("", "p"), Some(Err(AuthError::UsernameRequired)));
    }

    #[test]
    fn a_password_is_hashed_once_and_a_change_counts_at_once() {
        let server = Server::new();
        let joe = Ok(Caller::User("joe".into()));
        server.create("adm", "p", true);
        server.create("joe", "p", false);
        assert_eq!(server.recall("joe", "p"), None);
        assert_eq!(server.verify("joe", "p"), joe);
        assert_eq!(server.recall("joe", "p"), Some(joe.clone()));
        let password_hash = passwords::hash("q").unwrap();
        server.apply(Command::SetPassword { name: "joe".into(), password_hash });
        assert_eq!(server.recall("joe", "p"), None);
        assert_eq!(server.verify("joe", "p"), Err(AuthError::Failed));
        assert_eq!(server.recall("joe", "p"), Some(Err(AuthError::Failed)));
        assert_eq!(server.verify("joe", "q"), joe);
        server.apply(Command::DropUser { name: "joe".into() });
        assert_eq!(server.verify("joe", "q"), Err(AuthError::Failed));
        server.create("joe", "r", false);
        assert_eq!(server.verify("joe", "q"), Err(AuthError::Failed));
        assert_eq!(server.verify("joe", "r"), joe);
    }

    #[test]
    fn who_does_not_exist_costs_as_much_and_cannot_be_told_apart() {
        let server = Server::new();
        server.create("adm", "p", true);
        for user in ["adm", "nobody", "no other"] {
            assert_eq!(server.recall(user, "wrong"), None, "{user}");
            assert_eq!(server.verify(user, "wrong"), Err(AuthError::Failed));
            assert_eq!(server.recall(user, "wrong"), Some(Err(AuthError::Failed)));
        }
    }

    #[test]
    fn tokens_name_users() {
        let server = Server::new();
        server.create("adm", "p", true);
        let ask = |token: &str| server.auth.recall(&Credentials::Bearer(token.into()));
        // {"alg":"HS256"} {"username":"adm","exp":32503680000}
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VybmFtZSI6ImFkbSIsImV4cCI6MzI1MDM2ODAwMDB9.-_RDrUBUr2yxqIZKVBcbDRQ2yVfDXMKTm8Xmn1F3-pY";
        assert_eq!(ask(token), Some(Ok(Caller::User("adm".into()))));
        server.create("other", "p", true);
        server.apply(Command::DropUser { name: "adm".into() });
        assert_eq!(ask(token), Some(Err(AuthError::Token("user not found".into()))));
    }
}
