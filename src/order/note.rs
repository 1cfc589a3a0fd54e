//! What is noted about an order that exists: words, feedback, disputes, and what resolves them.
//!
//! Always true: a note changes neither the state nor the version of its order; an open note is resolved once.

use std::fmt;
use std::str::FromStr;

use super::id::{OrderId, Seq, Timestamp};
use super::receipt::How;

/// What sort of note it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NoteKind {
    /// Words of somebody who works on the order.
    Note,
    /// What the customer says about it, mostly after it is done.
    Feedback,
    /// Somebody objects. Always open until it is resolved.
    Dispute,
}

impl NoteKind {
    /// Every kind.
    pub const ALL: [NoteKind; 3] = [NoteKind::Note, NoteKind::Feedback, NoteKind::Dispute];

    /// The number that is stored on disk. 0 is that of a resolution.
    pub(crate) const fn number(self) -> u8 {
        match self {
            NoteKind::Note => 1,
            NoteKind::Feedback => 2,
            NoteKind::Dispute => 3,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<NoteKind> {
        match number {
            1 => Some(NoteKind::Note),
            2 => Some(NoteKind::Feedback),
            3 => Some(NoteKind::Dispute),
            _ => None,
        }
    }

    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NoteKind::Note => "note",
            NoteKind::Feedback => "feedback",
            NoteKind::Dispute => "dispute",
        }
    }
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for NoteKind {
    type Err = UnknownNoteKind;

    fn from_str(text: &str) -> Result<NoteKind, UnknownNoteKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownNoteKind)
    }
}

/// The text names no kind of note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownNoteKind;

impl fmt::Display for UnknownNoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a kind of note; the kinds are:")?;
        NoteKind::ALL.iter().try_for_each(|kind| write!(f, " {kind}"))
    }
}

impl std::error::Error for UnknownNoteKind {}

/// Something to be noted about an order, once.
///
/// **Idempotency**: with a [command key](Note::command_key) it is noted once, however often it is asked for, and a
/// repeat is answered with the first result. Without one, each call makes another note.
///
/// **Limits**: see [`limits`](crate::limits).
///
/// ```
/// use order_ledger::{Ledger, Note, NoteKind, Resolution, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let order = ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?.receipt.order;
/// let dispute = Note::new(order, NoteKind::Dispute, "one of the cups is broken")
///     .author("N. Davolio")
///     .command_key("mail-4711");
/// let noted = ledger.note(&dispute)?;
/// assert_eq!(ledger.note(&dispute)?.seq, noted.seq, "once");
/// ledger.resolve_note(&Resolution::new(order, noted.seq, "a new cup was sent"))?;
/// let told = &ledger.notes(order)?[0];
/// assert_eq!(told.resolution.as_ref().unwrap().text, b"a new cup was sent");
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    pub(crate) order: OrderId,
    pub(crate) kind: NoteKind,
    pub(crate) asks: bool,
    pub(crate) author: Vec<u8>,
    /// Empty: none.
    pub(crate) command_key: Vec<u8>,
    pub(crate) text: Vec<u8>,
}

impl Note {
    /// A note of this kind about `order`: opaque bytes, at most
    /// [`NOTE_BYTES_MAX`](crate::limits::NOTE_BYTES_MAX).
    pub fn new(order: OrderId, kind: NoteKind, text: impl Into<Vec<u8>>) -> Note {
        Note {
            order,
            kind,
            asks: kind == NoteKind::Dispute,
            author: Vec::new(),
            command_key: Vec::new(),
            text: text.into(),
        }
    }

    /// The note stays open until somebody resolves it. A dispute always does.
    #[must_use]
    pub fn open(mut self) -> Note {
        self.asks = true;
        self
    }

    /// Who says it: at most [`AUTHOR_BYTES_MAX`](crate::limits::AUTHOR_BYTES_MAX) bytes.
    #[must_use]
    pub fn author(mut self, author: impl Into<Vec<u8>>) -> Note {
        self.author = author.into();
        self
    }

    /// The name of this command, made before the first attempt: 1 to 255 bytes, in the scope of the order. Steps,
    /// notes and resolutions of an order share that scope.
    #[must_use]
    pub fn command_key(mut self, key: impl Into<Vec<u8>>) -> Note {
        self.command_key = key.into();
        self
    }

    /// The order that it is about.
    #[must_use]
    pub fn order(&self) -> OrderId {
        self.order
    }
}

/// What resolves an open note.
///
/// **Idempotency**: without a [command key](Resolution::command_key), resolving what is resolved already is a
/// success that writes nothing and is answered with the resolution that is there. With one, this resolution is
/// recorded once, and a repeat is answered with the first result.
///
/// An example is at [`Note`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    pub(crate) order: OrderId,
    pub(crate) note: Seq,
    pub(crate) author: Vec<u8>,
    /// Empty: none.
    pub(crate) command_key: Vec<u8>,
    pub(crate) text: Vec<u8>,
}

impl Resolution {
    /// The note at the seq `note` ([`Noted::seq`]) of `order` is resolved, with these words: opaque bytes, at most
    /// [`NOTE_BYTES_MAX`](crate::limits::NOTE_BYTES_MAX).
    pub fn new(order: OrderId, note: Seq, text: impl Into<Vec<u8>>) -> Resolution {
        let (author, command_key) = (Vec::new(), Vec::new());
        Resolution { order, note, author, command_key, text: text.into() }
    }

    /// Who says it: at most [`AUTHOR_BYTES_MAX`](crate::limits::AUTHOR_BYTES_MAX) bytes.
    #[must_use]
    pub fn author(mut self, author: impl Into<Vec<u8>>) -> Resolution {
        self.author = author.into();
        self
    }

    /// The name of this command, as for [`Note::command_key`] and in the same scope.
    #[must_use]
    pub fn command_key(mut self, key: impl Into<Vec<u8>>) -> Resolution {
        self.command_key = key.into();
        self
    }

    /// The order that it is about.
    #[must_use]
    pub fn order(&self) -> OrderId {
        self.order
    }
}

/// A note, or a resolution, that is recorded.
///
/// **Durability**: when you hold one, it is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Noted {
    /// The order that it is about.
    pub order: OrderId,
    /// The record that says so: the name of the note.
    pub seq: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// Whether this call recorded it.
    pub how: How,
}

/// A note of an order as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NoteEntry {
    /// The order that it is about.
    pub order: OrderId,
    /// Its position: the name of the note.
    pub seq: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// What sort of note it is. Source: the caller.
    pub kind: NoteKind,
    /// Whether it was to be resolved. Source: the caller; true for every dispute.
    pub asks: bool,
    /// Who said it. Source: the caller.
    pub author: Vec<u8>,
    /// What it says. Source: the caller, byte for byte.
    pub text: Vec<u8>,
    /// What resolved it, if it was.
    pub resolution: Option<ResolutionEntry>,
}

impl NoteEntry {
    /// Whether it still waits to be resolved.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.asks && self.resolution.is_none()
    }
}

/// What resolved a note, as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ResolutionEntry {
    /// Its position.
    pub seq: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// Who said it. Source: the caller.
    pub author: Vec<u8>,
    /// What it says. Source: the caller, byte for byte.
    pub text: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_comes_back_from_its_number_and_its_name() {
        for kind in NoteKind::ALL {
            assert_eq!(NoteKind::from_number(kind.number()), Some(kind));
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!([0, 4, 255].map(NoteKind::from_number), [None; 3]);
        assert_eq!("Dispute".parse::<NoteKind>(), Err(UnknownNoteKind));
    }
}
