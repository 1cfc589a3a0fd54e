//! How large each field of a submission may be. Checked before anything else; breaking one is
//! [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) and the key stays free.
//!
//! Source of the numbers: SEMANTICS rules 2 to 4. They are part of the format: a stored record that
//! breaks one does not decode.

/// Longest idempotency key, in bytes. The shortest is 1.
pub const KEY_BYTES_MAX: usize = 255;
/// Longest client name, in bytes. The shortest is 1.
pub const CLIENT_BYTES_MAX: usize = 64;
/// Longest kind (what sort of order this is), in bytes.
pub const KIND_BYTES_MAX: usize = 64;
/// Longest account, in bytes.
pub const ACCOUNT_BYTES_MAX: usize = 64;
/// Longest external reference, in bytes.
pub const EXTERNAL_REF_BYTES_MAX: usize = 128;
/// Largest payload, in bytes: 16 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest command key of a transition or a note, in bytes. The shortest is 1; without one there is none.
pub const COMMAND_KEY_BYTES_MAX: usize = KEY_BYTES_MAX;
/// Longest name of a consumer, in bytes of visible ASCII. The shortest is 1.
pub const CONSUMER_BYTES_MAX: usize = 64;
/// Longest reason of a transition, or for setting an event aside, in bytes of UTF-8.
pub const REASON_BYTES_MAX: usize = 512;
/// Most pieces of evidence that a transition may bring along.
pub const EVIDENCE_MAX: usize = super::lifecycle::EVIDENCE_MAX;
/// Longest value of a piece of evidence, in bytes: a document belongs elsewhere, and its hash here.
pub const EVIDENCE_BYTES_MAX: usize = 4096;

/// Longest text of a note, or of what resolves one, in bytes: 64 KiB. A document belongs elsewhere.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Longest name of who says a note, in bytes.
pub const AUTHOR_BYTES_MAX: usize = 64;

/// Largest body of a dispatch, in bytes: 64 KiB. A document belongs elsewhere.
pub const DISPATCH_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a route or a provider, in bytes of visible ASCII. The shortest is 1.
pub const ROUTE_BYTES_MAX: usize = CONSUMER_BYTES_MAX;
/// Longest reference of a provider, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 255;

/// Most members of a linked batch, a consumer's cursor among them. Source: SEMANTICS rule 23.
pub const BATCH_MEMBERS_MAX: usize = 4_096;
/// Most bytes of the members of a linked batch together, as they are stored: 16 MiB. Source: the same.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest body of one record, in bytes: the payload, every other field at its limit, and room for
/// fields to come. Every length that is read from disk is held against it before anything is allocated.
pub const RECORD_BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4096;

const _: () = assert!(
    KEY_BYTES_MAX + CLIENT_BYTES_MAX + KIND_BYTES_MAX + ACCOUNT_BYTES_MAX + EXTERNAL_REF_BYTES_MAX
        < 4096 - 1024,
    "the fields beside the payload must fit into the room that is left for them"
);
