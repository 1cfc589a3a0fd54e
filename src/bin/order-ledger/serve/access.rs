//! Who may look: whoever is on the machine, or whoever brings the token.
//!
//! Always true: an address that others can reach is never listened to without a token; a token is compared in a
//! time that does not depend on where it differs; without one, a page of somebody else's in a browser on this
//! machine gets no answer, by whatever name it calls us.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use subtle::ConstantTimeEq;

use super::http::{Answer, Request, Status};
use crate::errors::Failure;

/// Fewest characters of a token: 16 random ones can't be guessed.
const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: u64 = 1024;

#[derive(Debug)]
pub(super) struct Access {
    token: Option<Vec<u8>>,
}

impl Access {
    pub(super) fn new(listen: SocketAddr, token_file: Option<&Path>) -> Result<Access, Failure> {
        if token_file.is_none() && !listen.ip().is_loopback() {
            return Err(Failure::Usage {
                what: format!("{listen} can be reached from elsewhere, and there is no token"),
                advice: "give --token-file, or listen to 127.0.0.1 and use an SSH tunnel".into(),
            });
        }
        Ok(Access { token: token_file.map(read_token).transpose()? })
    }

    /// What is answered to a request that may not look.
    pub(super) fn refusal(&self, request: &Request) -> Option<Answer> {
        let Some(token) = &self.token else {
            let is_ours = request.host.as_deref().is_none_or(is_loopback_name);
            // DNS rebinding: the name of another site, made to mean this machine.
            return (!is_ours).then(|| {
                Answer::text(Status::Misdirected, "this is not the site that the request is for\n")
            });
        };
        let brought = request.authorization.as_deref().and_then(bearer).unwrap_or_default();
        if bool::from(token.ct_eq(brought)) {
            return None;
        }
        let mut answer = Answer::text(Status::Unauthorized, "a token is needed to look\n");
        answer.also = Some(("WWW-Authenticate", "Bearer".into()));
        Some(answer)
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
}

/// Whether a browser calls us by a name that only means its own machine.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_token(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |what: &str| Failure::Usage {
        what: format!("the token file {} {what}", path.display()),
        advice: "write at least 16 random characters into it, and chmod 600 it".into(),
    };
    let reading = |error| Failure::io(format!("reading {}", path.display()), error);
    let about = std::fs::metadata(path).map_err(reading)?;
    if about.mode() & 0o077 != 0 {
        return Err(wrong("can be read by others"));
    }
    if about.len() > TOKEN_BYTES_MAX {
        return Err(wrong("is too long"));
    }
    let token = std::fs::read(path).map_err(reading)?.trim_ascii().to_vec();
    match token.len() < TOKEN_BYTES_MIN {
        true => Err(wrong("is too short")),
        false => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for ours in ["localhost", "LOCALHOST:80", "127.0.0.1:8417", "127.9.9.9", "[::1]:8417"] {
            assert!(is_loopback_name(ours), "{ours}");
        }
        for other in
            ["", "evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "[::2]:1", "localhost.x"]
        {
            assert!(!is_loopback_name(other), "{other}");
        }
    }

    #[test]
    fn a_token_is_the_same_or_it_is_not() {
        let access = Access { token: Some(b"0123456789abcdef".to_vec()) };
        let refused = |value: Option<&[u8]>| {
            let authorization = value.map(<[u8]>::to_vec);
            access.refusal(&Request { authorization, ..Request::default() }).is_some()
        };
        assert!(!refused(Some(b"Bearer 0123456789abcdef")));
        assert!(!refused(Some(b"bearer 0123456789abcdef")));
        for wrong in
            [&b""[..], b"Bearer", b"Bearer ", b"Bearer 0123456789abcdeg", b"Basic 0123456789abcdef"]
        {
            assert!(refused(Some(wrong)), "{wrong:?}");
        }
        assert!(refused(None));
    }
}
