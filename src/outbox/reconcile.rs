//! What we hold against what a provider says it has done: item by item, for a period.
//!
//! Found by a pass over the log of the period and of some time around it, not in a view: it is done once a day or a
//! month, beside everything else, and a list by route and time would cost every dispatch a key for ever.
//!
//! Always true: only what their list proves is recorded, and only of a dispatch that is in doubt about this provider;
//! a second run with the same list records nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::decide::settled;
use crate::admission::dispatch::Found;
use crate::commit::Committer;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Ledger;
use crate::order::consumer::is_consumer_name;
use crate::order::dispatch::{Lane, Progress};
use crate::order::{DispatchEntry, OrderId, Sent, Seq, Timestamp, Token, Witness};
use crate::wal::record::ATTEMPT;

/// Something that a provider says it has done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TheirItem {
    /// Our token, if their list has it: how an item is found.
    pub token: String,
    /// What the provider calls it; used to find the item when there is no token.
    pub reference: Vec<u8>,
    /// What else is compared, such as an amount, by name.
    pub fields: BTreeMap<String, String>,
}

/// What is to be said about one of our dispatches, to be compared with a field of the same name of theirs.
pub type OurFields = Arc<dyn Fn(&DispatchEntry) -> BTreeMap<String, String> + Send + Sync>;

/// Which items are compared: those of a route that one provider was told about in a period.
#[derive(Clone)]
pub struct Reconcile {
    route: String,
    provider: String,
    since: Timestamp,
    until: Timestamp,
    around: Duration,
    is_complete: bool,
    fields: Option<OurFields>,
}

impl std::fmt::Debug for Reconcile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reconcile { route, provider, since, until, .. } = self;
        write!(f, "Reconcile({route} by {provider}, {since:?} to {until:?})")
    }
}

impl Reconcile {
    /// What this provider was told by this route, from `since` on and before `until`, in ledger time.
    pub fn new(
        route: impl Into<String>,
        provider: impl Into<String>,
        since: Timestamp,
        until: Timestamp,
    ) -> Reconcile {
        Reconcile {
            route: route.into(),
            provider: provider.into(),
            since,
            until,
            around: Duration::from_secs(2 * 24 * 60 * 60),
            is_complete: false,
            fields: None,
        }
    }

    /// How far around the period an item of theirs is looked for: what was begun before midnight may stand in the list
    /// of the next day. Default: two days.
    #[must_use]
    pub fn around(mut self, around: Duration) -> Reconcile {
        self.around = around;
        self
    }

    /// Their list has everything that they did in the period: then what is in doubt and not on it was not done, and may
    /// be tried again. Wrong, and it is done twice. Default: an item that is missing proves nothing.
    #[must_use]
    pub fn list_is_complete(mut self) -> Reconcile {
        self.is_complete = true;
        self
    }

    /// What our dispatches say, to be compared with the fields of their items: only names that both have.
    #[must_use]
    pub fn our_fields(
        mut self,
        fields: impl Fn(&DispatchEntry) -> BTreeMap<String, String> + Send + Sync + 'static,
    ) -> Reconcile {
        self.fields = Some(Arc::new(fields));
        self
    }
}

/// What a comparison came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Compared {
    /// Both say that it was done, and the same.
    Matched,
    /// We hold that it was done, and their list does not have it.
    OnlyOurs,
    /// Their list has it, and we know of no such thing.
    OnlyTheirs,
    /// Both know of it, and say different things: see [`ComparedItem::differs`].
    Differs,
    /// It was not known whether it was done; their list proves it, and that is recorded now.
    ResolvedUnknown,
    /// It is not known whether it was done, and their list does not prove it.
    StillUnknown,
}

impl Compared {
    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Compared::Matched => "matched",
            Compared::OnlyOurs => "only_ours",
            Compared::OnlyTheirs => "only_theirs",
            Compared::Differs => "differs",
            Compared::ResolvedUnknown => "resolved_unknown",
            Compared::StillUnknown => "still_unknown",
        }
    }
}

/// In what an item differs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The name of the field; `state` when we hold that they did not do it, `times` when their list has it twice,
    /// `reference` when they call it something else.
    pub field: String,
    /// What we hold.
    pub ours: String,
    /// What their list says.
    pub theirs: String,
}

/// One item, compared.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ComparedItem {
    /// What the comparison came to.
    pub compared: Compared,
    /// The place of their item in their list, counted from 0.
    pub theirs: Option<usize>,
    /// Our dispatch.
    pub dispatch: Option<Seq>,
    /// The order that it is about.
    pub order: Option<OrderId>,
    /// The token: ours, or theirs.
    pub token: String,
    /// The reference: theirs, or ours.
    pub reference: Vec<u8>,
    /// In what they differ.
    pub differs: Vec<Difference>,
}

/// What came of a reconciliation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Reconciliation {
    /// Their items in the order of their list, then ours that it does not have, by dispatch.
    pub items: Vec<ComparedItem>,
}

impl Reconciliation {
    /// How many items came to this.
    #[must_use]
    pub fn count(&self, compared: Compared) -> usize {
        self.items.iter().filter(|item| item.compared == compared).count()
    }

    /// Whether both sides say the same about everything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let fine = [Compared::Matched, Compared::ResolvedUnknown];
        self.items.iter().all(|item| fine.contains(&item.compared) && item.differs.is_empty())
    }
}

impl Ledger {
    /// Compares what we hold with what a provider says it has done in a period, and records what its list proves about
    /// dispatches that are in doubt.
    ///
    /// **Durability**: on `Ok` what was resolved is on disk. **A repeat** with the same list records nothing.
    ///
    /// May be called beside an [`Outbox`](crate::Outbox). A dispatch that a provider is being told about at this moment
    /// is left alone.
    ///
    /// **Cost**: reads the log of the period and of the time around it; memory for each dispatch of the route in it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a period that ends before it begins or a name that can't be;
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`]; those of writing, when something was to be resolved: what was before
    /// is recorded, and the same call goes on.
    ///
    /// ```
    /// use order_ledger::{Compared, Ledger, Reconcile, TheirItem, Timestamp};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let (since, until) = (Timestamp::from_unix_ns(0), Timestamp::from_unix_ns(u64::MAX));
    /// let theirs = [TheirItem { token: "00ff".into(), ..TheirItem::default() }];
    /// let period = Reconcile::new("payment", "acme-pay", since, until);
    /// let compared = ledger.reconcile(&period, &theirs)?;
    /// assert_eq!(compared.items[0].compared, Compared::OnlyTheirs);
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    pub fn reconcile(&self, period: &Reconcile, theirs: &[TheirItem]) -> Result<Reconciliation> {
        let invalid = |what: &str| Err(Error::new(ErrorKind::Invalid { what: what.to_owned() }));
        if period.since > period.until {
            return invalid("the period ends before it begins");
        }
        if !is_consumer_name(&period.route) || !is_consumer_name(&period.provider) {
            return invalid("the route or the provider has no valid name");
        }
        Comparing::begin(self, period)?.compare(theirs)
    }
}

/// One of our dispatches, as far as the period knows it.
struct Ours {
    order: OrderId,
    token: String,
    /// When the provider was told last.
    told_at: Option<Timestamp>,
    /// The item of theirs that it was found by.
    theirs: Option<usize>,
}

struct Comparing<'a> {
    committer: &'a Arc<Committer>,
    opened_next: Seq,
    period: &'a Reconcile,
    ours: BTreeMap<Seq, Ours>,
    by_token: HashMap<String, Seq>,
    by_reference: HashMap<Vec<u8>, Seq>,
}

impl<'a> Comparing<'a> {
    /// Reads the period.
    fn begin(ledger: &'a Ledger, period: &'a Reconcile) -> Result<Comparing<'a>> {
        let (committer, opened_next) = (ledger.committer(), ledger.opened_next());
        let (ours, by_token, by_reference) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        let mut comparing =
            Comparing { committer, opened_next, period, ours, by_token, by_reference };
        let log = &committer.lookup.log;
        let around_ns = u64::try_from(period.around.as_nanos()).unwrap_or(u64::MAX);
        let since = Timestamp::from_unix_ns(period.since.as_unix_ns().saturating_sub(around_ns));
        let until = Timestamp::from_unix_ns(period.until.as_unix_ns().saturating_add(around_ns));
        let end = log.seq_at(until)?;
        let mut cursor = log.cursor(log.seq_at(since)?);
        while cursor.position() < end
            && let Some(record) = cursor.next()?
        {
            let body = record.body()?;
            if let Some(pursued) = body.pursued() {
                comparing.put(pursued.dispatch())?;
                let is_told = pursued.what == ATTEMPT && pursued.provider == period.provider;
                if let Some(ours) = comparing.ours.get_mut(&pursued.dispatch())
                    && is_told
                {
                    ours.told_at = Some(record.at);
                }
            }
        }
        Ok(comparing)
    }

    /// Puts a dispatch among ours, if it is of the route.
    fn put(&mut self, dispatch: Seq) -> Result<()> {
        if self.ours.contains_key(&dispatch) {
            return Ok(());
        }
        let Some(found) = self.committer.lookup.dispatch(dispatch)? else { return Ok(()) };
        let is_ours =
            found.record.body()?.dispatched().is_some_and(|it| it.route == self.period.route);
        if !is_ours {
            return Ok(());
        }
        let issuer = self.committer.lookup.log.issuer;
        let order = OrderId::new(issuer.partition, found.order);
        let token = Token::of(issuer.ledger, order, dispatch, &self.period.provider).to_string();
        self.by_token.insert(token.clone(), dispatch);
        if let Progress::Sent(Sent::Done { reference }) = found.course.progress
            && found.course.provider == self.period.provider
        {
            self.by_reference.insert(reference, dispatch);
        }
        self.ours.insert(dispatch, Ours { order, token, told_at: None, theirs: None });
        Ok(())
    }

    fn compare(mut self, theirs: &[TheirItem]) -> Result<Reconciliation> {
        let mut items = Vec::with_capacity(theirs.len());
        for (index, item) in theirs.iter().enumerate() {
            let by_token = self.by_token.get(&item.token.to_ascii_lowercase());
            let by_reference = || self.by_reference.get(&item.reference);
            let found = match item.token.is_empty() {
                true if item.reference.is_empty() => None,
                true => by_reference(),
                false => by_token,
            };
            items.push(match found.copied() {
                Some(dispatch) => self.compare_one(index, item, dispatch)?,
                None => ComparedItem {
                    compared: Compared::OnlyTheirs,
                    theirs: Some(index),
                    dispatch: None,
                    order: None,
                    token: item.token.clone(),
                    reference: item.reference.clone(),
                    differs: Vec::new(),
                },
            });
        }
        for (dispatch, ours) in &self.ours {
            let is_in_period = |at: Timestamp| at >= self.period.since && at < self.period.until;
            if ours.theirs.is_none() && ours.told_at.is_some_and(is_in_period) {
                items.extend(self.missing(*dispatch, ours)?);
            }
        }
        Ok(Reconciliation { items })
    }

    /// An item of theirs and the dispatch that it is about.
    fn compare_one(
        &mut self,
        index: usize,
        item: &TheirItem,
        dispatch: Seq,
    ) -> Result<ComparedItem> {
        let provider = &self.period.provider;
        let (mut differs, mut compared) = (Vec::new(), Compared::Matched);
        let mut differ = |field: &str, ours: String, theirs: String| {
            differs.push(Difference { field: field.to_owned(), ours, theirs });
        };
        let found = loop {
            let mut found = self.found(dispatch)?;
            if !self.is_in_doubt(&found) {
                break found;
            }
            found.course.doubt.clone_from(provider);
            let done = Sent::Done { reference: item.reference.clone() };
            let after = settled(&found.course, done);
            if self.committer.pursue(&found, &after, Witness::TheirList)?.is_some() {
                compared = Compared::ResolvedUnknown;
                found.course = after;
                break found;
            }
            // Somebody else was there first: by what is recorded now.
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match &found.course.progress {
            Progress::Sent(Sent::Done { reference }) if found.course.provider == *provider => {
                let both = !reference.is_empty() && !item.reference.is_empty();
                if both && *reference != item.reference {
                    differ("reference", text(reference), text(&item.reference));
                }
            }
            _ => {
                let state = found.course.state().name();
                let by = match found.course.provider.as_str() {
                    "" => state.to_owned(),
                    by => format!("{state} ({by})"),
                };
                differ("state", by, "done".to_owned());
            }
        }
        let lookup = &self.committer.lookup;
        if let Some(fields) = &self.period.fields {
            let entry = lookup.dispatch_entry(found, self.opened_next)?;
            for (name, ours) in fields(&entry) {
                match item.fields.get(&name) {
                    Some(theirs) if *theirs != ours => differ(&name, ours, theirs.clone()),
                    _ => {}
                }
            }
        }
        let Some(ours) = self.ours.get_mut(&dispatch) else {
            return Err(Error::new(ErrorKind::NoSuchDispatch { dispatch }));
        };
        if ours.theirs.replace(index).is_some() {
            differ("times", "1".to_owned(), "2 or more".to_owned());
        }
        if !differs.is_empty() && compared == Compared::Matched {
            compared = Compared::Differs;
        }
        Ok(ComparedItem {
            compared,
            theirs: Some(index),
            dispatch: Some(dispatch),
            order: Some(ours.order),
            token: ours.token.clone(),
            reference: item.reference.clone(),
            differs,
        })
    }

    /// A dispatch that the provider was told in the period, and that its list does not have.
    fn missing(&self, dispatch: Seq, ours: &Ours) -> Result<Option<ComparedItem>> {
        let provider = &self.period.provider;
        let mut found = self.found(dispatch)?;
        let (compared, reference) = match &found.course.progress {
            Progress::Sent(Sent::Done { reference }) if found.course.provider == *provider => {
                (Compared::OnlyOurs, reference.clone())
            }
            _ if self.is_in_doubt(&found) => {
                let mut compared = Compared::StillUnknown;
                if self.period.is_complete && found.course.lane() == Some(Lane::Open) {
                    found.course.doubt.clone_from(provider);
                    let why = "the list of the provider does not have it".to_owned();
                    let after = settled(&found.course, Sent::NotSent { why });
                    if self.committer.pursue(&found, &after, Witness::TheirList)?.is_some() {
                        compared = Compared::ResolvedUnknown;
                    }
                }
                (compared, Vec::new())
            }
            // Both agree: it was not done.
            _ => return Ok(None),
        };
        Ok(Some(ComparedItem {
            compared,
            theirs: None,
            dispatch: Some(dispatch),
            order: Some(ours.order),
            token: ours.token.clone(),
            reference,
            differs: Vec::new(),
        }))
    }

    fn found(&self, dispatch: Seq) -> Result<Found> {
        let mut found = self.committer.find_dispatch(dispatch)?;
        if found.course.newest < self.opened_next {
            found.course = found.course.cut_off();
        }
        Ok(found)
    }

    /// Whether it is not known whether this provider has done it.
    fn is_in_doubt(&self, found: &Found) -> bool {
        let is_done = found.course.lane().is_none();
        found.course.doubt == self.period.provider
            && !is_done
            && found.course.progress != Progress::Attempt
    }
}
