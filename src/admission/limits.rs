//! The first check: is every field within its limit?

use crate::error::{Error, ErrorKind, Result};
use crate::order::Submission;
use crate::order::limits::{
    ACCOUNT_BYTES_MAX, CLIENT_BYTES_MAX, EXTERNAL_REF_BYTES_MAX, KEY_BYTES_MAX, KIND_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
};

/// Checks the limits of a submission.
///
/// # Errors
/// `Invalid`, with the field, its size and its bounds; the key stays free.
pub(crate) fn check(submission: &Submission) -> Result<()> {
    for (name, bytes, min, max) in [
        ("client", submission.client.len(), 1, CLIENT_BYTES_MAX),
        ("key", submission.key.len(), 1, KEY_BYTES_MAX),
        ("kind", submission.kind.len(), 0, KIND_BYTES_MAX),
        ("account", submission.account.len(), 0, ACCOUNT_BYTES_MAX),
        ("external_ref", submission.external_ref.len(), 0, EXTERNAL_REF_BYTES_MAX),
        ("payload", submission.payload.len(), 0, PAYLOAD_BYTES_MAX),
    ] {
        if !(min..=max).contains(&bytes) {
            let what = format!("{name} has {bytes} bytes; allowed are {min} to {max}");
            return Err(Error::new(ErrorKind::Invalid { what }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_every_limit_is_exact() {
        let with = |client: usize, key: usize, payload: usize| {
            Submission::new(vec![b'c'; client], vec![b'k'; key], vec![0; payload])
        };
        let fits =
            with(64, 255, PAYLOAD_BYTES_MAX).kind([1; 64]).account([1; 64]).external_ref([1; 128]);
        assert!(check(&fits).is_ok());
        assert!(check(&with(1, 1, 0)).is_ok());
        for broken in [
            with(0, 1, 0),
            with(65, 1, 0),
            with(1, 0, 0),
            with(1, 256, 0),
            with(1, 1, PAYLOAD_BYTES_MAX + 1),
            with(1, 1, 0).kind([1; 65]),
            with(1, 1, 0).account([1; 65]),
            with(1, 1, 0).external_ref([1; 129]),
        ] {
            let error = check(&broken).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid { .. }));
            assert_eq!(error.certainty(), crate::Certainty::NotRecorded);
        }
    }
}
