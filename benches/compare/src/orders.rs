//! The orders that are submitted: made before the clock runs, each under 32 random bytes of key.
//!
//! Keys are random for every payload: a key is made once per intent, and is not the number of an order.

use std::str::FromStr;

use order_ledger::Submission;
use tpchgen::generators::{OrderGenerator, OrderGeneratorIterator};

use crate::store::Result;
use crate::support;

/// Scale of TPC-H: 1.5 million orders each. Costs nothing, the rows are made as they are asked for.
const TPCH_SCALE: f64 = 200.0;

/// What the orders carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Payload {
    /// 256 random bytes.
    Synthetic,
    /// The orders of TPC-H, as the lines of text of its own generator.
    Tpch,
}

impl FromStr for Payload {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Payload, String> {
        match text {
            "synthetic" => Ok(Payload::Synthetic),
            "tpch" => Ok(Payload::Tpch),
            _ => Err(format!("{text:?} is neither synthetic nor tpch")),
        }
    }
}

/// Makes orders that no store has seen.
pub(crate) struct Source {
    payload: Payload,
    rows: Option<OrderGeneratorIterator<'static>>,
}

impl Source {
    pub(crate) fn new(payload: Payload) -> Source {
        let rows = OrderGenerator::new(TPCH_SCALE, 1, 1);
        Source { payload, rows: (payload == Payload::Tpch).then(|| rows.iter()) }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<Submission>> {
        let Some(rows) = &mut self.rows else { return Ok(support::orders(count)) };
        let orders: Vec<_> = rows
            .by_ref()
            .take(count)
            .map(|row| Submission::new("bench", rand::random::<[u8; 32]>(), row.to_string()))
            .collect();
        if orders.len() < count {
            return Err("TPC-H has no more orders".into());
        }
        Ok(orders)
    }

    /// Bytes that `count` orders take in a log, about: key, payload, and what says where they end.
    pub(crate) fn log_bytes(&mut self, count: usize) -> Result<usize> {
        let sample = self.take(100)?;
        let bytes = |order: &Submission| order.key().len() + order.payload().len() + 16;
        Ok(sample.iter().map(bytes).sum::<usize>() * count / sample.len())
    }

    pub(crate) fn describe(&self) -> String {
        match self.payload {
            Payload::Synthetic => {
                format!("{} random bytes of payload, random keys of 32", support::PAYLOAD_BYTES)
            }
            Payload::Tpch => "payloads of TPC-H orders as text, random keys of 32 bytes".to_owned(),
        }
    }
}
