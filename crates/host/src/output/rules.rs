//! How an assignment's output is to be kept. Unaware of where the rules come from and of who keeps them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A log that anybody reads is far smaller; with thirty such floods at once a usual disk still has room.
pub const OUTPUT_BYTES_MAX: u64 = 1 << 30;

/// How an assignment's output is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputRules {
    /// Both streams together.
    pub bytes_max: u64,
    pub over: OverOutput,
    /// Values that must not reach the disk. Said over the worker's socket, never written anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Look for known kinds of keys too, and so filter even without secrets.
    pub filtered: bool,
}

impl OutputRules {
    /// Whether what is printed passes through the worker before it is stored.
    pub fn needs_filter(&self) -> bool {
        self.filtered || !self.secrets.is_empty()
    }
}

impl Default for OutputRules {
    fn default() -> OutputRules {
        OutputRules {
            bytes_max: OUTPUT_BYTES_MAX,
            over: OverOutput::Drop,
            secrets: Vec::new(),
            filtered: false,
        }
    }
}

impl fmt::Debug for OutputRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values themselves must not get into a log by way of a panic's text or a test's.
        f.debug_struct("OutputRules")
            .field("bytes_max", &self.bytes_max)
            .field("over", &self.over)
            .field("secrets", &self.secrets.len())
            .field("filtered", &self.filtered)
            .finish()
    }
}

/// What happens to output beyond its cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverOutput {
    /// The middle is not kept: the first and the last half of the cap are.
    #[default]
    Drop,
    /// The attempt ends as over its limit.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_an_older_daemon_are_the_defaults_and_secrets_are_never_shown() {
        let rules: OutputRules = serde_json::from_str("{}").unwrap();
        assert_eq!(rules, OutputRules::default());
        assert!(!rules.needs_filter());
        let rules = OutputRules { secrets: vec!["hunter2-hunter2".to_owned()], ..rules };
        assert!(rules.needs_filter());
        assert!(!format!("{rules:?}").contains("hunter2"));
    }
}
