//! The bodies of notes, and of what resolves them: kinds 4 and 68.
//!
//! Always true of one that was decoded: it is of an order, within its limits, and either a note of a kind that
//! there is (a dispute always asks to be resolved), or it resolves a note and asks for nothing.

use bincode::{BorrowDecode, Encode};

use super::{Body, BodyError, Encoded, KIND_NOTE, KIND_NOTE_BY_KEY, encode_checked};
use crate::order::limits::{AUTHOR_BYTES_MAX, COMMAND_KEY_BYTES_MAX, NOTE_BYTES_MAX};
use crate::order::{NoteKind, Seq};

/// A note, or what resolves one. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Remark<'a> {
    /// The seq of the record that began the order.
    pub(crate) order: u64,
    /// The number of a kind of note; 0 for what resolves one.
    pub(crate) kind: u8,
    /// It waits to be resolved.
    pub(crate) asks: bool,
    /// The seq of the note that it resolves.
    pub(crate) resolves: Option<u64>,
    pub(crate) author: &'a [u8],
    /// Empty: the command has none.
    pub(crate) command_key: &'a [u8],
    pub(crate) text: &'a [u8],
}

/// In place of a kind of note.
pub(crate) const RESOLUTION: u8 = 0;

/// The body that records a note or what resolves one. Decoded again before it is handed out.
pub(crate) fn encode_remark(remark: &Remark<'_>) -> Result<Encoded, BodyError> {
    let kind = match remark.command_key {
        [] => KIND_NOTE,
        _ => KIND_NOTE_BY_KEY,
    };
    let bytes_about = remark.author.len() + remark.command_key.len() + remark.text.len() + 48;
    let is_same = |body: &Body<'_>| matches!(body, Body::Remark(it) if it == remark);
    encode_checked(kind, remark, bytes_about, is_same)
}

impl Remark<'_> {
    pub(super) fn check(&self, kind: u8) -> Result<(), BodyError> {
        let malformed = |what: &str| Err(BodyError::Malformed(what.to_owned()));
        if (kind == KIND_NOTE_BY_KEY) == self.command_key.is_empty() {
            return malformed(
                "a command key that its kind does not speak of, or the other way round",
            );
        }
        let within = self.command_key.len() <= COMMAND_KEY_BYTES_MAX
            && self.author.len() <= AUTHOR_BYTES_MAX
            && self.text.len() <= NOTE_BYTES_MAX;
        if !within {
            return malformed("a field breaks its limit");
        }
        if self.order == 0 {
            return malformed("a note of no order");
        }
        let is_sound = match (NoteKind::from_number(self.kind), self.resolves) {
            (Some(kind), None) => self.asks || kind != NoteKind::Dispute,
            // An order comes before its notes.
            (None, Some(note)) => self.kind == RESOLUTION && !self.asks && note > self.order,
            _ => false,
        };
        if is_sound { Ok(()) } else { malformed("neither a note nor what resolves one") }
    }

    /// The order that it is about.
    pub(crate) fn order(&self) -> Seq {
        Seq(self.order)
    }

    /// What sort of note it is; `None` for what resolves one.
    pub(crate) fn kind(&self) -> Option<NoteKind> {
        NoteKind::from_number(self.kind)
    }

    /// The note that it resolves.
    pub(crate) fn resolves(&self) -> Option<Seq> {
        self.resolves.map(Seq)
    }
}
