//! The orders of a run: order `index` of a seed is always the same, so that the oracle needs to keep
//! no payloads.

use std::fmt::Write as _;

use order_ledger::{Order, Submission};

use crate::rng::Rng;

/// Stands at the start of every payload and every 512 bytes in it: a write that carries it carries
/// orders, and is not the file system's own.
pub const MARK: &[u8; 16] = b"<<an-order-here>";

/// How large the payloads are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// 20 to 600 bytes.
    Small,
    /// Mostly small, some of several KiB, a few of up to 200 KiB: a segment of 1 MiB is full after
    /// about 200 orders.
    Mixed,
    /// 8 to 60 KiB: a segment of 1 MiB is full after about 30 orders.
    Medium,
    /// 50 to 500 KiB: a segment of 1 MiB is full after a few.
    Large,
}

impl Sizes {
    pub fn name(self) -> &'static str {
        match self {
            Sizes::Small => "small",
            Sizes::Mixed => "mixed",
            Sizes::Medium => "medium",
            Sizes::Large => "large",
        }
    }

    pub fn parse(name: &str) -> Sizes {
        match name {
            "small" => Sizes::Small,
            "medium" => Sizes::Medium,
            "large" => Sizes::Large,
            _ => Sizes::Mixed,
        }
    }

    fn pick(self, rng: &mut Rng) -> u64 {
        match (self, rng.range(0, 99)) {
            (Sizes::Large, _) => rng.range(50_000, 500_000),
            (Sizes::Medium, _) => rng.range(8_000, 60_000),
            (Sizes::Small, _) => rng.range(20, 600),
            (Sizes::Mixed, 0..60) => rng.range(0, 300),
            (Sizes::Mixed, 60..90) => rng.range(300, 4_000),
            (Sizes::Mixed, 90..98) => rng.range(4_000, 32_000),
            (Sizes::Mixed, _) => rng.range(64_000, 200_000),
        }
    }
}

fn client(index: u64) -> &'static str {
    ["web-shop", "branch-7", "partner"][usize::try_from(index % 3).unwrap_or(0)]
}

fn key(index: u64) -> String {
    format!("k-{index:016x}")
}

fn account(index: u64) -> String {
    format!("account-{}", index % 17)
}

fn payload(seed: u64, index: u64, sizes: Sizes) -> Vec<u8> {
    let mut rng = Rng::for_round(seed ^ 0x6f72_6465_7273, index);
    let bytes = usize::try_from(sizes.pick(&mut rng)).unwrap_or(0);
    let mut out = Vec::with_capacity(bytes + 512);
    while out.len() < bytes {
        if out.len() % 512 == 0 {
            out.extend_from_slice(MARK);
        }
        out.extend_from_slice(&rng.next().to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// Some bytes from anywhere in the payload of order `index`, by which the place is found on a disk; `None`
/// when it is too short to be told from others.
pub fn piece(seed: u64, index: u64, sizes: Sizes, rng: &mut Rng) -> Option<Vec<u8>> {
    const BYTES: usize = 16;
    let payload = payload(seed, index, sizes);
    let words = (payload.len() / 8).checked_sub(BYTES / 8 + MARK.len() / 8)? as u64;
    let at = usize::try_from(rng.range(0, words)).ok()? * 8;
    // Each payload has the mark; what is behind it is its own.
    let at = if at % 512 < MARK.len() { at + MARK.len() } else { at };
    payload.get(at..at + BYTES).map(<[u8]>::to_vec)
}

/// Whether two threads may submit this order at the same time. One may then be told "not recorded" while
/// the other's call goes on.
pub fn may_be_shared(index: u64) -> bool {
    index % 8 == 7
}

/// Order `index`.
pub fn submission(seed: u64, index: u64, sizes: Sizes) -> Submission {
    Submission::new(client(index), key(index), payload(seed, index, sizes)).account(account(index))
}

/// The client and key of order `index`.
pub fn name(index: u64) -> (&'static str, String) {
    (client(index), key(index))
}

/// Which order this is, when every byte of it is as it was submitted; else what is wrong.
pub fn recognise(seed: u64, sizes: Sizes, order: &Order) -> Result<u64, String> {
    let text = String::from_utf8_lossy(&order.key);
    let index = text
        .strip_prefix("k-")
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or_else(|| format!("a key that nobody submitted: {text:?}"))?;
    let mut wrong = String::new();
    for (what, same) in [
        ("client", order.client == client(index).as_bytes()),
        ("account", order.account == account(index).as_bytes()),
        ("payload", order.payload == payload(seed, index, sizes)),
    ] {
        if !same {
            write!(wrong, " {what}").map_err(|error| error.to_string())?;
        }
    }
    if wrong.is_empty() { Ok(index) } else { Err(format!("order {index:#x} differs in{wrong}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_of_its_payload_and_of_no_other() {
        let mut rng = Rng::new(3);
        let holds = |index: u64, piece: &[u8]| {
            payload(5, index, Sizes::Mixed).windows(piece.len()).any(|at| at == piece)
        };
        let mut found = 0;
        for index in 0..200 {
            let Some(piece) = piece(5, index, Sizes::Mixed, &mut rng) else { continue };
            found += 1;
            assert!(holds(index, &piece), "{index}");
            assert!(!(index + 1..index + 20).any(|other| holds(other, &piece)), "{index}");
        }
        assert!(found > 100, "{found}");
    }
}
