//! The body of the record that sets a lifecycle.

use std::time::Duration;

use bincode::{BorrowDecode, Encode};

use super::BodyError;
use crate::order::lifecycle::{Edge, Lifecycle};
use crate::order::{State, StateRule};

/// A lifecycle. Version 1.
#[derive(Clone, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Table<'a> {
    pub(super) states: Vec<TableState<'a>>,
    pub(super) edges: Vec<TableEdge<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(super) struct TableState<'a> {
    pub(super) number: u8,
    pub(super) name: &'a str,
    pub(super) terminal: bool,
    pub(super) warn_after_ns: Option<u64>,
    pub(super) critical_after_ns: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(super) struct TableEdge<'a> {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) evidence: Vec<&'a str>,
}

impl<'a> Table<'a> {
    pub(super) fn of(lifecycle: &'a Lifecycle) -> Table<'a> {
        let ns = |after: Option<Duration>| {
            after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
        };
        let states = lifecycle.rules().iter().map(|rule| TableState {
            number: rule.state.number(),
            name: &rule.name,
            terminal: rule.terminal,
            warn_after_ns: ns(rule.warn_after),
            critical_after_ns: ns(rule.critical_after),
        });
        let edges = lifecycle.edges().iter().map(|edge| TableEdge {
            from: edge.from,
            to: edge.to,
            evidence: edge.evidence.iter().map(String::as_str).collect(),
        });
        Table { states: states.collect(), edges: edges.collect() }
    }

    /// The lifecycle that was stored, checked as when it was built.
    pub(crate) fn lifecycle(&self) -> Result<Lifecycle, BodyError> {
        let malformed = |what: String| BodyError::Malformed(what);
        let mut states = Vec::with_capacity(self.states.len());
        for row in &self.states {
            let state = State::from_number(row.number)
                .ok_or_else(|| malformed(format!("there is no state {}", row.number)))?;
            states.push(StateRule {
                state,
                name: row.name.to_owned(),
                terminal: row.terminal,
                warn_after: row.warn_after_ns.map(Duration::from_nanos),
                critical_after: row.critical_after_ns.map(Duration::from_nanos),
            });
        }
        let edges = self.edges.iter().map(|row| Edge {
            from: row.from,
            to: row.to,
            evidence: row.evidence.iter().map(|name| (*name).to_owned()).collect(),
        });
        Lifecycle::from_parts(states, edges.collect()).map_err(|error| malformed(error.to_string()))
    }
}
