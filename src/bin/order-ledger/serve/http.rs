//! Requests and answers: as much of HTTP/1.1 as looking at pages takes.
//!
//! The head of a request is parsed by `httparse`. The loop around it is ours: tiny_http, which would bring one,
//! reads a head of any length for any time, and starts a thread for whoever connects.
//!
//! Always true: a head has at most [`HEAD_BYTES_MAX`] bytes and [`HEADERS_MAX`] headers and comes within
//! [`HEAD_TIME_MAX`]; a request has no body; each connection serves one request and is closed; every answer has
//! the headers that keep a browser from doing more than showing it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode;

const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// For the whole head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// For each piece of the answer that the client takes.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// What is read of what a client still sends after its answer: closing with it unread would take the answer away.
const DRAIN_BYTES_MAX: usize = 64 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_millis(200);

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Request {
    /// The parts of the path between its slashes, decoded.
    pub(super) path: Vec<Vec<u8>>,
    /// Names and values of the query, decoded.
    pub(super) query: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) host: Option<String>,
    pub(super) authorization: Option<Vec<u8>>,
}

impl Request {
    /// The first value of a name; an empty one is none.
    pub(super) fn value(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.query.iter().find(|(it, _)| it == name.as_bytes())?;
        (!value.is_empty()).then_some(value)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    Ok,
    SeeOther,
    BadRequest,
    Unauthorized,
    NotFound,
    NotAllowed,
    TooLong,
    Misdirected,
    Broken,
    Busy,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::SeeOther => "303 See Other",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::NotFound => "404 Not Found",
            Status::NotAllowed => "405 Method Not Allowed",
            Status::TooLong => "431 Request Header Fields Too Large",
            Status::Misdirected => "421 Misdirected Request",
            Status::Broken => "500 Internal Server Error",
            Status::Busy => "503 Service Unavailable",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// A header that only this one has.
    pub(super) also: Option<(&'static str, String)>,
}

impl Answer {
    pub(super) fn new(status: Status, content_type: &'static str, body: String) -> Answer {
        Answer { status, content_type, body, also: None }
    }

    pub(super) fn text(status: Status, body: impl Into<String>) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", body.into())
    }
}

/// Reads the request of a connection, and sends what `answer` says.
pub(super) fn serve(mut stream: TcpStream, answer: impl FnOnce(&Request) -> Answer) {
    let (answer, with_body) = match read_head(&mut stream) {
        Ok(head) => match parse(&head) {
            Ok((request, with_body)) => (answer(&request), with_body),
            Err(answer) => (answer, true),
        },
        Err(Some(answer)) => (answer, true),
        // Nobody is there any more.
        Err(None) => return,
    };
    send(stream, &answer, with_body);
}

/// The bytes up to the empty line; `Err(None)`: the connection is of no use.
fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, Option<Answer>> {
    let begun = Instant::now();
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let left = HEAD_TIME_MAX.saturating_sub(begun.elapsed());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Err(None);
        }
        let bytes = match stream.read(&mut piece) {
            Ok(0) => return Err(None),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(None),
        };
        // The end may lie across two pieces.
        let looked_at = head.len().saturating_sub(3);
        head.extend_from_slice(piece.get(..bytes).unwrap_or_default());
        let new = head.get(looked_at..).unwrap_or_default();
        if let Some(end) = new.windows(4).position(|it| it == b"\r\n\r\n") {
            head.truncate(looked_at + end + 4);
            return if head.len() > HEAD_BYTES_MAX { Err(Some(too_long())) } else { Ok(head) };
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(Some(too_long()));
        }
    }
}

fn too_long() -> Answer {
    Answer::text(Status::TooLong, format!("a request has at most {HEAD_BYTES_MAX} bytes\n"))
}

/// The request in a head, and whether its answer has a body; or the answer to a wrong one.
fn parse(head: &[u8]) -> Result<(Request, bool), Answer> {
    let bad = |what: &str| Answer::text(Status::BadRequest, format!("{what}\n"));
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(too_long()),
        Ok(httparse::Status::Partial) | Err(_) => return Err(bad("not a request")),
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(bad("not a request"));
    };
    let with_body = match method {
        "GET" => true,
        "HEAD" => false,
        _ => {
            let mut answer =
                Answer::text(Status::NotAllowed, "there is nothing here but to look\n");
            answer.also = Some(("Allow", "GET, HEAD".into()));
            return Err(answer);
        }
    };
    let (mut host, mut authorization) = (None, None);
    for header in parsed.headers.iter() {
        match header.name.to_ascii_lowercase().as_str() {
            "host" => host = std::str::from_utf8(header.value).ok().map(str::to_owned),
            "authorization" => authorization = Some(header.value.to_vec()),
            "transfer-encoding" => return Err(bad("a request has no body")),
            "content-length" if header.value != b"0" => return Err(bad("a request has no body")),
            _ => {}
        }
    }
    if !target.starts_with('/') {
        return Err(bad("the target is no path"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decoded = |text: &str| percent_decode(text.as_bytes()).collect::<Vec<u8>>();
    // A form writes a space so.
    let of_form = |text: &str| decoded(&text.replace('+', " "));
    let path = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (of_form(name), of_form(value))
    });
    Ok((Request { path, query: query.collect(), host, authorization }, with_body))
}

/// Sends an answer and closes the connection. Whoever does not take it does not get it.
pub(super) fn send(mut stream: TcpStream, answer: &Answer, with_body: bool) {
    let mut text = format!("HTTP/1.1 {}\r\n", answer.status.line());
    let length = answer.body.len().to_string();
    let own = [
        ("Content-Type", answer.content_type),
        ("Content-Length", &length),
        ("Connection", "close"),
        // A page shows what is so now, and what is not for everybody.
        ("Cache-Control", "no-store"),
        // No script, no frame, nothing from elsewhere: whatever an order says stays text.
        (
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    ];
    let also = answer.also.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in own.into_iter().chain(also) {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    if with_body {
        text += &answer.body;
    }
    let sent = stream
        .set_write_timeout(Some(WRITE_TIME_MAX))
        .and_then(|()| stream.write_all(text.as_bytes()))
        .and_then(|()| stream.shutdown(Shutdown::Write));
    if sent.is_ok() {
        drain(&mut stream);
    }
}

/// Reads a little of what is still coming, so that the answer arrives before the end of the connection does.
fn drain(stream: &mut TcpStream) {
    let (begun, mut left) = (Instant::now(), DRAIN_BYTES_MAX);
    let mut piece = [0; 2048];
    while left > 0 && begun.elapsed() < DRAIN_TIME_MAX {
        if stream.set_read_timeout(Some(DRAIN_TIME_MAX)).is_err() {
            return;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => left = left.saturating_sub(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Result<(Request, bool), Status> {
        parse(head.as_bytes()).map_err(|answer| answer.status)
    }

    #[test]
    fn a_request_is_taken_apart_byte_for_byte() {
        let head = "GET //find/a%2Fb?client=web+shop&key=%FF%00&empty HTTP/1.1\r\nHost: localhost:1\r\n\
                    Authorization: Bearer x\r\n\r\n";
        let (request, with_body) = parsed(head).unwrap();
        assert!(with_body);
        assert_eq!(request.path, [b"find".to_vec(), b"a/b".to_vec()]);
        assert_eq!(request.value("client"), Some(&b"web shop"[..]));
        assert_eq!(request.value("key"), Some(&b"\xff\x00"[..]));
        assert_eq!((request.value("empty"), request.value("other")), (None, None));
        assert_eq!(request.host.as_deref(), Some("localhost:1"));
        assert_eq!(request.authorization.as_deref(), Some(&b"Bearer x"[..]));
        assert!(!parsed("HEAD / HTTP/1.1\r\n\r\n").unwrap().1);
    }

    #[test]
    fn what_is_no_look_is_refused() {
        for (head, status) in [
            ("POST / HTTP/1.1\r\n\r\n", Status::NotAllowed),
            ("DELETE /order/1 HTTP/1.1\r\n\r\n", Status::NotAllowed),
            ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Status::BadRequest),
            ("GET http://elsewhere/ HTTP/1.1\r\n\r\n", Status::BadRequest),
            ("nonsense\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/9.9\r\n\r\n", Status::BadRequest),
        ] {
            assert_eq!(parsed(head).unwrap_err(), status, "{head}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(parsed(&many).unwrap_err(), Status::TooLong);
    }
}
