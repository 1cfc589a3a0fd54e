//! Which page a request gets.
//!
//! Always true: each answer is made of one look at the ledger; a ledger that can't be read is an answer as well.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use order_ledger::{
    Event, HealthStatus, Lifecycle, Metrics, NoteEntry, Order, OrderId, PageToken, Query, Reader,
    State, Timestamp,
};

use super::access::Access;
use super::http::{Answer, Request, Status};
use super::pages;
use crate::args::Wanted;
use crate::check::metrics_json;
use crate::errors::Failure;
use crate::get::wanted;
use crate::names::state;
use crate::watched::Watched;
use crate::watched::troubles::Troubles;

const HTML: &str = "text/html; charset=utf-8";
/// Orders of a list on one page.
const ORDERS_MAX: usize = 100;
/// Of each state on the first page.
const OLDEST_MAX: usize = 5;
/// Alerts, orders that stand still, and providers on the first page.
const TROUBLES_MAX: usize = 20;

pub(super) struct Site {
    dir: PathBuf,
    access: Access,
    /// A panic of a page says nothing about it: what it holds is only ever read on.
    watched: Mutex<Watched>,
}

/// The ledger at one moment.
pub(super) struct Look {
    pub(super) reader: Reader,
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Metrics,
    /// Of each state that has orders which may go on, those that are in it for longest.
    pub(super) longest: Vec<(State, Vec<(OrderId, Timestamp)>)>,
}

/// An order, with all that is known of it.
pub(super) struct Whole {
    pub(super) order: Order,
    pub(super) events: Vec<Event>,
    pub(super) notes: Vec<NoteEntry>,
    pub(super) corrections: Vec<OrderId>,
}

impl Look {
    fn new(watched: &Watched, lifecycle: Lifecycle, metrics: Metrics, longest_max: usize) -> Look {
        let (reader, census) = (watched.reader().clone(), watched.census());
        let states = metrics.states.iter().flatten().map(|it| it.state);
        let states = states.filter(|state| !lifecycle.is_terminal(*state));
        let longest = states.map(|state| (state, census.longest(state, longest_max))).collect();
        Look { reader, lifecycle, metrics, longest }
    }
}

impl Site {
    pub(super) fn open(dir: &Path, access: Access) -> Result<Site, Failure> {
        let watched = Mutex::new(Watched::open(dir)?);
        Ok(Site { dir: dir.to_owned(), access, watched })
    }

    pub(super) fn answer(&self, request: &Request) -> Answer {
        if let Some(refusal) = self.access.refusal(request) {
            return refusal;
        }
        self.page(request).unwrap_or_else(|failure| {
            let body = pages::broken(&failure.what(), failure.advice());
            Answer::new(Status::Broken, HTML, body)
        })
    }

    fn page(&self, request: &Request) -> Result<Answer, Failure> {
        let path: Vec<&[u8]> = request.path.iter().map(Vec::as_slice).collect();
        let html = |body| Ok(Answer::new(Status::Ok, HTML, body));
        match path.as_slice() {
            [b"style.css"] => {
                Ok(Answer::new(Status::Ok, "text/css; charset=utf-8", pages::STYLE.into()))
            }
            [] => {
                let (look, troubles) = self.whole_look()?;
                html(pages::first(&look, &troubles))
            }
            [b"metrics"] => {
                let text = self.whole_look()?.0.metrics.to_prometheus();
                Ok(Answer::new(Status::Ok, "text/plain; version=0.0.4; charset=utf-8", text))
            }
            [b"health"] => Ok(self.health()),
            [b"find"] => self.find(request),
            [b"order", order] => self.order(order),
            [b"state", name] => self.state(name),
            _ => Ok(not_found("there is no such page")),
        }
    }

    /// What is new is taken in first.
    fn taken_in(&self) -> Result<(MutexGuard<'_, Watched>, Lifecycle), Failure> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.look()?;
        let lifecycle = watched.reader().lifecycle()?;
        if lifecycle != *watched.census().lifecycle() {
            // The program that writes was started with another one: which states are an end is to be told anew.
            *watched = Watched::open(&self.dir)?;
        }
        Ok((watched, lifecycle))
    }

    /// For a page about orders.
    fn look(&self, longest_max: usize) -> Result<Look, Failure> {
        let (watched, lifecycle) = self.taken_in()?;
        let metrics = watched.metrics();
        Ok(Look::new(&watched, lifecycle, metrics, longest_max))
    }

    /// With all that needs somebody.
    fn whole_look(&self) -> Result<(Look, Troubles), Failure> {
        let (mut watched, lifecycle) = self.taken_in()?;
        let (metrics, troubles) = watched.troubles(TROUBLES_MAX)?;
        Ok((Look::new(&watched, lifecycle, metrics, OLDEST_MAX), troubles))
    }

    /// For a load balancer: 503 when it is critical, or can't be told.
    fn health(&self) -> Answer {
        let (is_critical, body) = match self.whole_look() {
            Ok((look, _)) => {
                let is_critical = look.metrics.health.status == HealthStatus::Critical;
                (is_critical, metrics_json(look.metrics).to_string())
            }
            Err(failure) => {
                let (what, advice) = (failure.what(), failure.advice());
                let reason = serde_json::json!({"status": "unknown", "code": "unknown", "text": what, "advice": advice});
                (true, serde_json::json!({"status": "unknown", "reasons": [reason]}).to_string())
            }
        };
        let status = if is_critical { Status::Busy } else { Status::Ok };
        Answer::new(status, "application/json", body + "\n")
    }

    fn order(&self, order: &[u8]) -> Result<Answer, Failure> {
        let Some(id) = std::str::from_utf8(order).ok().and_then(|text| text.parse().ok()) else {
            return Ok(not_found("that is no number of an order"));
        };
        let look = self.look(1)?;
        let Some(order) = look.reader.get(id)? else {
            return Ok(not_found(&format!("there is no order {id}")));
        };
        let whole = Whole {
            order,
            events: look.reader.history(id)?,
            notes: look.reader.notes(id)?,
            corrections: look.reader.corrections_of(id)?,
        };
        Ok(Answer::new(Status::Ok, HTML, pages::order(&look, &whole)))
    }

    fn state(&self, name: &[u8]) -> Result<Answer, Failure> {
        let look = self.look(ORDERS_MAX)?;
        let name = String::from_utf8_lossy(name);
        let state = match state(&look.lifecycle, &name) {
            Ok(state) => state,
            Err(why) => return Ok(not_found(&why)),
        };
        let longest = look.longest.iter().find(|(it, _)| *it == state);
        let orders = longest.map(|(_, orders)| orders.as_slice()).unwrap_or_default();
        Ok(Answer::new(Status::Ok, HTML, pages::state(&look, state, orders)))
    }

    /// Did my order arrive? By its key, its receipt or number, or its number elsewhere.
    fn find(&self, request: &Request) -> Result<Answer, Failure> {
        let look = self.look(1)?;
        let page = |status, body| Ok(Answer::new(status, HTML, body));
        if let (Some(client), Some(key)) = (request.value("client"), request.value("key")) {
            return Ok(match look.reader.by_key(client, key)? {
                Some(order) => to_order(order.id()),
                None => not_found(
                    "no order was taken under this key of this client: submitting it is safe",
                ),
            });
        }
        if let Some(text) = request.value("order") {
            let text = String::from_utf8_lossy(text);
            return match text.trim().parse::<Wanted>() {
                Err(why) => Ok(not_found(&why)),
                Ok(asked) => Ok(match wanted(&look.reader, &asked)? {
                    Ok(order) => to_order(order.id()),
                    Err(why) => not_found(&why),
                }),
            };
        }
        if let Some(external_ref) = request.value("ref") {
            let mut query = Query::all().external_ref(external_ref).limit(ORDERS_MAX);
            let after = request.value("after").and_then(|it| std::str::from_utf8(it).ok());
            if let Some(after) = after.and_then(|text| text.parse::<PageToken>().ok()) {
                query = query.after(after);
            }
            let found = look.reader.page(&query)?;
            return match (found.orders.as_slice(), found.next) {
                ([], None) => Ok(not_found("no order has this number elsewhere")),
                (orders, next) => page(Status::Ok, pages::found(&look, orders, external_ref, next)),
            };
        }
        let (look, troubles) = self.whole_look()?;
        page(Status::BadRequest, pages::first(&look, &troubles))
    }
}

fn to_order(id: OrderId) -> Answer {
    let mut answer = Answer::text(Status::SeeOther, format!("order {id}\n"));
    answer.also = Some(("Location", format!("/order/{id}")));
    answer
}

fn not_found(why: &str) -> Answer {
    Answer::new(Status::NotFound, HTML, pages::not_found(why))
}
