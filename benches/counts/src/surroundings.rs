//! What decides how many instructions there are, besides the ledger: the compiler, the C library (whose memcpy
//! and malloc are counted too), valgrind, and the CPU that valgrind shows to the program, by which crates and the
//! C library choose among their versions of a function.
//!
//! Always true: two machines whose surroundings are equal may be held against each other; others never are.

use std::process::Command;

use serde_json::{Map, Value};

use crate::measure::said_by;

/// Has this program print what the CPU can do.
pub(crate) const CPU_COMMAND: &str = "cpu";

/// Names and values, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Surroundings(Vec<(String, String)>);

impl Surroundings {
    pub(crate) fn of_this_machine() -> Result<Surroundings, String> {
        let rustc = said_by(Command::new("rustc").arg("-vV"))?;
        let field = |name: &str| rustc.lines().find_map(|line| line.strip_prefix(name));
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let cpu = said_by(
            Command::new("valgrind").args(["--quiet", "--tool=none"]).arg(this).arg(CPU_COMMAND),
        )?;
        let named = [
            ("rustc", rustc.lines().next().unwrap_or_default().to_owned()),
            ("llvm", field("LLVM version: ").unwrap_or_default().to_owned()),
            ("host", field("host: ").unwrap_or_default().to_owned()),
            ("libc", said_by(Command::new("getconf").arg("GNU_LIBC_VERSION"))?),
            ("valgrind", said_by(Command::new("valgrind").arg("--version"))?),
            ("cpu under valgrind", cpu),
        ];
        Ok(Surroundings(named.map(|(name, value)| (name.to_owned(), value)).into()))
    }

    /// What is not the same, in words.
    pub(crate) fn differences(&self, here: &Surroundings) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in &here.0 {
            match self.get(name) {
                Some(there) if there == value => {}
                there => {
                    found.push(format!("{name} is {value}, was {}", there.unwrap_or("not said")))
                }
            }
        }
        let gone = self.0.iter().filter(|(name, _)| here.get(name).is_none());
        found.extend(gone.map(|(name, value)| format!("{name} is not said, was {value}")));
        found
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn to_json(&self) -> Value {
        let pairs = self.0.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        Value::Object(pairs.collect())
    }

    pub(crate) fn from_json(object: &Map<String, Value>) -> Option<Surroundings> {
        let pairs =
            object.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        pairs.collect::<Option<_>>().map(Surroundings)
    }
}

/// What this program's CPU can do of what somebody may choose by.
pub(crate) fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! found {
            ($($name:tt)*) => {
                [$(($name, std::arch::is_x86_feature_detected!($name)),)*]
            };
        }
        let all = found!(
            "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "movbe" "aes" "pclmulqdq" "sha" "avx" "avx2" "fma" "bmi1"
            "bmi2" "lzcnt" "adx" "rdrand" "rdseed" "rtm" "vpclmulqdq" "avx512f" "avx512bw" "avx512vl"
        );
        let has: Vec<_> = all.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        has.join(" ")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(pairs: &[(&str, &str)]) -> Surroundings {
        Surroundings(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn whatever_is_other_there_is_said() {
        let there = surroundings(&[("rustc", "1"), ("cpu", "avx")]);
        assert!(there.differences(&there).is_empty());
        assert_eq!(there.differences(&surroundings(&[("rustc", "2"), ("cpu", "avx")])).len(), 1);
        assert_eq!(there.differences(&surroundings(&[("rustc", "1")])).len(), 1);
        assert_eq!(surroundings(&[]).differences(&there).len(), 2);
    }
}
