//! What is measured, and the figures of all rounds.

use crate::contender::{CORE, Kind, OURS, Who};
use crate::sample::Rounds;

/// What a row of the table says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum What {
    LoneP50,
    LoneP99,
    Lone,
    Threads8,
    PerSync8,
    Threads64,
    PerSync64,
    Deferred,
    Batches,
    Sustained,
    LongestBatch,
    ReplayOne,
    ReplayMany,
    ConflictOne,
    ConflictMany,
    Get1,
    Get2,
    ByKey1,
    ByKey2,
}

impl What {
    pub(crate) const ALL: [What; 19] = [
        What::LoneP50,
        What::LoneP99,
        What::Lone,
        What::Threads8,
        What::PerSync8,
        What::Threads64,
        What::PerSync64,
        What::Deferred,
        What::Batches,
        What::Sustained,
        What::LongestBatch,
        What::ReplayOne,
        What::ReplayMany,
        What::ConflictOne,
        What::ConflictMany,
        What::Get1,
        What::Get2,
        What::ByKey1,
        What::ByKey2,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            What::LoneP50 => "1 thread, p50",
            What::LoneP99 => "1 thread, p99",
            What::Lone => "1 thread",
            What::Threads8 => "8 threads",
            What::PerSync8 => "8 threads, orders per sync",
            What::Threads64 => "64 threads",
            What::PerSync64 => "64 threads, orders per sync",
            What::Deferred => "64 deferred in flight, 1 thread",
            What::Batches => "batches of 1,000",
            What::Sustained => "sustained, batches of 1,000",
            What::LongestBatch => "sustained, longest batch",
            What::ReplayOne => "replays, one by one",
            What::ReplayMany => "replays, submit_many",
            What::ConflictOne => "conflicts, one by one",
            What::ConflictMany => "conflicts, submit_many",
            What::Get1 => "get, 1 thread",
            What::Get2 => "get, 2 threads",
            What::ByKey1 => "by_key, 1 thread",
            What::ByKey2 => "by_key, 2 threads",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            What::LoneP50 | What::LoneP99 => "us",
            What::LongestBatch => "ms",
            What::PerSync8 | What::PerSync64 => "",
            What::Get1 | What::Get2 | What::ByKey1 | What::ByKey2 => "reads/s",
            _ => "orders/s",
        }
    }

    /// Less is better.
    pub(crate) fn is_time(self) -> bool {
        matches!(self, What::LoneP50 | What::LoneP99 | What::LongestBatch)
    }
}

/// All rounds of everything: the same contenders in every round, so that figure n of two of them comes
/// from the same round.
#[derive(Default, Debug)]
pub(crate) struct Figures {
    all: Vec<(What, Who, Rounds)>,
}

impl Figures {
    pub(crate) fn push(&mut self, what: What, who: Who, value: f64) {
        match self.all.iter_mut().find(|(of, by, _)| (*of, *by) == (what, who)) {
            Some((_, _, rounds)) => rounds.push(value),
            None => {
                let mut rounds = Rounds::default();
                rounds.push(value);
                self.all.push((what, who, rounds));
            }
        }
    }

    pub(crate) fn of(&self, what: What, who: Who) -> Option<&Rounds> {
        self.row(what).find(|(by, _)| *by == who).map(|(_, rounds)| rounds)
    }

    /// Everybody who was asked.
    pub(crate) fn row(&self, what: What) -> impl Iterator<Item = (Who, &Rounds)> {
        let same = move |of: &What| *of == what;
        self.all.iter().filter(move |(of, ..)| same(of)).map(|(_, who, rounds)| (*who, rounds))
    }

    pub(crate) fn ours(&self, what: What) -> Option<&Rounds> {
        self.of(what, OURS)
    }

    pub(crate) fn core(&self, what: What) -> Option<&Rounds> {
        self.of(what, CORE)
    }

    /// The best of its kind, round by round: not always the same one.
    pub(crate) fn best(&self, what: What, kind: Kind) -> Option<Rounds> {
        let all = self.row(what).filter(|(who, _)| who.kind == kind).map(|(_, rounds)| rounds);
        all.cloned().reduce(|best, other| {
            best.with(&other, if what.is_time() { f64::min } else { f64::max })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::peer;

    #[test]
    fn the_best_peer_is_the_best_of_each_round() {
        let mut figures = Figures::default();
        for (first, second) in [(1.0, 5.0), (9.0, 3.0)] {
            for what in [What::Lone, What::LoneP50] {
                figures.push(what, peer("first"), first);
                figures.push(what, peer("second"), second);
                figures.push(what, OURS, 100.0);
            }
        }
        let best = |what| figures.best(what, Kind::Peer).unwrap();
        assert_eq!((best(What::Lone).least(), best(What::Lone).most()), (5.0, 9.0));
        assert_eq!((best(What::LoneP50).least(), best(What::LoneP50).most()), (1.0, 3.0));
    }
}
