//! Docker configurations, as Secrets and files of a node have them: JSON → logins by address. Pure.
//!
//! Nothing of the text is ever part of an error: what is wrong with it may be right beside a password.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use super::Login;

/// Shape of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `config.json`: logins are under `auths`.
    ConfigJson,
    /// `.dockercfg`: logins are all that there is.
    Dockercfg,
}

/// The text is no Docker configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON, or not of this shape.
    #[error("not the JSON of a Docker configuration")]
    Json,
    /// An entry's `auth` is not what it should be.
    #[error("an entry has an auth that is not base64 of user:password")]
    Auth,
}

/// The logins by the addresses that they are for. Entries without a login are left out: clients that keep logins
/// elsewhere write such.
pub fn logins(text: &[u8], format: Format) -> Result<Vec<(String, Login)>, Malformed> {
    let whole: Value = serde_json::from_slice(text).map_err(|_| Malformed::Json)?;
    let entries = match (format, &whole) {
        (Format::Dockercfg, entries) => Some(entries),
        (Format::ConfigJson, Value::Object(top)) => field(top, "auths"),
        (Format::ConfigJson, Value::Null) => None,
        (Format::ConfigJson, _) => return Err(Malformed::Json),
    };
    let entries = match entries {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(Malformed::Json),
    };
    let mut found = Vec::new();
    for (address, entry) in entries {
        let login = login(entry)?;
        if !login.username.is_empty() || !login.password.is_empty() {
            found.push((address.clone(), login));
        }
    }
    Ok(found)
}

fn login(entry: &Value) -> Result<Login, Malformed> {
    let entry = match entry {
        Value::Null => return Ok(Login::default()),
        Value::Object(entry) => entry,
        _ => return Err(Malformed::Json),
    };
    let text = |name| match field(entry, name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Malformed::Json),
    };
    let (username, password, auth) = (text("username")?, text("password")?, text("auth")?);
    let email = text("email")?;
    if auth.is_empty() {
        return Ok(Login { username, password, email });
    }
    let engine = if auth.trim().ends_with('=') { &STANDARD } else { &STANDARD_NO_PAD };
    // Line ends within it are no part of it.
    let packed: String = auth.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let plain = engine.decode(packed).map_err(|_| Malformed::Auth)?;
    let plain = String::from_utf8(plain).map_err(|_| Malformed::Auth)?;
    let (username, password) = plain.split_once(':').ok_or(Malformed::Auth)?;
    Ok(Login { username: username.to_owned(), password: password.to_owned(), email })
}

/// A field by its name; where no name is exactly so, by one that differs in capitals only, as the kubelet reads JSON.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let similar = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    object.get(name).or_else(similar)
}
