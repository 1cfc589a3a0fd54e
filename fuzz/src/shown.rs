//! Everything that a ledger shows of its log, to whoever writes it and to readers beside.

use order_ledger::{
    Alert, AlertEvent, AlertIter, AlertPage, AlertQuery, Batch, DispatchEntry, DispatchPage,
    DispatchQuery, DispatchState, ErrorKind, Event, EventIter, HoldEntry, Ledger, NoteEntry,
    NotePage, NoteQuery, OrderId, OrderIter, Reader, Result, Seq,
};

use crate::lives::Told;
use crate::model::batches::{GROUPS, group_key};
use crate::model::cursors::{NAMES, name};

/// Who shows a ledger.
pub trait Source {
    fn orders(&self) -> OrderIter;
    fn history(&self, order: OrderId) -> Result<Vec<Event>>;
    fn events(&self) -> EventIter;
    fn batch(&self, key: &str) -> Result<Option<Batch>>;
    fn consumer_next(&self, name: &str) -> Result<Seq>;
    fn alert_events(&self) -> AlertIter;
    fn alerts(&self, query: &AlertQuery) -> Result<AlertPage>;
    fn dispatches(&self, order: OrderId) -> Result<Vec<DispatchEntry>>;
    fn open_dispatches(&self, query: &DispatchQuery) -> Result<DispatchPage>;
    fn dead_letters(&self, query: &DispatchQuery) -> Result<DispatchPage>;
    fn notes(&self, order: OrderId) -> Result<Vec<NoteEntry>>;
    fn open_notes(&self, query: &NoteQuery) -> Result<NotePage>;
    fn holds(&self) -> Result<Vec<HoldEntry>>;
}

impl Source for Ledger {
    fn orders(&self) -> OrderIter {
        Ledger::orders(self)
    }

    fn history(&self, order: OrderId) -> Result<Vec<Event>> {
        Ledger::history(self, order)
    }

    fn events(&self) -> EventIter {
        Ledger::events(self, Seq::FIRST)
    }

    /// One in doubt is not shown.
    fn batch(&self, key: &str) -> Result<Option<Batch>> {
        match Ledger::batch(self, key) {
            Err(error) if matches!(error.kind(), ErrorKind::InDoubt { .. }) => Ok(None),
            answer => answer,
        }
    }

    fn consumer_next(&self, name: &str) -> Result<Seq> {
        Ledger::consumer_next(self, name)
    }

    fn alert_events(&self) -> AlertIter {
        Ledger::alert_events(self, Seq::FIRST)
    }

    fn alerts(&self, query: &AlertQuery) -> Result<AlertPage> {
        Ledger::alerts(self, query)
    }

    fn dispatches(&self, order: OrderId) -> Result<Vec<DispatchEntry>> {
        Ledger::dispatches(self, order)
    }

    fn open_dispatches(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        Ledger::open_dispatches(self, query)
    }

    fn dead_letters(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        Ledger::dead_letters(self, query)
    }

    fn notes(&self, order: OrderId) -> Result<Vec<NoteEntry>> {
        Ledger::notes(self, order)
    }

    fn open_notes(&self, query: &NoteQuery) -> Result<NotePage> {
        Ledger::open_notes(self, query)
    }

    fn holds(&self) -> Result<Vec<HoldEntry>> {
        Ledger::holds(self)
    }
}

impl Source for Reader {
    fn orders(&self) -> OrderIter {
        Reader::orders(self)
    }

    fn history(&self, order: OrderId) -> Result<Vec<Event>> {
        Reader::history(self, order)
    }

    fn events(&self) -> EventIter {
        Reader::events(self, Seq::FIRST)
    }

    fn batch(&self, key: &str) -> Result<Option<Batch>> {
        Reader::batch(self, key)
    }

    fn consumer_next(&self, name: &str) -> Result<Seq> {
        Reader::consumer_next(self, name)
    }

    fn alert_events(&self) -> AlertIter {
        Reader::alert_events(self, Seq::FIRST)
    }

    fn alerts(&self, query: &AlertQuery) -> Result<AlertPage> {
        Reader::alerts(self, query)
    }

    fn dispatches(&self, order: OrderId) -> Result<Vec<DispatchEntry>> {
        Reader::dispatches(self, order)
    }

    fn open_dispatches(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        Reader::open_dispatches(self, query)
    }

    fn dead_letters(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        Reader::dead_letters(self, query)
    }

    fn notes(&self, order: OrderId) -> Result<Vec<NoteEntry>> {
        Reader::notes(self, order)
    }

    fn open_notes(&self, query: &NoteQuery) -> Result<NotePage> {
        Reader::open_notes(self, query)
    }

    fn holds(&self) -> Result<Vec<HoldEntry>> {
        Reader::holds(self)
    }
}

/// What a ledger shows.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    pub orders: Vec<Told>,
    /// By the numbers of their keys.
    pub batches: Vec<Option<Batch>>,
    /// Where each consumer goes on.
    pub cursors: Vec<Seq>,
    /// What happened to all orders.
    pub events: Vec<Event>,
    /// What happened to all alerts.
    pub alert_events: Vec<AlertEvent>,
    /// How they are now.
    pub alerts: Vec<Alert>,
    pub open_alerts: Vec<Alert>,
    /// What third parties are to be told, order by order. An attempt that is made now counts as cut off: nobody but
    /// who makes it can tell.
    pub dispatches: Vec<DispatchEntry>,
    pub open_dispatches: Vec<DispatchEntry>,
    pub dead_letters: Vec<DispatchEntry>,
    /// What was noted, order by order.
    pub notes: Vec<NoteEntry>,
    pub open_notes: Vec<NoteEntry>,
    /// Who is held.
    pub holds: Vec<HoldEntry>,
    pub records: u64,
}

impl Shown {
    pub fn by(source: &impl Source) -> Result<Shown> {
        let orders = Told::all(source.orders(), |id| source.history(id))?;
        let mut all = source.events();
        let events: Vec<Event> = all.by_ref().collect::<Result<_>>()?;
        let batches = (0..GROUPS).map(|group| source.batch(&group_key(group)));
        let cursors = (0..NAMES).map(|number| source.consumer_next(&name(number)));
        let (mut dispatches, mut notes) = (Vec::new(), Vec::new());
        for told in &orders {
            notes.extend(source.notes(told.order.id())?);
            dispatches.extend(source.dispatches(told.order.id())?.into_iter().map(cut_off));
        }
        Ok(Shown {
            orders,
            notes,
            holds: source.holds()?,
            open_notes: all_notes(source)?,
            dispatches,
            open_dispatches: all_dispatches(|query| source.open_dispatches(query))?,
            dead_letters: all_dispatches(|query| source.dead_letters(query))?,
            batches: batches.collect::<Result<_>>()?,
            cursors: cursors.collect::<Result<_>>()?,
            events,
            alert_events: source.alert_events().collect::<Result<_>>()?,
            alerts: all_alerts(source, AlertQuery::all())?,
            open_alerts: all_alerts(source, AlertQuery::open())?,
            records: all.position().0 - 1,
        })
    }

    /// Whether the other one says the same, and perhaps more.
    pub fn goes_on_as(&self, other: &Shown) -> bool {
        let both = |(one, other): (&Option<Batch>, &Option<Batch>)| one.is_none() || one == other;
        other.orders.len() >= self.orders.len()
            && self.orders.iter().zip(&other.orders).all(|(told, other)| told.goes_on_as(other))
            && self.batches.iter().zip(&other.batches).all(both)
            && self.cursors.iter().zip(&other.cursors).all(|(next, other)| next <= other)
            && other.events.starts_with(&self.events)
            && other.alert_events.starts_with(&self.alert_events)
            && other.records >= self.records
    }
}

/// So many there are on a page.
const PAGE: usize = 3;

fn all_alerts(source: &impl Source, query: AlertQuery) -> Result<Vec<Alert>> {
    let (mut alerts, mut query) = (Vec::new(), query.limit(PAGE));
    loop {
        let page = source.alerts(&query)?;
        alerts.extend(page.alerts);
        let Some(next) = page.next else { return Ok(alerts) };
        query = query.after(next);
    }
}

fn all_dispatches(
    ask: impl Fn(&DispatchQuery) -> Result<DispatchPage>,
) -> Result<Vec<DispatchEntry>> {
    let (mut found, mut query) = (Vec::new(), DispatchQuery::all().limit(PAGE));
    loop {
        let page = ask(&query)?;
        found.extend(page.dispatches.into_iter().map(cut_off));
        let Some(next) = page.next else { return Ok(found) };
        query = query.after(next);
    }
}

fn cut_off(mut entry: DispatchEntry) -> DispatchEntry {
    if let DispatchState::Attempting { provider } = entry.state {
        let why = "the attempt was cut off before its outcome was recorded".to_owned();
        entry.in_doubt = Some(provider.clone());
        entry.state = DispatchState::Unknown { provider, why };
    }
    entry
}

fn all_notes(source: &impl Source) -> Result<Vec<NoteEntry>> {
    let (mut notes, mut query) = (Vec::new(), NoteQuery::open().limit(PAGE));
    loop {
        let page = source.open_notes(&query)?;
        notes.extend(page.notes);
        let Some(next) = page.next else { return Ok(notes) };
        query = query.after(next);
    }
}
