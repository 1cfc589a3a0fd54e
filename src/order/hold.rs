//! Who may give no new orders for now: holds on clients and accounts.

use super::id::{Seq, Timestamp};
use super::receipt::How;

/// A client, an account of a client, or an account whatever the client, from which no new orders are taken.
///
/// **Effect**: while it is held, a new order of it is refused for good, with the code
/// [`Refusal::HELD`](crate::Refusal::HELD) and the reason of the hold: recorded as an order in the state
/// [`State::Refused`](crate::State::Refused), and answered so for ever, also when the hold is over. What was taken before is
/// answered as ever, and existing orders take their steps. A linked batch that has such an order is refused as a
/// whole, for now, and nothing of it is recorded. After the release new keys are taken again.
///
/// **Limits**: as those of a submission; a reason has at most
/// [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes.
///
/// ```
/// use order_ledger::{ErrorKind, Hold, Ledger, Refusal, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let hold = Hold::client("web-shop").account("ALFKI").reason("chargeback").by("N. Davolio");
/// ledger.hold(&hold)?;
/// let order = Submission::new("web-shop", "cart-17", "2 x tea").account("ALFKI");
/// match ledger.submit(&order).unwrap_err().kind() {
///     ErrorKind::Refused { refusal, .. } => assert_eq!(refusal.code, Refusal::HELD),
///     other => unreachable!("{other:?}"),
/// }
/// ledger.release(&hold)?;
/// ledger.submit(&Submission::new("web-shop", "cart-18", "2 x tea").account("ALFKI"))?;
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Empty: any.
    pub(crate) client: Vec<u8>,
    /// Empty: any.
    pub(crate) account: Vec<u8>,
    pub(crate) reason: String,
    pub(crate) by: Vec<u8>,
}

impl Hold {
    /// Everything that this client submits: 1 to 64 bytes.
    pub fn client(client: impl Into<Vec<u8>>) -> Hold {
        Hold { client: client.into(), account: Vec::new(), reason: String::new(), by: Vec::new() }
    }

    /// Everything for this account, whichever client submits it: 1 to 64 bytes.
    pub fn any_client(account: impl Into<Vec<u8>>) -> Hold {
        Hold { client: Vec::new(), account: account.into(), reason: String::new(), by: Vec::new() }
    }

    /// Only what is for this account: 1 to 64 bytes. Empty: every account of the client.
    #[must_use]
    pub fn account(mut self, account: impl Into<Vec<u8>>) -> Hold {
        self.account = account.into();
        self
    }

    /// Why, in words for people: the refusals show them.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Hold {
        self.reason = reason.into();
        self
    }

    /// Who says so: at most [`AUTHOR_BYTES_MAX`](crate::limits::AUTHOR_BYTES_MAX) bytes.
    #[must_use]
    pub fn by(mut self, by: impl Into<Vec<u8>>) -> Hold {
        self.by = by.into();
        self
    }
}

/// What became of a hold or a release.
///
/// **Durability**: when you hold one, it is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct HoldChange {
    /// The record that says how it is now; `None` for the release of what was never held.
    pub seq: Option<Seq>,
    /// When that was committed, in ledger time.
    pub at: Option<Timestamp>,
    /// Whether this call changed something.
    pub how: How,
}

/// A hold that is in force, as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HoldEntry {
    /// Its position.
    pub seq: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// The client; empty: any. Source: the caller.
    pub client: Vec<u8>,
    /// The account; empty: any. Source: the caller.
    pub account: Vec<u8>,
    /// Why. Source: the caller.
    pub reason: String,
    /// Who said so. Source: the caller.
    pub by: Vec<u8>,
}
