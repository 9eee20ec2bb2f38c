//! Why a request failed, and what that means: whether etcd may have carried it out, and what a person can do.

use std::fmt;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::etcd::transport::NotConnected;

#[derive(Debug)]
pub(super) struct Fault {
    pub endpoint: String,
    pub what: What,
    /// Etcd may have carried out this request or an earlier try of it, or may still do so.
    pub may_be_done: bool,
}

#[derive(Debug)]
pub(super) enum What {
    /// There was no answer.
    Silent(io::Error),
    /// Etcd answered with an error. The numbers are those of gRPC.
    Refused { code: u64, message: String },
    /// There was an answer, and etcd did not write it.
    Strange(String),
    /// Something answers there, and it has no JSON gateway.
    NoGateway,
    /// We speak without TLS to a server that wants it.
    WantsTls,
}

const CANCELLED: u64 = 1;
const UNKNOWN: u64 = 2;
const TIMED_OUT: u64 = 4;
pub(super) const NOT_FOUND: u64 = 5;
const DENIED: u64 = 7;
const EXHAUSTED: u64 = 8;
pub(super) const PRECONDITION: u64 = 9;
const UNIMPLEMENTED: u64 = 12;
const INTERNAL: u64 = 13;
const UNAVAILABLE: u64 = 14;
const UNAUTHENTICATED: u64 = 16;

impl What {
    /// What ureq says, and whether the request may have been sent.
    pub fn of(error: ureq::Error) -> (What, bool) {
        use ureq::Timeout;
        match error {
            ureq::Error::Other(other) => match other.downcast::<NotConnected>() {
                Ok(not_connected) => (What::Silent(not_connected.0), false),
                Err(other) => (What::Silent(io::Error::other(other)), true),
            },
            ureq::Error::Io(e) => (What::Silent(e), true),
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                (What::Silent(io::ErrorKind::TimedOut.into()), false)
            }
            ureq::Error::Timeout(_) => (What::Silent(io::ErrorKind::TimedOut.into()), true),
            ureq::Error::HostNotFound => (What::Silent(io::ErrorKind::NotFound.into()), false),
            ureq::Error::Protocol(_) | ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
                (What::Strange("it is not HTTP as etcd speaks it".to_owned()), true)
            }
            other => (What::Silent(io::Error::other(other)), true),
        }
    }

    /// The answer of an endpoint, if it is an error.
    pub fn of_answer(status: u16, body: &str) -> Option<What> {
        let json = serde_json::from_str::<Value>(body).ok().filter(Value::is_object);
        let refused = json.as_ref().and_then(refusal);
        match (status, refused, json) {
            (_, Some(refused), _) => Some(refused),
            (200, None, Some(json)) if ["header", "result"].iter().any(|part| json.get(part).is_some()) => None,
            (404 | 405, None, _) => Some(What::NoGateway),
            (400, None, None) if body.contains("HTTPS") => Some(What::WantsTls),
            (status, None, _) => {
                let shown: String = body.chars().take(80).collect();
                Some(What::Strange(format!("HTTP status {status}, {:?}", shown.trim())))
            }
        }
    }

    /// Whether another try may succeed, here or at another endpoint.
    pub fn may_pass(&self) -> bool {
        match self {
            What::Silent(_) | What::Strange(_) => true,
            What::Refused { code, message } => match *code {
                CANCELLED | UNKNOWN | TIMED_OUT | INTERNAL | UNAVAILABLE => true,
                EXHAUSTED => !message.contains("space"),
                _ => false,
            },
            What::NoGateway | What::WantsTls => false,
        }
    }

    pub fn is_time_out(&self) -> bool {
        matches!(self, What::Silent(e) if e.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether etcd has certainly not carried out the request that it answered so.
    pub fn is_undone(&self) -> bool {
        match self {
            What::Refused { message, .. } => !self.may_pass() || message.contains("no leader"),
            What::NoGateway | What::WantsTls => true,
            What::Silent(_) | What::Strange(_) => false,
        }
    }

    /// Whether a new token may help.
    pub fn wants_token(&self) -> bool {
        matches!(self, What::Refused { code, message }
            if *code == UNAUTHENTICATED || message.contains("invalid auth token") || message.contains("auth store is old"))
    }
}

/// The error in an answer: `{"error": "…", "code": 5}`, or, in a stream, `{"error": {"grpc_code": 5, "message": "…"}}`.
pub(super) fn refusal(json: &Value) -> Option<What> {
    let error = json.get("error")?;
    let code = json.get("code").or_else(|| error.get("grpc_code")).or_else(|| error.get("code"));
    let message = error.as_str().or_else(|| error.get("message")?.as_str()).unwrap_or("an error without a text");
    Some(What::Refused { code: code.and_then(Value::as_u64).unwrap_or(UNKNOWN), message: message.to_owned() })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.endpoint)?;
        match &self.what {
            What::Silent(e) => e.fmt(f),
            What::Refused { message, .. } => message.escape_debug().fmt(f),
            What::Strange(what) => f.write_str(what),
            What::NoGateway => f.write_str("there is no JSON gateway"),
            What::WantsTls => f.write_str("it wants TLS"),
        }
    }
}

impl Fault {
    pub fn is(&self, wanted: u64) -> bool {
        matches!(self.what, What::Refused { code, .. } if code == wanted)
    }

    /// `doing` reads like "post our bid".
    pub fn into_error(self, doing: &str, lock: &Path) -> Error {
        let Fault { endpoint, what, .. } = self;
        let lock = lock.display();
        let (text, kind, advice) = match what {
            What::Silent(e) => {
                let advice = advice_on_silence(&e, endpoint.starts_with("http:"));
                return Error::io("reach etcd at", endpoint, e).advising(advice);
            }
            What::Refused { code, message } => (
                format!("etcd at {endpoint} refused to {doing} in {lock}: {}", message.escape_debug()),
                if code == UNIMPLEMENTED { ErrorKind::Unsupported } else { ErrorKind::Io },
                advice_on_refusal(code, &message),
            ),
            What::Strange(what) => (
                format!("{endpoint} gave an answer that is not etcd's, as we wanted to {doing} in {lock}: {what}"),
                ErrorKind::Io,
                None,
            ),
            What::NoGateway => (
                format!("{endpoint} has no JSON gateway of etcd"),
                ErrorKind::Unsupported,
                Some("etcd 3.4 or later is needed, with --enable-grpc-gateway, which is its default; the port is that of its clients"),
            ),
            What::WantsTls => {
                (format!("{endpoint} wants TLS"), ErrorKind::Io, Some("write etcds:// in place of etcd://"))
            }
        };
        Error::new(kind, text).advising(advice)
    }
}

fn advice_on_silence(error: &io::Error, is_plain: bool) -> Option<&'static str> {
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("no etcd listens there: is it running, and is this the port of its clients?")
        }
        io::ErrorKind::TimedOut => Some("the host does not answer, or the members of etcd have no leader"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some(match is_plain {
            true => "the server ended the connection: if it wants TLS, write etcds:// in place of etcd://",
            false => {
                "the server ended the connection: it may speak no TLS (then write etcd:// in place of etcds://), or want a client \
                 certificate that it trusts (ETCDCTL_CERT and ETCDCTL_KEY)"
            }
        }),
        _ if text.contains("UnknownIssuer") => {
            Some("name the file with the certificates of your authority: ETCDCTL_CACERT, or ?cacert=")
        }
        _ if text.contains("InvalidContentType") => {
            Some("the server speaks no TLS: write etcd:// in place of etcds://")
        }
        _ if text.contains("BadCertificate") || text.contains("CertificateRequired") => Some(
            "the server wants a client certificate that it trusts: ETCDCTL_CERT and ETCDCTL_KEY, or ?cert= and &key=",
        ),
        _ => None,
    }
}

fn advice_on_refusal(code: u64, message: &str) -> Option<&'static str> {
    if message.contains("user name is empty") {
        return Some("this etcd wants a user: ETCDCTL_USER=name:password, or name:password@ in the URL");
    }
    if message.contains("no leader") || code == UNAVAILABLE {
        return Some("more than half of the members must run and reach each other");
    }
    match code {
        DENIED => Some("the user needs a role that may read and write all keys of the prefix"),
        UNAUTHENTICATED => Some("the name or the password is wrong, or the token has expired"),
        _ if message.contains("authentication failed") => Some("the name or the password is wrong"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> What {
        What::of_answer(status, body).unwrap()
    }

    #[test]
    fn an_answer_is_etcds_or_says_what_is_wrong() {
        assert!(What::of_answer(200, r#"{"header": {}}"#).is_none());
        let no_leader = of(503, r#"{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}"#);
        assert!(no_leader.may_pass() && no_leader.is_undone());
        let late = of(503, r#"{"error":"etcdserver: request timed out","code":14}"#);
        assert!(late.may_pass() && !late.is_undone());
        let denied = of(403, r#"{"error":"etcdserver: permission denied","code":7}"#);
        assert!(!denied.may_pass() && denied.is_undone());
        assert!(of(401, r#"{"error":"etcdserver: invalid auth token","code":16}"#).wants_token());
        assert!(matches!(of(404, "Not Found\n"), What::NoGateway));
        assert!(matches!(of(400, "Client sent an HTTP request to an HTTPS server.\n"), What::WantsTls));
        for strange in [of(200, "<html>"), of(200, "[]"), of(200, "{}"), of(502, ""), of(200, "{\"a\"")] {
            assert!(matches!(strange, What::Strange(_)) && strange.may_pass() && !strange.is_undone(), "{strange:?}");
        }
        let streamed = of(200, r#"{"error":{"grpc_code":11,"message":"compacted"}}"#);
        assert!(matches!(streamed, What::Refused { code: 11, .. }));
    }
}
