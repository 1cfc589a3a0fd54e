//! What a damaged ledger may say, and what not.
//!
//! It may refuse, at opening or where the damage is read; or it may show everything that it was told.
//! Everything else is silent loss, with one limit that is stated: a log whose *last group* is damaged
//! before a seal or a witness proves it looks like one that was torn by a power cut, so the group is cut
//! (and the report of opening says so). Such a case has a class of its own, and must prove that it is
//! one: the damage lies in the unproven end, what is left is the log up to a group's boundary, and
//! nothing that the witness has seen is missing.

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{ErrorKind, How, Ledger, Order, Reader, Soundness, verify_on};

use super::specimen::{Specimen, WITNESS};

/// What became of a damaged ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Verdict {
    /// Every order is there, every key replays.
    Same,
    /// Opening refuses.
    RefusedAtOpening,
    /// Reading the damaged place refuses; everything else is there.
    RefusedWhereRead,
    /// The limit: the last group, unproven, was damaged and is cut.
    LimitLastGroup,
    /// The limit once more: the damage also took what the last group proved, up to the witness.
    LimitBehindWitness,
}

impl Verdict {
    /// As a field of the result.
    pub(super) fn name(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::RefusedAtOpening => "refused_at_opening",
            Verdict::RefusedWhereRead => "refused_where_read",
            Verdict::LimitLastGroup => "limit_last_group",
            Verdict::LimitBehindWitness => "limit_behind_witness",
        }
    }
}

/// How a refusal may be worded.
fn is_stated(kind: &ErrorKind) -> bool {
    use ErrorKind::{Corrupt, LogLostData, NewerFormat, NotALedger};
    matches!(kind, Corrupt(_) | LogLostData { .. } | NewerFormat { .. } | NotALedger { .. })
}

/// Judges the damaged `disk`. An error is a silent loss, or a lie about it. `thorough`: a reader looks as
/// well, and every order is submitted once more, where otherwise only its key is asked for.
pub(super) fn judge(
    of: &Specimen,
    disk: &SimDisk,
    host: &SimHost,
    thorough: bool,
) -> Result<Verdict, String> {
    let tail_touched = is_tail_touched(of, disk);
    let witness_next = match disk.read_durable(WITNESS) {
        Ok(found) if found == of.content(WITNESS) => of.witness_next,
        _ => 1,
    };
    let sound = match verify_on(disk.as_disk(), host, &mut |_, _| {}) {
        Ok(report) => report.soundness() == Soundness::Sound,
        Err(error) if is_stated(error.kind()) => false,
        Err(error) => return Err(format!("verify: {error}")),
    };
    let seen = if thorough { Some(read(of, disk, host)?) } else { None };
    let (verdict, found) = match of.options.open_simulated(disk.as_disk(), host.as_host()) {
        Ok(ledger) => look(of, &ledger, thorough)?,
        Err(error) if is_stated(error.kind()) => (Verdict::RefusedAtOpening, None),
        Err(error) => return Err(format!("refused with another error: {error}")),
    };
    // Where one of them refuses they may differ: both were held against the truth.
    if let (Some(Some(seen)), Some(found)) = (seen, found)
        && seen != found
    {
        return Err(format!("a reader shows {seen} orders, the writer {found}"));
    }
    let refused = matches!(verdict, Verdict::RefusedAtOpening | Verdict::RefusedWhereRead);
    if refused && sound {
        return Err(format!("{verdict:?}, and verify says that it is sound"));
    }
    let Some(found) = found.filter(|found| *found < of.orders.len()) else { return Ok(verdict) };
    // Orders are missing and nobody said so: the limit, or silent loss.
    let next = found as u64 + 1;
    let missing = format!("{} of {} orders are missing", of.orders.len() - found, of.orders.len());
    if !tail_touched {
        return Err(format!("{missing}, and the end of the log is not damaged"));
    }
    if next < witness_next {
        return Err(format!("{missing}, and the witness has seen them"));
    }
    match of.group_seqs.iter().position(|seq| *seq == next) {
        Some(group) if group + 1 == of.group_seqs.len() => Ok(Verdict::LimitLastGroup),
        Some(_) => Ok(Verdict::LimitBehindWitness),
        None => Err(format!("{missing}: half of a group")),
    }
}

/// Whether anything of the last segment from its last group on is not as it was.
fn is_tail_touched(of: &Specimen, disk: &SimDisk) -> bool {
    let (path, from) = &of.tail;
    match disk.read_durable(path) {
        Ok(now) => now.get(*from..) != of.content(path).get(*from..),
        Err(_) => true,
    }
}

/// Everything that a reader shows: how many orders, or `None` when it refuses.
fn read(of: &Specimen, disk: &SimDisk, host: &SimHost) -> Result<Option<usize>, String> {
    let reader = match Reader::open_on(disk.as_disk(), host) {
        Ok(reader) => reader,
        Err(error) if is_stated(error.kind()) => return Ok(None),
        Err(error) => return Err(format!("a reader refuses with another error: {error}")),
    };
    match reader.orders().collect::<order_ledger::Result<Vec<Order>>>() {
        Ok(found) if of.orders.starts_with(&found) => Ok(Some(found.len())),
        Ok(_) => Err("a reader shows orders that nobody submitted".into()),
        Err(_) => Ok(None),
    }
}

/// Asks for everything in every way. Answers how many orders the ledger says that it has.
fn look(
    of: &Specimen,
    ledger: &Ledger,
    thorough: bool,
) -> Result<(Verdict, Option<usize>), String> {
    let mut verdict = Verdict::Same;
    let there = match ledger.stats() {
        Ok(stats) => usize::try_from(stats.orders).unwrap_or(usize::MAX),
        Err(error) => return Err(format!("stats fails: {error}")),
    };
    match ledger.orders().collect::<order_ledger::Result<Vec<Order>>>() {
        Ok(found) if of.orders.starts_with(&found) && found.len() == there => {}
        Ok(found) => return Err(format!("{there} orders are shown as {}", found.len())),
        Err(error) if is_stated(error.kind()) => verdict = Verdict::RefusedWhereRead,
        Err(error) => return Err(format!("reading fails with another error: {error}")),
    }
    // Beyond those nothing may be found: that is what missing means.
    for (order, submission) in of.orders.iter().zip(&of.submissions).take(there) {
        match ledger.get(order.id()) {
            Ok(Some(found)) if found == *order => {}
            Ok(found) => return Err(format!("by id, {} is {}", order.id(), found.is_some())),
            Err(_) => verdict = Verdict::RefusedWhereRead,
        }
        match ledger.by_key(&order.client, &order.key) {
            Ok(Some(found)) if found == *order => {}
            Ok(found) => return Err(format!("by key, {} is {}", order.id(), found.is_some())),
            Err(_) => verdict = Verdict::RefusedWhereRead,
        }
        if !thorough {
            continue;
        }
        match ledger.submit(submission) {
            Ok(outcome) if outcome.how == How::Replayed && outcome.receipt == order.receipt => {}
            Ok(outcome) => return Err(format!("{} was taken again: {outcome:?}", order.id())),
            Err(_) => verdict = Verdict::RefusedWhereRead,
        }
    }
    for order in of.orders.iter().skip(there) {
        if let Ok(Some(found)) = ledger.get(order.id()) {
            return Err(format!("{} is there and is not", found.id()));
        }
    }
    if !matches!(ledger.by_key("web", "never submitted"), Ok(None) | Err(_)) {
        return Err("an order that nobody submitted".into());
    }
    Ok((verdict, Some(there)))
}
