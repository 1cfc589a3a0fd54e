//! What a bench submits: made-up orders, or the caller's own, always under keys that never were there.

use std::path::Path;

use order_ledger::Submission;

use crate::errors::Failure;
use crate::own;
use crate::submit::input::parse_under;

const CLIENT: &str = "bench";
const MADE_UP_BYTES: usize = 256;
const KEY_BYTES: usize = 32;

pub(crate) enum Orders {
    MadeUp(Vec<u8>),
    /// JSON lines as `submit` takes them.
    Lines(Vec<Vec<u8>>),
    /// Whatever the lines are.
    Payloads(Vec<Vec<u8>>),
}

impl Orders {
    pub(crate) fn new(payload: Option<&Path>) -> Result<Orders, Failure> {
        let Some(path) = payload else {
            let mut made_up = vec![0; MADE_UP_BYTES];
            rand::fill(&mut made_up[..]);
            return Ok(Orders::MadeUp(made_up));
        };
        // The first line decides, and the others have to be of its kind: a broken line among orders is
        // more likely a mistake than a payload.
        let mut are_orders = None;
        let advice = "give JSON lines as `submit` takes them, or lines of any other kind";
        let lines = own::lines(path, advice, |line| {
            let parsed = parse_under(CLIENT.as_bytes(), b"x", line);
            match *are_orders.get_or_insert(parsed.is_ok()) {
                true => parsed.map(drop),
                false => Ok(()),
            }
        })?;
        Ok(match are_orders {
            Some(true) => Orders::Lines(lines),
            _ => Orders::Payloads(lines),
        })
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Orders::MadeUp(payload) => format!("made up, {} bytes", payload.len()),
            Orders::Lines(lines) => {
                format!("{} of your own, over and over under new keys", lines.len())
            }
            Orders::Payloads(lines) => {
                format!("{} lines of your own as payloads, over and over", lines.len())
            }
        }
    }

    /// Bytes of an order with its key, on average.
    pub(crate) fn bytes_mean(&self) -> usize {
        let all: &[Vec<u8>] = match self {
            Orders::MadeUp(payload) => std::slice::from_ref(payload),
            Orders::Lines(lines) | Orders::Payloads(lines) => lines,
        };
        KEY_BYTES + all.iter().map(Vec::len).sum::<usize>() / all.len().max(1)
    }

    /// One for each thread.
    pub(crate) fn source(&self) -> Source<'_> {
        Source { orders: self, next: rand::random::<u32>() as usize }
    }
}

pub(crate) struct Source<'a> {
    orders: &'a Orders,
    next: usize,
}

impl Source<'_> {
    pub(crate) fn take(&mut self) -> Submission {
        let key: [u8; KEY_BYTES] = rand::random();
        self.next = self.next.wrapping_add(1);
        let chosen = |lines: &[Vec<u8>]| {
            let index = self.next.checked_rem(lines.len()).unwrap_or(0);
            lines.get(index).cloned().unwrap_or_default()
        };
        match self.orders {
            Orders::MadeUp(payload) => Submission::new(CLIENT, key, payload.clone()),
            Orders::Payloads(lines) => Submission::new(CLIENT, key, chosen(lines)),
            Orders::Lines(lines) => {
                let line = chosen(lines);
                // It was parsed when it was read.
                parse_under(CLIENT.as_bytes(), &key, &line)
                    .unwrap_or_else(|_| Submission::new(CLIENT, key, line))
            }
        }
    }
}
