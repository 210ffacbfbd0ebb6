//! Known kinds of keys, by the marks that their issuers gave them. Knows how each is spelt; unaware of where
//! it is looked for.
//!
//! The spellings are the issuers' own or those of gitleaks' rules (MIT); only kinds with a mark of their own
//! are here, since a guess by randomness alone takes hashes and commit ids for keys.

/// What a key begins with, and what follows.
pub(super) struct Kind {
    pub(super) mark: &'static str,
    tail: Tail,
}

#[derive(Clone, Copy)]
enum Tail {
    /// At least so many characters of a class, then as many as follow.
    Run { class: Class, least: usize },
    /// Like `Run` where the mark is also the end of usual words: it must begin a word.
    OwnWord { class: Class, least: usize },
    /// Exactly so many.
    Exact { class: Class, count: usize },
    /// Two more parts, separated by dots (RFC 7519).
    Jwt,
    /// The rest of a line `-----BEGIN … PRIVATE KEY-----`, the key, and its last line (RFC 7468).
    Pem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Alphanumeric,
    UpperOrDigit,
    /// Letters, digits, `_` and `-`: base64 for URLs.
    Word,
    /// And dots.
    Dotted,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        match self {
            Class::Alphanumeric => byte.is_ascii_alphanumeric(),
            Class::UpperOrDigit => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Class::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Class::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
        }
    }

    fn run(self, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| self.has(**byte)).count()
    }
}

const fn run(mark: &'static str, class: Class, least: usize) -> Kind {
    Kind { mark, tail: Tail::Run { class, least } }
}

const fn exact(mark: &'static str, class: Class, count: usize) -> Kind {
    Kind { mark, tail: Tail::Exact { class, count } }
}

pub(super) const KINDS: [Kind; 26] = [
    run("sk-ant-", Class::Word, 20),
    run("sk-proj-", Class::Word, 20),
    run("sk-svcacct-", Class::Word, 20),
    run("sk-admin-", Class::Word, 20),
    run("sk-or-v1-", Class::Alphanumeric, 32),
    Kind { mark: "sk-", tail: Tail::OwnWord { class: Class::Alphanumeric, least: 32 } },
    run("sk_live_", Class::Alphanumeric, 20),
    run("rk_live_", Class::Alphanumeric, 20),
    run("ghp_", Class::Alphanumeric, 36),
    run("gho_", Class::Alphanumeric, 36),
    run("ghu_", Class::Alphanumeric, 36),
    run("ghs_", Class::Alphanumeric, 36),
    run("ghr_", Class::Alphanumeric, 36),
    run("github_pat_", Class::Word, 22),
    run("glpat-", Class::Word, 20),
    run("npm_", Class::Alphanumeric, 36),
    run("gsk_", Class::Alphanumeric, 40),
    exact("AKIA", Class::UpperOrDigit, 16),
    exact("ASIA", Class::UpperOrDigit, 16),
    run("AIza", Class::Word, 35),
    run("xoxb-", Class::Word, 20),
    run("xoxa-", Class::Word, 20),
    run("xoxp-", Class::Word, 20),
    run("xoxs-", Class::Word, 20),
    Kind { mark: "eyJ", tail: Tail::Jwt },
    Kind { mark: "-----BEGIN ", tail: Tail::Pem },
];

/// What is kept back at most until a kind is decided; all of the above are far under it.
const JWT_HEAD_BYTES_MAX: usize = 512;
const JWT_PART_BYTES_MIN: usize = 10;
/// `ENCRYPTED PRIVATE KEY-----` and the like.
const PEM_LABEL_BYTES_MAX: usize = 64;
/// A private key of 8,192 bits takes 6.5 kB. A block without an end takes no more of the output than this.
const PEM_BODY_BYTES_MAX: usize = 16 << 10;

/// Whether a key stands at a mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    No,
    /// More bytes decide.
    Open,
    /// It is so long so far, and goes on as long as `Rest` takes more.
    Key(usize, Option<Rest>),
}

/// What still belongs to a key that has been recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest(RestOf);

#[derive(Clone, Debug, PartialEq, Eq)]
enum RestOf {
    Class(Class),
    Pem { left: usize, dashes: usize, fences: usize },
}

impl Rest {
    /// How many of these bytes belong to it: all of them: ask again with the next.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match &mut self.0 {
            RestOf::Class(class) => class.run(bytes),
            RestOf::Pem { left, dashes, fences } => {
                bytes.iter().take_while(|byte| pem_takes(**byte, left, dashes, fences)).count()
            }
        }
    }
}

/// A key's body, up to and with the second fence of dashes, which closes its last line. Escaped line ends
/// occur in JSON.
fn pem_takes(byte: u8, left: &mut usize, dashes: &mut usize, fences: &mut usize) -> bool {
    const FENCE: usize = 5;
    let is_over = *fences == 2;
    if is_over || *left == 0 {
        return false;
    }
    *left -= 1;
    *dashes = if byte == b'-' { *dashes + 1 } else { 0 };
    if *dashes == FENCE {
        *fences += 1;
    }
    byte.is_ascii_alphanumeric() || b"+/=-:,\\ \t\r\n".contains(&byte)
}

impl Kind {
    /// Looks at `window[start..]`, which begins with the mark. `before` is what precedes the window. With
    /// `last` nothing follows the window.
    pub(super) fn at(&self, window: &[u8], start: usize, before: &[u8], last: bool) -> Verdict {
        let tail = &window[start + self.mark.len()..];
        let open = if last { Verdict::No } else { Verdict::Open };
        let found = |count: usize, rest: RestOf| {
            let goes_on = count == tail.len() && !last;
            Verdict::Key(self.mark.len() + count, goes_on.then_some(Rest(rest)))
        };
        match self.tail {
            Tail::OwnWord { .. } if !begins_word(&window[..start], before) => Verdict::No,
            Tail::Run { class, least } | Tail::OwnWord { class, least } => match class.run(tail) {
                count if count >= least => found(count, RestOf::Class(class)),
                count if count == tail.len() => open,
                _ => Verdict::No,
            },
            Tail::Exact { class, count } => match class.run(tail) {
                all if all == count && (all < tail.len() || last) => {
                    Verdict::Key(self.mark.len() + count, None)
                }
                all if all <= count && all == tail.len() => open,
                _ => Verdict::No,
            },
            Tail::Jwt => match jwt(tail) {
                Some(true) => {
                    let count = Class::Dotted.run(tail);
                    found(count, RestOf::Class(Class::Dotted))
                }
                Some(false) => Verdict::No,
                None => open,
            },
            Tail::Pem => match pem_label(tail) {
                Some(0) => Verdict::No,
                Some(label) => {
                    let mut rest = Rest(RestOf::Pem { left: PEM_BODY_BYTES_MAX, dashes: 0, fences: 0 });
                    let count = label + rest.take(&tail[label..]);
                    found(count, rest.0)
                }
                None => open,
            },
        }
    }
}

/// Whether a header and the beginning of a payload follow; `None`: more bytes decide.
fn jwt(tail: &[u8]) -> Option<bool> {
    let head = Class::Word.run(&tail[..tail.len().min(JWT_HEAD_BYTES_MAX)]);
    if head == tail.len() {
        return None;
    }
    if head < JWT_PART_BYTES_MIN || tail[head] != b'.' {
        return Some(false);
    }
    let payload = &tail[head + 1..];
    let seen = payload.len().min(3);
    if payload[..seen] != b"eyJ"[..seen] {
        return Some(false);
    }
    match Class::Word.run(payload) {
        count if count >= JWT_PART_BYTES_MIN => Some(true),
        count if count == payload.len() => None,
        _ => Some(false),
    }
}

/// The length of a label's rest that ends the first line of a private key, 0 for another label.
fn pem_label(tail: &[u8]) -> Option<usize> {
    const ENDS: [&[u8]; 2] = [b"PRIVATE KEY-----", b"PRIVATE KEY BLOCK-----"];
    let is_label = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ';
    let words = tail.iter().take(PEM_LABEL_BYTES_MAX).take_while(is_label).count();
    let fence = tail[words..].iter().take(5).take_while(|byte| **byte == b'-').count();
    let end = words + fence;
    if fence == 5 {
        return Some(if ENDS.iter().any(|known| tail[..end].ends_with(known)) { end } else { 0 });
    }
    if end == tail.len() && words < PEM_LABEL_BYTES_MAX { None } else { Some(0) }
}

/// Whether a word can begin here: behind anything but a letter or digit, or behind an escape that ends in one.
fn begins_word(window: &[u8], before: &[u8]) -> bool {
    let at = |back: usize| {
        let in_window = window.len().checked_sub(back).map(|at| window[at]);
        in_window.or_else(|| before.len().checked_sub(back - window.len().min(back)).map(|at| before[at]))
    };
    let Some(previous) = at(1) else { return true };
    let is_escaped = at(2) == Some(b'\\') && matches!(previous, b'n' | b'r' | b't');
    let is_percent = at(3) == Some(b'%');
    // The end of a colour: ESC [ … m.
    let is_colour = previous == b'm' && at(2).is_some_and(|byte| byte.is_ascii_digit() || byte == b'[');
    !previous.is_ascii_alphanumeric() || is_escaped || is_percent || is_colour
}
