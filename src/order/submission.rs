//! What a caller hands in: one order under one idempotency key.
//!
//! A [`Submission`] is only data. Limits are checked by `admission`, so that building one never fails
//! and a broken one gets the same kind of answer as everything else.

use std::time::Duration;

use super::fingerprint::{Content, Fingerprint};
use super::id::OrderId;
use super::thresholds::{Thresholds, ns};

/// One order, to be taken exactly once under `(client, key)`.
///
/// **Idempotency**: submit the same content under the same key as often as you like; there will be one
/// order and one receipt. Make the key once per intent, before the first attempt, and store it with the
/// intent; a key made inside the retry loop orders twice. Put no personal data into keys.
///
/// **Units and limits**: see [`limits`](crate::limits). All fields are opaque bytes, compared bytewise,
/// never trimmed or case-folded.
///
/// ```
/// use order_ledger::Submission;
/// let order = Submission::new("web-shop", "cart-17", r#"{"sku":"tea","quantity":2}"#)
///     .account("ALFKI")
///     .external_ref("PO-2231");
/// assert_eq!(order.key(), b"cart-17");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submission {
    pub(crate) client: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) kind: Vec<u8>,
    pub(crate) schema: u32,
    pub(crate) account: Vec<u8>,
    pub(crate) external_ref: Vec<u8>,
    /// From the moment that the order is taken.
    pub(crate) expires_in_ns: Option<u64>,
    pub(crate) own_fingerprint: Option<Fingerprint>,
    pub(crate) payload: Vec<u8>,
    pub(crate) corrects: Option<OrderId>,
    /// Instead of those of its states; neither: it has none of its own.
    pub(crate) thresholds: Thresholds,
}

impl Submission {
    /// An order from `client` under the idempotency key `key`, with `payload` as its content.
    ///
    /// `client` is the submitting system and the scope of the key: 1 to 64 bytes, known to the caller,
    /// never taken from the payload. `key` is 1 to 255 bytes. `payload` is 0 to 16 MiB.
    pub fn new(
        client: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
        payload: impl Into<Vec<u8>>,
    ) -> Submission {
        Submission {
            client: client.into(),
            key: key.into(),
            kind: Vec::new(),
            schema: 0,
            account: Vec::new(),
            external_ref: Vec::new(),
            expires_in_ns: None,
            own_fingerprint: None,
            payload: payload.into(),
            corrects: None,
            thresholds: Thresholds::default(),
        }
    }

    /// What sort of order this is, in the caller's own words: 0 to 64 bytes, default empty.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Vec<u8>>) -> Submission {
        self.kind = kind.into();
        self
    }

    /// The version of the payload's shape, default 0. A retry after a deploy that changed the shape is
    /// a conflict that names this field, so that nobody has to guess.
    #[must_use]
    pub fn schema(mut self, schema: u32) -> Submission {
        self.schema = schema;
        self
    }

    /// The account the order belongs to: 0 to 64 bytes, default empty. Orders can be listed by it.
    #[must_use]
    pub fn account(mut self, account: impl Into<Vec<u8>>) -> Submission {
        self.account = account.into();
        self
    }

    /// The order's number in somebody else's system: 0 to 128 bytes, default empty. Orders can be
    /// found by it; it need not be unique.
    #[must_use]
    pub fn external_ref(mut self, external_ref: impl Into<Vec<u8>>) -> Submission {
        self.external_ref = external_ref.into();
        self
    }

    /// The order expires when so much time has passed since it was taken, if it has not come to an end by then.
    /// Default: never.
    ///
    /// The instant is exact, in ledger time: accepted_at + `expires_in` ([`Order::expires_at`](crate::Order)
    /// says when that is). From then on no step of the order is taken, whatever its state and whatever the
    /// lifecycle says: [`ErrorKind::AlreadyTerminal`](crate::ErrorKind::AlreadyTerminal) with
    /// [`State::Expired`](crate::State::Expired). The ledger records that step itself, soon after the instant
    /// or when somebody asks for a step, whichever comes first; until it is recorded, what is read shows the
    /// order where it stood.
    ///
    /// **Idempotency**: it is a part of the content: the same key with another duration is a conflict that names
    /// [`Field::Expiry`](crate::Field::Expiry). So give the duration that the intent was made with, not what is
    /// left of it.
    ///
    /// **Units and limits**: 1 ns or more, counted in nanoseconds; more than 584 years count as 584 years, and an
    /// instant behind the end of ledger time (in the year 2554) is never reached.
    ///
    /// ```
    /// use std::time::Duration;
    /// use order_ledger::{Ledger, State, Submission, Transition};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let offer = Submission::new("web-shop", "cart-17", "2 x tea").expires_in(Duration::from_millis(1));
    /// let order = ledger.submit(&offer)?.receipt.order;
    /// let expired = ledger.wait_for(order, &[State::Expired], Duration::from_secs(30))?;
    /// assert_eq!(expired.state, State::Expired);
    /// assert!(ledger.transition(&Transition::new(order, State::Confirmed)).is_err());
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    #[must_use]
    pub fn expires_in(mut self, duration: Duration) -> Submission {
        self.expires_in_ns = Some(ns(duration));
        self
    }

    /// Says that this order corrects an earlier one, which stays as it is: what is finished is finished, and a
    /// correction is an order of its own. It must exist ([`ErrorKind::NoSuchOrder`](crate::ErrorKind::NoSuchOrder)),
    /// in whatever state; [`Ledger::corrections_of`](crate::Ledger::corrections_of) finds this one by it.
    #[must_use]
    pub fn corrects(mut self, order: OrderId) -> Submission {
        self.corrects = Some(order);
        self
    }

    /// This order is worth a look when it has been in a state for so long. Default: as the lifecycle says for the state
    /// ([`StateRule::warn_after`](crate::StateRule::warn_after)).
    ///
    /// An order with a threshold of its own, this or [`Submission::critical_after`], is watched by its own alone, in
    /// every state that is not terminal, also in those that have none: the lifecycle's do not count for it, neither the
    /// shorter nor the longer ones. So one that may wait for a week on purpose, or that is worth ten others, needs no
    /// state of its own; and one with `Duration::MAX` is not watched at all. Counted from the instant at which the order
    /// entered the state, as the lifecycle's are: a step begins it anew. What comes of it:
    /// [`Ledger::stuck`](crate::Ledger::stuck), [`guide::watch`](crate::guide::watch).
    ///
    /// **Durability**: on disk with the order; nothing changes it later.
    ///
    /// **Idempotency**: it is a part of the content: the same key with another threshold is a conflict that names
    /// [`Field::Thresholds`](crate::Field::Thresholds).
    ///
    /// **Units and limits**: counted in nanoseconds, and 0 is at once; more than 584 years count as 584 years, and an
    /// instant behind the end of ledger time (in the year 2554) is never reached.
    ///
    /// **Cost**: 3 to 20 bytes of the log, and up to two entries of the views while the order is open. An order without
    /// costs nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use order_ledger::{AlertLevel, Ledger, StuckQuery, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    /// let backorder = Submission::new("web-shop", "cart-17", "2 x tea").warn_after(WEEK);
    /// let urgent = Submission::new("web-shop", "cart-18", "an antidote").critical_after(Duration::ZERO);
    /// ledger.submit(&backorder)?;
    /// let urgent = ledger.submit(&urgent)?.receipt.order;
    /// let stuck = ledger.stuck(&StuckQuery::all())?.orders;
    /// assert_eq!((stuck.len(), stuck[0].order, stuck[0].level), (1, urgent, AlertLevel::Critical));
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    #[must_use]
    pub fn warn_after(mut self, duration: Duration) -> Submission {
        self.thresholds.warn_ns = Some(ns(duration));
        self
    }

    /// This order needs somebody when it has been in a state for so long: as [`Submission::warn_after`], which says what
    /// that means, and with the same limits.
    #[must_use]
    pub fn critical_after(mut self, duration: Duration) -> Submission {
        self.thresholds.critical_ns = Some(ns(duration));
        self
    }

    /// Decides equality of content by the caller's own 32 bytes instead of by the fields.
    ///
    /// For payloads whose bytes are not stable (map order, a field added by a deploy). The caller
    /// answers for it: two submissions with one key and one fingerprint are the same order, whatever
    /// their payloads say.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: Fingerprint) -> Submission {
        self.own_fingerprint = Some(fingerprint);
        self
    }

    /// The submitting system.
    #[must_use]
    pub fn client(&self) -> &[u8] {
        &self.client
    }

    /// The idempotency key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The content.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The fields that count.
    pub(crate) fn content(&self) -> Content<'_> {
        Content {
            client: &self.client,
            kind: &self.kind,
            schema: self.schema,
            account: &self.account,
            external_ref: &self.external_ref,
            expires_in_ns: self.expires_in_ns,
            payload: &self.payload,
            own_fingerprint: self.own_fingerprint,
            corrects: self.corrects.map(OrderId::as_u64),
            thresholds: self.thresholds,
        }
    }
}
