//! The first check: is every field within its limit?

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::order::dispatch::About;
use crate::order::lifecycle::is_name;
use crate::order::limits::{
    ACCOUNT_BYTES_MAX, AUTHOR_BYTES_MAX, BATCH_MEMBERS_MAX, CLIENT_BYTES_MAX,
    COMMAND_KEY_BYTES_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_MAX, EXTERNAL_REF_BYTES_MAX, KEY_BYTES_MAX,
    KIND_BYTES_MAX, NOTE_BYTES_MAX, PAYLOAD_BYTES_MAX, REASON_BYTES_MAX,
};
use crate::order::linked::{LinkedBatch, Member};
use crate::order::{Dispatch, Submission, Transition};

/// Checks the limits of a submission.
///
/// # Errors
/// `Invalid`, with the field, its size and its bounds; the key stays free.
pub(crate) fn check(submission: &Submission) -> Result<()> {
    check_lengths([
        ("client", submission.client.len(), 1, CLIENT_BYTES_MAX),
        ("key", submission.key.len(), 1, KEY_BYTES_MAX),
        ("kind", submission.kind.len(), 0, KIND_BYTES_MAX),
        ("account", submission.account.len(), 0, ACCOUNT_BYTES_MAX),
        ("external_ref", submission.external_ref.len(), 0, EXTERNAL_REF_BYTES_MAX),
        ("payload", submission.payload.len(), 0, PAYLOAD_BYTES_MAX),
    ])?;
    match submission.expires_in_ns {
        Some(0) => {
            let what = "expires_in is 0 ns; the shortest is 1 ns".to_owned();
            Err(Error::new(ErrorKind::Invalid { what }))
        }
        _ => Ok(()),
    }
}

/// Checks the limits of a transition.
///
/// # Errors
/// `Invalid`; nothing is recorded, and the command key stays free.
pub(crate) fn check_transition(transition: &Transition) -> Result<()> {
    let Transition { command_key, evidence, reason, .. } = transition;
    check_lengths([
        // Empty: none.
        ("command_key", command_key.len(), 0, COMMAND_KEY_BYTES_MAX),
        ("reason", reason.len(), 0, REASON_BYTES_MAX),
    ])?;
    let invalid = |what: String| Err(Error::new(ErrorKind::Invalid { what }));
    if evidence.len() > EVIDENCE_MAX {
        return invalid(format!(
            "{} pieces of evidence; allowed are {EVIDENCE_MAX}",
            evidence.len()
        ));
    }
    for (index, piece) in evidence.iter().enumerate() {
        if !is_name(&piece.name) {
            return invalid(format!("the evidence {:?} has no valid name", piece.name));
        }
        if evidence.iter().skip(index + 1).any(|other| other.name == piece.name) {
            return invalid(format!("the evidence {} is there twice", piece.name));
        }
        let bytes = piece.value.len();
        if bytes > EVIDENCE_BYTES_MAX {
            let name = &piece.name;
            return invalid(format!(
                "the evidence {name} has {bytes} bytes; allowed are {EVIDENCE_BYTES_MAX}"
            ));
        }
    }
    Ok(())
}

/// Checks the limits of a note, or of what resolves one.
///
/// # Errors
/// `Invalid`; nothing is recorded, and the command key stays free.
pub(crate) fn check_remark(author: &[u8], command_key: &[u8], text: &[u8]) -> Result<()> {
    check_lengths([
        ("author", author.len(), 0, AUTHOR_BYTES_MAX),
        // Empty: none.
        ("command_key", command_key.len(), 0, COMMAND_KEY_BYTES_MAX),
        ("text", text.len(), 0, NOTE_BYTES_MAX),
    ])
}

/// Checks the limits of a linked batch; those of its members are the members' own.
///
/// # Errors
/// `Invalid`; nothing is recorded, and the key stays free.
pub(crate) fn check_linked(batch: &LinkedBatch) -> Result<()> {
    let members = batch.members.len() + usize::from(batch.cursor.is_some());
    check_lengths([("batch key", batch.key.len(), 1, KEY_BYTES_MAX)])?;
    if !(1..=BATCH_MEMBERS_MAX).contains(&members) {
        let what = format!("the batch has {members} members; allowed are 1 to {BATCH_MEMBERS_MAX}");
        return Err(Error::new(ErrorKind::Invalid { what }));
    }
    let (mut keys, mut orders) = (HashSet::new(), HashSet::new());
    let (mut commands, mut notes) = (HashSet::new(), HashSet::new());
    for (index, member) in batch.members.iter().enumerate() {
        let command = match member {
            Member::Submission(_) => None,
            Member::Transition(step) => Some((step.order, &step.command_key)),
            Member::Note(note) => Some((note.order, &note.command_key)),
            Member::Resolution(resolution) => Some((resolution.order, &resolution.command_key)),
            Member::Dispatch(Dispatch { about: About::Order(order), command_key, .. }) => {
                Some((*order, command_key))
            }
            Member::Dispatch(dispatch) => {
                check_about(batch, index, dispatch)?;
                None
            }
        };
        let is_twice = match member {
            Member::Submission(order) => !keys.insert((order.client(), order.key())),
            Member::Transition(step) => !orders.insert(step.order),
            Member::Note(_) | Member::Dispatch(_) => false,
            Member::Resolution(resolution) => !notes.insert(resolution.note),
        };
        let command = command.filter(|(_, key)| !key.is_empty());
        if is_twice || command.is_some_and(|command| !commands.insert(command)) {
            let what = format!(
                "member {index} of the batch has the key, the order, the note or the command key of one \
                 before it"
            );
            return Err(Error::new(ErrorKind::Invalid { what }));
        }
    }
    Ok(())
}

/// Checks that what a dispatch is about is an order that the batch takes in front of it.
fn check_about(batch: &LinkedBatch, index: usize, dispatch: &Dispatch) -> Result<()> {
    let About::Member(of) = dispatch.about else { return Ok(()) };
    let is_order = matches!(batch.members.get(of), Some(Member::Submission(_)));
    let what = match (is_order && of < index, dispatch.command_key.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => format!(
            "member {index} of the batch is a dispatch with a command key about an order that is not there yet; \
             the key of the batch stands for it"
        ),
        (false, _) => format!(
            "member {index} of the batch is a dispatch about member {of}, which is no order in front of it"
        ),
    };
    Err(Error::new(ErrorKind::Invalid { what }))
}

/// Checks rows of a field's name, its length, and the shortest and the longest that is allowed.
fn check_lengths<const N: usize>(rows: [(&str, usize, usize, usize); N]) -> Result<()> {
    for (name, bytes, min, max) in rows {
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
    use std::time::Duration;

    #[test]
    fn every_limit_of_a_transition_is_exact() {
        let order = crate::OrderId::new(0, crate::Seq(1));
        let step = || Transition::new(order, crate::State::Completed);
        let many = |count: usize| {
            (0..count)
                .fold(step(), |step, n| step.evidence(format!("e{n}"), [0; EVIDENCE_BYTES_MAX]))
        };
        let fits = many(EVIDENCE_MAX).command_key([1; 255]).reason("x".repeat(512));
        assert!(check_transition(&fits).is_ok());
        for broken in [
            step().command_key([1; 256]),
            step().reason("x".repeat(513)),
            many(EVIDENCE_MAX + 1),
            step().evidence("a", [0; EVIDENCE_BYTES_MAX + 1]),
            step().evidence("", "x"),
            step().evidence("No", "x"),
            step().evidence("a", "x").evidence("a", "x"),
        ] {
            let error = check_transition(&broken).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid { .. }));
            assert_eq!(error.certainty(), crate::Certainty::NotRecorded);
        }
    }

    #[test]
    fn rule_4_every_limit_is_exact() {
        let with = |client: usize, key: usize, payload: usize| {
            Submission::new(vec![b'c'; client], vec![b'k'; key], vec![0; payload])
        };
        let fits =
            with(64, 255, PAYLOAD_BYTES_MAX).kind([1; 64]).account([1; 64]).external_ref([1; 128]);
        assert!(check(&fits).is_ok());
        assert!(check(&with(1, 1, 0)).is_ok());
        for longest in [Duration::from_nanos(1), Duration::MAX] {
            assert!(check(&with(1, 1, 0).expires_in(longest)).is_ok());
        }
        for broken in [
            with(0, 1, 0),
            with(65, 1, 0),
            with(1, 0, 0),
            with(1, 256, 0),
            with(1, 1, PAYLOAD_BYTES_MAX + 1),
            with(1, 1, 0).kind([1; 65]),
            with(1, 1, 0).account([1; 65]),
            with(1, 1, 0).external_ref([1; 129]),
            with(1, 1, 0).expires_in(Duration::ZERO),
        ] {
            let error = check(&broken).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid { .. }));
            assert_eq!(error.certainty(), crate::Certainty::NotRecorded);
        }
    }
}
