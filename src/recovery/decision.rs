//! Torn tail or rot: the decision table. Pure; the caller gathers the facts and obeys.
//!
//! Why it can be decided at all: group g+1 is written only after the sync of g returned. So a later
//! group's header proves that g was durable, and a bad g in front of it is damage. Without such a proof
//! the bad group is the last one, whose sync may never have returned: nobody was told that it is there.
//!
//! | segment | groups end | a later group | decision |
//! |---|---|---|---|
//! | last | at zeros | - | whole: go on behind them |
//! | last | at a bad group | no | torn: cut it, whatever its pattern |
//! | last | at a bad group | yes | rot: refuse (in a relaxed ledger: torn) |
//! | before the last | where the next segment begins | - | whole |
//! | before the last | earlier or later | - | rot: refuse, the next segment proves what is missing |
//!
//! A relaxed ledger does not sync its groups, so there a later group proves nothing, and everything from
//! the first bad group on is cut; it still syncs a segment before it begins the next.
//!
//! Then the witnesses: a durable position beyond the end that was found is loss, also when the tail
//! looks torn.

use crate::order::{Durability, Seq};
use crate::wal::scan::{Proof, ScanEnd};

/// What follows the last valid group of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Nothing: the segment ends cleanly.
    Whole,
    /// A group that was never acknowledged: to be cut up to `dirty_end`.
    Torn { dirty_end: u64 },
    /// Damage to what was durable.
    Rot { durable_next: Option<Seq> },
}

/// Where the segment behind this one says that this one ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Successor {
    pub(crate) first_seq: Seq,
    pub(crate) first_group: u64,
    pub(crate) link: u32,
}

/// Decides about a segment without a valid footer.
pub(crate) fn decide(
    end: &ScanEnd,
    successor: Option<Successor>,
    durability: Durability,
) -> Decision {
    if let Some(successor) = successor {
        let reached = Successor {
            first_seq: end.position.next_seq,
            first_group: end.position.next_group,
            link: end.position.link,
        };
        // What lies behind the last group may be a half-written footer: it does not matter.
        return if reached == successor {
            Decision::Whole
        } else {
            Decision::Rot { durable_next: Some(successor.first_seq) }
        };
    }
    match &end.bad {
        None => Decision::Whole,
        Some(bad) => match &bad.proof {
            Some(Proof { durable_next_seq, .. }) if durability == Durability::Durable => {
                Decision::Rot { durable_next: Some(*durable_next_seq) }
            }
            _ => Decision::Torn { dirty_end: bad.dirty_end },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Timestamp;
    use crate::wal::scan::{Bad, Position};

    fn end(bad: Option<Bad>) -> ScanEnd {
        let position = Position {
            offset: 8192,
            next_seq: Seq(10),
            next_group: 5,
            link: 77,
            last_at: Timestamp::from_unix_ns(1),
            sealed: false,
        };
        ScanEnd { position, bad, newer: false, groups: 4 }
    }

    /// Every combination of: what follows (zeros, bad, bad with proof) and the successor (none, fits,
    /// another seq, another group, another link).
    #[test]
    fn every_row_of_the_table() {
        let bad = Bad { what: "bad", dirty_end: 9000, proof: None };
        let proof = Proof { offset: 8800, group: 6, durable_next_seq: Seq(12) };
        let proven = Bad { proof: Some(proof), ..bad.clone() };
        let fits = Successor { first_seq: Seq(10), first_group: 5, link: 77 };
        let torn = Decision::Torn { dirty_end: 9000 };
        let rot = |seq| Decision::Rot { durable_next: Some(Seq(seq)) };

        for (tail, durable, relaxed) in [
            (None, Decision::Whole, Decision::Whole),
            (Some(bad), torn, torn),
            (Some(proven), rot(12), torn),
        ] {
            let end = end(tail);
            for (durability, alone) in
                [(Durability::Durable, durable), (Durability::Relaxed, relaxed)]
            {
                assert_eq!(decide(&end, None, durability), alone);
                assert_eq!(decide(&end, Some(fits), durability), Decision::Whole);
                for other in [
                    Successor { first_seq: Seq(11), ..fits },
                    Successor { first_group: 6, ..fits },
                    Successor { link: 78, ..fits },
                ] {
                    assert_eq!(decide(&end, Some(other), durability), rot(other.first_seq.0));
                }
            }
        }
    }
}
