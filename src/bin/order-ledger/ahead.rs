//! The input of the commands that take lines, and the thread that reads ahead in it.
//!
//! Always true: what was read and not yet handed to the ledger stays within [`BUDGET_BYTES`] (one line
//! may exceed it alone); a line that says nothing useful never keeps the next one from being read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use parking_lot::{Condvar, Mutex};

use crate::errors::Failure;
use crate::lines::{Lines, RawLine};

/// Bytes of lines that may wait.
const BUDGET_BYTES: usize = 32 * 1024 * 1024;
/// Lines that may wait.
const LINES_AHEAD: usize = 4096;
/// Lines, and bytes of them, that are handed to the ledger at once.
const BATCH_LINES_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a line costs beside its bytes.
const LINE_OVERHEAD_BYTES: usize = 64;

/// What the reading thread hands over.
pub(crate) enum Item<T> {
    Line(Line<T>),
    /// The input ended with an error.
    Failed(io::Error),
}

/// One line that is not empty.
pub(crate) struct Line<T> {
    /// From 1; empty lines count.
    pub(crate) number: u64,
    /// Bytes that it counts for.
    pub(crate) bytes: usize,
    /// Where it ended in the input.
    pub(crate) end: u64,
    pub(crate) said: T,
}

/// How much memory the lines may take that wait.
#[derive(Default)]
pub(crate) struct Budget {
    taken: Mutex<usize>,
    given_back: Condvar,
}

impl Budget {
    /// Waits until there is room. One line alone always has.
    fn take(&self, bytes: usize) {
        let mut taken = self.taken.lock();
        while *taken > 0 && *taken + bytes > BUDGET_BYTES {
            self.given_back.wait(&mut taken);
        }
        *taken += bytes;
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        let mut taken = self.taken.lock();
        *taken = taken.saturating_sub(bytes);
        self.given_back.notify_one();
    }
}

/// The input that is named, and how many bytes it has; `-` is standard input, which does not tell.
pub(crate) fn open(path: &Path) -> Result<(Box<dyn Read + Send>, u64), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let opened = File::open(path).and_then(|file| {
        let about = file.metadata()?;
        match about.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok((file, about.len())),
        }
    });
    match opened {
        Ok((file, bytes)) => Ok((Box::new(file), bytes)),
        Err(error) => Err(Failure::Usage {
            what: format!("{}: {error}", path.display()),
            advice: "check the path of the input; no ledger was opened".into(),
        }),
    }
}

/// Starts the thread that reads `input` to its end, and hands over what `hear` makes of each line; of one
/// with more than `line_bytes_max` it only hears that.
pub(crate) fn read<T: Send + 'static>(
    input: Box<dyn Read + Send>,
    line_bytes_max: usize,
    budget: Arc<Budget>,
    hear: impl Fn(Result<&[u8], String>) -> T + Send + 'static,
) -> Result<Receiver<Item<T>>, Failure> {
    let (sender, receiver) = sync_channel(LINES_AHEAD);
    let lines = Lines::new(BufReader::with_capacity(256 * 1024, input), line_bytes_max);
    // Not joined: when the output is closed it may wait for input that never comes.
    std::thread::Builder::new()
        .name("input".into())
        .spawn(move || hand_over(lines, &budget, &hear, &sender))
        .map_err(|error| Failure::io("starting a thread", error))?;
    Ok(receiver)
}

/// Has `take` work off the lines, as many at once as are waiting, until the input ends; answers the error that it
/// ended with, if it did.
pub(crate) fn in_batches<T>(
    items: &Receiver<Item<T>>,
    budget: &Budget,
    mut take: impl FnMut(Vec<Line<T>>) -> Result<(), Failure>,
) -> Result<Option<io::Error>, Failure> {
    let mut input_error = None;
    loop {
        // Waits for the first line only; whatever has arrived with it goes along.
        let Ok(first) = items.recv() else { return Ok(input_error) };
        let (mut batch, mut bytes, mut next) = (Vec::new(), 0, Ok(first));
        loop {
            match next {
                Ok(Item::Line(line)) => {
                    bytes += line.bytes;
                    batch.push(line);
                }
                Ok(Item::Failed(error)) => input_error = Some(error),
                // The end is seen again by the waiting look.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
            if batch.len() >= BATCH_LINES_MAX || bytes >= BATCH_BYTES_MAX {
                break;
            }
            next = items.try_recv();
        }
        take(batch)?;
        budget.give_back(bytes);
    }
}

fn hand_over<T>(
    mut lines: Lines<BufReader<Box<dyn Read + Send>>>,
    budget: &Budget,
    hear: &impl Fn(Result<&[u8], String>) -> T,
    sender: &SyncSender<Item<T>>,
) {
    for number in 1.. {
        let line = match lines.next() {
            Ok(None) => return,
            Ok(Some(line)) => line,
            Err(error) => {
                // Nobody listens any more only when the program is about to end.
                drop(sender.send(Item::Failed(error)));
                return;
            }
        };
        let (said, bytes) = match &line {
            RawLine::TooLong(bytes) => {
                let why =
                    format!("the line has {bytes} bytes; allowed are {}", lines.line_bytes_max);
                (hear(Err(why)), 0)
            }
            RawLine::Text(text) => {
                let text = match (number, text.strip_prefix(b"\xef\xbb\xbf")) {
                    // Some editors put a byte order mark in front of a file.
                    (1, Some(behind)) => behind,
                    _ => text,
                };
                if text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                (hear(Ok(text)), text.len())
            }
        };
        let bytes = bytes + LINE_OVERHEAD_BYTES;
        budget.take(bytes);
        let line = Line { number, bytes, end: lines.position, said };
        if sender.send(Item::Line(line)).is_err() {
            return;
        }
    }
}
