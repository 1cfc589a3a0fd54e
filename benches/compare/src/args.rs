//! The command line of the comparison.

use std::path::PathBuf;
use std::time::Duration;

use crate::orders::Payload;
use crate::peers::{PEERS, Peer};

pub(crate) const HELP: &str = "\
Compares order-ledger with the raw disk, a reference core and other engines.
Prints one table, in markdown, and writes one picture.

  --rounds N             rounds that count, behind one that warms up (5)
  --seconds S            about as long as each row takes in a round (1)
  --sustained N          orders of the sustained rows; 0 leaves them out (200000)
  --sustained-rounds N   rounds of the sustained rows (as --rounds)
  --payload P            synthetic: 256 random bytes; tpch: orders of TPC-H (synthetic)
  --peers A,B            only these peers; - for none (all that were built)
  --svg FILE             where the picture goes (benches/compare/throughput.svg); - for none
  --opening              also opens ledgers after kill -9
";

pub(crate) struct Args {
    pub(crate) rounds: usize,
    pub(crate) seconds: Duration,
    pub(crate) sustained: usize,
    pub(crate) sustained_rounds: usize,
    pub(crate) payload: Payload,
    pub(crate) peers: Vec<Peer>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) opening: bool,
}

impl Args {
    /// `None` if only help is asked for.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Option<Args>, String> {
        let mut args = Args {
            rounds: 5,
            seconds: Duration::from_secs(1),
            sustained: 200_000,
            sustained_rounds: 0,
            payload: Payload::Synthetic,
            peers: PEERS.to_vec(),
            svg: Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/throughput.svg"))),
            opening: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            if option == "--help" {
                return Ok(None);
            }
            if option == "--opening" {
                args.opening = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
            args.set(&option, &value).map_err(|why| format!("{option} {value}: {why}"))?;
        }
        if args.rounds == 0 {
            return Err("no round, no figures".to_owned());
        }
        if args.sustained_rounds == 0 {
            args.sustained_rounds = args.rounds;
        }
        Ok(Some(args))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let count = || value.parse::<usize>().map_err(|error| error.to_string());
        match option {
            "--rounds" => self.rounds = count()?,
            "--seconds" => {
                let seconds = value.parse().map_err(|_| "not a number")?;
                self.seconds =
                    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
            }
            "--sustained" => self.sustained = count()?,
            "--sustained-rounds" => self.sustained_rounds = count()?,
            "--payload" => self.payload = value.parse()?,
            "--peers" => self.peers = peers(value)?,
            "--svg" => self.svg = (value != "-").then(|| PathBuf::from(value)),
            _ => return Err("no such option".to_owned()),
        }
        Ok(())
    }
}

fn peers(names: &str) -> Result<Vec<Peer>, String> {
    let named = |name: &str| {
        let peer = PEERS.iter().find(|peer| peer.who.name.eq_ignore_ascii_case(name));
        peer.copied().ok_or_else(|| format!("{name} was not built"))
    };
    match names {
        "-" => Ok(Vec::new()),
        _ => names.split(',').map(named).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let args = parse("--rounds 7 --seconds 0.5 --peers SLED,redb").unwrap().unwrap();
        assert_eq!((args.rounds, args.sustained_rounds), (7, 7));
        assert_eq!(args.seconds, Duration::from_millis(500));
        assert_eq!(args.peers.len(), 2);
        assert_eq!(args.payload, Payload::Synthetic);
        assert!(parse("").unwrap().unwrap().peers.len() >= 5);
        assert!(parse("--peers -").unwrap().unwrap().peers.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["--round 7", "--rounds", "--rounds x", "--rounds 0", "--seconds -1"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--payload json").is_err());
        assert!(parse("--peers postgres").is_err());
        assert!(parse("--help").unwrap().is_none());
    }
}
