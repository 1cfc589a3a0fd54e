//! Sends linked batches, has a consumer deal with events, and holds the answers against the book.

use std::time::Duration;

use order_ledger::{Event, Ledger, Result, Seq};

use super::super::batches::{CONSUMER, Id, Sort};
use super::super::plan::Bundle;
use super::History;

impl History<'_> {
    /// A batch of this number, which was sent before or not.
    pub(super) fn link(&mut self, ledger: &Ledger, number: u8, bundle: Bundle) {
        self.listen();
        let lost = ledger.poisoned().is_some();
        let batch = self.book.batches.asks(Id::Own(number), &bundle);
        let answer = ledger.linked(&batch);
        // What was seen beside was seen before this answer.
        self.listen();
        let trouble = self.trouble(ledger);
        let sort = self.book.batches.answered(answer, &bundle, lost, trouble);
        self.count(sort);
        if sort == Sort::InDoubt {
            self.link_again.push((number, bundle));
        }
        self.settle(ledger, Vec::new());
    }

    fn count(&mut self, sort: Sort) {
        let figures = &mut self.figures;
        let counter = match sort {
            Sort::Fresh => &mut figures.linked,
            Sort::Replayed => &mut figures.linked_replayed,
            Sort::Refused => &mut figures.linked_refused,
            Sort::Conflict => &mut figures.linked_in_conflict,
            Sort::InDoubt | Sort::Failed => return,
        };
        *counter += 1;
    }

    /// Whoever was told that his batch is in doubt sends it again; most do.
    pub(super) fn link_again(&mut self, ledger: &Ledger) {
        for (number, bundle) in std::mem::take(&mut self.link_again) {
            if self.random.chance(4, 5) {
                self.figures.linked_again += 1;
                self.link(ledger, number, Bundle { other: false, ..bundle });
            }
        }
    }

    /// The consumer takes events, and is done with all up to the one at this place.
    pub(super) fn work(
        &mut self,
        ledger: &Ledger,
        most: usize,
        place: usize,
        bundle: Option<Bundle>,
    ) {
        self.open_worker(ledger);
        self.take_events(ledger, most);
        let seqs: Vec<Seq> = self.delivered.iter().map(|event| event.seq).collect();
        if let Some(seq) = seqs.get(place % seqs.len().max(1)) {
            match bundle {
                Some(bundle) => self.deal_with(ledger, *seq, &bundle),
                None => self.pass_over(ledger, *seq),
            }
        }
        self.settle(ledger, Vec::new());
    }

    fn open_worker(&mut self, ledger: &Ledger) {
        if self.worker.is_some() {
            return;
        }
        self.listen();
        let lost = ledger.poisoned().is_some();
        self.book.batches.moves_cursor();
        let (worker, answer) = match ledger.consumer(CONSUMER) {
            Ok(worker) => {
                let next = worker.next();
                (Some(worker), Ok(next))
            }
            Err(error) => (None, Err(error)),
        };
        self.listen();
        let trouble = self.trouble(ledger);
        self.book.batches.moved_cursor(answer, None, lost, trouble);
        self.worker = worker;
    }

    fn take_events(&mut self, ledger: &Ledger, most: usize) {
        let Some(worker) = &mut self.worker else { return };
        let before = self.delivered.last().map_or(Seq(0), |event| event.seq);
        let polled = worker.poll(most, Duration::ZERO);
        self.listen();
        match polled {
            Ok(events) => {
                let all: Result<Vec<Event>> = ledger.events(Seq(1)).collect();
                if let Ok(all) = all {
                    self.book.batches.delivered(&events, before, &all);
                }
                self.figures.delivered += events.len() as u64;
                self.delivered.extend(events);
            }
            Err(error) => {
                let trouble = self.trouble(ledger);
                assert!(trouble.poisoned || trouble.disk, "{error}");
            }
        }
    }

    /// With a batch that goes with the cursor.
    fn deal_with(&mut self, ledger: &Ledger, seq: Seq, bundle: &Bundle) {
        let lost = ledger.poisoned().is_some();
        let batch = self.book.batches.asks(Id::Of(seq.0), bundle);
        let Some(worker) = &mut self.worker else { return };
        let answer = worker.commit_with(seq, batch);
        let next = worker.next();
        self.listen();
        let trouble = self.trouble(ledger);
        let sort = self.book.batches.answered(answer, bundle, lost, trouble);
        self.count(sort);
        if sort == Sort::Fresh {
            self.figures.dealt_with += 1;
            self.book.batches.stands(next);
        }
        if matches!(sort, Sort::Fresh | Sort::Replayed) {
            self.delivered.retain(|event| event.seq > seq);
        }
    }

    fn pass_over(&mut self, ledger: &Ledger, seq: Seq) {
        let lost = ledger.poisoned().is_some();
        self.book.batches.moves_cursor();
        let Some(worker) = &mut self.worker else { return };
        let answer = worker.commit(seq).map(|()| worker.next());
        self.listen();
        let trouble = self.trouble(ledger);
        if self.book.batches.moved_cursor(answer, Some(seq), lost, trouble) == Sort::Fresh {
            self.figures.cursors_moved += 1;
            self.delivered.retain(|event| event.seq > seq);
        }
    }
}
