//! The oracle for the steps of one order: which were taken, what the next command must come to, and the one
//! step that may be in doubt.
//!
//! Always true: at most one step of an order is in doubt; what was taken never changes and never goes; an order
//! that expires takes no step at its instant or behind it but the one that says so, and none is asked for that.

use std::collections::{BTreeSet, VecDeque};

use order_ledger::{
    Certainty, Error, ErrorKind, Event, EventBody, Evidence, Field, How, Lifecycle, Noted, Order,
    OrderId, Present, Receipt, Seq, State, Timestamp, Transition, Transitioned,
};

use super::known::Trouble;
use super::notes::{Notes, Said, Words};

/// What an order is asked to do, with every number filled in: to be asked for again word for word.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) to: State,
    /// Empty: none.
    pub(super) command: Vec<u8>,
    pub(super) expect: Hope,
    pub(super) evidence: Vec<Evidence>,
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hope {
    Anything,
    Version(u64),
    State(State),
}

impl Wish {
    /// What `cancel` asks for.
    pub(super) fn cancel(now: State, reason: &str, lifecycle: &Lifecycle) -> Wish {
        let asks = now == State::Cancelling
            || lifecycle.allows(now, State::Cancelling) && !lifecycle.allows(now, State::Cancelled);
        Wish {
            to: if asks { State::Cancelling } else { State::Cancelled },
            command: Vec::new(),
            expect: Hope::Anything,
            evidence: Vec::new(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn transition(&self, order: OrderId) -> Transition {
        let mut step =
            Transition::new(order, self.to).command_key(self.command.clone()).reason(&*self.reason);
        for Evidence { name, value } in &self.evidence {
            step = step.evidence(name.clone(), value.clone());
        }
        match self.expect {
            Hope::Anything => step,
            Hope::Version(version) => step.expect_version(version),
            Hope::State(state) => step.expect_state(state),
        }
    }

    fn differs(&self, taken: &Taken) -> Vec<Field> {
        let same = [
            (Field::State, self.to == taken.to),
            (Field::Evidence, self.evidence == taken.evidence),
            (Field::Reason, self.reason == taken.reason),
        ];
        same.into_iter().filter_map(|(field, same)| (!same).then_some(field)).collect()
    }
}

/// A step that is on disk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taken {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) version: u64,
    pub(super) from: State,
    pub(super) to: State,
    pub(super) command: Vec<u8>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) reason: String,
}

impl Taken {
    /// That the order has expired: nobody asks for that.
    fn is_expiry(&self) -> bool {
        self.to == State::Expired
    }

    fn is(&self, wish: &Wish) -> bool {
        self.command == wish.command && wish.differs(self).is_empty()
    }
}

/// An order and all that happened to it, as somebody was told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) order: Order,
    pub(super) history: Vec<Event>,
}

impl Told {
    /// The steps, when the two halves agree with each other.
    pub(super) fn steps(&self) -> Vec<Taken> {
        let (order, receipt) = (&self.order, &self.order.receipt);
        let (began, moved) = self.history.split_first().expect("an order without a beginning");
        assert_eq!((began.seq, began.at), (receipt.order.seq(), receipt.accepted_at));
        assert_eq!(began.body.state(), Some(receipt.first_state));
        if let EventBody::Accepted { warn_after, critical_after, .. } = &began.body {
            let own = (order.warn_after, order.critical_after);
            assert_eq!((*warn_after, *critical_after), own, "the order and its history disagree");
        }
        let (mut state, mut last_at) = (receipt.first_state, began.at);
        let mut steps = Vec::with_capacity(moved.len());
        let mut next = 2;
        for event in moved {
            assert_eq!(event.order, receipt.order, "a step of another order");
            assert!(last_at < event.at, "time does not rise");
            last_at = event.at;
            // What is told of by others: notes, alerts, and third parties.
            if event.body.state().is_none() {
                continue;
            }
            let EventBody::Moved { from, to, version, command_key, evidence, reason } = &event.body
            else {
                panic!("it began twice: {event:?}")
            };
            assert_eq!((*from, *version), (state, next), "a step that does not follow: {event:?}");
            let has_expired = order.expires_at.is_some_and(|instant| event.at >= instant);
            assert_eq!(*to == State::Expired, has_expired, "expired at another time: {event:?}");
            state = *to;
            steps.push(Taken {
                seq: event.seq,
                at: event.at,
                version: next,
                from: *from,
                to: *to,
                command: command_key.clone(),
                evidence: evidence.clone(),
                reason: reason.clone(),
            });
            next += 1;
        }
        let now = (order.now.state, order.now.version);
        assert_eq!(now, (state, next - 1), "the order and its history disagree");
        steps
    }

    /// What was noted.
    pub(super) fn notes(&self) -> Vec<Said> {
        self.history.iter().filter_map(Said::of).collect()
    }
}

/// What a command must come to.
#[derive(Debug)]
enum Due {
    /// It was carried out before, or its state is reached: that step, or none where the order began.
    Known(Option<usize>),
    Take,
    Conflict(Seq, Vec<Field>),
    Terminal,
    Mismatch,
    NoStep,
    Missing(Vec<String>),
}

/// What came of one answer, for the figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Came {
    Taken,
    Replayed,
    Refused,
    Mismatched,
    Conflicted,
    Expired,
    /// Nothing was written.
    Failed,
    InDoubt,
}

/// What is known of the surroundings of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) trouble: Trouble,
    /// Only others have seen that the order began.
    pub(super) invisible: bool,
    pub(super) expires_at: Option<Timestamp>,
    /// What the wall clock said before the call, if the order expires.
    pub(super) wall: Timestamp,
}

/// All that is known of the steps of one order.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    taken: Vec<Taken>,
    pub(super) notes: Notes,
    /// How many at the end others have seen, while the ledger has not answered for them: it may not show
    /// them in this life.
    early: usize,
    /// In the group that this life of the ledger ended with.
    pub(super) doubt: Option<Wish>,
    /// This life of the ledger has called a step of the order, or a note about it, in doubt.
    doubted: bool,
    /// Somebody was told that it has expired; the step that says so was not looked at yet.
    expired: bool,
    /// This life of the ledger has failed while it recorded what has expired: perhaps this order, and then it
    /// need not show what others have seen of that.
    sweep_failed: bool,
    /// This life has failed while something else was recorded, perhaps about this order: an alert, or what is to be
    /// told to others. Then that is what is in doubt, and not what is asked for since.
    pub(super) others_failed: bool,
}

impl Track {
    /// Where the order stands.
    pub(super) fn now(&self, first: State) -> (State, u64) {
        let (state, version) = self.stood_last(first);
        if self.expired { (State::Expired, version + 1) } else { (state, version) }
    }

    fn stood_last(&self, first: State) -> (State, u64) {
        self.taken.last().map_or((first, 1), |last| (last.to, last.version))
    }

    /// Whether an order that expires may have done so as it is told, which is owed from now on.
    pub(super) fn has_expired(&mut self, first: State, now: Present) -> bool {
        let (state, version) = self.stood_last(first);
        let fits = (now.state, now.version) == (State::Expired, version + 1);
        self.expired |= fits && state != State::Expired;
        fits
    }

    /// What has expired was recorded: what others have seen of that, the ledger shows now. Or that has failed,
    /// and it says nothing more of such an order.
    pub(super) fn swept(&mut self, poisoned: bool) {
        self.sweep_failed |= poisoned;
        self.early = 0;
    }

    /// When the last step was taken.
    pub(super) fn latest_at(&self) -> Option<Timestamp> {
        self.taken.last().map(|step| step.at)
    }

    pub(super) fn steps(&self) -> usize {
        self.taken.len()
    }

    /// Whether the order ever stood there.
    pub(super) fn stood(&self, first: State, now: Present) -> bool {
        let is_now = |step: &Taken| (step.to, step.version) == (now.state, now.version);
        (now.state, now.version) == (first, 1) || self.taken.iter().any(is_now)
    }

    pub(super) fn life_has_ended(&mut self) {
        (self.early, self.doubted, self.sweep_failed) = (0, false, false);
        self.others_failed = false;
        self.notes.life_has_ended();
    }

    fn due(&self, first: State, wish: &Wish, lifecycle: &Lifecycle) -> Due {
        let (state, version) = self.now(first);
        if !wish.command.is_empty() {
            if let Some(place) = self.taken.iter().position(|it| it.command == wish.command) {
                let taken = &self.taken[place];
                return match &wish.differs(taken)[..] {
                    [] => Due::Known(Some(place)),
                    differs => Due::Conflict(taken.seq, differs.to_vec()),
                };
            }
            if let Some(seq) = self.notes.of_command(&wish.command) {
                return Due::Conflict(seq, vec![Field::Command]);
            }
        } else if state == wish.to && !matches!(wish.expect, Hope::Version(_)) {
            return Due::Known(self.taken.len().checked_sub(1));
        }
        let as_expected = match wish.expect {
            Hope::Anything => true,
            Hope::Version(expected) => expected == version,
            Hope::State(expected) => expected == state,
        };
        if lifecycle.is_terminal(state) {
            return Due::Terminal;
        } else if !as_expected {
            return Due::Mismatch;
        }
        let Some(demanded) = lifecycle.demanded(state, wish.to) else { return Due::NoStep };
        let brought = |name: &&String| wish.evidence.iter().any(|it| it.name == **name);
        let missing: Vec<_> = demanded.iter().filter(|name| !brought(name)).cloned().collect();
        if missing.is_empty() { Due::Take } else { Due::Missing(missing) }
    }

    /// Somebody was told these steps. Missing may be what only others have seen, when `own` is the ledger
    /// itself, or anything when `may_lose`; more may be what is in doubt, or on its way.
    pub(super) fn shown(&mut self, steps: &[Taken], own: bool, may_lose: bool, moving: Vec<Wish>) {
        let moves = !moving.is_empty();
        let both = self.taken.len().min(steps.len());
        assert_eq!(self.taken[..both], steps[..both], "a step has changed");
        let missing = self.taken.len() - both;
        let unsure =
            usize::from(self.sweep_failed && self.taken.last().is_some_and(Taken::is_expiry));
        let lag = if own { self.early.max(unsure) } else { 0 };
        let told = std::mem::take(&mut self.expired);
        assert!(missing <= lag || may_lose, "{missing} steps are gone of {:?}", self.taken);
        let mut expected = VecDeque::from(moving);
        for step in &steps[both..] {
            let doubted = self.doubt.take_if(|wish| step.is(wish)).is_some();
            // In the order in which they were asked for; some may come to nothing.
            let asked = doubted || expected.iter().any(|wish| step.is(wish));
            while !doubted && asked && expected.pop_front().is_some_and(|wish| !step.is(&wish)) {}
            assert!(asked || step.is_expiry(), "a step that nobody asked for: {step:?}");
            self.taken.push(step.clone());
            // That it has expired was recorded before, unless this call may be the one that does it.
            self.early += usize::from(!step.is_expiry() || moves && !own && !told);
        }
        let is_there = self.taken.last().is_some_and(Taken::is_expiry);
        assert!(!told || is_there || may_lose, "told that it has expired, and it has not");
    }

    /// The steps of an order after opening: what was acknowledged and at most the doubt, which is settled.
    /// Answers how many are lost, and whether the doubt is there.
    pub(super) fn settle(&mut self, steps: &[Taken], may_lose: bool) -> (u64, Option<bool>) {
        self.life_has_ended();
        let lost = self.taken.len().saturating_sub(steps.len()) as u64;
        let known = self.taken.len();
        let doubted = self.doubt.is_some();
        self.shown(steps, false, may_lose, Vec::new());
        assert!(steps.len() <= known + 1, "more than one step was in doubt");
        self.taken.truncate(steps.len());
        self.early = 0;
        self.doubt = None;
        (lost, doubted.then_some(steps.len() > known))
    }

    /// Takes in what somebody was told who noted something about the order.
    pub(super) fn noted(
        &mut self,
        order: OrderId,
        words: &Words,
        answer: Result<Noted, Error>,
        about: (Trouble, bool),
    ) -> Came {
        let step = self
            .taken
            .iter()
            .find(|step| !words.command.is_empty() && step.command == words.command);
        let step = step.map(|step| step.seq);
        let in_doubt =
            |error: &Error| matches!(error.kind(), ErrorKind::InDoubt { .. }) && about.0.poisoned;
        if (self.sweep_failed || self.others_failed) && answer.as_ref().is_err_and(in_doubt) {
            // What is in doubt is whether it has expired, or something else about it.
            return Came::Failed;
        }
        self.notes.answered(order, words, step, answer, &mut self.doubted, about)
    }

    /// Steps that others have seen before the ledger answers for them.
    pub(super) fn take_ahead(&mut self) -> VecDeque<Taken> {
        let answered = self.taken.len() - if self.doubted { 0 } else { self.early };
        if !self.doubted {
            self.early = 0;
        }
        self.taken.split_off(answered).into()
    }

    /// Takes back that the order has expired, when nothing else is left of what others have seen.
    pub(super) fn keep_expiry(&mut self, left: &mut VecDeque<Taken>) {
        if left.len() == 1 && left[0].is_expiry() {
            self.taken.extend(left.drain(..));
        }
    }

    /// Takes in what the caller of a command was told, and holds it against what is known.
    pub(super) fn answered(
        &mut self,
        receipt: &Receipt,
        wish: &Wish,
        answer: Result<Transitioned, Error>,
        lifecycle: &Lifecycle,
        ahead: &mut VecDeque<Taken>,
        about: About,
    ) -> Came {
        let About { trouble, invisible, expires_at, wall } = about;
        let first = receipt.first_state;
        let due = self.due(first, wish, lifecycle);
        let before = self.now(first);
        let expires = expires_at.is_some();
        let is_by_command = matches!(due, Due::Conflict(..))
            || matches!(due, Due::Known(_)) && !wish.command.is_empty();
        // A command that was carried out and an end that was reached come before the expiry; all else is decided
        // by it, if it was late when the call began, and may be if the instant came meanwhile.
        let may_expire = expires && !is_by_command && !lifecycle.is_terminal(before.0);
        let is_late = may_expire && expires_at.is_some_and(|instant| wall >= instant);
        let error = match answer {
            Ok(done) => {
                assert!(!self.doubted, "an answer after a doubt: {done:?}");
                if wish.to == State::Expired && wish.command.is_empty() {
                    return self.found_expired(first, done, expires, ahead);
                }
                assert!(!is_late, "it has expired: {done:?}");
                let came = self.succeeded(receipt, wish, &due, done, expires, ahead);
                let in_time = |instant| done.how != How::Fresh || done.at < instant;
                assert!(expires_at.is_none_or(in_time), "it has expired: {done:?}");
                return came;
            }
            Err(error) => error,
        };
        let stands = |now: &Present| (now.state, now.version) == before;
        let takes = matches!(due, Due::Take);
        let certainty = error.certainty();
        if let ErrorKind::InDoubt { .. } = error.kind() {
            assert_eq!(certainty, Certainty::Unknown);
            assert!(trouble.poisoned, "{error}");
            if self.doubted || self.others_failed || self.sweep_failed && expires {
                return Came::Failed;
            }
            assert!(takes || may_expire, "in doubt about what is {due:?}");
            self.doubted = true;
            match ahead.pop_front() {
                // Others have seen it: it stays.
                Some(step) => {
                    let expected = step.is(wish) || may_expire && step.is_expiry();
                    assert!(expected, "{step:?} is not {wish:?}");
                    self.taken.push(step);
                    self.early += 1;
                }
                // Or that it has expired: then that is what becomes of it, with the rest of the group.
                None => self.doubt = Some(wish.clone()),
            }
            return Came::InDoubt;
        }
        let (expected, came) = match error.kind() {
            // Where the order stands could not be read.
            ErrorKind::Io { .. } | ErrorKind::Corrupt(_) => (trouble.disk, Came::Failed),
            ErrorKind::Poisoned { .. } => ((takes || may_expire) && trouble.poisoned, Came::Failed),
            ErrorKind::DiskLow { .. } => {
                ((takes || may_expire) && (trouble.full || trouble.disk), Came::Failed)
            }
            // Only others have seen that the order began.
            ErrorKind::NoSuchOrder { .. } => (invisible, Came::Failed),
            ErrorKind::CommandConflict { seq, differs } => (
                matches!(&due, Due::Conflict(of, fields) if (of, fields) == (seq, differs)),
                Came::Conflicted,
            ),
            ErrorKind::AlreadyTerminal { now } if may_expire => {
                if let Some(step) = ahead.pop_front() {
                    assert!(step.is_expiry(), "{error}, and others have seen {step:?}");
                    self.taken.push(step);
                } else {
                    assert!(self.has_expired(first, *now), "{error}, and it stood at {before:?}");
                }
                (self.now(first) == (now.state, now.version), Came::Expired)
            }
            ErrorKind::AlreadyTerminal { now } => {
                (matches!(due, Due::Terminal) && stands(now), Came::Refused)
            }
            ErrorKind::VersionMismatch { now } => {
                (!is_late && matches!(due, Due::Mismatch) && stands(now), Came::Mismatched)
            }
            ErrorKind::NoSuchStep { now, to } => {
                let found = matches!(due, Due::NoStep) && stands(now) && *to == wish.to;
                (!is_late && found, Came::Refused)
            }
            ErrorKind::MissingEvidence { now, to, missing } => {
                let found = matches!(&due, Due::Missing(names) if names == missing);
                (!is_late && found && stands(now) && *to == wish.to, Came::Refused)
            }
            _ => (false, Came::Failed),
        };
        assert!(expected, "{error}, and it is {due:?} from {before:?}: {wish:?}");
        let unread = matches!(error.kind(), ErrorKind::Io { .. } | ErrorKind::Corrupt(_));
        // What is in doubt decides: nothing else can be said until opening tells.
        assert!(!self.doubted || unread || invisible, "{error} while a step is in doubt: {wish:?}");
        assert!(certainty == Certainty::NotRecorded || unread, "{error}");
        came
    }

    /// The answer to who asked for the end that only the ledger writes: it is there.
    fn found_expired(
        &mut self,
        first: State,
        done: Transitioned,
        expires: bool,
        ahead: &mut VecDeque<Taken>,
    ) -> Came {
        if let Some(step) = ahead.pop_front() {
            self.taken.push(step);
        }
        if !self.taken.last().is_some_and(Taken::is_expiry) {
            assert!(expires && self.has_expired(first, done.now), "it does not expire: {done:?}");
        }
        assert_eq!((done.now.state, done.now.version), self.now(first));
        assert_eq!(
            (done.to, done.version, done.how),
            (State::Expired, done.now.version, How::Replayed)
        );
        Came::Expired
    }

    fn succeeded(
        &mut self,
        receipt: &Receipt,
        wish: &Wish,
        due: &Due,
        done: Transitioned,
        expires: bool,
        ahead: &mut VecDeque<Taken>,
    ) -> Came {
        let first = receipt.first_state;
        assert_eq!(done.order, receipt.order);
        let of_record = (done.seq, done.at, done.version, done.from, done.to);
        let came = match due {
            Due::Take => {
                let (state, version) = self.now(first);
                assert_eq!((done.from, done.to), (state, wish.to));
                assert_eq!((done.version, done.how), (version + 1, How::Fresh));
                let step = Taken {
                    seq: done.seq,
                    at: done.at,
                    version: done.version,
                    from: done.from,
                    to: done.to,
                    command: wish.command.clone(),
                    evidence: wish.evidence.clone(),
                    reason: wish.reason.clone(),
                };
                if let Some(seen) = ahead.pop_front() {
                    assert_eq!(seen, step, "others have seen it otherwise");
                }
                self.taken.push(step);
                Came::Taken
            }
            Due::Known(place) => {
                assert_eq!(done.how, How::Replayed);
                let began = (receipt.order.seq(), receipt.accepted_at, 1, first, first);
                let step = place.map(|place| &self.taken[place]);
                let known = step.map(|it| (it.seq, it.at, it.version, it.from, it.to));
                assert_eq!(of_record, known.unwrap_or(began), "a repeat has another answer");
                Came::Replayed
            }
            due => panic!("{done:?}, and it is {due:?}: {wish:?}"),
        };
        if (done.now.state, done.now.version) != self.now(first) {
            // Swept, and nobody has looked since.
            let has_expired = expires && self.has_expired(first, done.now);
            assert!(has_expired, "it does not stand there: {done:?}");
        }
        came
    }
}

/// Holds the seqs of all records of a log against each other: orders, steps and notes have all of them, with `others`,
/// which are of no order, but that of a table of the ledger's own, which is the first, and those that are answered (of
/// holds, batches and cursors); and the seq behind the last one.
pub(super) fn gaps(
    told: &[Told],
    others: &[(Seq, Timestamp)],
    has_table: bool,
) -> (BTreeSet<u64>, u64) {
    let events = told.iter().flat_map(|told| &told.history).map(|event| (event.seq, event.at));
    let mut events: Vec<(Seq, Timestamp)> = events.chain(others.iter().copied()).collect();
    events.sort();
    let mut next = if has_table { 2 } else { 1 };
    let mut gaps = BTreeSet::new();
    for (seq, _) in &events {
        assert!(seq.0 >= next, "two events have the seq {seq}");
        gaps.extend(next..seq.0);
        next = seq.0 + 1;
    }
    assert!(events.is_sorted_by(|one, next| one.1 < next.1), "time does not rise");
    (gaps, next)
}
