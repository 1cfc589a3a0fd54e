//! What a ledger owes its callers about linked batches.
//!
//! Always true: a batch is there as a whole or not at all, its members behind its head in their order, and with it
//! the cursor that moves with it; a key has one batch; what its members are is judged one by one by the model of
//! orders and by that of lives, which know nothing of batches.

use std::collections::{BTreeMap, BTreeSet};

use order_ledger::{
    Batch, Certainty, Error, ErrorKind, Event, EventBody, How, Linked, LinkedBatch, LinkedResult,
    OrderId, Result, Seq,
};

use super::dispatches::{Said, Words};
use super::notes::{self, Remark, Sort};
use super::{Content, Key, Model};
use crate::lives::{Foreseen, Told, Wish};

/// So many keys of batches there are.
pub const GROUPS: u8 = 12;

pub fn group_key(group: u8) -> String {
    format!("group-{group}")
}

/// A batch as it is sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Ask<C> {
    pub members: Vec<Member<C>>,
    /// The consumer that moves behind an event.
    pub cursor: Option<(u8, Seq)>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Member<C> {
    Order(Key, C),
    Step(Key, OrderId, Wish),
    Dispatch(About, Words),
    Remark(Key, OrderId, notes::Words),
}

/// The order that a dispatch of a batch is about.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum About {
    /// The one that this member takes.
    Member(usize),
    Order(Key, OrderId),
}

impl<C: Content> Ask<C> {
    pub fn batch(&self, group: u8) -> LinkedBatch {
        let empty = LinkedBatch::new(group_key(group));
        self.members.iter().fold(empty, |batch, member| match member {
            Member::Order(key, content) => batch.submit(content.submission(*key)),
            Member::Step(_, order, wish) => batch.transition(wish.transition(*order)),
            Member::Dispatch(About::Order(_, order), words) => batch.dispatch(words.about(*order)),
            Member::Dispatch(About::Member(index), words) => {
                batch.dispatch(words.about_member(*index))
            }
            Member::Remark(_, order, words) => match words.about(*order) {
                Remark::Note(note) => batch.note(note),
                Remark::Resolution(resolution) => batch.resolve_note(resolution),
            },
        })
    }

    /// The key of the order that a dispatch of it is about.
    fn key_of(&self, about: &About) -> Option<Key> {
        match about {
            About::Order(key, _) => Some(*key),
            About::Member(of) => match self.members.get(*of) {
                Some(Member::Order(key, _)) => Some(*key),
                _ => None,
            },
        }
    }

    /// Whether it has members, and each key, each order, each note to be resolved and each command once; what is about a member is about an
    /// order in front of it, and has no command.
    fn is_valid(&self) -> bool {
        let (mut names, mut commands) = (BTreeSet::new(), BTreeSet::new());
        let mut resolved = BTreeSet::new();
        for (index, member) in self.members.iter().enumerate() {
            let (is_new, command) = match member {
                Member::Order(key, _) => (names.insert((*key, false)), (*key, &[][..])),
                Member::Step(key, _, wish) => {
                    (names.insert((*key, true)), (*key, wish.command_key()))
                }
                Member::Dispatch(About::Order(key, _), words) => (true, (*key, &words.command[..])),
                Member::Remark(key, _, words) => {
                    let is_new = match words.sort {
                        Sort::Note(..) => true,
                        Sort::Resolves(note) => resolved.insert(note),
                    };
                    (is_new, (*key, &words.command[..]))
                }
                Member::Dispatch(about, words) => {
                    let in_front = matches!(about, About::Member(of) if *of < index);
                    let right = in_front && words.command.is_empty();
                    (right && self.key_of(about).is_some(), (0, &[][..]))
                }
            };
            if !is_new || !command.1.is_empty() && !commands.insert(command) {
                return false;
            }
        }
        !self.members.is_empty() || self.cursor.is_some()
    }

    /// Whether this is what a batch that is there has done.
    fn is(&self, batch: &Batch, orders: &BTreeMap<OrderId, &Told>) -> bool {
        let is_member = |(event, member): (&Event, &Member<C>)| match (member, &event.body) {
            (Member::Order(key, content), EventBody::Accepted { .. }) => {
                let order = &orders[&event.order].order;
                let scope = C::scope(*key);
                (&order.client, &order.key) == (&scope.client, &scope.key) && content.is_of(order)
            }
            (Member::Step(_, order, wish), EventBody::Moved { .. }) => {
                event.order == *order && wish.is(event)
            }
            (Member::Dispatch(about, words), EventBody::Dispatched { .. }) => {
                let order = match about {
                    About::Order(_, order) => *order,
                    About::Member(of) => batch.events[*of].order,
                };
                event.order == order && Said::of(event).is_some_and(|said| said.words == *words)
            }
            (Member::Remark(_, order, words), _) => {
                let said = notes::Said::of(event);
                event.order == *order && said.is_some_and(|said| said.words == *words)
            }
            _ => false,
        };
        batch.events.len() == self.members.len()
            && batch.events.iter().zip(&self.members).all(is_member)
    }
}

/// What is known of one key of batches.
#[derive(Clone, Debug)]
struct Sent<C> {
    last: Option<Ask<C>>,
    recorded: Option<(Ask<C>, Seq)>,
    /// May have been recorded.
    maybe: Vec<Ask<C>>,
}

impl<C> Default for Sent<C> {
    fn default() -> Sent<C> {
        Sent { last: None, recorded: None, maybe: Vec::new() }
    }
}

/// All batches.
#[derive(Clone, Debug)]
pub struct Batches<C> {
    sent: BTreeMap<u8, Sent<C>>,
}

impl<C> Default for Batches<C> {
    fn default() -> Batches<C> {
        Batches { sent: BTreeMap::new() }
    }
}

/// The members that are recorded already, by what is known: those that surely are, and those that may be.
struct Existing {
    surely: BTreeMap<usize, Seq>,
    perhaps: BTreeSet<usize>,
}

impl<C: Content> Model<C> {
    /// The batch that was sent last under this key.
    pub fn sent_last(&self, group: u8) -> Option<Ask<C>> {
        self.batches.sent.get(&group)?.last.clone()
    }

    /// A call for a batch begins.
    pub fn begin_linked(&mut self, group: u8, ask: &Ask<C>) {
        self.batches.sent.entry(group).or_default().last = Some(ask.clone());
        for member in &ask.members {
            if let Member::Order(key, content) = member {
                self.begin(*key, *content);
            }
        }
    }

    /// It ends. `poisoned` is what held before it, and behind it.
    pub fn end_linked(
        &mut self,
        group: u8,
        ask: &Ask<C>,
        answer: &Result<Linked>,
        poisoned: [bool; 2],
    ) {
        match answer {
            Ok(linked) => self.linked(group, ask, linked, poisoned[0]),
            Err(error) => self.not_linked(group, ask, error, poisoned),
        }
        for member in &ask.members {
            if let Member::Order(key, content) = member {
                self.ended(*key, *content);
            }
        }
    }

    fn linked(&mut self, group: u8, ask: &Ask<C>, linked: &Linked, poisoned: bool) {
        assert!(ask.is_valid(), "a batch breaks a limit and was taken: {ask:?}");
        assert_eq!(linked.results.len(), ask.members.len());
        let sent = self.batches.sent.get_mut(&group).expect("it was begun");
        let fresh = linked.how == How::Fresh;
        match (&sent.recorded, linked.how) {
            (None, How::Fresh) => {
                assert!(!poisoned, "a poisoned ledger took a batch");
                sent.recorded = Some((ask.clone(), linked.batch));
            }
            (Some((recorded, head)), How::Replayed) => {
                assert_eq!((recorded, *head), (ask, linked.batch), "group {group} has changed");
            }
            (recorded, how) => panic!("group {group} is {how}, and was {recorded:?}"),
        }
        for ((member, result), seq) in
            ask.members.iter().zip(&linked.results).zip(linked.batch.0 + 1..)
        {
            match (member, result) {
                (Member::Order(key, content), LinkedResult::Submitted(outcome)) => {
                    assert_eq!((outcome.how, outcome.receipt.order.seq().0), (linked.how, seq));
                    self.end_ok(*key, *content, outcome, poisoned);
                }
                (Member::Step(key, _, wish), LinkedResult::Moved(done)) => {
                    assert_eq!((done.how, done.seq.0), (linked.how, seq));
                    if fresh {
                        self.end_move(*key, wish, &Ok(*done), poisoned);
                    } else {
                        let known = &self.keys[key];
                        let began = known.began().expect("it took a step");
                        known.life.repeated(&began.receipt, done.seq, done);
                    }
                }
                (Member::Dispatch(about, words), LinkedResult::Dispatched(done)) => {
                    assert_eq!((done.how, done.dispatch.0), (linked.how, seq));
                    let key = ask.key_of(about).expect("it is about an order");
                    let known = self.keys.get_mut(&key).expect("it is recorded");
                    let order = known.recorded.map(|(_, receipt)| receipt.order);
                    assert_eq!(order, Some(done.order), "about another order");
                    match fresh {
                        true => {
                            let batch = Some(linked.batch);
                            known.dispatches.taken(words, done, batch, &mut known.life);
                        }
                        false => known.dispatches.repeated(done),
                    }
                }
                (Member::Remark(key, order, words), LinkedResult::Noted(done)) => {
                    assert_eq!((done.how, done.seq.0, done.order), (linked.how, seq, *order));
                    let known = self.keys.get_mut(key).expect("it is recorded");
                    match fresh {
                        true => known.notes.taken(words, done, Some(linked.batch), &mut known.life),
                        false => known.notes.repeated(done),
                    }
                }
                (member, result) => panic!("{member:?} became {result:?}"),
            }
        }
        if let (true, Some((name, seq))) = (fresh, ask.cursor) {
            self.cursors.moved_with_batch(name, seq);
        }
    }

    fn not_linked(
        &mut self,
        group: u8,
        ask: &Ask<C>,
        error: &Error,
        [poisoned, poisoned_now]: [bool; 2],
    ) {
        let kind = error.kind();
        if matches!(kind, ErrorKind::Invalid { .. }) || !ask.is_valid() {
            let right = matches!(kind, ErrorKind::Invalid { .. }) && !ask.is_valid();
            return assert!(right, "{error}: {ask:?}");
        }
        // The key is looked for first, and only reading it may fail.
        let recorded = self.batches.sent[&group].recorded.clone();
        if let (Some((recorded, head)), false) = (&recorded, matches!(kind, ErrorKind::Io { .. })) {
            let is_other = matches!(kind, ErrorKind::BatchKeyConflict { batch } if batch == head);
            return assert!(is_other && recorded != ask, "group {group} is recorded: {error}");
        }
        let existing = self.existing(ask);
        let late = (0..ask.members.len()).any(|index| self.may_expire(&ask.members[index]));
        match (kind, error.certainty()) {
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                if !poisoned {
                    // Where an order may have expired, it may be that alone which is in doubt; and what is recorded
                    // but could not be read is in doubt for nobody else.
                    self.doubted(group, ask, poisoned_now && !late);
                }
            }
            (ErrorKind::Io { .. }, _) => self.asked(ask),
            (ErrorKind::BatchConflict { existing: named }, Certainty::NotRecorded) => {
                let named: BTreeMap<_, _> = named.iter().copied().collect();
                assert!(!named.is_empty());
                for (index, seq) in &existing.surely {
                    assert_eq!(named.get(index), Some(seq), "member {index} is recorded: {error}");
                }
                let may_be =
                    |index| existing.surely.contains_key(index) || existing.perhaps.contains(index);
                assert!(named.keys().all(may_be), "{error}: {ask:?}");
                self.asked(ask);
            }
            (ErrorKind::BatchMember { index, why }, Certainty::NotRecorded) => {
                assert!(existing.surely.is_empty(), "members are recorded: {error}");
                self.refused(ask, *index, why, poisoned);
            }
            (
                ErrorKind::Poisoned { .. }
                | ErrorKind::DiskLow { .. }
                | ErrorKind::Overloaded { .. }
                | ErrorKind::Closed,
                Certainty::NotRecorded,
            ) => {
                assert!(existing.surely.is_empty() || late, "members are recorded: {error}");
                let wrong = (0..ask.members.len()).any(|index| self.is_wrong(&ask.members[index]));
                assert!(!wrong || late, "a member can't be taken: {error}: {ask:?}");
                let in_doubt = ask.members.iter().any(|member| match member {
                    Member::Order(key, _) => self.keys[key].blocked,
                    Member::Step(key, ..)
                    | Member::Remark(key, ..)
                    | Member::Dispatch(About::Order(key, _), _) => self.keys[key].life.is_blocked(),
                    Member::Dispatch(About::Member(_), _) => false,
                });
                assert!(!in_doubt, "a member is in doubt, and the batch is not: {error}: {ask:?}");
                self.asked(ask);
            }
            (kind, certainty) => panic!("group {group}: {kind:?} with {certainty:?}"),
        }
    }

    /// The member at `index`, or the cursor behind the last one, can't be taken, and all before it can.
    fn refused(&mut self, ask: &Ask<C>, index: usize, why: &ErrorKind, poisoned: bool) {
        let before = &ask.members[..index.min(ask.members.len())];
        for member in before {
            assert!(
                !self.is_wrong(member),
                "not the first that is wrong: {index}, {why:?}: {ask:?}"
            );
        }
        self.asked(ask);
        match ask.members.get(index) {
            Some(Member::Step(key, _, wish)) => {
                let lifecycle = &self.lifecycle;
                let known = self.keys.get_mut(key).expect("only what is recorded is asked");
                let began = known.began().expect("only what is recorded is asked");
                known.life.refused(&began, wish, why, lifecycle, poisoned);
            }
            Some(Member::Dispatch(About::Order(key, _), words)) => {
                let known = &self.keys[key];
                known.dispatches.refused(words, &known.life, why, poisoned);
            }
            Some(Member::Remark(key, _, words)) => {
                let known = &self.keys[key];
                known.notes.refused(words, &known.life, why, poisoned);
            }
            Some(Member::Order(key, content)) => {
                let held = self.held(*key, *content).expect("nothing else stands in its way");
                let reason = format!("its client or account is held: {held}");
                let is_it = matches!(why, ErrorKind::RefusedForNow { reason: it } if *it == reason);
                assert!(is_it, "{why:?}, and it is {reason}");
            }
            Some(member) => panic!("{member:?}: {why:?}"),
            None => {
                let fenced = matches!(why, ErrorKind::Fenced { .. }) && ask.cursor.is_some();
                assert!(fenced && index == ask.members.len(), "{index}: {why:?}");
            }
        }
    }

    fn existing(&self, ask: &Ask<C>) -> Existing {
        let (mut surely, mut perhaps) = (BTreeMap::new(), BTreeSet::new());
        for (index, member) in ask.members.iter().enumerate() {
            match member {
                Member::Order(key, content) => {
                    let known = &self.keys[key];
                    // This call is one of them.
                    let others = known.maybe.iter().any(|(other, maybe)| {
                        maybe.in_doubt || maybe.in_flight > u32::from(other == content)
                    });
                    match known.recorded {
                        Some((_, receipt)) => drop(surely.insert(index, receipt.order.seq())),
                        None if others => drop(perhaps.insert(index)),
                        None => {}
                    }
                }
                Member::Step(..) | Member::Dispatch(..) | Member::Remark(..) => {
                    if let Foreseen::Known(seq) = self.foresee(member) {
                        match self.may_expire(member) {
                            true => drop(perhaps.insert(index)),
                            false => drop(surely.insert(index, seq)),
                        }
                    }
                }
            }
        }
        Existing { surely, perhaps }
    }

    fn foresee(&self, member: &Member<C>) -> Foreseen {
        match member {
            Member::Step(key, _, wish) => {
                let known = &self.keys[key];
                let began = known.began().expect("only what is recorded is asked");
                known.life.foresee(&began.receipt, wish, &self.lifecycle)
            }
            Member::Dispatch(About::Order(key, _), words) => {
                let known = &self.keys[key];
                known.dispatches.foresee(words, &known.life)
            }
            Member::Remark(key, _, words) => {
                let known = &self.keys[key];
                known.notes.foresee(words, &known.life)
            }
            Member::Order(key, content) => {
                let is_new = self.keys[key].recorded.is_none();
                match is_new && self.held(*key, *content).is_some() {
                    true => Foreseen::Refuse,
                    false => Foreseen::Take,
                }
            }
            Member::Dispatch(About::Member(_), _) => Foreseen::Take,
        }
    }

    fn is_wrong(&self, member: &Member<C>) -> bool {
        self.foresee(member) == Foreseen::Refuse && !self.may_expire(member)
    }

    fn may_expire(&self, member: &Member<C>) -> bool {
        let Member::Step(key, _, wish) = member else { return false };
        let known = &self.keys[key];
        let began = known.began().expect("only what is recorded is asked");
        known.life.may_expire(&began, wish, &self.lifecycle)
    }

    /// Nothing of the batch is recorded; that an order of it has expired may be.
    fn asked(&mut self, ask: &Ask<C>) {
        for member in &ask.members {
            if let (Member::Step(key, ..), true) = (member, self.may_expire(member)) {
                self.keys.get_mut(key).expect("only what is recorded is asked").life.asked();
            }
        }
    }

    /// All of it may be recorded, or that one of its orders has expired. `all`: each member is in doubt for everybody.
    fn doubted(&mut self, group: u8, ask: &Ask<C>, all: bool) {
        self.asked(ask);
        self.batches.sent.entry(group).or_default().maybe.push(ask.clone());
        for member in &ask.members {
            match member {
                Member::Order(key, content) => {
                    self.maybe(*key, *content).in_doubt = true;
                    self.keys.get_mut(key).expect("it was begun").blocked |= all;
                }
                Member::Step(key, _, wish) => {
                    let known = self.keys.get_mut(key).expect("only what is recorded is asked");
                    known.life.doubted(wish, all);
                }
                Member::Dispatch(About::Order(key, _), _) | Member::Remark(key, ..) if all => {
                    self.keys.get_mut(key).expect("only what is recorded is asked").life.block();
                }
                Member::Dispatch(..) | Member::Remark(..) => {}
            }
        }
        if ask.cursor.is_some() {
            self.cursors.may_move_with_batch();
        }
    }

    /// Somebody was shown all batches; the orders of the ledger are known already.
    pub(super) fn batches_shown(
        &mut self,
        batches: &[Option<Batch>],
        orders: &[Told],
        lags: bool,
        ended: bool,
    ) {
        let by_id: BTreeMap<_, _> = orders.iter().map(|told| (told.order.id(), told)).collect();
        let mut members: BTreeMap<Seq, usize> = BTreeMap::new();
        for told in orders {
            assert_eq!(told.order.batch, told.history[0].batch);
            for head in told.history.iter().filter_map(|event| event.batch) {
                *members.entry(head).or_default() += 1;
            }
        }
        for (group, batch) in (0..).zip(batches) {
            let sent = self.batches.sent.entry(group).or_default();
            let Some(batch) = batch else {
                assert!(sent.recorded.is_none() || lags, "group {group} is lost");
                continue;
            };
            assert_eq!(batch.key, group_key(group).into_bytes());
            let in_order = batch.events.iter().zip(batch.batch.0 + 1..).all(|(event, seq)| {
                let is_in_history = by_id[&event.order].history.contains(event);
                is_in_history && (event.seq.0, event.batch) == (seq, Some(batch.batch))
            });
            assert!(in_order, "group {group} is not behind its head: {batch:?}");
            let there = members.remove(&batch.batch).unwrap_or_default();
            assert_eq!(there, batch.events.len(), "group {group} is there in part");
            match &sent.recorded {
                Some((ask, head)) => {
                    assert_eq!(*head, batch.batch, "group {group} is another one");
                    assert!(ask.is(batch, &by_id), "group {group} was {ask:?}, and is {batch:?}");
                }
                None => {
                    let ask = sent.maybe.iter().find(|ask| ask.is(batch, &by_id)).cloned();
                    let ask = ask.unwrap_or_else(|| panic!("nobody sent {batch:?}"));
                    sent.recorded = Some((ask.clone(), batch.batch));
                    if let Some((name, seq)) = ask.cursor {
                        self.cursors.was_moved_with_batch(name, seq);
                    }
                }
            }
        }
        assert!(members.is_empty(), "members without a batch: {members:?}");
        if ended {
            self.batches.sent.values_mut().for_each(|sent| sent.maybe.clear());
        }
    }
}
