//! The typed front: a ledger whose payloads are values of one Rust type.
//!
//! The second and last file in which bincode appears: it turns values into payload bytes. The log knows
//! nothing of it.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Ledger;
use crate::commit::ticket::Ticket;
use crate::error::{Error, ErrorKind, Result};
use crate::order::limits::PAYLOAD_BYTES_MAX;
use crate::order::{Order, OrderId, OrderStates, Outcome, State, Submission};

type Config = bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<PAYLOAD_BYTES_MAX>,
>;

const CONFIG: Config = bincode::config::standard().with_limit::<PAYLOAD_BYTES_MAX>();

/// A ledger whose payloads are values of `T`, encoded with serde and bincode 2 (standard configuration).
///
/// **Idempotency**: the content of an order is its bytes. Three traps, each of which makes an honest
/// retry a conflict:
/// - a `HashMap` in `T`: its order changes from one run to the next; use a `BTreeMap`;
/// - a float NaN: it has many bit patterns; use integers for money and quantities;
/// - a deploy between the attempts that added a field to `T`: raise [`Orders::with_schema`]'s number
///   with every such change, so that the conflict names `schema` and not only the payload, or decide
///   equality by the fields that are stable, with [`Submission::fingerprint`].
///
/// ```
/// use order_ledger::{Ledger, Orders};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Tea { sku: String, quantity: u32 }
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let orders: Orders<Tea> = Orders::new(ledger);
/// let tea = Tea { sku: "assam".into(), quantity: 2 };
/// let outcome = orders.submit("web-shop", "cart-17", &tea)?;
/// let (_, back) = orders.get(outcome.receipt.order)?.unwrap();
/// assert_eq!(back, tea);
/// # Ok::<(), order_ledger::Error>(())
/// ```
///
/// **States** are the ledger's own ([`State`]), or an enum of the caller's: [`Orders::with_states`]. What is not here
/// takes values all the same: put [`Orders::submission`] and [`Orders::step`] into [`Ledger::submit_many`],
/// [`Ledger::transition_many`] and [`Ledger::linked`].
#[derive(Debug)]
pub struct Orders<T, S = State> {
    pub(super) ledger: Ledger,
    schema: u32,
    of: PhantomData<fn() -> (T, S)>,
}

impl<T, S> Clone for Orders<T, S> {
    fn clone(&self) -> Orders<T, S> {
        Orders { ledger: self.ledger.clone(), schema: self.schema, of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Orders<T> {
    /// The typed front of `ledger`, with schema 0.
    #[must_use]
    pub fn new(ledger: Ledger) -> Orders<T> {
        Orders::with_schema(ledger, 0)
    }

    /// The typed front of `ledger`; `schema` is the version of the shape of `T`.
    #[must_use]
    pub fn with_schema(ledger: Ledger, schema: u32) -> Orders<T> {
        Orders { ledger, schema, of: PhantomData }
    }

    /// The same front, which speaks of states in an enum of the caller's. The ledger is to be opened with its
    /// table: [`Lifecycle::of`](crate::Lifecycle::of).
    ///
    /// # Errors
    /// [`ErrorKind::LifecycleMismatch`] when the ledger's lifecycle lacks a state of the enum, or has one that
    /// orders may come to be in and the enum lacks.
    pub fn with_states<S: OrderStates>(self) -> Result<Orders<T, S>> {
        let lifecycle = self.ledger.lifecycle();
        let missing =
            S::ALL.iter().map(|it| it.state()).find(|it| lifecycle.name_of(*it).is_none());
        // Those that the ledger enters by itself need no variant.
        let is_extra = |state: &State| {
            S::from_state(*state).is_none() && !matches!(state, State::Refused | State::Expired)
        };
        match missing.or_else(|| lifecycle.states().find(is_extra)) {
            Some(state) => Err(Error::new(ErrorKind::LifecycleMismatch { state })),
            None => Ok(Orders { ledger: self.ledger, schema: self.schema, of: PhantomData }),
        }
    }
}

impl<T: Serialize + DeserializeOwned, S: OrderStates> Orders<T, S> {
    /// The ledger underneath.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A submission with `value` as its payload, for further fields (account, reference) before it is
    /// handed to the ledger.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when the value can't be encoded, or not be read back.
    pub fn submission(
        &self,
        client: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
        value: &T,
    ) -> Result<Submission> {
        let payload = bincode::serde::encode_to_vec(value, CONFIG).map_err(codec)?;
        // What can't be read back must not be acknowledged (a type whose two halves disagree).
        decode::<T>(&payload)?;
        Ok(Submission::new(client, key, payload).schema(self.schema))
    }

    /// Takes an order: returns when it is on disk. See [`Ledger::submit`].
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] (not recorded), or those of [`Ledger::submit`].
    pub fn submit(
        &self,
        client: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
        value: &T,
    ) -> Result<Outcome> {
        self.ledger.submit(&self.submission(client, key, value)?)
    }

    /// Hands in an order and returns at once. See [`Ledger::submit_deferred`].
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] (not recorded); all others arrive through the ticket.
    pub fn submit_deferred(
        &self,
        client: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
        value: &T,
    ) -> Result<Ticket> {
        Ok(self.ledger.submit_deferred(&self.submission(client, key, value)?))
    }

    /// The order with this id, and its value; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when its payload is not a `T`, or those of [`Ledger::get`].
    pub fn get(&self, order: OrderId) -> Result<Option<(Order, T)>> {
        typed(self.ledger.get(order)?)
    }

    /// The order under this key, and its value; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when its payload is not a `T`, or those of [`Ledger::by_key`].
    pub fn by_key(
        &self,
        client: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<(Order, T)>> {
        typed(self.ledger.by_key(client, key)?)
    }
}

pub(super) fn typed<T: DeserializeOwned>(order: Option<Order>) -> Result<Option<(Order, T)>> {
    order
        .map(|order| {
            let value = decode(&order.payload)?;
            Ok((order, value))
        })
        .transpose()
}

/// The value in `payload`; bytes left over are refused.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    let (value, used) = bincode::serde::decode_from_slice(payload, CONFIG).map_err(codec)?;
    if used != payload.len() {
        let what = format!("{} bytes left over after the value", payload.len() - used);
        return Err(Error::new(ErrorKind::Codec { what }));
    }
    Ok(value)
}

fn codec(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Codec { what: error.to_string() }).caused_by(error)
}
