//! The bytes of an input as lines of bounded length.
//!
//! Always true: never more than a bound of bytes of a line are in memory; a longer one is read to its end
//! and only counted.

use std::io::{self, BufRead};

use order_ledger::limits::PAYLOAD_BYTES_MAX;

/// Longest line that is an order: the largest payload and generous room for the other fields.
pub(crate) const LINE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 64 * 1024;

/// One line, without its end.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum RawLine {
    Text(Vec<u8>),
    /// How many bytes it had.
    TooLong(u64),
}

/// Reads lines.
pub(crate) struct Lines<R> {
    input: R,
    pub(crate) line_bytes_max: usize,
    /// Bytes read so far.
    pub(crate) position: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R, line_bytes_max: usize) -> Lines<R> {
        Lines { input, line_bytes_max, position: 0 }
    }

    /// The next line; `None` at the end. A last line without an end counts.
    pub(crate) fn next(&mut self) -> io::Result<Option<RawLine>> {
        let (mut text, mut bytes, mut any) = (Vec::new(), 0u64, false);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok(any.then(|| self.finish(text, bytes)));
            }
            any = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            let room = self.line_bytes_max.saturating_sub(text.len());
            text.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            bytes += part.len() as u64;
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            self.position += used as u64;
            if end.is_some() {
                return Ok(Some(self.finish(text, bytes)));
            }
        }
    }

    fn finish(&self, text: Vec<u8>, bytes: u64) -> RawLine {
        match bytes > self.line_bytes_max as u64 {
            true => RawLine::TooLong(bytes),
            false => RawLine::Text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, buffer: usize, bytes_max: usize) -> Vec<RawLine> {
        let input = io::BufReader::with_capacity(buffer, text.as_bytes());
        let mut lines = Lines::new(input, bytes_max);
        let all = std::iter::from_fn(|| lines.next().unwrap()).collect();
        assert_eq!(lines.position, text.len() as u64);
        all
    }

    fn text(text: &str) -> RawLine {
        RawLine::Text(text.into())
    }

    #[test]
    fn a_line_ends_at_its_newline_or_with_the_input() {
        for buffer in 1..9 {
            assert_eq!(lines("one\n\ntwo", buffer, 9), [text("one"), text(""), text("two")]);
            assert_eq!(lines("one\n", buffer, 9), [text("one")]);
            assert_eq!(lines("", buffer, 9), []);
        }
    }

    #[test]
    fn a_line_above_the_limit_is_counted_and_not_kept_and_the_next_one_is_whole() {
        for buffer in 1..9 {
            let found = lines("12345\n123456\n12\n", buffer, 5);
            assert_eq!(found, [text("12345"), RawLine::TooLong(6), text("12")]);
        }
    }
}
