//! What the ledger has to reach, as ratios inside the run.

use crate::contender::Kind;
use crate::figures::{Figures, What};
use crate::sample::Rounds;
use crate::table::number;

/// What a figure of the ledger is held against.
#[derive(Clone, Copy)]
enum Against {
    Core,
    BestPeer,
    BestRaw,
    /// Another figure of the ledger.
    Own(What),
    /// As it is.
    Nothing,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Against::{BestPeer, BestRaw, Core, Nothing, Own};
use Bound::{AtLeast, AtMost};

const TARGETS: [(What, Against, Bound); 20] = [
    (What::LoneP50, BestRaw, AtMost(1.10)),
    (What::LoneP99, BestRaw, AtMost(1.5)),
    (What::Lone, Core, AtLeast(0.9)),
    (What::Threads8, BestPeer, AtLeast(1.7)),
    (What::Threads64, BestPeer, AtLeast(3.5)),
    (What::Threads64, Core, AtLeast(0.8)),
    (What::Deferred, Own(What::Threads64), AtLeast(1.5)),
    (What::Batches, BestPeer, AtLeast(5.0)),
    (What::Batches, Core, AtLeast(0.7)),
    (What::Sustained, BestPeer, AtLeast(7.0)),
    (What::LongestBatch, Nothing, AtMost(50.0)),
    (What::ReplayOne, Nothing, AtLeast(400_000.0)),
    (What::ReplayMany, Nothing, AtLeast(1_000_000.0)),
    (What::ConflictOne, Nothing, AtLeast(400_000.0)),
    (What::ConflictMany, Nothing, AtLeast(1_000_000.0)),
    (What::Get1, Nothing, AtLeast(500_000.0)),
    // "Linear to the second thread", with a tenth for what two cores have to share.
    (What::Get2, Own(What::Get1), AtLeast(1.8)),
    (What::ByKey1, Nothing, AtLeast(500_000.0)),
    (What::ByKey2, Own(What::ByKey1), AtLeast(1.8)),
    // An older one: threads that wait share a sync.
    (What::PerSync64, Nothing, AtLeast(8.0)),
];

/// A submit contains a durable write: a ratio to the raw one below this says that the raw row was
/// disturbed, not that the ledger is quicker than the disk.
const RAW_RATIO_VALID_MIN: f64 = 0.8;

/// The core does less: a ratio to it above this says that its row was disturbed.
const CORE_RATIO_VALID_MAX: f64 = 1.25;

/// The targets of one row of the ledger, and what came of them.
pub(crate) fn verdicts(figures: &Figures, what: What) -> String {
    let of_row = TARGETS.iter().filter(|(of, ..)| *of == what);
    let all = of_row.filter_map(|(_, against, bound)| verdict(figures, what, *against, bound));
    all.collect::<Vec<_>>().join("; ")
}

fn verdict(figures: &Figures, what: What, against: Against, bound: &Bound) -> Option<String> {
    let ours = figures.ours(what)?;
    let (measured, of): (Rounds, String) = match against {
        Core => (ours.over(figures.core(what)?), " x core".to_owned()),
        BestPeer => (ours.over(&figures.best(what, Kind::Peer)?), " x best peer".to_owned()),
        BestRaw => (ours.over(&figures.best(what, Kind::Raw)?), " x raw".to_owned()),
        Own(other) => (ours.over(figures.ours(other)?), format!(" x {}", other.title())),
        Nothing => (ours.clone(), format!(" {}", what.unit()).trim_end().to_owned()),
    };
    // The longest batch is the longest of all rounds: one stall is one too many.
    let value = if what == What::LongestBatch { measured.most() } else { measured.median() };
    let (wanted, met) = match *bound {
        AtLeast(least) => (format!(">= {}", number(least)), value >= least),
        AtMost(most) => (format!("<= {}", number(most)), value <= most),
    };
    let verdict = match (against, met) {
        (BestRaw, _) if value < RAW_RATIO_VALID_MIN => "not valid: raw was disturbed, run again",
        (Core, _) if value > CORE_RATIO_VALID_MAX => "not valid: core was disturbed, run again",
        (_, true) => "met",
        (_, false) => "**missed**",
    };
    let (value, least, most) = (number(value), number(measured.least()), number(measured.most()));
    Some(format!("{wanted}{of}: {value} ({least}..{most}), {verdict}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::{CORE, OURS, RAW_DIRECT, peer};

    fn figures(what: What, ours: f64, other: f64) -> Figures {
        let mut figures = Figures::default();
        figures.push(what, OURS, ours);
        for who in [CORE, RAW_DIRECT, peer("peer")] {
            figures.push(what, who, other);
        }
        figures
    }

    #[test]
    fn a_target_is_met_at_its_bound_and_missed_beyond() {
        let verdict = |ours| verdicts(&figures(What::Threads8, ours, 100.0), What::Threads8);
        assert_eq!(verdict(170.0), ">= 1.70 x best peer: 1.70 (1.70..1.70), met");
        assert_eq!(verdict(169.0), ">= 1.70 x best peer: 1.69 (1.69..1.69), **missed**");
    }

    #[test]
    fn a_submit_that_is_quicker_than_the_disk_is_not_valid() {
        let verdict = |ours| verdicts(&figures(What::LoneP50, ours, 100.0), What::LoneP50);
        assert!(verdict(79.0).contains("not valid"), "{}", verdict(79.0));
        assert!(verdict(81.0).ends_with("met"), "{}", verdict(81.0));
        assert!(verdict(111.0).contains("missed"), "{}", verdict(111.0));
    }

    #[test]
    fn a_ledger_that_is_quicker_than_what_does_less_is_not_valid() {
        let verdict = |ours| verdicts(&figures(What::Lone, ours, 100.0), What::Lone);
        assert!(verdict(126.0).contains("not valid"), "{}", verdict(126.0));
        assert!(verdict(124.0).ends_with("met"), "{}", verdict(124.0));
    }

    #[test]
    fn without_a_peer_there_is_no_verdict_on_peers() {
        let mut figures = Figures::default();
        figures.push(What::Threads8, OURS, 1.0);
        assert_eq!(verdicts(&figures, What::Threads8), "");
    }
}
