//! Which dispatches wait, order by order, and until when: in memory, made of the log.
//!
//! Always true: it has every dispatch that is neither done nor forgotten by it, up to the place in the log to which it
//! has read; of each order only the first one is given out, and only once at a time; nothing is lost when it is: it is
//! made again from the log. It takes some 200 bytes for each dispatch that is open or dead.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::decide::Looked;
use super::route::{AfterDead, Route};
use crate::error::Result;
use crate::order::dispatch::{Course, Lane};
use crate::order::{Seq, Timestamp};
use crate::wal::log::Cursor;
use crate::wal::record::{KIND_PURSUED, is_dispatch};

/// Of which nothing is to be done until something is recorded.
pub(crate) const NEVER: u64 = u64::MAX;

/// A dispatch that is open or dead.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its place among the routes; `None`: there is no such route.
    pub(crate) route: Option<usize>,
    pub(crate) at: Timestamp,
    /// The name of its state.
    pub(crate) state: &'static str,
    pub(crate) is_dead: bool,
    /// It is dead, and later ones go on.
    is_passed: bool,
    /// On the monotonic clock.
    due_ns: u64,
    /// When this board heard of its newest record, on the same clock.
    changed_ns: u64,
    looked: Looked,
    /// The newest record about it, if it was read.
    newest: Option<Seq>,
}

/// The dispatches of an order.
#[derive(Debug, Default)]
struct Line {
    items: BTreeMap<Seq, Item>,
    /// Somebody deals with the first one.
    is_busy: bool,
    /// When it stands in `due`.
    due_ns: Option<u64>,
}

/// Something to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) order: Seq,
    pub(crate) dispatch: Seq,
    pub(crate) route: Option<usize>,
    pub(crate) looked: Looked,
    /// The newest record about it, when the board waited because of that.
    pub(crate) newest: Option<Seq>,
    /// When the board heard of its newest record, on the monotonic clock.
    pub(crate) changed_ns: u64,
}

/// What time it is: of the ledger, and on the clock that is waited by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) ledger: Timestamp,
    pub(crate) monotonic_ns: u64,
}

impl Now {
    /// The place of a ledger time on the monotonic clock: a wall clock that goes back delays nothing.
    pub(crate) fn monotonic_at(self, at: Timestamp) -> u64 {
        let ahead_ns = at.as_unix_ns().saturating_sub(self.ledger.as_unix_ns());
        self.monotonic_ns.saturating_add(ahead_ns)
    }
}

pub(crate) struct Board {
    cursor: Cursor,
    /// By name: the place among the routes, and what happens behind a dead letter.
    routes: HashMap<String, (usize, AfterDead)>,
    lines: HashMap<Seq, Line>,
    /// (when, order), of those that are given out next.
    due: BTreeSet<(u64, Seq)>,
}

impl Board {
    /// An empty one that reads on from `cursor`.
    pub(crate) fn new(cursor: Cursor, routes: &[Route]) -> Board {
        let places = routes.iter().enumerate();
        let routes = places.map(|(at, route)| (route.name.clone(), (at, route.after_dead)));
        Board { cursor, routes: routes.collect(), lines: HashMap::new(), due: BTreeSet::new() }
    }

    /// Everything before it was read.
    pub(crate) fn position(&self) -> Seq {
        self.cursor.position()
    }

    /// Puts a dispatch on the board that is not done.
    pub(crate) fn put(
        &mut self,
        order: Seq,
        (dispatch, at): (Seq, Timestamp),
        route: &str,
        is_dead: bool,
        now: Now,
    ) {
        let place = self.routes.get(route).copied();
        let state = if is_dead { "dead" } else { "waiting" };
        let item = Item {
            route: place.map(|(at, _)| at),
            at,
            state,
            is_dead,
            is_passed: is_dead && place.is_some_and(|(_, after)| after == AfterDead::GoOn),
            due_ns: 0,
            changed_ns: now.monotonic_ns,
            looked: Looked::not_yet(dispatch),
            newest: None,
        };
        self.lines.entry(order).or_default().items.insert(dispatch, item);
        self.arrange(order);
    }

    /// Reads what was recorded since.
    ///
    /// # Errors
    /// Those of reading the log; what lies before is taken in.
    pub(crate) fn catch_up(&mut self, now: Now) -> Result<()> {
        while let Some(record) = self.cursor.next()? {
            // Most records are of something else, and need not be read.
            if !is_dispatch(record.kind) && record.kind != KIND_PURSUED {
                continue;
            }
            let body = record.body()?;
            if let Some(told) = body.dispatched() {
                self.put(told.order(), (record.seq, record.at), told.route, false, now);
            }
            if let Some(pursued) = body.pursued() {
                let course = pursued.course(record.seq, record.at);
                self.take_in(pursued.order(), pursued.dispatch(), &course, now);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, order: Seq, dispatch: Seq, course: &Course, now: Now) {
        let Some(line) = self.lines.get_mut(&order) else { return };
        let lane = course.lane();
        if lane.is_none() {
            line.items.remove(&dispatch);
        } else if let Some(item) = line.items.get_mut(&dispatch) {
            item.state = course.state().name();
            item.is_dead = lane == Some(Lane::Dead);
            let after = self.routes.values().find(|(place, _)| Some(*place) == item.route);
            item.is_passed =
                item.is_dead && after.is_some_and(|(_, after)| *after == AfterDead::GoOn);
            item.due_ns = course.again_at.map_or(0, |at| now.monotonic_at(at));
            item.changed_ns = now.monotonic_ns;
            item.looked = Looked::not_yet(course.newest);
            item.newest = Some(course.newest);
        }
        self.arrange(order);
    }

    /// Puts an order in its place among what is due.
    fn arrange(&mut self, order: Seq) {
        let Some(line) = self.lines.get_mut(&order) else { return };
        if let Some(due_ns) = line.due_ns.take() {
            self.due.remove(&(due_ns, order));
        }
        if line.items.is_empty() {
            if !line.is_busy {
                self.lines.remove(&order);
            }
            return;
        }
        let first = line.items.values().find(|item| !item.is_passed);
        if let Some(item) = first.filter(|item| !line.is_busy && !item.is_dead)
            && item.due_ns != NEVER
        {
            line.due_ns = Some(item.due_ns);
            self.due.insert((item.due_ns, order));
        }
    }

    /// Gives out what is due first; else says when that will be, on the monotonic clock.
    pub(crate) fn take(&mut self, now: Now) -> std::result::Result<Job, Option<u64>> {
        let Some((due_ns, order)) = self.due.first().copied() else { return Err(None) };
        if due_ns > now.monotonic_ns {
            return Err(Some(due_ns));
        }
        self.due.pop_first();
        let Some(line) = self.lines.get_mut(&order) else { return Err(None) };
        line.due_ns = None;
        let first = line.items.iter().find(|(_, item)| !item.is_passed);
        let Some((dispatch, item)) = first else { return Err(None) };
        let Item { route, looked, newest, changed_ns, .. } = *item;
        let dispatch = *dispatch;
        let job = Job { order, dispatch, route, looked, newest, changed_ns };
        line.is_busy = true;
        Ok(job)
    }

    /// The job is done. `wait`: nothing was recorded, and it is due again at that time ([`NEVER`]: when something is).
    pub(crate) fn give_back(&mut self, job: &Job, wait: Option<(u64, Looked)>) {
        let Some(line) = self.lines.get_mut(&job.order) else { return };
        line.is_busy = false;
        if let (Some((due_ns, looked)), Some(item)) = (wait, line.items.get_mut(&job.dispatch)) {
            (item.due_ns, item.looked) = (due_ns, looked);
        }
        self.arrange(job.order);
    }

    /// Every dispatch that is open or dead.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.lines.values().flat_map(|line| line.items.values())
    }

    /// How many orders somebody deals with now.
    pub(crate) fn busy(&self) -> usize {
        self.lines.values().filter(|line| line.is_busy).count()
    }
}
