//! Batches that are recorded as a whole or not at all, and consumers that follow along, as a program does them.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use order_ledger::{Consumer, ErrorKind, Event, How, Ledger, Linked, LinkedBatch, Result, Seq};

use super::Run;
use super::noting::Saying;
use super::ops::{Submit, begins_with};
use super::telling::What;
use crate::lives::Move;
use crate::model::batches::{About, Ask, GROUPS, Member};
use crate::model::cursors::{Commit, Cursors, NAMES, name};
use crate::model::dispatches::Words;
use crate::model::{Key, Small};
use crate::shown::Shown;

/// What is done at the desk.
#[derive(Arbitrary, Clone, Debug)]
pub enum Desk {
    Link {
        group: u8,
        members: Vec<Wanted>,
    },
    /// The batch that was sent last under this key, again.
    LinkAgain(u8),
    /// A consumer is opened; the handle before it goes on, and is fenced.
    Open(u8),
    Poll {
        worker: u8,
        most: u8,
    },
    /// A handle is done with everything up to one of the events that it was given.
    Commit {
        worker: u8,
        place: u8,
    },
    /// A handle is done with an event, whether it was given that or not.
    CommitAny {
        worker: u8,
        seq: u8,
    },
    /// A handle is done with everything up to one of the events, together with a batch.
    Deal {
        worker: u8,
        place: u8,
        group: u8,
        members: Vec<Wanted>,
    },
}

/// A member of a batch.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Wanted {
    Order(Submit),
    Step(Move),
    /// About an order that a member takes.
    Dispatch(u8, What),
    /// About one that is there.
    DispatchOf(u8, What),
    Note(Saying),
}

/// Whether what comes next is done at the desk: see [`is_about_steps`](super::ops::is_about_steps).
pub fn is_at_desk(u: &mut Unstructured<'_>) -> bool {
    begins_with(u, DESK)
}

const DESK: std::ops::Range<u8> = 0xd0..0xe0;

/// Members of a batch; more of them find nothing that these do not.
const MEMBERS_MAX: usize = 8;

/// Handles that are kept.
const WORKERS_MAX: usize = 4;

/// The orders of batches: some have the keys of others, most do not.
fn key(byte: u8) -> Key {
    Key::from(byte % 64)
}

/// A handle on a consumer.
pub(super) struct Worker {
    name: u8,
    consumer: Consumer,
    /// What it was given, and has not committed.
    given: Vec<Seq>,
    /// Where it has looked: nothing up to here comes again.
    looked: u64,
    is_fenced: bool,
}

impl Run {
    pub(super) fn at_desk(&mut self, ledger: &Ledger, desk: &Desk) {
        match desk {
            Desk::Link { group, members } => {
                let ask = Ask { members: self.members(members), cursor: None };
                self.link(ledger, *group, &ask, |batch| ledger.linked(&batch));
            }
            Desk::LinkAgain(group) => self.link_again(ledger, *group),
            Desk::Open(number) => self.open_worker(ledger, number % NAMES),
            Desk::Poll { worker, most } => self.poll(ledger, *worker, usize::from(most % 32)),
            Desk::Commit { worker, place } => {
                let Some(index) = self.worker(*worker) else { return };
                let given = &self.workers[index].given;
                if let Some(seq) = given.get(usize::from(*place) % given.len().max(1)) {
                    self.commit(ledger, index, *seq);
                }
            }
            Desk::CommitAny { worker, seq } => {
                if let Some(index) = self.worker(*worker) {
                    self.commit(ledger, index, Seq(u64::from(*seq) + 1));
                }
            }
            Desk::Deal { worker, place, group, members } => {
                let Some(index) = self.worker(*worker) else { return };
                let Worker { name, given, .. } = &self.workers[index];
                if let Some(seq) = given.get(usize::from(*place) % given.len().max(1)) {
                    let cursor = Some((*name, *seq));
                    let ask = Ask { members: self.members(members), cursor };
                    self.deal(ledger, index, *seq, *group, &ask);
                }
            }
        }
    }

    fn worker(&self, number: u8) -> Option<usize> {
        let count = self.workers.len();
        (count > 0).then(|| usize::from(number) % count)
    }

    fn members(&self, wanted: &[Wanted]) -> Vec<Member<Small>> {
        let member = |(index, wanted): (usize, &Wanted)| match wanted {
            Wanted::Dispatch(of, what) => {
                // Mostly one in front of it, without a command.
                let of = usize::from(*of) % (index + 1);
                let words = what.words();
                let command = if what.command < 250 { Vec::new() } else { words.command };
                Some(Member::Dispatch(About::Member(of), Words { command, ..words }))
            }
            Wanted::DispatchOf(byte, what) => {
                let (key, order) = self.model.known_order(key(*byte))?;
                Some(Member::Dispatch(About::Order(key, order), what.words()))
            }
            Wanted::Note(saying) => {
                let (key, order, words) = self.saying(key(saying.key), *saying)?;
                Some(Member::Remark(key, order, words))
            }
            Wanted::Order(submit) => Some(Member::Order(key(submit.key), submit.content())),
            Wanted::Step(asked) => {
                let key = key(asked.key);
                let (order, wish) = self.model.wish(key, *asked)?;
                Some(Member::Step(key, order, wish))
            }
        };
        wanted.iter().enumerate().filter_map(member).take(MEMBERS_MAX).collect()
    }

    /// Sends a batch, and holds the answer against the model.
    fn link(
        &mut self,
        ledger: &Ledger,
        group: u8,
        ask: &Ask<Small>,
        call: impl FnOnce(LinkedBatch) -> Result<Linked>,
    ) -> Option<How> {
        let group = group % GROUPS;
        let poisoned = ledger.poisoned().is_some();
        self.model.begin_linked(group, ask);
        let answer = call(ask.batch(group));
        let poisoned_now = ledger.poisoned().is_some();
        self.model.end_linked(group, ask, &answer, [poisoned, poisoned_now]);
        let in_doubt =
            answer.as_ref().is_err_and(|it| matches!(it.kind(), ErrorKind::InDoubt { .. }));
        if in_doubt && ledger.poisoned().is_none() && !self.disk.is_off() {
            // It is recorded, and what came of it could not be read.
            self.disk.clear_faults();
            self.armed = false;
            let shown = Shown::by(ledger).expect("nothing fails any more");
            self.model.read_all(&shown, false, false);
        }
        answer.ok().map(|linked| linked.how)
    }

    fn link_again(&mut self, ledger: &Ledger, group: u8) {
        let Some(ask) = self.model.sent_last(group % GROUPS) else { return };
        let Some((name, seq)) = ask.cursor else {
            self.link(ledger, group, &ask, |batch| ledger.linked(&batch));
            return;
        };
        // Only whoever was given the event can send it again.
        let has = |worker: &Worker| worker.name == name && worker.given.contains(&seq);
        if let Some(index) = self.workers.iter().position(has) {
            self.deal(ledger, index, seq, group, &ask);
        }
    }

    fn deal(&mut self, ledger: &Ledger, index: usize, seq: Seq, group: u8, ask: &Ask<Small>) {
        let mut worker = self.workers.swap_remove(index);
        let how = self.link(ledger, group, ask, |batch| worker.consumer.commit_with(seq, batch));
        if let Some(how) = how {
            let fenced = how == How::Fresh && worker.is_fenced;
            assert!(!fenced, "a batch has moved the cursor of a handle of which another took over");
            assert!(worker.consumer.next() > seq, "a batch moves the cursor behind its event");
            worker.given.retain(|given| *given > seq);
        }
        self.workers.push(worker);
    }

    fn open_worker(&mut self, ledger: &Ledger, number: u8) {
        let poisoned = ledger.poisoned().is_some();
        let opened = ledger.consumer(&name(number));
        let events = self.events(ledger);
        let next = opened.as_ref().map(Consumer::next);
        self.model.cursors.opened(number, next, events.as_deref(), poisoned);
        let Ok(consumer) = opened else { return };
        for worker in self.workers.iter_mut().filter(|worker| worker.name == number) {
            worker.is_fenced = true;
        }
        if self.workers.len() == WORKERS_MAX {
            self.workers.remove(0);
        }
        let (given, looked) = (Vec::new(), self.model.cursors.done(number));
        self.workers.push(Worker { name: number, consumer, given, looked, is_fenced: false });
    }

    fn poll(&mut self, ledger: &Ledger, number: u8, most: usize) {
        let Some(index) = self.worker(number) else { return };
        let worker = &mut self.workers[index];
        let polled = worker.consumer.poll(most, Duration::ZERO);
        let could = !self.armed && !self.disk.is_off();
        match polled {
            Ok(events) => {
                let looked = worker.looked;
                worker.given.extend(events.iter().map(|event| event.seq));
                worker.looked = events.last().map_or(looked, |event| event.seq.0);
                if let Some(all) = self.events(ledger) {
                    Cursors::delivered(looked, most, &events, &all, could);
                }
            }
            Err(error) => {
                let excused = !could || ledger.poisoned().is_some();
                assert!(excused, "nothing failed, and nothing was delivered: {error}");
            }
        }
    }

    fn commit(&mut self, ledger: &Ledger, index: usize, seq: Seq) {
        let poisoned = ledger.poisoned().is_some();
        let worker = &mut self.workers[index];
        let commit = Commit {
            name: worker.name,
            seq,
            next_before: worker.consumer.next(),
            is_given: worker.given.contains(&seq),
            is_fenced: worker.is_fenced,
            poisoned,
        };
        let answer = worker.consumer.commit(seq);
        let next = worker.consumer.next();
        if answer.is_ok() {
            worker.given.retain(|given| *given > seq);
        }
        let events = self.events(ledger);
        self.model.cursors.committed(&commit, &answer, next, events.as_deref());
    }

    /// What happened to all orders, if that can be read: asked of the orders, and not of the feed.
    fn events(&self, ledger: &Ledger) -> Option<Vec<Event>> {
        let shown = Shown::by(ledger).ok()?;
        let histories = shown.orders.into_iter().flat_map(|told| told.history);
        let mut events: Vec<Event> = histories.collect();
        events.sort_by_key(|event| event.seq);
        Some(events)
    }
}
