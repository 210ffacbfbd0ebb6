//! The spellings under which a secret value leaks: as it is, and as common tools encode it. Knows encodings;
//! unaware of streams and searching.

/// The shortest value that is looked for. A shorter one stands in too many texts by accident: to replace it
/// would spoil the output and hide nothing, as it can be guessed. The declaration of such a value is what to
/// refuse.
pub const VALUE_BYTES_MIN: usize = 4;

/// A longer value is looked for in pieces of so many bytes, each with all its forms: what must be kept back
/// between two reads stays under 32 kB whatever is declared.
const PIECE_BYTES_MAX: usize = 4 << 10;

/// A line of a value of several lines (a private key) counts as a secret too, from this length on: programs
/// print such a value indented or line by line.
const LINE_BYTES_MIN: usize = 16;

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const BASE64_STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// All spellings of a value, sorted, each once. White space around a value is no part of the secret: files
/// with keys end with a line end that programs cut off. Nothing for a value under [`VALUE_BYTES_MIN`].
pub(super) fn forms(value: &str) -> Vec<Vec<u8>> {
    let value = value.trim();
    let mut forms = Vec::new();
    for piece in pieces(value.as_bytes()) {
        encode(piece, &mut forms);
    }
    if value.contains('\n') {
        // The frame of a PEM block is no secret.
        let lines = value.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        for line in lines.filter(|line| line.len() >= LINE_BYTES_MIN) {
            pieces(line.as_bytes()).for_each(|piece| encode(piece, &mut forms));
        }
    }
    forms.retain(|form| form.len() >= VALUE_BYTES_MIN);
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// The last piece reaches back into the one before it, so that none is short.
fn pieces(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let last = value.len().saturating_sub(PIECE_BYTES_MAX);
    let starts = (0..last).step_by(PIECE_BYTES_MAX).chain([last]);
    let is_long_enough = value.len() >= VALUE_BYTES_MIN;
    starts
        .filter(move |_| is_long_enough)
        .map(move |start| &value[start..value.len().min(start + PIECE_BYTES_MAX)])
}

fn encode(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    forms.push(value.to_vec());
    for alphabet in [BASE64_STANDARD, BASE64_URL] {
        forms.extend((0..3).map(|before| base64_inside(value, before, alphabet)));
        // Alone or at the end of the text: with the characters that its padding decides.
        forms.extend((0..3).map(|before| base64_at_end(value, before, alphabet)));
    }
    for digits in [HEX_LOWER, HEX_UPPER] {
        forms.push(value.iter().flat_map(|byte| hex(*byte, digits)).collect());
        for kept in [b"".as_slice(), b"-_.~", b"-_.~/", b"-_.!~*'()", b"*-._"] {
            forms.push(percent(value, digits, kept, false));
        }
        if value.contains(&b' ') {
            // Forms of web pages.
            forms.push(percent(value, digits, b"*-._", true));
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let plain = json(text, false);
        // A JSON text that is a string in another one is how agents report what their tools said.
        forms.extend(
            [json(&plain, false), json(text, true), plain.replace('/', "\\/")].map(String::into_bytes),
        );
        forms.push(plain.into_bytes());
    }
}

/// The characters of a base64 text that a value alone decides when `before` bytes (of three) precede it:
/// those at the edges depend on the neighbours and are left out, at most four bits of the value each.
fn base64_inside(value: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let text = base64(value, before, alphabet);
    let decided = (before + value.len()) * 8 / 6;
    text[first_decided(before)..decided].to_vec()
}

/// The same with the end of the text right behind the value.
fn base64_at_end(value: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let mut text = base64(value, before, alphabet);
    text.drain(..first_decided(before));
    text
}

fn first_decided(before: usize) -> usize {
    (before * 8).div_ceil(6)
}

/// Without padding.
fn base64(value: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(value.iter().copied()).collect();
    let mut text = Vec::with_capacity(bytes.len() * 4 / 3 + 2);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let characters = [18, 12, 6, 0].map(|shift| alphabet[(bits >> shift & 63) as usize]);
        text.extend_from_slice(&characters[..=group.len()]);
    }
    text
}

fn hex(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

/// Percent-encoded; letters and digits stay unless nothing is `kept`.
fn percent(value: &[u8], digits: &[u8; 16], kept: &[u8], plus_for_space: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() * 3);
    for byte in value {
        match byte {
            b' ' if plus_for_space => text.push(b'+'),
            byte if !kept.is_empty() && (byte.is_ascii_alphanumeric() || kept.contains(byte)) => {
                text.push(*byte)
            }
            byte => {
                text.push(b'%');
                text.extend(hex(*byte, digits));
            }
        }
    }
    text
}

/// Inside a JSON string, with everything beyond ASCII escaped or as it is.
fn json(value: &str, ascii: bool) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    let inner = &quoted[1..quoted.len() - 1];
    if !ascii {
        return inner.to_owned();
    }
    let mut units = [0; 2];
    let mut text = String::with_capacity(inner.len());
    for c in inner.chars() {
        match c {
            // Browsers' and Go's writers escape these three as well.
            '<' | '>' | '&' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_ascii() => text.push(c),
            c => c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) -> bool {
        forms(value).iter().any(|known| known == form.as_bytes())
    }

    #[test]
    fn encodings_are_those_of_the_usual_tools() {
        let value = "p\"w/ö w+?x";
        for form in [
            value,
            "cCJ3L8O2IHcrP3g",        // base64
            "7022772fc3b620772b3f78", // xxd -p
            "7022772FC3B620772B3F78",
            "p%22w%2F%C3%B6%20w%2B%3Fx", // encodeURIComponent
            "p%22w/%C3%B6%20w%2B%3Fx",   // urllib.parse.quote
            "p%22w%2F%C3%B6+w%2B%3Fx",   // a form
            "p%22w%2f%c3%b6%20w%2b%3fx",
            "%70%22%77%2F%C3%B6%20%77%2B%3F%78",
            "p\\\"w/ö w+?x", // JSON
            "p\\\"w/\\u00f6 w+?x",
            "p\\\\\\\"w/ö w+?x", // JSON in JSON
            "p\\\"w\\/ö w+?x",
        ] {
            assert!(has(value, form), "{form}");
        }
        assert!(has("~~~~~?>", "fn5+fn4/Pg") && has("~~~~~?>", "fn5-fn4_Pg"));
    }

    #[test]
    fn inside_longer_base64_a_value_is_found_at_each_alignment() {
        for before in ["", "a", "ab", "abc"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = base64(format!("{before}open sesame{after}").as_bytes(), 0, BASE64_STANDARD);
                let text = String::from_utf8(text).unwrap();
                let found =
                    forms("open sesame").iter().any(|form| text.contains(std::str::from_utf8(form).unwrap()));
                assert!(found, "{before}|{after}: {text}");
            }
        }
    }

    #[test]
    fn short_values_have_no_forms_and_long_ones_come_in_pieces() {
        assert!(forms("abc").is_empty() && forms(" abc\n").is_empty() && forms("").is_empty());
        assert!(has("abcd\n", "abcd"));
        let long = "0123456789".repeat(1_000);
        let forms_of_long = forms(&long);
        assert!(forms_of_long.iter().all(|form| form.len() <= 8 * PIECE_BYTES_MAX));
        assert!(has(&long, &long[..PIECE_BYTES_MAX]) && has(&long, &long[long.len() - PIECE_BYTES_MAX..]));
        let pem = "-----BEGIN X-----\nc2VjcmV0LXNlY3JldC1zZWNyZXQ=\n-----END X-----\n";
        assert!(has(pem, "c2VjcmV0LXNlY3JldC1zZWNyZXQ=") && !has(pem, "-----BEGIN X-----"));
    }
}
