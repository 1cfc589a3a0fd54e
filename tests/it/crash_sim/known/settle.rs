//! What is there after an opening, held against what is known: the doubts are settled, all of a group in one way.

use order_ledger::{Order, Refusal, State};

use super::super::alarms::{Alarms, Asked};
use super::super::batches::Batches;
use super::super::beside::Seen;
use super::super::figures::Figures;
use super::super::notes::Said;
use super::super::steps::{Taken, gaps};
use super::{Book, Fate, Known};

impl Book {
    /// Holds all orders of a ledger that was opened after a crash against what is known, and settles the
    /// doubts.
    pub(in crate::crash_sim) fn check(
        &mut self,
        seen: &Seen,
        may_lose: bool,
        figures: &mut Figures,
    ) {
        let all = &seen.orders;
        let of_others = self.settle_others(seen, figures);
        let mut there: Vec<Option<&Order>> = vec![None; self.known.len()];
        let mut steps = vec![(Vec::new(), Vec::new()); self.known.len()];
        for told in all.iter().filter(|told| !Batches::has(told)) {
            let key = self.key_of(&told.order);
            let twice = there[key].replace(&told.order);
            assert!(twice.is_none(), "{} is there twice", told.order.id());
            steps[key] = (told.steps(), told.notes());
        }
        let in_doubt = |known: &&Known| known.fate == Fate::InDoubt;
        let doubts = self.known.iter().filter(in_doubt).count();
        let found = |(known, order): &(&Known, &Option<&Order>)| in_doubt(known) && order.is_some();
        let doubts_there = self.known.iter().zip(&there).filter(found).count();
        let of_steps = self.settle_steps(&steps, may_lose, figures);
        let others: Vec<bool> = of_steps.into_iter().chain(of_others).collect();
        let doubts = doubts + others.len();
        let doubts_there = doubts_there + others.iter().filter(|there| **there).count();
        assert!(
            doubts_there == 0 || doubts_there == doubts,
            "{doubts_there} of the {doubts} records of one group are there"
        );
        for (known, found) in self.known.iter_mut().zip(there) {
            match (&known.fate, found) {
                (Fate::Acknowledged(_) | Fate::Refused(..), None) if may_lose => {
                    figures.relaxed_lost += 1;
                    known.fate = Fate::Free;
                }
                (Fate::Acknowledged(receipt), Some(order)) => {
                    assert_eq!(order.receipt, *receipt);
                    assert_eq!(order.refusal, None);
                }
                (Fate::Refused(receipt, refusal), Some(order)) => {
                    figures.held_orders += u64::from(refusal.code == Refusal::HELD);
                    assert_eq!(order.receipt, *receipt);
                    assert_eq!(order.refusal.as_ref(), Some(refusal));
                }
                (Fate::Free, None) => {}
                (Fate::Free, Some(order)) => {
                    panic!("{} was told not to be recorded, and is there", order.id())
                }
                (Fate::InDoubt, None) => {
                    known.fate = Fate::Free;
                    figures.in_doubt_gone += 1;
                }
                (Fate::InDoubt, Some(order)) => {
                    known.fate = match &order.refusal {
                        None => Fate::Acknowledged(order.receipt),
                        Some(refusal) => Fate::Refused(order.receipt, refusal.clone()),
                    };
                    figures.in_doubt_there += 1;
                }
                (fate, None) => panic!("acknowledged and gone: {fate:?}"),
            }
            if let Some(order) = found {
                figures.expired_shown += u64::from(order.now.state == State::Expired);
                known.assert_times(order);
                assert!(order.payload == known.submission.payload(), "other bytes");
            }
        }
    }

    /// Batches, cursors and holds after opening, and the seqs of all. Answers of each that was in doubt whether it
    /// is there.
    fn settle_others(&mut self, seen: &Seen, figures: &mut Figures) -> Vec<bool> {
        let Seen { orders: all, holds, alerts, stats, .. } = seen;
        let records = &stats.records;
        let of_no_order = Alarms::of_no_order(alerts);
        let (gaps, next) = gaps(all, &of_no_order, self.has_table);
        let of_alert = self.settle_alerts(seen, figures);
        self.posts.listed(all);
        self.followed.check(all);
        let of_post = self.posts.settle();
        figures.dispatches_in_doubt_there += u64::from(of_post == Some(true));
        figures.dispatches_in_doubt_gone += u64::from(of_post == Some(false));
        let of_these = of_alert.into_iter().chain(of_post);
        if self.holds.have_been() {
            let of_hold = self.holds.settle(holds, &gaps, next);
            figures.holds_in_doubt += u64::from(of_hold.is_some());
            assert_eq!(*records, self.holds.account_for(&gaps, next) - 1, "records");
            return of_hold.into_iter().chain(of_these).collect();
        }
        let (least, most) = self.batches.account_for(all, &gaps, next);
        // An opening that was cut off may have made a ledger that has no table yet.
        let is_empty = all.is_empty() && *records == 0;
        let counts = (least..=most).contains(records) || is_empty;
        assert!(counts, "{records} records, not {least} to {most}");
        let of_batch = self.batches.listed(all, true);
        figures.linked_in_doubt_there += u64::from(of_batch == Some(true));
        figures.linked_in_doubt_gone += u64::from(of_batch == Some(false));
        let events: u64 = all.iter().map(|told| told.history.len() as u64).sum();
        let table = u64::from(self.has_table && !is_empty);
        let others = events + table + self.batches.heads() + of_no_order.len() as u64;
        let of_cursor = self.batches.settle_cursor(seen.cursor, *records, others);
        figures.cursors_in_doubt_there += u64::from(of_cursor == Some(true));
        figures.cursors_in_doubt_gone += u64::from(of_cursor == Some(false));
        of_batch.into_iter().chain(of_cursor).chain(of_these).collect()
    }

    /// Alerts after opening. Answers whether what was in doubt is there.
    fn settle_alerts(&mut self, seen: &Seen, figures: &mut Figures) -> Option<bool> {
        let doubt = self.alarms.doubt.clone();
        let (there, more) = self.alarms.settle(&seen.alerts);
        self.alarms.sound(&seen.orders, &self.lifecycle);
        match doubt {
            None => {}
            Some(Asked::Look) if more > 0 => figures.alerts_in_doubt_there += more,
            Some(Asked::Look) => figures.alerts_in_doubt_gone += 1,
            Some(_) if there == Some(true) => figures.acknowledged_in_doubt_there += 1,
            Some(_) => figures.acknowledged_in_doubt_gone += 1,
        }
        there
    }

    /// The same for steps. Answers of each that was in doubt whether it is there.
    fn settle_steps(
        &mut self,
        steps: &[(Vec<Taken>, Vec<Said>)],
        may_lose: bool,
        figures: &mut Figures,
    ) -> Vec<bool> {
        let mut doubts = Vec::new();
        for (known, (steps, notes)) in self.known.iter_mut().zip(steps) {
            let (lost, doubt) = known.track.settle(steps, may_lose);
            figures.relaxed_moves_lost += lost;
            figures.moves_in_doubt_there += u64::from(doubt == Some(true));
            figures.moves_in_doubt_gone += u64::from(doubt == Some(false));
            doubts.extend(doubt);
            let (lost, doubt) = known.track.notes.settle(notes, may_lose);
            figures.relaxed_moves_lost += lost;
            figures.notes_in_doubt_there += u64::from(doubt == Some(true));
            figures.notes_in_doubt_gone += u64::from(doubt == Some(false));
            doubts.extend(doubt);
        }
        doubts
    }
}
