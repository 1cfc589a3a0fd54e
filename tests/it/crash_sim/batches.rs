//! The oracle for linked batches, and for a consumer that records one for each event it deals with.
//!
//! Always true: a batch is there as a whole or not at all, for whoever looks, at any time; a batch that belongs to
//! an event is recorded once, and with it the cursor stands behind the event; at most one batch or cursor is in
//! doubt, the last one of a life.

use std::collections::{BTreeMap, BTreeSet};

use order_ledger::{
    Dispatch, Error, ErrorKind, Event, EventBody, How, Linked, LinkedBatch, LinkedResult, OrderId,
    Receipt, Seq, State, Submission, Transition,
};

use super::known::Trouble;
use super::plan::Bundle;
use super::posts::ROUTE;
use super::steps::Told;

/// Who hands in the orders of batches: nobody else does.
pub(super) const CLIENT: &str = "desk";
/// Who deals with events.
pub(super) const CONSUMER: &str = "desk";

/// What a batch is sent for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Id {
    /// Of somebody's own; a small number, so that it comes again.
    Own(u8),
    /// What the consumer does about the event at this seq.
    Of(u64),
}

impl Id {
    pub(super) fn key(self) -> String {
        match self {
            Id::Own(number) => format!("batch-{number}"),
            Id::Of(seq) => format!("event-{seq}"),
        }
    }

    /// What others are to be told.
    fn post(self, number: usize) -> Vec<u8> {
        format!("{} by {}", number, self.key()).into_bytes()
    }

    fn order_key(self, place: usize) -> String {
        format!("{}/{place}", self.key())
    }

    /// The batch and the place of an order in it.
    fn parse(key: &[u8]) -> (Id, usize) {
        let text = str::from_utf8(key).unwrap();
        let (id, place) = text.split_once('/').unwrap();
        let id = match id.split_once('-').unwrap() {
            ("batch", number) => Id::Own(number.parse().unwrap()),
            ("event", seq) => Id::Of(seq.parse().unwrap()),
            _ => panic!("an order that nobody submitted: {text}"),
        };
        (id, place.parse().unwrap())
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Free,
    InDoubt,
    Done,
}

/// A batch, as it was sent last.
#[derive(Debug)]
struct Sent {
    orders: usize,
    bytes: usize,
    /// Orders of other batches that it cancels.
    cancels: Vec<(Id, usize)>,
    /// So many things are to be told to others about its orders, in turns, and one about each that it cancels.
    posts: usize,
    fate: Fate,
    head: Option<Seq>,
    receipts: Vec<Receipt>,
}

/// How far the consumer is.
#[derive(Debug)]
struct Worker {
    next: Seq,
    /// How many records say so.
    records: u64,
    /// One more may be there; it stands behind this seq then, or where it stood when it is 0.
    doubt: Option<Seq>,
    /// It may be further: nobody was told how far a batch has moved it.
    is_loose: bool,
}

#[derive(Debug)]
pub(super) struct Batches {
    sent: BTreeMap<Id, Sent>,
    worker: Worker,
    /// What a call of now asks for, and what was known of it before.
    asking: Option<(Id, Fate)>,
    /// A call of now may record a cursor.
    moves_cursor: bool,
}

impl Default for Batches {
    fn default() -> Batches {
        Batches {
            sent: BTreeMap::new(),
            worker: Worker { next: Seq(1), records: 0, doubt: None, is_loose: false },
            asking: None,
            moves_cursor: false,
        }
    }
}

/// What came of a call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Sort {
    Fresh,
    Replayed,
    Refused,
    Conflict,
    InDoubt,
    Failed,
}

fn payload(id: Id, place: usize, bytes: usize) -> Vec<u8> {
    let mut payload = format!("ok {} ", id.order_key(place)).into_bytes();
    payload.resize(payload.len() + bytes, b'.');
    payload
}

impl Batches {
    /// Whether an order is one of a batch.
    pub(super) fn has(told: &Told) -> bool {
        told.order.client == CLIENT.as_bytes()
    }

    /// The batch of this name as it was sent before, if that counts, or as it is to be; with one order more when
    /// it is to be another one.
    pub(super) fn asks(&mut self, id: Id, bundle: &Bundle) -> LinkedBatch {
        let is_new = self.sent.get(&id).is_none_or(|sent| sent.fate == Fate::Free);
        if is_new {
            let cancels = bundle.cancels.and_then(|number| self.order(id, number));
            let sent = Sent {
                orders: bundle.orders,
                bytes: bundle.bytes,
                cancels: cancels.into_iter().collect(),
                posts: bundle.posts,
                fate: Fate::Free,
                head: None,
                receipts: Vec::new(),
            };
            self.sent.insert(id, sent);
        }
        self.moves_cursor = matches!(id, Id::Of(_));
        let sent = &self.sent[&id];
        self.asking = Some((id, sent.fate));
        let orders = sent.orders + usize::from(bundle.other && !is_new);
        let mut batch = LinkedBatch::new(id.key());
        for place in 0..orders {
            let payload = payload(id, place, sent.bytes);
            batch = batch.submit(Submission::new(CLIENT, id.order_key(place), payload));
        }
        for (other, place) in &sent.cancels {
            let order = self.sent[other].receipts[*place].order;
            batch = batch.transition(Transition::new(order, State::Cancelled));
        }
        for number in 0..sent.posts {
            let dispatch = Dispatch::of_member(number % sent.orders, ROUTE, id.post(number));
            batch = batch.dispatch(dispatch);
        }
        for (number, (other, place)) in sent.cancels.iter().enumerate().filter(|_| sent.posts > 0) {
            let order = self.sent[other].receipts[*place].order;
            batch = batch.dispatch(Dispatch::new(order, ROUTE, id.post(sent.posts + number)));
        }
        batch
    }

    /// What others are to be told about an order of a batch: with the batch that takes it, and with one that cancels
    /// it.
    fn posts_about(&self, order: (Id, usize)) -> Vec<(Option<Seq>, Vec<u8>)> {
        let (id, place) = order;
        let sent = &self.sent[&id];
        let own = (0..sent.posts).filter(|number| number % sent.orders == place);
        let mut posts: Vec<_> = own.map(|number| (sent.head, id.post(number))).collect();
        if let Some(by) = self.canceller(order) {
            let sent = &self.sent[&by];
            let number = sent.cancels.iter().position(|other| *other == order).unwrap();
            posts.extend((sent.posts > 0).then(|| (sent.head, by.post(sent.posts + number))));
        }
        posts
    }

    /// An order of another batch that is there.
    fn order(&self, id: Id, number: usize) -> Option<(Id, usize)> {
        let done =
            self.sent.iter().filter(|(other, sent)| **other != id && sent.fate == Fate::Done);
        let orders = done.flat_map(|(other, sent)| (0..sent.receipts.len()).map(|it| (*other, it)));
        let orders: Vec<_> = orders.collect();
        (!orders.is_empty()).then(|| orders[number % orders.len()])
    }

    /// Whether a batch that is there cancels this order.
    fn canceller(&self, order: (Id, usize)) -> Option<Id> {
        let cancels = |sent: &Sent| sent.fate == Fate::Done && sent.cancels.contains(&order);
        self.sent.iter().find(|(_, sent)| cancels(sent)).map(|(id, _)| *id)
    }

    /// Takes in the answer to what was asked for last. `lost`: nothing was written any more when it was asked.
    pub(super) fn answered(
        &mut self,
        answer: Result<Linked, Error>,
        bundle: &Bundle,
        lost: bool,
        trouble: Trouble,
    ) -> Sort {
        let (id, before) = self.asking.take().expect("somebody has asked");
        self.moves_cursor = false;
        // Somebody may have seen it meanwhile.
        let fate = self.sent[&id].fate;
        let error = match answer {
            Ok(linked) => {
                assert!(before != Fate::InDoubt, "an answer after a doubt: {linked:?}");
                self.succeeded(id, &linked);
                if linked.how == How::Fresh {
                    assert_eq!(before, Fate::Free, "{id:?} is recorded twice");
                    return Sort::Fresh;
                }
                assert!(before == Fate::Done && !bundle.other, "a replay of what was never there");
                return Sort::Replayed;
            }
            Err(error) => error,
        };
        // A member is refused as if it came alone.
        let kind = match error.kind() {
            ErrorKind::BatchMember { why, .. } => why,
            kind => kind,
        };
        let sent = &self.sent[&id];
        let (expected, sort) = match kind {
            // It is recorded, and its answer could not be read: no part of what the life ended with.
            ErrorKind::InDoubt { why } if why.starts_with("the batch is recorded") => {
                self.is_there(id);
                (trouble.disk, Sort::InDoubt)
            }
            ErrorKind::InDoubt { .. } => {
                if fate == Fate::Free && !lost {
                    self.sent.get_mut(&id).unwrap().fate = Fate::InDoubt;
                    if let Id::Of(seq) = id {
                        self.worker.doubt = Some(Seq(seq));
                    }
                }
                (trouble.poisoned, Sort::InDoubt)
            }
            ErrorKind::Poisoned { .. } => (trouble.poisoned, Sort::Failed),
            ErrorKind::Io { .. } | ErrorKind::Corrupt(_) => (trouble.disk, Sort::Failed),
            ErrorKind::DiskLow { .. } => (trouble.disk || trouble.full, Sort::Failed),
            ErrorKind::BatchKeyConflict { batch } => {
                let other = bundle.other && fate == Fate::Done;
                (other && sent.head.is_none_or(|head| head == *batch), Sort::Conflict)
            }
            // It was cancelled by another one, and that is no member of this.
            ErrorKind::BatchConflict { existing } => {
                let by = |(index, _): &(usize, Seq)| {
                    let place = index.checked_sub(sent.orders)?;
                    self.canceller(*sent.cancels.get(place)?)
                };
                (existing.iter().all(|it| by(it).is_some_and(|by| by != id)), Sort::Refused)
            }
            _ => (false, Sort::Failed),
        };
        assert!(expected, "{error}, and the batch was {fate:?}: {sent:?}", sent = self.sent[&id]);
        sort
    }

    fn succeeded(&mut self, id: Id, linked: &Linked) {
        let sent = &self.sent[&id];
        let cancelled = |place: usize| self.canceller((id, place)).is_some();
        let mut receipts = Vec::new();
        for (place, result) in linked.results.iter().enumerate() {
            match result {
                LinkedResult::Submitted(outcome) => {
                    let state = if cancelled(place) { State::Cancelled } else { State::Accepted };
                    assert_eq!(outcome.now.state, state, "{id:?}");
                    receipts.push(outcome.receipt);
                }
                LinkedResult::Moved(moved) => {
                    let (other, of) = sent.cancels[place - sent.orders];
                    assert_eq!(moved.order, self.sent[&other].receipts[of].order);
                    assert_eq!((moved.to, moved.version), (State::Cancelled, 2));
                    let by = self.canceller((other, of));
                    assert!(by.is_none_or(|by| by == id), "{by:?} has cancelled it, not {id:?}");
                }
                LinkedResult::Dispatched(dispatched) => {
                    let number = place - sent.orders - sent.cancels.len();
                    let order = match number.checked_sub(sent.posts) {
                        None => receipts[number % sent.orders].order,
                        Some(number) => {
                            let (other, of) = sent.cancels[number];
                            self.sent[&other].receipts[of].order
                        }
                    };
                    let seq = Seq(linked.batch.0 + 1 + place as u64);
                    assert_eq!((dispatched.order, dispatched.dispatch), (order, seq), "{id:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        let posts = sent.posts + if sent.posts > 0 { sent.cancels.len() } else { 0 };
        assert_eq!(linked.results.len(), sent.orders + sent.cancels.len() + posts);
        assert_eq!(receipts.len(), sent.orders);
        self.done(id, linked.batch, &receipts);
    }

    /// A batch is there, and stays.
    fn done(&mut self, id: Id, head: Seq, receipts: &[Receipt]) {
        self.is_there(id);
        let sent = self.sent.get_mut(&id).unwrap();
        if !sent.receipts.is_empty() {
            assert_eq!((sent.head, &sent.receipts[..]), (Some(head), receipts), "it has changed");
        }
        (sent.head, sent.receipts) = (Some(head), receipts.to_vec());
    }

    /// A batch is recorded, whatever else is known of it.
    fn is_there(&mut self, id: Id) {
        let sent = self.sent.get_mut(&id).unwrap();
        let was_done = std::mem::replace(&mut sent.fate, Fate::Done) == Fate::Done;
        let Id::Of(seq) = id else { return };
        // Its cursor is a record of the batch.
        if !was_done && self.worker.doubt != Some(Seq(seq)) {
            self.worker.records += 1;
            self.worker.next = self.worker.next.max(Seq(seq + 1));
            self.worker.is_loose = true;
        }
    }

    /// Somebody sees all of a log: each batch as a whole. Answers of the one in doubt whether it is there, which
    /// is settled when `after_opening`.
    pub(super) fn listed(&mut self, all: &[Told], after_opening: bool) -> Option<bool> {
        let mut found: BTreeMap<Id, BTreeMap<usize, &Told>> = BTreeMap::new();
        for told in all.iter().filter(|told| Batches::has(told)) {
            let (id, place) = Id::parse(&told.order.key);
            let twice = found.entry(id).or_default().insert(place, told);
            assert!(twice.is_none(), "{} is there twice", told.order.id());
        }
        let mut settled = None;
        let ids: BTreeSet<Id> = self.sent.keys().chain(found.keys()).copied().collect();
        for id in ids {
            let Some(sent) = self.sent.get(&id) else { panic!("nobody has sent {id:?}") };
            let there = found.get(&id);
            let in_doubt = sent.fate == Fate::InDoubt;
            if in_doubt && after_opening {
                settled = Some(there.is_some());
                self.sent.get_mut(&id).unwrap().fate = Fate::Free;
            }
            let Some(there) = there else {
                assert!(self.sent[&id].fate != Fate::Done, "acknowledged and gone: {id:?}");
                continue;
            };
            let is_asked = self.asking.is_some_and(|(asking, _)| asking == id);
            let may_be = self.sent[&id].fate == Fate::Done || in_doubt || is_asked;
            assert!(may_be, "told not to be recorded, and is there: {id:?}");
            self.check_whole(id, there);
            let head = there[&0].order.batch.unwrap();
            let receipts: Vec<Receipt> = there.values().map(|told| told.order.receipt).collect();
            self.done(id, head, &receipts);
        }
        self.check_steps(&found);
        settled
    }

    fn check_whole(&self, id: Id, there: &BTreeMap<usize, &Told>) {
        let sent = &self.sent[&id];
        let places: Vec<usize> = there.keys().copied().collect();
        assert_eq!(places, (0..sent.orders).collect::<Vec<_>>(), "half of {id:?} is there");
        let head = there[&0].order.batch;
        assert!(head.is_some(), "{id:?} is no batch");
        for (place, told) in there {
            assert!(told.order.payload == payload(id, *place, sent.bytes), "other bytes");
            assert_eq!(told.order.batch, head, "{id:?} is in two batches");
            let began = &told.history[0];
            assert_eq!((began.batch, began.seq.0), (head, head.unwrap().0 + 1 + *place as u64));
        }
    }

    /// The steps of the orders of batches, and what others are to be told about them: those of batches that are there,
    /// and all of those.
    fn check_steps(&self, found: &BTreeMap<Id, BTreeMap<usize, &Told>>) {
        for (id, there) in found {
            for (place, told) in there {
                let order = (*id, *place);
                let posts = told.history.iter().filter_map(|event| match &event.body {
                    EventBody::Dispatched { body, .. } => Some((event.batch, body.clone())),
                    _ => None,
                });
                assert_eq!(posts.collect::<Vec<_>>(), self.posts_about(order), "of {order:?}");
                let steps = told.history[1..].iter().filter(|event| event.body.state().is_some());
                let steps: Vec<&Event> = steps.collect();
                let Some(by) = self.canceller(order) else {
                    assert!(steps.is_empty(), "half of a batch is there: {steps:?}");
                    continue;
                };
                let [step] = steps[..] else { panic!("one step of {order:?}: {steps:?}") };
                let is_it = matches!(step.body, EventBody::Moved { to: State::Cancelled, .. });
                assert!(is_it && step.batch == self.sent[&by].head, "{step:?}");
            }
        }
    }

    /// Which orders there must be.
    pub(super) fn owed(&self) -> BTreeSet<OrderId> {
        let done = self.sent.values().filter(|sent| sent.fate == Fate::Done);
        done.flat_map(|sent| &sent.receipts).map(|receipt| receipt.order).collect()
    }

    /// Seqs that are of no order: heads of batches, which stand right in front of their members, and cursors.
    /// `next` is behind the last order. Answers how many records there are at least and at most.
    pub(super) fn account_for(&self, all: &[Told], gaps: &BTreeSet<u64>, next: u64) -> (u64, u64) {
        let events = all.iter().flat_map(|told| &told.history);
        let heads: BTreeSet<u64> = events.filter_map(|event| event.batch).map(|it| it.0).collect();
        assert!(heads.is_subset(gaps), "the head of a batch became something else");
        let inside = gaps.difference(&heads).count() as u64;
        let Worker { records, doubt, .. } = self.worker;
        let most = records + u64::from(doubt.is_some() || self.moves_cursor);
        assert!(inside <= most, "seqs are not dense: {gaps:?}, {heads:?}, {most} cursors");
        let behind = |cursors: u64| next - 1 + cursors.saturating_sub(inside);
        (behind(records), behind(most))
    }

    // The consumer.

    /// The consumer is opened, or says how far it is.
    pub(super) fn moves_cursor(&mut self) {
        self.moves_cursor = true;
    }

    /// Takes in what became of it, and where it stands then; `to`: behind which event it was to be moved.
    pub(super) fn moved_cursor(
        &mut self,
        answer: Result<Seq, Error>,
        to: Option<Seq>,
        lost: bool,
        trouble: Trouble,
    ) -> Sort {
        self.moves_cursor = false;
        let error = match answer {
            Ok(next) => {
                assert!(self.worker.doubt.is_none(), "an answer after a doubt");
                match to {
                    Some(to) => assert!(next > to, "{next} is not behind {to}"),
                    None => assert_eq!(next, self.worker.next, "it stands elsewhere"),
                }
                self.worker.records += 1;
                self.worker.next = next;
                return Sort::Fresh;
            }
            Err(error) => error,
        };
        let (expected, sort) = match error.kind() {
            ErrorKind::InDoubt { .. } => {
                if !lost {
                    self.worker.doubt = Some(to.unwrap_or(Seq(0)));
                }
                (trouble.poisoned, Sort::InDoubt)
            }
            ErrorKind::Poisoned { .. } => (trouble.poisoned, Sort::Failed),
            ErrorKind::Io { .. } | ErrorKind::Corrupt(_) => (trouble.disk, Sort::Failed),
            ErrorKind::DiskLow { .. } => (trouble.disk || trouble.full, Sort::Failed),
            _ => (false, Sort::Failed),
        };
        assert!(expected, "{error}");
        sort
    }

    /// Where the consumer stands after a batch that moved it.
    pub(super) fn stands(&mut self, next: Seq) {
        assert!(next >= self.worker.next, "it went back");
        (self.worker.next, self.worker.is_loose) = (next, false);
    }

    /// What the consumer was given, who was given `before`: all events in their order, and none that was dealt
    /// with.
    pub(super) fn delivered(&self, events: &[Event], before: Seq, all: &[Event]) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        assert!(first.seq >= self.worker.next && first.seq > before, "dealt with: {first:?}");
        for event in events {
            let done = self.sent.get(&Id::Of(event.seq.0)).is_some_and(|it| it.fate == Fate::Done);
            assert!(!done, "dealt with before, and delivered again: {event:?}");
        }
        let begin = self.worker.next.max(before.next());
        let expected = all.iter().filter(|event| event.seq >= begin && event.seq <= last.seq);
        assert!(expected.eq(events), "not all events, or others: {events:?}");
    }

    /// After opening: the cursor is where it was said to be, or where the doubt would have it. `records`: how many
    /// there are, `others`: how many of them are of no cursor. Answers whether the doubt is there.
    pub(super) fn settle_cursor(&mut self, next: Seq, records: u64, others: u64) -> Option<bool> {
        let cursors = records - others;
        let Worker { next: known, records: acknowledged, doubt, is_loose } = &mut self.worker;
        let there = doubt.take().map(|behind| {
            let there = cursors > *acknowledged;
            *acknowledged += u64::from(there);
            if there && behind > Seq(0) {
                assert!(next > behind, "the cursor did not move: {next}");
                *known = next;
            }
            there
        });
        if std::mem::take(is_loose) {
            *known = next.max(*known);
        }
        assert_eq!((next, cursors), (*known, *acknowledged), "the cursor stands elsewhere");
        there
    }

    /// How many batches there are.
    pub(super) fn heads(&self) -> u64 {
        self.sent.values().filter(|sent| sent.fate == Fate::Done).count() as u64
    }

    pub(super) fn life_has_ended(&mut self) {
        (self.asking, self.moves_cursor) = (None, false);
    }
}
