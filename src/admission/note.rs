//! Decides about a note, or about what resolves one; and finds the notes of an order.
//!
//! The order of the checks is fixed: the order exists, command key, the note to be resolved exists and asks for
//! it, it is not resolved yet. Looks at committed state only: whoever asks has made sure that no other command of
//! the order is on its way.
//!
//! A note is found by its order, under a key that steps do not share: where an order stands costs the same,
//! however much was noted about it. What resolves a note is found by the note.

use super::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{
    Event, Field, How, Note, NoteEntry, Noted, OrderId, Resolution, ResolutionEntry, Seq,
};
use crate::wal::log::Record;
use crate::wal::record::{RESOLUTION, Remark};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    Note(&'a Note),
    Resolution(&'a Resolution),
}

impl<'a> Wanted<'a> {
    pub(crate) fn order(self) -> OrderId {
        match self {
            Wanted::Note(note) => note.order,
            Wanted::Resolution(resolution) => resolution.order,
        }
    }

    /// The body that records it.
    pub(crate) fn remark(self) -> Remark<'a> {
        match self {
            Wanted::Note(note) => Remark {
                order: note.order.seq().0,
                kind: note.kind.number(),
                asks: note.asks,
                resolves: None,
                author: &note.author,
                command_key: &note.command_key,
                text: &note.text,
            },
            Wanted::Resolution(resolution) => Remark {
                order: resolution.order.seq().0,
                kind: RESOLUTION,
                asks: false,
                resolves: Some(resolution.note.0),
                author: &resolution.author,
                command_key: &resolution.command_key,
                text: &resolution.text,
            },
        }
    }
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Nothing: it was recorded before.
    Known(Noted),
    /// It is to be recorded.
    Take,
}

/// Decides by what is committed.
///
/// # Errors
/// `NoSuchOrder`, `CommandConflict`, `NoOpenNote`; `Io` or `Corrupt` when it is not known.
pub(crate) fn decide(lookup: &Lookup, wanted: Wanted<'_>) -> Result<Decision> {
    let id = wanted.order();
    if !lookup.is_order(id)? {
        return Err(Error::new(ErrorKind::NoSuchOrder { order: id }));
    }
    let known =
        |record: &Record| Noted { order: id, seq: record.seq, at: record.at, how: How::Replayed };
    let remark = wanted.remark();
    if !remark.command_key.is_empty()
        && let Some(record) = lookup.command(id.seq(), remark.command_key)?
    {
        let differs = differs(&remark, &record)?;
        return match differs.is_empty() {
            true => Ok(Decision::Known(known(&record))),
            false => Err(Error::new(ErrorKind::CommandConflict { seq: record.seq, differs })),
        };
    }
    let Some(note) = remark.resolves() else { return Ok(Decision::Take) };
    if !lookup.asks(note, id.seq())? {
        return Err(Error::new(ErrorKind::NoOpenNote { note, resolved_by: None }));
    }
    match lookup.resolution_of(note)? {
        None => Ok(Decision::Take),
        Some(record) if remark.command_key.is_empty() => Ok(Decision::Known(known(&record))),
        // Another command: it has resolved nothing, and must not be told that it had.
        Some(record) => {
            Err(Error::new(ErrorKind::NoOpenNote { note, resolved_by: Some(record.seq) }))
        }
    }
}

/// In what a command differs from the one that was recorded under its key.
fn differs(wanted: &Remark<'_>, record: &Record) -> Result<Vec<Field>> {
    let body = record.body()?;
    let Some(found) = body.remark() else { return Ok(vec![Field::Command]) };
    let sort = |remark: &Remark<'_>| (remark.kind, remark.asks, remark.resolves);
    let same = [
        (Field::Command, sort(found) == sort(wanted)),
        (Field::Author, found.author == wanted.author),
        (Field::Text, found.text == wanted.text),
    ];
    Ok(same.into_iter().filter_map(|(field, same)| (!same).then_some(field)).collect())
}

impl Lookup {
    /// Whether there is an order with this id.
    pub(super) fn is_order(&self, id: OrderId) -> Result<bool> {
        if id.partition() != self.log.issuer.partition {
            return Ok(false);
        }
        let Some(record) = self.log.read(id.seq())? else { return Ok(false) };
        Ok(record.body()?.submitted().is_some())
    }

    /// Whether there is a note of this order at `note` that was to be resolved.
    fn asks(&self, note: Seq, order: Seq) -> Result<bool> {
        let Some(record) = self.log.read(note)? else { return Ok(false) };
        let body = record.body()?;
        Ok(body.remark().is_some_and(|remark| remark.asks && remark.order() == order))
    }

    /// The record that resolves a note, if it was resolved.
    pub(crate) fn resolution_of(&self, note: Seq) -> Result<Option<Record>> {
        let hash = self.tables.hasher().resolution_of(note);
        let found = self.newest_of(note, hash, |body| {
            body.remark().filter(|remark| remark.resolves() == Some(note)).map(|_| ())
        })?;
        Ok(found.map(|(record, ())| record))
    }

    /// The notes of an order, first to last.
    ///
    /// **Cost**: a read for each note, and one more for what resolves it.
    pub(crate) fn notes(&self, order: Seq) -> Result<Vec<NoteEntry>> {
        let mut notes = Vec::new();
        for record in self.note_records(order)? {
            notes.extend(self.note_entry(&record)?);
        }
        Ok(notes)
    }

    /// The note that a record is, with what resolves it; `None` when it is no note.
    pub(crate) fn note_entry(&self, record: &Record) -> Result<Option<NoteEntry>> {
        let body = record.body()?;
        let Some((remark, kind)) = body.remark().and_then(|it| Some((it, it.kind()?))) else {
            return Ok(None);
        };
        let resolution = match remark.asks {
            true => self.resolution_of(record.seq)?,
            false => None,
        };
        let resolution = resolution.map(|found| resolution_entry(&found)).transpose()?.flatten();
        Ok(Some(NoteEntry {
            order: OrderId::new(self.log.issuer.partition, remark.order()),
            seq: record.seq,
            at: record.at,
            kind,
            asks: remark.asks,
            author: remark.author.to_vec(),
            text: remark.text.to_vec(),
            resolution,
        }))
    }

    /// Adds what was noted about an order, and what resolved it, to what else happened to it.
    pub(super) fn add_notes(&self, order: Seq, events: &mut Vec<Event>) -> Result<()> {
        let before = events.len();
        for record in self.note_records(order)? {
            let body = record.body()?;
            events.extend(self.log.issuer.event(&record.frame(), &body));
            if body.remark().is_some_and(|remark| remark.asks)
                && let Some(found) = self.resolution_of(record.seq)?
            {
                events.extend(self.log.issuer.event(&found.frame(), &found.body()?));
            }
        }
        if events.len() > before {
            events.sort_by_key(|event| event.seq);
        }
        Ok(())
    }

    /// The records of the notes of an order, first to last.
    fn note_records(&self, order: Seq) -> Result<Vec<Record>> {
        // A ledger without notes does not pay for them.
        if !self.log.has_notes() {
            return Ok(Vec::new());
        }
        let hash = self.tables.hasher().notes_of(order);
        let mut records = Vec::new();
        for seq in self.tables.candidates_since(&self.log, order, hash)?.into_iter().rev() {
            let Some(record) = self.log.read(seq)? else { continue };
            let body = record.body()?;
            let is_note = |it: &Remark<'_>| it.order() == order && it.kind().is_some();
            if body.remark().is_some_and(is_note) {
                records.push(record);
            }
        }
        Ok(records)
    }
}

fn resolution_entry(record: &Record) -> Result<Option<ResolutionEntry>> {
    let body = record.body()?;
    Ok(body.remark().map(|remark| ResolutionEntry {
        seq: record.seq,
        at: record.at,
        author: remark.author.to_vec(),
        text: remark.text.to_vec(),
    }))
}
