//! A third party, as a program writes it.
//!
//! Always true: a provider is called with a token that is the same at every attempt; whatever it does (panic, hang for
//! a while), what is recorded is no more than what is known.

use crate::order::{LedgerId, OrderId, Sent, Seq, Token};

/// What a provider is to do, or is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The ledger.
    pub ledger: LedgerId,
    /// The order that it is about.
    pub order: OrderId,
    /// The name of the dispatch.
    pub dispatch: Seq,
    /// The name of the route.
    pub route: String,
    /// What the provider is to know a repeat by: give it as the idempotency key.
    pub token: Token,
    /// How often a provider was told about this dispatch, with this time.
    pub attempt: u32,
    /// What is to be told. Source: the caller of the dispatch, byte for byte.
    pub body: Vec<u8>,
}

/// What a provider says when it is asked about a token.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Found {
    /// It has done it.
    Done {
        /// What it calls it.
        reference: Vec<u8>,
    },
    /// It has said no, and will say so again.
    Refused {
        /// A number that a program can act on.
        code: u32,
        /// Why, in words.
        why: String,
    },
    /// It has never heard of the token. Believed only when the attempt is old enough for no request to be on its way
    /// any more ([`Route::settle`](crate::Route::settle)).
    Absent,
}

/// A third party that can be told something: a payment service, a carrier, a mail server.
///
/// **What `send` must say**: [`Sent::NotSent`] only if surely nothing happened and nothing will. A timeout, a broken
/// connection behind the first byte, an answer that can't be read: [`Sent::Unknown`]. When in doubt, that. A panic
/// counts as `Unknown`.
///
/// **It must return**: give every call a time limit. Stopping the outbox waits for it.
///
/// It is called from several threads at the same time, for different orders.
///
/// ```
/// use order_ledger::{Call, Provider, Sent};
///
/// struct Printer;
///
/// impl Provider for Printer {
///     fn name(&self) -> &str {
///         "printer"
///     }
///
///     fn send(&self, call: &Call) -> Sent {
///         // With the token in the request, a repeat prints nothing new.
///         Sent::Done { reference: format!("page-{}", call.token).into_bytes() }
///     }
/// }
/// ```
pub trait Provider: Send + Sync {
    /// Its name, which is recorded with every attempt and goes into the tokens: 1 to
    /// [`ROUTE_BYTES_MAX`](crate::limits::ROUTE_BYTES_MAX) visible ASCII characters. It never changes.
    fn name(&self) -> &str;

    /// Tells it.
    fn send(&self, call: &Call) -> Sent;

    /// Asks what became of this token; `None`: it can't tell, now or ever.
    fn lookup(&self, call: &Call) -> Option<Found> {
        let _ = call;
        None
    }

    /// Whether it knows a repeat by its token for as long as retries may take, so that an outcome that is unknown may be
    /// found out by telling it again. A provider that only promises so, and forgets tokens after an hour, charges twice.
    fn retry_unknown_with_same_token(&self) -> bool {
        false
    }
}
