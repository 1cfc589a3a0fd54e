//! Who stands still for too long, and what is told of it, as a program asks for it.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use order_ledger::disk::Host;
use order_ledger::{
    AlertEvent, AlertLevel, Ledger, Reader, Result, Seq, State, StuckPage, StuckQuery,
};

use super::Run;
use super::ops::begins_with;
use crate::model::alerts::{Alerts, Known, Trouble};
use crate::model::stuck::{Asked, lifecycle};
use crate::shown::Shown;

/// What has to do with the watch.
#[derive(Arbitrary, Clone, Debug)]
pub enum Watching {
    Stuck(Stuck),
    /// The watch looks once.
    Look,
    /// Time passes, and the watch looks.
    LookLater(u8),
    /// Somebody says that he knows of an alert, or of what is none.
    Acknowledge {
        place: u8,
        who: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Stuck {
    pub critical: bool,
    /// Mostly all states.
    pub state: u8,
    /// So many on a page; mostly all.
    pub limit: u8,
}

/// Whether what comes next is about the watch: see [`is_about_steps`](super::ops::is_about_steps).
pub fn is_about_watch(u: &mut Unstructured<'_>) -> bool {
    begins_with(u, WATCH)
}

const WATCH: std::ops::Range<u8> = 0xe0..0xf0;

impl Stuck {
    fn asked(self) -> Asked {
        let state = match self.state % 8 {
            0 => Some(State::Accepted),
            1 => Some(State::InProgress),
            2 => Some(State::Cancelling),
            _ => None,
        };
        let level = if self.critical { AlertLevel::Critical } else { AlertLevel::Warn };
        Asked { state, level }
    }

    fn query(self) -> StuckQuery {
        let asked = self.asked();
        let limit = match self.limit % 4 {
            0 => 1 + usize::from(self.limit / 4 % 4),
            _ => StuckQuery::LIMIT_MAX,
        };
        let query = StuckQuery::all().level(asked.level).limit(limit);
        if let Some(state) = asked.state { query.state(state) } else { query }
    }
}

impl Run {
    pub(super) fn at_watch(&mut self, ledger: &Ledger, watching: &Watching) {
        match watching {
            Watching::Stuck(stuck) => {
                let Ok(shown) = Shown::by(ledger) else { return };
                let from_ns = self.now_ns();
                self.stuck(*stuck, &shown, from_ns, |query| ledger.stuck(query));
            }
            Watching::Look => self.watch_looks(ledger),
            Watching::LookLater(ms) => {
                self.host.advance(Duration::from_millis(u64::from(*ms)));
                self.watch_looks(ledger);
            }
            Watching::Acknowledge { place, who } => self.acknowledge(ledger, *place, *who),
        }
    }

    /// What the ledger told of since this was asked for last.
    fn take_told(&self) -> Vec<AlertEvent> {
        std::mem::take(&mut self.told.lock().expect("nobody panics"))
    }

    fn trouble(&self, ledger: &Ledger, poisoned: bool) -> Trouble {
        let off = self.disk.is_off();
        let poisoned_now = ledger.poisoned().is_some() || off;
        let excused = self.armed || self.full || poisoned || poisoned_now;
        Trouble { poisoned, poisoned_now, excused }
    }

    fn watch_looks(&mut self, ledger: &Ledger) {
        let poisoned = ledger.poisoned().is_some();
        let before = Shown::by(ledger);
        let from_ns = self.now_ns();
        let pass = ledger.watch_once();
        let trouble = self.trouble(ledger, poisoned);
        self.model.alerts.looked(self.take_told(), &pass, trouble);
        if let (0, Ok(before), Ok(after)) = (pass.failed, before, Shown::by(ledger))
            && !trouble.poisoned_now
        {
            Alerts::is_complete(from_ns, &before, &after, &lifecycle());
        }
    }

    fn acknowledge(&mut self, ledger: &Ledger, place: u8, who: u8) {
        let names = self.model.alerts.names();
        let alert = match names.get(usize::from(place) % (names.len() + 1)) {
            Some(name) => *name,
            None => Seq(u64::from(place) + 1),
        };
        let by = format!("person {}", who % 2).into_bytes();
        let note = b"I know ".repeat(usize::from(who / 2 % 3));
        let known = Known { alert, by, note };
        let poisoned = ledger.poisoned().is_some();
        let Ok(shown) = Shown::by(ledger) else { return };
        let answer = ledger.acknowledge_alert(alert, &known.by, &known.note);
        let trouble = self.trouble(ledger, poisoned);
        let told = self.take_told();
        self.model.alerts.acknowledged(&known, &answer, &shown, told, trouble);
    }

    /// What time it is, by the wall; records may be of a later one, but of none behind the latest that it ever was.
    pub(super) fn now_ns(&mut self) -> u64 {
        let now_ns = self.host.wall_ns();
        self.latest_ns = self.latest_ns.max(now_ns);
        now_ns
    }

    /// Asks who is stuck, page by page, and holds it against what is shown.
    fn stuck(
        &mut self,
        stuck: Stuck,
        shown: &Shown,
        from_ns: u64,
        ask: impl Fn(&StuckQuery) -> Result<StuckPage>,
    ) {
        let (mut pages, mut query) = (Vec::new(), stuck.query());
        loop {
            match ask(&query) {
                Ok(page) => {
                    pages.push(page.orders);
                    let Some(next) = page.next else { break };
                    query = query.after(next);
                }
                Err(error) => {
                    let excused = self.armed || self.disk.is_off();
                    assert!(excused, "who is stuck could not be told: {error}");
                    return;
                }
            }
        }
        self.now_ns();
        // Each record is later than the one before, also where the clock has gone back.
        let until_ns = self.latest_ns + shown.records + 1;
        stuck.asked().check(&shown.orders, &lifecycle(), &pages, [from_ns, until_ns]);
    }

    /// The same from another process, which was opened at or behind `from_ns`.
    pub(super) fn stuck_by_reader(&mut self, reader: &Reader, shown: &Shown, from_ns: u64) {
        for (critical, limit) in [(false, 1), (true, 0)] {
            let stuck = Stuck { critical, state: u8::MAX, limit };
            self.stuck(stuck, shown, from_ns, |query| reader.stuck(query));
        }
    }
}
