//! Pages of orders: what is asked for, and how it is found in the views and the log.
//!
//! Always true: the orders of a page come in seq order, each read from the log and held against every
//! filter; only orders that were readable when the page was begun are looked at; one is passed over only if
//! it was read, or if the views cover its seq and do not have it on the list, and nothing that they do not
//! cover has moved it since. So what the views lack, or get wrong, costs time and never an answer.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::admission::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::limits::{ACCOUNT_BYTES_MAX, EXTERNAL_REF_BYTES_MAX};
use crate::order::{Order, Seq, State, Timestamp};
use crate::views::{View, Views};
use crate::wal::log::{Log, Record};

/// Which orders, and how many of them at a time.
///
/// Filters add up: an order is listed when it passes every one of them. The answer comes in pages, in
/// the order in which the ledger took the orders; give the token of one page to the query for the next.
/// Orders that are taken meanwhile come last, so nothing is skipped and nothing comes twice.
///
/// **Cost**: with an account or an external ref, one read of the log per order found, as far as the
/// views have caught up; behind that, and without them, one pass over the log from where the page
/// begins. `since` costs a binary search.
///
/// ```
/// use order_ledger::{Query, State};
/// let query = Query::all().account("ALFKI").state(State::Accepted).limit(20);
/// assert_ne!(query, Query::all());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    account: Option<Vec<u8>>,
    external_ref: Option<Vec<u8>>,
    state: Option<State>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    after: Option<PageToken>,
    limit: usize,
}

impl Query {
    /// Orders on a page unless [`Query::limit`] says otherwise.
    pub const LIMIT_DEFAULT: usize = 100;
    /// Most orders on one page: each is held in memory with its payload.
    pub const LIMIT_MAX: usize = 10_000;

    /// Every order.
    #[must_use]
    pub fn all() -> Query {
        Query {
            account: None,
            external_ref: None,
            state: None,
            since: None,
            until: None,
            after: None,
            limit: Query::LIMIT_DEFAULT,
        }
    }

    /// Only orders of this account, compared bytewise; empty: only orders without one.
    #[must_use]
    pub fn account(mut self, account: impl Into<Vec<u8>>) -> Query {
        self.account = Some(account.into());
        self
    }

    /// Only orders with this external ref, compared bytewise; empty: only orders without one.
    #[must_use]
    pub fn external_ref(mut self, external_ref: impl Into<Vec<u8>>) -> Query {
        self.external_ref = Some(external_ref.into());
        self
    }

    /// Only orders that are in this state now.
    #[must_use]
    pub fn state(mut self, state: State) -> Query {
        self.state = Some(state);
        self
    }

    /// Only orders accepted at this instant of ledger time or later.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Query {
        self.since = Some(since);
        self
    }

    /// Only orders accepted before this instant of ledger time.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Query {
        self.until = Some(until);
        self
    }

    /// Goes on where the page that gave this token ended.
    #[must_use]
    pub fn after(mut self, after: PageToken) -> Query {
        self.after = Some(after);
        self
    }

    /// At most this many orders on the page: 1 to [`Query::LIMIT_MAX`], default
    /// [`Query::LIMIT_DEFAULT`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Query {
        self.limit = limit;
        self
    }

    fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::new(ErrorKind::BadQuery { what }));
        if !(1..=Query::LIMIT_MAX).contains(&self.limit) {
            return bad(format!("the limit is {}, not 1 to {}", self.limit, Query::LIMIT_MAX));
        }
        let longer = |value: &Option<Vec<u8>>, bytes_max| {
            value.as_ref().is_some_and(|value| value.len() > bytes_max)
        };
        if longer(&self.account, ACCOUNT_BYTES_MAX) {
            return bad(format!("an account has at most {ACCOUNT_BYTES_MAX} bytes"));
        }
        if longer(&self.external_ref, EXTERNAL_REF_BYTES_MAX) {
            return bad(format!("an external ref has at most {EXTERNAL_REF_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// The list that promises the fewest orders; a value without a list is left to the log.
    fn view(&self) -> Option<View<'_>> {
        let external_ref = self.external_ref.as_deref().map(View::ExternalRef);
        let account = self.account.as_deref().map(View::Account);
        let state = self.state.map(View::State);
        let has_list = |view: &View<'_>| !matches!(view, View::Account(value) | View::ExternalRef(value) if value.is_empty());
        external_ref.filter(has_list).or(account.filter(has_list)).or(state)
    }
}

impl Default for Query {
    fn default() -> Query {
        Query::all()
    }
}

/// Where a page ended: the next one begins behind it.
///
/// It names a position in the ledger and is bound to nothing else: it never expires, and it may be used
/// with another query. Its printed form (`after-42`) fits into a URL and reads back.
///
/// **Source**: [`Page::next`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageToken(pub(super) Seq);

const TOKEN_PREFIX: &str = "after-";

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}{}", self.0)
    }
}

impl FromStr for PageToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<PageToken> {
        let seq = text.strip_prefix(TOKEN_PREFIX).and_then(|seq| seq.parse().ok());
        // Printed again, so that no second spelling of a token is taken.
        seq.map(|seq| PageToken(Seq(seq))).filter(|token| token.to_string() == text).ok_or_else(
            || {
                let what = format!("not a page token (one looks like {TOKEN_PREFIX}42)");
                Error::new(ErrorKind::BadQuery { what })
            },
        )
    }
}

/// Some orders, and where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The orders, in the order in which the ledger took them.
    pub orders: Vec<Order>,
    /// Where the next page begins, if more orders may follow: it may turn out to be empty. `None`: there
    /// were no more when this page was read.
    pub next: Option<PageToken>,
}

/// Fewest seqs that are asked of a view at once: the other filters may reject most of them.
const HINTS_MIN: usize = 64;
/// Most seqs that are asked of a view at once.
const HINTS_MAX: usize = 1_024;

/// With fewer records than this per hint, all are read in one sweep: a record read alone costs a system
/// call or two and 1 KiB, one in passing only its own bytes.
const DENSE_SPAN: u64 = 8;

/// Answers a query.
///
/// # Errors
/// `BadQuery`; those of reading the log.
pub(crate) fn page(lookup: &Lookup, views: Option<&Views>, query: &Query) -> Result<Page> {
    query.check()?;
    if let Some(views) = views {
        views.catch_up();
    }
    let mut search = Search::begin(lookup, query)?;
    if let (Some(views), Some(view)) = (views, query.view())
        && search.ask_view(views, view)? == Hints::Wrong
    {
        // Seqs that it should have named may be missing as well: once more, without it.
        search = Search::begin(lookup, query)?;
    }
    search.scan(search.end)?;
    Ok(search.page())
}

/// Whether the views were right in what they said.
#[derive(PartialEq, Eq)]
enum Hints {
    Right,
    Wrong,
}

struct Search<'a> {
    lookup: &'a Lookup,
    log: &'a Arc<Log>,
    query: &'a Query,
    /// Every record before it was considered.
    position: Seq,
    /// Where the log ended when the page was begun.
    end: Seq,
    orders: Vec<Order>,
}

impl<'a> Search<'a> {
    fn begin(lookup: &'a Lookup, query: &'a Query) -> Result<Search<'a>> {
        let log = &lookup.log;
        let end = log.readable_next();
        let mut position = query.after.map_or(Seq::FIRST, |after| after.0.next());
        if let Some(since) = query.since {
            position = position.max(log.seq_at(since)?);
        }
        Ok(Search { lookup, log, query, position, end, orders: Vec::new() })
    }

    fn is_over(&self) -> bool {
        self.orders.len() >= self.query.limit || self.position >= self.end
    }

    /// Follows the hints of a view, for as far as it covers.
    fn ask_view(&mut self, views: &Views, view: View<'_>) -> Result<Hints> {
        // Before the first hint is read: what the views take in meanwhile is on both lists.
        let fed = views.covered().min(self.end);
        if fed <= self.position {
            return Ok(Hints::Right);
        }
        let moved = match view {
            View::State(_) => self.moved_since(fed)?,
            _ => BTreeSet::new(),
        };
        while !self.is_over() {
            let wanted = self.query.limit - self.orders.len();
            let after = Seq(self.position.0 - 1);
            let (seqs, covered) = views.page(view, after, wanted.clamp(HINTS_MIN, HINTS_MAX));
            if covered <= self.position {
                break;
            }
            let also = moved.range(self.position..covered).copied();
            let hints: BTreeSet<Seq> = seqs.iter().copied().chain(also).collect();
            if self.is_dense(&hints) {
                self.scan(covered)?;
            } else if let Some(seq) = self.follow(view, &hints, &moved, fed)? {
                views.report_mismatch(view, seq);
                return Ok(Hints::Wrong);
            }
            if !self.is_over() {
                self.position = self.position.max(covered.min(self.end));
            }
        }
        Ok(Hints::Right)
    }

    /// The orders that took a step at `from` or later: their state may be another than the views say.
    fn moved_since(&self, from: Seq) -> Result<BTreeSet<Seq>> {
        let mut moved = BTreeSet::new();
        let mut cursor = self.log.cursor(from);
        while cursor.position() < self.end {
            let Some(record) = cursor.next()? else { break };
            moved.extend(record.body()?.moved().map(|moved| moved.order()));
        }
        Ok(moved)
    }

    /// Whether reading all records up to the last hint costs less than reading the hinted ones alone.
    fn is_dense(&self, seqs: &BTreeSet<Seq>) -> bool {
        let Some(last) = seqs.last() else { return false };
        last.0.saturating_sub(self.position.0) / DENSE_SPAN < seqs.len() as u64
    }

    /// Reads the hinted orders; answers the one that is not what the view says, if there is one.
    fn follow(
        &mut self,
        view: View<'_>,
        seqs: &BTreeSet<Seq>,
        moved: &BTreeSet<Seq>,
        fed: Seq,
    ) -> Result<Option<Seq>> {
        for seq in seqs.iter().copied() {
            if seq >= self.end || self.is_over() {
                break;
            }
            let Some(record) = self.log.read(seq)? else { return Ok(Some(seq)) };
            // What moved was perhaps put on the list by nobody but us.
            if !moved.contains(&seq) && !self.is_on_list(view, &record, fed)? {
                return Ok(Some(seq));
            }
            self.consider(&record)?;
        }
        Ok(None)
    }

    /// Whether the order that a view named is what the view says, which covers every record below `fed`
    /// and perhaps later ones.
    fn is_on_list(&self, view: View<'_>, record: &Record, fed: Seq) -> Result<bool> {
        let body = record.body()?;
        let Some(submitted) = body.submitted() else { return Ok(false) };
        Ok(match view {
            View::Account(account) => submitted.account == account,
            View::ExternalRef(external_ref) => submitted.external_ref == external_ref,
            View::ExpiresAt(instant) => body.expires_at(record.at) == Some(instant),
            View::State(state) => {
                let standing = self.lookup.standing_of(record.seq, body.first_state())?;
                standing.now.state == state || standing.last >= fed
            }
            // Notes, alerts, entries and dispatches have pages of their own.
            View::OpenNotes
            | View::OpenAlerts
            | View::Entered { .. }
            | View::Due { .. }
            | View::Dispatches(_) => false,
        })
    }

    /// Reads the log from where the search is up to `to`.
    fn scan(&mut self, to: Seq) -> Result<()> {
        let mut cursor = self.log.cursor(self.position);
        while !self.is_over() && self.position < to {
            match cursor.next()? {
                Some(record) => self.consider(&record)?,
                None => break,
            }
        }
        Ok(())
    }

    fn consider(&mut self, record: &Record) -> Result<()> {
        if self.query.until.is_some_and(|until| record.at >= until) {
            // Too late for what is asked for, and so are all behind it.
            self.position = self.end;
            return Ok(());
        }
        self.position = record.seq.next();
        self.orders.extend(self.listed(record)?);
        Ok(())
    }

    /// The order that the record began, if it is asked for. Cheap filters first: where it stands is looked up
    /// in the tables, and building the order copies its payload and hashes it for the receipt.
    fn listed(&self, record: &Record) -> Result<Option<Order>> {
        let query = self.query;
        let body = record.body()?;
        let Some(submitted) = body.submitted() else { return Ok(None) };
        let passes = |wanted: &Option<Vec<u8>>, found: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        // `since` needs no look: the search began there, and time rises with the seq.
        if !passes(&query.account, submitted.account)
            || !passes(&query.external_ref, submitted.external_ref)
        {
            return Ok(None);
        }
        let now = self.lookup.standing_of(record.seq, body.first_state())?.now;
        if query.state.is_some_and(|state| state != now.state) {
            return Ok(None);
        }
        let order = self.log.issuer.order(&record.frame(), &body);
        Ok(order.map(|order| Order { now, ..order }))
    }

    fn page(self) -> Page {
        let more = self.position < self.end;
        let next = more.then(|| PageToken(Seq(self.position.0 - 1)));
        Page { orders: self.orders, next }
    }
}

#[cfg(test)]
mod tests;
