//! What callers asked and were told, in one order of time.
//!
//! A call has the moment before it was made and the moment after its answer; what happened, happened
//! between the two. Calls that were under way when the process died have no answer: each may have taken
//! effect, at any moment up to the end of the next opening, or never.

/// A moment: moments of one history are all different.
pub(crate) type Moment = u64;

/// A key, as a number.
pub(crate) type Key = u32;

/// What a submission says under its key, as a number: equal numbers are equal contents.
pub(crate) type Content = u32;

/// A receipt: the order's number, and a number for all of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Proof {
    pub(crate) order: u64,
    pub(crate) bytes: u64,
}

/// An order as a reader is shown it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Shown {
    pub(crate) key: Key,
    pub(crate) content: Content,
    pub(crate) proof: Proof,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Fresh,
    Replayed,
    Joined,
}

/// A call with its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Did {
    /// A submission that was answered with a receipt.
    Took { key: Key, content: Content, how: How, proof: Proof },
    /// A submission that was answered with the receipt of another one.
    Conflicted { key: Key, content: Content, proof: Proof },
    /// A submission that was told that nothing is recorded.
    TookNothing { key: Key },
    /// A submission that was told that nobody knows, or nothing at all.
    InDoubt { key: Key, content: Content },
    /// A look by key.
    Found { key: Key, shown: Option<Shown> },
    /// A look by number.
    Got { order: u64, shown: Option<Shown> },
    /// All orders there are.
    Listed { all: Vec<Shown> },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// Between which openings it was made: 0 is the first process.
    pub(crate) life: u32,
    pub(crate) asked_at: Moment,
    /// Of a call in doubt: when the next process had opened the ledger.
    pub(crate) told_at: Moment,
    pub(crate) did: Did,
    /// Whether what it reveals could no longer be lost when the answer came; true when it reveals nothing.
    pub(crate) was_durable: bool,
}

impl Call {
    /// The orders that the answer reveals.
    pub(crate) fn revealed(&self) -> &[Shown] {
        match &self.did {
            Did::Found { shown: Some(shown), .. } | Did::Got { shown: Some(shown), .. } => {
                std::slice::from_ref(shown)
            }
            Did::Listed { all } => all,
            _ => &[],
        }
    }
}
