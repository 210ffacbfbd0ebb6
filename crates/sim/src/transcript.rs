//! What happened, as one number and, when asked for, as text.

use std::fmt::{self, Debug, Write as _};

use ropewalk_core::time::Time;

#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    hash: u64,
    lines: u64,
    text: Option<String>,
}

impl Transcript {
    pub(crate) fn new(keep_text: bool) -> Transcript {
        Transcript { hash: 0xcbf2_9ce4_8422_2325, lines: 0, text: keep_text.then(String::new) }
    }

    pub(crate) fn line(&mut self, at: Time, what: &dyn Debug) {
        self.lines += 1;
        // Neither the hash nor a string can refuse a write.
        let _ = write!(Hashed(&mut self.hash), "{at} {what:?}");
        if let Some(text) = &mut self.text {
            let _ = writeln!(text, "{:>10} ms  {what:?}", at.0 - 1_000_000);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// FNV-1a over what is written.
struct Hashed<'a>(&'a mut u64);

impl fmt::Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
