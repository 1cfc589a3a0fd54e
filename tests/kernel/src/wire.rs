//! What the child tells the parent, through a pipe: frames that are written whole or not at all.
//!
//! A frame is at most 512 bytes (below PIPE_BUF), so that a kill never leaves half of one. The parent
//! holds the other end and is never killed: what came through is acknowledged.

use std::io::{self, Read};

use order_ledger::{Certainty, Error, ErrorKind, How, Receipt};

pub type ReceiptBytes = [u8; Receipt::BYTES];

/// What happened in the child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Opening,
    /// Open, after so many key tables were built from their segments.
    Opened {
        tables_rebuilt: u16,
    },
    /// The views have caught up with the log for the first time since the opening.
    ViewsReady,
    /// An order was acknowledged.
    Acked {
        index: u64,
        fresh: bool,
        receipt: ReceiptBytes,
    },
    /// A submit failed and nothing is recorded.
    NotRecorded {
        index: u64,
        kind: Kind,
    },
    /// A submit failed and the outcome is unknown.
    InDoubt {
        index: u64,
    },
    Closing,
    Closed,
    /// Opening failed. `by_the_system`: the operating system said no, and the ledger only says so.
    Refused {
        by_the_system: bool,
        why: String,
    },
    /// Something that must never happen, seen by the child.
    Wrong(String),
    /// Nothing more comes.
    Done,
}

/// The kinds of error that a submit may end in without anything recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    DiskLow = 1,
    Poisoned = 2,
    Overloaded = 3,
    Io = 4,
    Other = 5,
}

impl Kind {
    pub fn of(error: &Error) -> Kind {
        match error.kind() {
            ErrorKind::DiskLow { .. } => Kind::DiskLow,
            ErrorKind::Poisoned { .. } => Kind::Poisoned,
            ErrorKind::Overloaded { .. } => Kind::Overloaded,
            ErrorKind::Io { .. } => Kind::Io,
            _ => Kind::Other,
        }
    }

    fn from_number(number: u8) -> Kind {
        match number {
            1 => Kind::DiskLow,
            2 => Kind::Poisoned,
            3 => Kind::Overloaded,
            4 => Kind::Io,
            _ => Kind::Other,
        }
    }
}

/// The event that the outcome of a submit is.
pub fn event_of(index: u64, result: &order_ledger::Result<order_ledger::Outcome>) -> Event {
    match result {
        Ok(outcome) => Event::Acked {
            index,
            fresh: outcome.how == How::Fresh,
            receipt: outcome.receipt.to_bytes(),
        },
        Err(error) => match error.certainty() {
            Certainty::NotRecorded => Event::NotRecorded { index, kind: Kind::of(error) },
            Certainty::Unknown => Event::InDoubt { index },
            Certainty::Recorded(_) => Event::Wrong(format!("order {index:#x}: {error}")),
        },
    }
}

const TEXT_MAX: usize = 480;

impl Event {
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(96);
        let text = |body: &mut Vec<u8>, text: &str| {
            body.extend(text.bytes().take(TEXT_MAX));
        };
        match self {
            Event::Opening => body.push(1),
            Event::Opened { tables_rebuilt } => {
                body.push(2);
                body.extend(tables_rebuilt.to_le_bytes());
            }
            Event::ViewsReady => body.push(11),
            Event::Acked { index, fresh, receipt } => {
                body.extend([3, u8::from(*fresh)]);
                body.extend(index.to_le_bytes());
                body.extend(receipt);
            }
            Event::NotRecorded { index, kind } => {
                body.extend([4, *kind as u8]);
                body.extend(index.to_le_bytes());
            }
            Event::InDoubt { index } => {
                body.push(5);
                body.extend(index.to_le_bytes());
            }
            Event::Closing => body.push(6),
            Event::Closed => body.push(7),
            Event::Refused { by_the_system, why } => {
                body.extend([8, u8::from(*by_the_system)]);
                text(&mut body, why);
            }
            Event::Wrong(what) => {
                body.push(9);
                text(&mut body, what);
            }
            Event::Done => body.push(10),
        }
        let length = u16::try_from(body.len()).unwrap_or(0);
        let mut frame = length.to_le_bytes().to_vec();
        frame.extend(body);
        frame
    }

    /// The next event; `None` at the end of the pipe.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Event>> {
        let mut length = [0; 2];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let mut body = vec![0; usize::from(u16::from_le_bytes(length))];
        from.read_exact(&mut body)?;
        Event::decode(&body).map(Some).ok_or_else(|| io::Error::other("a frame that nobody sends"))
    }

    fn decode(body: &[u8]) -> Option<Event> {
        let (tag, rest) = body.split_first()?;
        let index = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(match tag {
            1 => Event::Opening,
            2 => {
                let tables_rebuilt = u16::from_le_bytes(rest.get(..2)?.try_into().ok()?);
                Event::Opened { tables_rebuilt }
            }
            11 => Event::ViewsReady,
            3 => Event::Acked {
                fresh: *rest.first()? == 1,
                index: index(rest.get(1..)?)?,
                receipt: rest.get(9..)?.try_into().ok()?,
            },
            4 => Event::NotRecorded {
                kind: Kind::from_number(*rest.first()?),
                index: index(rest.get(1..)?)?,
            },
            5 => Event::InDoubt { index: index(rest)? },
            6 => Event::Closing,
            7 => Event::Closed,
            8 => Event::Refused { by_the_system: *rest.first()? == 1, why: text(rest.get(1..)?) },
            9 => Event::Wrong(text(rest)),
            10 => Event::Done,
            _ => return None,
        })
    }

    /// Writes the event to the parent. An error means that there is no parent any more.
    pub fn send(&self) -> io::Result<()> {
        let frame = self.encode();
        let written =
            rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stdout(), &frame))?;
        if written == frame.len() {
            Ok(())
        } else {
            Err(io::Error::other("half a frame was written"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back_from_its_frame() {
        let events = [
            Event::Opening,
            Event::Opened { tables_rebuilt: 515 },
            Event::ViewsReady,
            Event::Acked { index: 7, fresh: true, receipt: [9; Receipt::BYTES] },
            Event::NotRecorded { index: u64::MAX, kind: Kind::Poisoned },
            Event::InDoubt { index: 3 },
            Event::Closing,
            Event::Closed,
            Event::Refused { by_the_system: true, why: "no".into() },
            Event::Wrong("odd".into()),
            Event::Done,
        ];
        let bytes: Vec<u8> = events.iter().flat_map(Event::encode).collect();
        let mut from = bytes.as_slice();
        for event in &events {
            assert_eq!(Event::read(&mut from).ok().flatten().as_ref(), Some(event));
        }
        assert_eq!(Event::read(&mut from).ok(), Some(None));
    }

    #[test]
    fn no_frame_is_longer_than_a_pipe_writes_at_once() {
        assert!(Event::Wrong("x".repeat(10_000)).encode().len() <= 512);
    }
}
