//! What must hold between keys once all layers are known. Unaware of how a value was read.

use ropewalk_core::settings::EnvValue;

use super::fault::{ConfigFault, Wrong};
use super::keys::{ENV, SECRETS, TIMEOUT_MAX};
use super::value::{Kind, Value};
use super::{Given, Held};

/// Brings a timeout that nobody has given down to the maximum: whoever sets the maximum alone means that too.
pub(super) fn lower_defaults(held: &mut [Held]) {
    let Some(max_ms) = find(held, TIMEOUT_MAX).and_then(Held::duration_ms) else { return };
    for timeout in held.iter_mut().filter(|held| is_timeout(held) && held.is_default()) {
        if timeout.duration_ms().is_some_and(|ms| ms > max_ms) {
            timeout.value = Some(Value::DurationMs(max_ms));
        }
    }
}

/// Timeouts above the maximum. Only what is in force counts: a layer below may have had its own maximum in mind.
pub(super) fn timeouts(held: &[Held]) -> Vec<ConfigFault> {
    let Some(max) = find(held, TIMEOUT_MAX) else { return Vec::new() };
    let too_long = |timeout: &&Held| is_timeout(timeout) && timeout.duration_ms() > max.duration_ms();
    let faults = held.iter().filter(too_long).filter_map(|timeout| {
        let what = Wrong::TooLong {
            key: timeout.key.path,
            found: timeout.value.as_ref()?.to_string(),
            max_key: TIMEOUT_MAX,
            max: max.value.as_ref()?.to_string(),
            max_origin: Box::new(max.origins.first()?.clone()),
        };
        Some(ConfigFault::new(timeout.origins.first()?.clone(), None, what))
    });
    faults.collect()
}

/// Secrets that any layer gives with their values. Hidden ones too: the value stands in a file all the same.
pub(super) fn plain_secrets(layers: &[Vec<Given>]) -> Vec<ConfigFault> {
    let given = |path: &'static str| layers.iter().flatten().filter(move |given| given.key.path == path);
    let declared = |name: &String| {
        given(SECRETS).find(|given| matches!(&given.value, Value::Names(names) if names.contains(name)))
    };
    let mut faults = Vec::new();
    for env in given(ENV) {
        for (name, value) in env.value.variables().unwrap_or_default() {
            if let (EnvValue::Text(_), Some(by)) = (value, declared(&name)) {
                let declared = Box::new(by.origin.clone());
                let what = Wrong::PlainSecret { key: ENV, name, declared };
                faults.push(ConfigFault::new(env.origin.clone(), None, what));
            }
        }
    }
    faults
}

fn is_timeout(held: &Held) -> bool {
    matches!(held.key.kind, Kind::Timeout)
}

fn find<'h>(held: &'h [Held], path: &str) -> Option<&'h Held> {
    held.iter().find(|held| held.key.path == path)
}
