//! What a ledger owes its consumers: how far each is, and which events it gets.
//!
//! Always true: a cursor stands behind an event that some handle has committed, and behind none that nobody has;
//! it never goes back; at most one place is in doubt, that of the call which the ledger was poisoned under; what is
//! delivered is every event behind the cursor, in order. A cursor that moves with a batch is no doubt of its own:
//! it stands behind the event if and only if the batch is there (`batches`).

use order_ledger::{Certainty, Error, ErrorKind, Event, Result, Seq};

/// So many consumers there are.
pub const NAMES: u8 = 2;

pub fn name(number: u8) -> String {
    format!("worker-{number}")
}

/// How far a consumer is.
#[derive(Clone, Copy, Default, Debug)]
struct Cursor {
    /// It is done with the event at this seq and with all before it; with none when it is 0.
    done: u64,
    /// Or with those up to here.
    doubt: Option<u64>,
}

/// All consumers.
#[derive(Clone, Default, Debug)]
pub struct Cursors {
    of: [Cursor; NAMES as usize],
    /// How many records say how far somebody is, or something else that is about no order, at least and at most.
    records_min: u64,
    records_max: u64,
}

/// A commit, and what the handle was before it.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    pub name: u8,
    pub seq: Seq,
    /// Where the handle stood.
    pub next_before: Seq,
    /// It was given the event, and has not committed it.
    pub is_given: bool,
    /// Another handle has taken over.
    pub is_fenced: bool,
    /// What held before.
    pub poisoned: bool,
}

/// Whether whoever is done with everything up to `done` goes on at `next`: no event is between them.
fn stands(done: u64, next: Seq, events: &[Event]) -> bool {
    next.0 > done && !events.iter().any(|event| (done + 1..next.0).contains(&event.seq.0))
}

impl Cursors {
    pub fn done(&self, name: u8) -> u64 {
        self.of[usize::from(name)].done
    }

    fn cursor(&mut self, name: u8) -> &mut Cursor {
        &mut self.of[usize::from(name)]
    }

    /// A record that is about no order is there.
    pub fn wrote(&mut self) {
        self.records_min += 1;
        self.records_max += 1;
    }

    /// One may be.
    pub fn may_have_written(&mut self) {
        self.records_max += 1;
    }

    /// A handle was opened, or was not. `events`: all of them, where they could be read.
    pub fn opened(
        &mut self,
        name: u8,
        answer: std::result::Result<Seq, &Error>,
        events: Option<&[Event]>,
        poisoned: bool,
    ) {
        match answer {
            Ok(next) => {
                assert!(!poisoned, "a poisoned ledger has opened a consumer");
                let done = self.done(name);
                let right = events.is_none_or(|events| stands(done, next, events));
                assert!(right, "consumer {name} was done with {done}, and goes on at {next}");
                self.wrote();
            }
            Err(error) => self.failed(error, poisoned),
        }
    }

    /// What was not done about a cursor, but may have been recorded.
    fn failed(&mut self, error: &Error, poisoned: bool) {
        match (error.kind(), error.certainty()) {
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                self.records_max += u64::from(!poisoned);
            }
            (ErrorKind::Io { .. }, _) => {}
            (
                ErrorKind::Poisoned { .. } | ErrorKind::DiskLow { .. } | ErrorKind::Closed,
                Certainty::NotRecorded,
            ) => {}
            (kind, certainty) => panic!("a cursor: {kind:?} with {certainty:?}"),
        }
    }

    /// A commit ends; `next` is where the handle stands now.
    pub fn committed(
        &mut self,
        commit: &Commit,
        answer: &Result<()>,
        next: Seq,
        events: Option<&[Event]>,
    ) {
        let Commit { name, seq, next_before, is_given, is_fenced, poisoned } = *commit;
        let done = self.done(name);
        let Err(error) = answer else {
            if seq < next_before {
                assert_eq!(next, next_before, "a cursor moved for what was done");
                return;
            }
            assert!(is_given, "{seq} was committed by who was not given it");
            assert!(!is_fenced, "{seq} was committed by a handle of which another took over");
            let right = events.is_none_or(|events| stands(seq.0, next, events));
            assert!(right, "{seq} was committed, and the handle goes on at {next}");
            if seq.0 > done {
                assert!(!poisoned, "a poisoned ledger has moved a cursor");
                self.cursor(name).done = seq.0;
                self.wrote();
            }
            return;
        };
        assert!(seq >= next_before, "{seq} was done: {error}");
        match error.kind() {
            ErrorKind::NotDelivered { seq: named } => {
                assert!(!is_given && *named == seq, "{error}");
                assert_eq!(error.certainty(), Certainty::NotRecorded);
            }
            ErrorKind::Fenced { .. } => {
                assert!(is_given && is_fenced, "{error}");
                assert_eq!(error.certainty(), Certainty::NotRecorded);
            }
            kind => {
                assert!(is_given, "{error}");
                let is_unread = matches!(kind, ErrorKind::Io { .. });
                assert!(!is_fenced || is_unread, "not fenced: {error}");
                if matches!(kind, ErrorKind::InDoubt { .. }) && !poisoned {
                    self.cursor(name).doubt = Some(seq.0);
                }
                self.failed(error, poisoned);
            }
        }
    }

    /// A batch is recorded with which the cursor moves behind the event at `seq`.
    pub fn moved_with_batch(&mut self, name: u8, seq: Seq) {
        let cursor = self.cursor(name);
        cursor.done = cursor.done.max(seq.0);
        self.wrote();
    }

    /// A batch is in doubt, and with it a cursor.
    pub fn may_move_with_batch(&mut self) {
        self.records_max += 1;
    }

    /// It is there.
    pub fn was_moved_with_batch(&mut self, name: u8, seq: Seq) {
        let cursor = self.cursor(name);
        cursor.done = cursor.done.max(seq.0);
        self.records_min += 1;
    }

    /// A handle was given events: all behind `looked`, in order; fewer than there are only when it asked for fewer,
    /// or when not all `could` be read.
    pub fn delivered(looked: u64, most: usize, given: &[Event], events: &[Event], could: bool) {
        let mut owed = events.iter().filter(|event| event.seq.0 > looked);
        let right = given.iter().all(|event| owed.next() == Some(event));
        assert!(right, "behind {looked} other events were delivered: {given:?}");
        let is_all = given.len() == most || owed.next().is_none();
        assert!(is_all || !could, "behind {looked} only these were delivered: {given:?}");
    }

    /// Where the consumers stand, as somebody was shown, and how many records are of no order and no batch.
    /// `ended`: nothing that was begun can still be written.
    pub fn shown(&mut self, nexts: &[Seq], events: &[Event], records: u64, ended: bool) {
        let (min, max) = (self.records_min, self.records_max);
        assert!(
            (min..=max).contains(&records),
            "{records} records are about no order, not {min} to {max}"
        );
        for (number, (cursor, next)) in self.of.iter_mut().zip(nexts).enumerate() {
            if let Some(doubt) = cursor.doubt.filter(|doubt| stands(*doubt, *next, events)) {
                cursor.done = doubt;
            }
            let done = cursor.done;
            assert!(stands(done, *next, events), "consumer {number}: {done} is done, not {next}");
            if ended {
                cursor.doubt = None;
            }
        }
        if ended {
            (self.records_min, self.records_max) = (records, records);
        }
    }
}
