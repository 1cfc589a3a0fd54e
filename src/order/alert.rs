//! What the ledger raises when something stands still or fails: alerts, what they are about, and what becomes of
//! them.
//!
//! Always true: an alert is named by the seq of the record that raised it; it is open until it is cleared, and a
//! cleared one is never open again; its level only rises; a number on disk never gets another meaning. What is
//! wrong with an order is about how long it has been in one state: another stay is another alert.

use std::fmt;
use std::str::FromStr;

use super::id::{OrderId, Seq, Timestamp};
use super::state::State;

/// What an alert is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum AlertSubject {
    /// An order.
    Order(OrderId),
    /// A consumer of the feed, by its name.
    Consumer(String),
    /// A third party, by its name.
    Provider(String),
    /// Something that was handed to a third party, by the seq of its record.
    Dispatch(Seq),
    /// A submitting system.
    Client(Vec<u8>),
    /// The ledger as a whole.
    Ledger,
}

impl AlertSubject {
    /// The number of its sort that is stored on disk.
    pub(crate) const fn number(&self) -> u8 {
        match self {
            AlertSubject::Order(_) => 1,
            AlertSubject::Consumer(_) => 2,
            AlertSubject::Provider(_) => 3,
            AlertSubject::Dispatch(_) => 4,
            AlertSubject::Client(_) => 5,
            AlertSubject::Ledger => 6,
        }
    }

    /// The seq that is stored of it; 0 for one that has a name, or needs none.
    pub(crate) const fn seq(&self) -> Seq {
        match self {
            AlertSubject::Order(order) => order.seq(),
            AlertSubject::Dispatch(seq) => *seq,
            _ => Seq(0),
        }
    }

    /// The name that is stored of it; empty for one that has a seq, or needs none.
    pub(crate) fn name_bytes(&self) -> &[u8] {
        match self {
            AlertSubject::Consumer(name) | AlertSubject::Provider(name) => name.as_bytes(),
            AlertSubject::Client(client) => client,
            _ => &[],
        }
    }

    /// The order that it is, if it is one.
    #[must_use]
    pub fn order(&self) -> Option<OrderId> {
        match self {
            AlertSubject::Order(order) => Some(*order),
            _ => None,
        }
    }

    /// The sort of it, as the command line prints it.
    #[must_use]
    pub const fn sort(&self) -> &'static str {
        match self {
            AlertSubject::Order(_) => "order",
            AlertSubject::Consumer(_) => "consumer",
            AlertSubject::Provider(_) => "provider",
            AlertSubject::Dispatch(_) => "dispatch",
            AlertSubject::Client(_) => "client",
            AlertSubject::Ledger => "ledger",
        }
    }
}

impl fmt::Display for AlertSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sort = self.sort();
        match self {
            AlertSubject::Order(order) => write!(f, "{sort} {order}"),
            AlertSubject::Consumer(name) | AlertSubject::Provider(name) => {
                write!(f, "{sort} {name}")
            }
            AlertSubject::Dispatch(seq) => write!(f, "{sort} {seq}"),
            AlertSubject::Client(client) => write!(f, "{sort} {}", client.escape_ascii()),
            AlertSubject::Ledger => f.write_str(sort),
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum AlertKind {
    /// An order has been in this state for longer than it should.
    StuckOrder {
        /// The state.
        state: State,
    },
    /// What waits for a third party waits for too long.
    OutboxAge,
    /// A consumer of the feed is too far behind.
    ConsumerLag,
    /// A third party fails so often that it is not called.
    BreakerOpen,
    /// The disk has little room left, or too little for new orders.
    DiskLow,
    /// Syncs take too long.
    SyncLatency,
    /// A verification has found damage, or could not tell.
    VerifyFailed,
    /// A client submits again and again what was taken already: it does not hear the answers.
    Unreturned,
    /// What was for a third party was given up.
    DeadLetter,
}

impl AlertKind {
    /// The number that is stored on disk.
    pub(crate) const fn number(self) -> u8 {
        match self {
            AlertKind::StuckOrder { .. } => 1,
            AlertKind::OutboxAge => 2,
            AlertKind::ConsumerLag => 3,
            AlertKind::BreakerOpen => 4,
            AlertKind::DiskLow => 5,
            AlertKind::SyncLatency => 6,
            AlertKind::VerifyFailed => 7,
            AlertKind::Unreturned => 8,
            AlertKind::DeadLetter => 9,
        }
    }

    /// The state that is stored of it; `None` for a kind that is of no state.
    pub(crate) const fn state(self) -> Option<State> {
        match self {
            AlertKind::StuckOrder { state } => Some(state),
            _ => None,
        }
    }

    /// The kind with these numbers, if there is one. A kind that is of no state has 0 for it.
    pub(crate) const fn from_numbers(number: u8, state: u8) -> Option<AlertKind> {
        Some(match (number, State::from_number(state), state) {
            (1, Some(state), _) => AlertKind::StuckOrder { state },
            (2, _, 0) => AlertKind::OutboxAge,
            (3, _, 0) => AlertKind::ConsumerLag,
            (4, _, 0) => AlertKind::BreakerOpen,
            (5, _, 0) => AlertKind::DiskLow,
            (6, _, 0) => AlertKind::SyncLatency,
            (7, _, 0) => AlertKind::VerifyFailed,
            (8, _, 0) => AlertKind::Unreturned,
            (9, _, 0) => AlertKind::DeadLetter,
            _ => return None,
        })
    }

    /// The name, as the command line and the metrics print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AlertKind::StuckOrder { .. } => "stuck_order",
            AlertKind::OutboxAge => "outbox_age",
            AlertKind::ConsumerLag => "consumer_lag",
            AlertKind::BreakerOpen => "breaker_open",
            AlertKind::DiskLow => "disk_low",
            AlertKind::SyncLatency => "sync_latency",
            AlertKind::VerifyFailed => "verify_failed",
            AlertKind::Unreturned => "unreturned",
            AlertKind::DeadLetter => "dead_letter",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AlertLevel {
    /// Worth a look.
    Warn,
    /// Needs somebody now.
    Critical,
}

impl AlertLevel {
    /// Every level, rising.
    pub const ALL: [AlertLevel; 2] = [AlertLevel::Warn, AlertLevel::Critical];

    /// The number that is stored on disk.
    pub(crate) const fn number(self) -> u8 {
        match self {
            AlertLevel::Warn => 1,
            AlertLevel::Critical => 2,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<AlertLevel> {
        match number {
            1 => Some(AlertLevel::Warn),
            2 => Some(AlertLevel::Critical),
            _ => None,
        }
    }

    /// The name, as the command line and the metrics print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AlertLevel::Warn => "warn",
            AlertLevel::Critical => "critical",
        }
    }
}

impl fmt::Display for AlertLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AlertLevel {
    type Err = UnknownAlertLevel;

    fn from_str(text: &str) -> Result<AlertLevel, UnknownAlertLevel> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or(UnknownAlertLevel)
    }
}

/// The text names no level of an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownAlertLevel;

impl fmt::Display for UnknownAlertLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a level of an alert; the levels are: warn critical")
    }
}

impl std::error::Error for UnknownAlertLevel {}

/// What happened to an alert.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AlertChange {
    /// It is new.
    Raised,
    /// It was worth a look, and needs somebody now. Whoever had acknowledged it is asked again.
    Escalated,
    /// It is still there, and nobody has acknowledged it.
    Reminded,
    /// Somebody knows: it is not reminded of any more.
    Acknowledged,
    /// It is over.
    Cleared,
}

impl AlertChange {
    /// The number that is stored on disk.
    pub(crate) const fn number(self) -> u8 {
        match self {
            AlertChange::Raised => 1,
            AlertChange::Escalated => 2,
            AlertChange::Reminded => 3,
            AlertChange::Acknowledged => 4,
            AlertChange::Cleared => 5,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<AlertChange> {
        Some(match number {
            1 => AlertChange::Raised,
            2 => AlertChange::Escalated,
            3 => AlertChange::Reminded,
            4 => AlertChange::Acknowledged,
            5 => AlertChange::Cleared,
            _ => return None,
        })
    }

    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AlertChange::Raised => "raised",
            AlertChange::Escalated => "escalated",
            AlertChange::Reminded => "reminded",
            AlertChange::Acknowledged => "acknowledged",
            AlertChange::Cleared => "cleared",
        }
    }
}

impl fmt::Display for AlertChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who knows of an alert.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Acknowledgement {
    /// When that was committed, in ledger time.
    pub at: Timestamp,
    /// Who. Source: the caller.
    pub by: Vec<u8>,
    /// In words. Source: the caller, byte for byte.
    pub note: Vec<u8>,
}

/// An alert as the log tells it. All times are ledger time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Alert {
    /// Its name: the seq of the record that raised it.
    pub id: Seq,
    /// What it is about.
    pub subject: AlertSubject,
    /// What is wrong.
    pub kind: AlertKind,
    /// How bad it is, or was at last.
    pub level: AlertLevel,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// Since when it was critical, when it was not from the beginning.
    pub escalated_at: Option<Timestamp>,
    /// When the condition began, as far as the ledger knows: of an order, when it entered the state; else when the
    /// watch first saw it.
    pub since: Timestamp,
    /// How often it was reminded of.
    pub reminded: u32,
    /// When it was reminded of at last.
    pub reminded_at: Option<Timestamp>,
    /// Who knows of it, if anybody does.
    pub acknowledged: Option<Acknowledgement>,
    /// When it was over: of an order, when it left the state, whether that is recorded yet or not.
    pub cleared_at: Option<Timestamp>,
    /// In words, for people.
    pub detail: String,
}

impl Alert {
    /// Longest [`Alert::detail`] that is stored; a longer one is cut at a character boundary.
    pub const DETAIL_BYTES_MAX: usize = 512;

    /// Whether it is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.cleared_at.is_none()
    }

    /// When somebody was told of it at last: raised, escalated, or reminded of.
    pub(crate) fn told_at(&self) -> Timestamp {
        [self.escalated_at, self.reminded_at].into_iter().flatten().fold(self.raised_at, Ord::max)
    }
}

/// Something that happened to an alert, and how the alert was behind it.
///
/// **Durability**: when you hold one, it is on disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct AlertEvent {
    /// The record that says so.
    pub seq: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// What happened.
    pub change: AlertChange,
    /// The alert as it was then.
    pub alert: Alert,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_as_a_number_comes_back_from_it() {
        let state = State::Confirmed;
        let mut kinds = vec![AlertKind::StuckOrder { state }];
        kinds.extend((2..=9).filter_map(|number| AlertKind::from_numbers(number, 0)));
        assert_eq!(kinds.len(), 9);
        let names: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), 9);
        for kind in kinds {
            let state = kind.state().map_or(0, State::number);
            assert_eq!(AlertKind::from_numbers(kind.number(), state), Some(kind));
        }
        for (number, state) in [(0, 0), (10, 0), (255, 0), (1, 0), (1, 11), (2, 1), (9, 5)] {
            assert_eq!(AlertKind::from_numbers(number, state), None, "{number} {state}");
        }
        for level in AlertLevel::ALL {
            assert_eq!(AlertLevel::from_number(level.number()), Some(level));
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!([0, 3, 255].map(AlertLevel::from_number), [None; 3]);
        assert_eq!("Warn".parse::<AlertLevel>(), Err(UnknownAlertLevel));
        let changes: Vec<_> = (0..=255).filter_map(AlertChange::from_number).collect();
        assert_eq!(changes.iter().map(|it| it.number()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
