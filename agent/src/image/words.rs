//! What a failed pull is called: errors of the runtime → reason, waiting message and event, in the kubelet's words. Pure.

use std::collections::BTreeSet;

use pinnace_cri::error::Error;

use crate::chain::Chain;

/// Waiting reason of a pull that failed for no reason with a name of its own.
pub const PULL: &str = "ErrImagePull";
/// The registry did not answer; runtimes begin their error with this word (`k8s.io/cri-api`, `errors`).
const UNAVAILABLE: &str = "RegistryUnavailable";
/// The image's signature is not what the node asks for.
const SIGNATURE: &str = "SignatureValidationFailed";

/// Reasons that are followed by a back-off of the image.
pub const BACKING_OFF: [&str; 3] = [PULL, UNAVAILABLE, SIGNATURE];

/// Why an image was not pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Waiting reason.
    pub reason: &'static str,
    /// Waiting message.
    pub message: String,
    /// The error itself, which ends the event's text.
    pub error: String,
}

impl Refusal {
    /// Of the errors of all tries, in their order.
    #[must_use]
    pub fn new(shown: &str, errors: &[String]) -> Self {
        let error = joined(errors);
        let (reason, message) = match (error.strip_prefix(UNAVAILABLE), error.strip_prefix(SIGNATURE)) {
            (Some(more), _) => {
                let why = format!("image pull failed for {shown} because the registry is unavailable{more}");
                (UNAVAILABLE, why)
            }
            (_, Some(more)) => {
                let why =
                    format!("image pull failed for {shown} because the signature validation failed{more}");
                (SIGNATURE, why)
            }
            (None, None) => (PULL, error.clone()),
        };
        Self { reason, message, error }
    }
}

/// One error as it is; several between brackets, each text once.
fn joined(errors: &[String]) -> String {
    let mut known = BTreeSet::new();
    let different: Vec<&str> = errors.iter().map(String::as_str).filter(|text| known.insert(*text)).collect();
    match different.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// One error of the runtime.
#[must_use]
pub fn of(error: &Error) -> String {
    error.in_kubelets_words().unwrap_or_else(|| Chain(error).to_string())
}

/// The waiting message of an image that is backing off, with what its last pull failed with.
#[must_use]
pub fn backing_off(shown: &str, reason: &str, message: &str) -> String {
    format!("Back-off pulling image {shown:?}: {reason}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(errors: &[&str]) -> Refusal {
        Refusal::new("reg.x/a:1", &errors.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn reasons_with_a_name_of_their_own() {
        let found = refusal(&["RegistryUnavailable: no route"]);
        assert_eq!(found.reason, "RegistryUnavailable");
        let why = "image pull failed for reg.x/a:1 because the registry is unavailable: no route";
        assert_eq!(found.message, why);
        assert_eq!(found.error, "RegistryUnavailable: no route");
        let found = refusal(&["SignatureValidationFailed"]);
        assert_eq!(found.reason, "SignatureValidationFailed");
        assert_eq!(found.message, "image pull failed for reg.x/a:1 because the signature validation failed");
        assert_eq!(refusal(&["x: RegistryUnavailable"]).reason, "ErrImagePull");
    }

    #[test]
    fn several_tries_are_several_errors_each_told_once() {
        assert_eq!(refusal(&["a"]).message, "a");
        assert_eq!(refusal(&["a", "b", "a"]).message, "[a, b]");
        assert_eq!(refusal(&["a", "a"]).message, "a");
        assert_eq!(backing_off("i", PULL, "no"), "Back-off pulling image \"i\": ErrImagePull: no");
    }
}
