//! Is the client or the account of a submission held?
//!
//! The tables only give hints: each record is read from the log and the names in it are compared. Always true: of
//! each scope (a client, an account of a client, an account of any client) the newest record that may be read
//! counts, and a hold of any of the three stands in the way.

use std::collections::BTreeMap;

use super::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::limits::{
    ACCOUNT_BYTES_MAX, AUTHOR_BYTES_MAX, CLIENT_BYTES_MAX, REASON_BYTES_MAX,
};
use crate::order::{Hold, HoldEntry, Refusal, Seq};
use crate::wal::log::Record;
use crate::wal::record::{Body, Held};

/// Checks the limits of a hold.
///
/// # Errors
/// `Invalid`; nothing is recorded.
pub(crate) fn check(hold: &Hold) -> Result<()> {
    let invalid = |what: String| Err(Error::new(ErrorKind::Invalid { what }));
    for (name, bytes, max) in [
        ("client", hold.client.len(), CLIENT_BYTES_MAX),
        ("account", hold.account.len(), ACCOUNT_BYTES_MAX),
        ("reason", hold.reason.len(), REASON_BYTES_MAX),
        ("by", hold.by.len(), AUTHOR_BYTES_MAX),
    ] {
        if bytes > max {
            return invalid(format!("{name} has {bytes} bytes; allowed are 0 to {max}"));
        }
    }
    match hold.client.is_empty() && hold.account.is_empty() {
        true => invalid("a hold names a client, an account, or both".to_owned()),
        false => Ok(()),
    }
}

/// Why an order is refused that this hold stands in the way of.
pub(crate) fn refusal(hold: HoldEntry) -> Refusal {
    Refusal { code: Refusal::HELD, reason: hold.reason }
}

impl Lookup {
    /// The hold that stands in the way of an order of this client for this account, if one does: the client's
    /// first, then that of its account, then that of the account anywhere.
    ///
    /// **Cost**: nothing in a ledger that never had a hold; else a look into the tables for each of the three,
    /// and a read of the log for each that there ever was.
    ///
    /// # Errors
    /// `Io` or `Corrupt`: then it is not known.
    pub(crate) fn hold_on(&self, client: &[u8], account: &[u8]) -> Result<Option<HoldEntry>> {
        if !self.log.has_holds() {
            return Ok(None);
        }
        let of_account = [(client, account), (&[][..], account)];
        // Without an account there is only the client's.
        let of_account = of_account.into_iter().filter(|_| !account.is_empty());
        for (client, account) in [(client, &[][..])].into_iter().chain(of_account) {
            let hold = self.hold_of(client, account)?;
            if let Some(hold) = hold.filter(|hold| hold.holds).map(|hold| hold.entry) {
                return Ok(Some(hold));
            }
        }
        Ok(None)
    }

    /// What was said last about exactly this scope.
    pub(crate) fn hold_of(&self, client: &[u8], account: &[u8]) -> Result<Option<HoldSaid>> {
        let hash = self.tables.hasher().hold(client, account);
        let found = self.newest_of(Seq::FIRST, hash, |body| match body {
            Body::Held(held) => (held.client == client && held.account == account).then_some(()),
            _ => None,
        })?;
        let Some((record, ())) = found else { return Ok(None) };
        said(&record)
    }

    /// The holds that are in force, in the order in which they were set.
    ///
    /// **Cost**: a read of the log for each hold and each release that there ever was.
    pub(crate) fn holds(&self) -> Result<Vec<HoldEntry>> {
        if !self.log.has_holds() {
            return Ok(Vec::new());
        }
        let mut scopes = BTreeMap::new();
        // Newest first: what is said last counts.
        for seq in self.tables.candidates(&self.log, self.tables.hasher().holds())? {
            let Some(record) = self.log.read(seq)? else { continue };
            let Some(HoldSaid { holds, entry }) = said(&record)? else { continue };
            let scope = (entry.client.clone(), entry.account.clone());
            scopes.entry(scope).or_insert(holds.then_some(entry));
        }
        let mut holds: Vec<_> = scopes.into_values().flatten().collect();
        holds.sort_by_key(|hold: &HoldEntry| hold.seq);
        Ok(holds)
    }
}

/// What a record says about a scope.
#[derive(Debug)]
pub(crate) struct HoldSaid {
    /// Or it is released.
    pub(crate) holds: bool,
    pub(crate) entry: HoldEntry,
}

fn said(record: &Record) -> Result<Option<HoldSaid>> {
    let Body::Held(Held { client, account, holds, reason, by }) = record.body()? else {
        return Ok(None);
    };
    let entry = HoldEntry {
        seq: record.seq,
        at: record.at,
        client: client.to_vec(),
        account: account.to_vec(),
        reason: reason.to_owned(),
        by: by.to_vec(),
    };
    Ok(Some(HoldSaid { holds, entry }))
}
