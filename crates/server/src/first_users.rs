//! The users that a start makes: the configuration's admin, and what the variables of InfluxDB's container image name.

use hyperbytedb_application::auth::first_users::{FirstUsers, NewUser};
use hyperbytedb_domain::catalog::Privilege;

use crate::config::{AuthConfig, ConfigError};

/// Reads the variables through `variable`; an empty one counts as none.
pub fn first_users(
    config: &AuthConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<FirstUsers, ConfigError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let user = |name: &str| {
        let Some(user) = variable(name) else { return Ok(None) };
        // The image's one exception to its own rule.
        let password = if name == "INFLUXDB_ADMIN_USER" {
            "INFLUXDB_ADMIN_PASSWORD".to_owned()
        } else {
            format!("{name}_PASSWORD")
        };
        match variable(&password) {
            Some(password) => Ok(Some(NewUser { name: user, password })),
            None => {
                Err(ConfigError::Invalid(format!("{name} is set and {password} is not: set both or none")))
            }
        }
    };
    let mut first_users = Vec::new();
    for (name, privilege) in [
        ("INFLUXDB_USER", Privilege::All),
        ("INFLUXDB_WRITE_USER", Privilege::Write),
        ("INFLUXDB_READ_USER", Privilege::Read),
    ] {
        first_users.extend(user(name)?.map(|user| (user, privilege)));
    }
    let admin = (!config.admin_user.is_empty()).then(|| NewUser {
        name: config.admin_user.clone(),
        password: config.admin_password.reveal().to_owned(),
    });
    Ok(FirstUsers {
        admin,
        first_database: variable("INFLUXDB_DB"),
        first_users,
        first_admin: user("INFLUXDB_ADMIN_USER")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<FirstUsers, ConfigError> {
        let find =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        first_users(&AuthConfig::default(), find)
    }

    #[test]
    fn the_variables_of_influxdbs_image() {
        let all = read(&[
            ("INFLUXDB_DB", "db"),
            ("INFLUXDB_ADMIN_USER", "adm"),
            ("INFLUXDB_ADMIN_PASSWORD", "p"),
            ("INFLUXDB_USER", "u"),
            ("INFLUXDB_USER_PASSWORD", "q"),
            ("INFLUXDB_READ_USER", "r"),
            ("INFLUXDB_READ_USER_PASSWORD", "s"),
            ("INFLUXDB_WRITE_USER", ""),
        ])
        .unwrap();
        let users: Vec<_> =
            all.first_users.iter().map(|(user, p)| (&*user.name, &*user.password, *p)).collect();
        assert_eq!(users, [("u", "q", Privilege::All), ("r", "s", Privilege::Read)]);
        assert_eq!(
            all.first_admin.map(|admin| (admin.name, admin.password)),
            Some(("adm".into(), "p".into()))
        );
        assert!(all.admin.is_none() && all.first_database.as_deref() == Some("db"));
        let error = read(&[("INFLUXDB_WRITE_USER", "w")]).err().unwrap().to_string();
        assert!(error.contains("INFLUXDB_WRITE_USER_PASSWORD"), "{error}");
    }
}
