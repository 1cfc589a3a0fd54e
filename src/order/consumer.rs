//! Names of those who read what happens: a word that stands in records, labels and command lines.

use super::limits::CONSUMER_BYTES_MAX;

/// Whether this names a consumer: 1 to 64 visible ASCII characters.
pub(crate) fn is_consumer_name(name: &str) -> bool {
    (1..=CONSUMER_BYTES_MAX).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_visible() {
        for name in ["billing", "a", "mail/eu-1", "x".repeat(64).as_str()] {
            assert!(is_consumer_name(name), "{name}");
        }
        for name in ["", "two words", "tab\t", "umlaut-\u{e4}", "x".repeat(65).as_str()] {
            assert!(!is_consumer_name(name), "{name}");
        }
    }
}
