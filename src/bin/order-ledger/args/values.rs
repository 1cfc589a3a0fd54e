//! What several commands take, and how a text on the command line becomes it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use order_ledger::limits::{
    ACCOUNT_BYTES_MAX, AUTHOR_BYTES_MAX, CLIENT_BYTES_MAX, COMMAND_KEY_BYTES_MAX,
    EXTERNAL_REF_BYTES_MAX, KEY_BYTES_MAX, NOTE_BYTES_MAX,
};
use order_ledger::{OrderId, Receipt, Timestamp};

/// The directory of a ledger.
#[derive(clap::Args, Debug)]
pub(crate) struct Dir {
    /// The directory of the ledger
    #[arg(long = "dir", value_name = "DIR")]
    pub(crate) path: PathBuf,
}

/// How a ledger is opened for writing.
#[derive(clap::Args, Debug)]
pub(crate) struct Opening {
    /// Size of a file of the log, in MiB: 1 to 4095
    #[arg(long, value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=4095))]
    pub(crate) segment_mib: u64,
    /// States and steps of your own, as JSON (examples/lifecycle.json, or what `lifecycle --json` prints):
    /// recorded in the ledger and followed from now on. It must have every state of the one before
    #[arg(long, value_name = "FILE")]
    pub(crate) lifecycle: Option<PathBuf>,
}

/// Opaque bytes, as they were given.
#[derive(Clone, Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

pub(crate) fn client(text: OsString) -> Result<Bytes, String> {
    bounded(text, 1, CLIENT_BYTES_MAX)
}

pub(crate) fn key(text: OsString) -> Result<Bytes, String> {
    bounded(text, 1, KEY_BYTES_MAX)
}

pub(crate) fn command_key(text: OsString) -> Result<Bytes, String> {
    bounded(text, 1, COMMAND_KEY_BYTES_MAX)
}

pub(crate) fn account(text: OsString) -> Result<Bytes, String> {
    bounded(text, 0, ACCOUNT_BYTES_MAX)
}

pub(crate) fn author(text: OsString) -> Result<Bytes, String> {
    bounded(text, 0, AUTHOR_BYTES_MAX)
}

pub(crate) fn words(text: OsString) -> Result<Bytes, String> {
    bounded(text, 0, NOTE_BYTES_MAX)
}

pub(crate) fn external_ref(text: OsString) -> Result<Bytes, String> {
    bounded(text, 1, EXTERNAL_REF_BYTES_MAX)
}

fn bounded(text: OsString, min: usize, max: usize) -> Result<Bytes, String> {
    let bytes = text.into_vec();
    if (min..=max).contains(&bytes.len()) {
        return Ok(Bytes(bytes));
    }
    Err(format!("it has {} bytes; allowed are {min} to {max}", bytes.len()))
}

/// A piece of evidence, as NAME=VALUE: the value is taken byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
}

pub(crate) fn proof(text: OsString) -> Result<Proof, String> {
    let bytes = text.into_vec();
    let mut parts = bytes.splitn(2, |byte| *byte == b'=');
    let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
        return Err("it has no `=` between its name and what it says".into());
    };
    match std::str::from_utf8(name) {
        Ok(name) => Ok(Proof { name: name.to_owned(), value: value.to_vec() }),
        Err(_) => Err("its name is not UTF-8".into()),
    }
}

/// What may be the name of a state. Whether it is one, the lifecycle of the ledger knows.
pub(crate) fn state_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match !text.is_empty() && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("the name of a state is made of a to z, 0 to 9 and _".into()),
    }
}

/// An order as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Id(OrderId),
    Receipt(Receipt),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        if let Ok(order) = text.parse() {
            return Ok(Wanted::Id(order));
        }
        match text.parse() {
            Ok(receipt) => Ok(Wanted::Receipt(receipt)),
            Err(error) => Err(format!("not an order's number, and {error}")),
        }
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (0.01..=3600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("allowed are 0.01 to 3600".into()),
    }
}

pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let date = || text.parse::<jiff::civil::Date>()?.to_zoned(jiff::tz::TimeZone::UTC);
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => instant,
        Err(error) => date().map_err(|_| error.to_string())?.timestamp(),
    };
    // Ledger time begins in 1970; every order is later than what is before it.
    Ok(Timestamp::from_unix_ns(u64::try_from(instant.as_nanosecond()).unwrap_or(0)))
}
