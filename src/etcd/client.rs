//! Requests to the JSON gateway of etcd: which endpoint gets them, what they may take, and who we are.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::config::Config;
use ureq::typestate::WithBody;
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, RequestBuilder};

use crate::error::Result;
use crate::etcd::fault::{Fault, What};
use crate::etcd::tls;
use crate::etcd::transport::{Breaker, Names, Tcp};
use crate::etcd::url::Target;
use crate::sys;

/// One try at one endpoint takes no longer.
const TRY: Duration = Duration::from_secs(2);
/// The same, where a call has little time for several endpoints.
const SHORTEST_TRY: Duration = Duration::from_millis(50);
/// The pauses after each round of all endpoints grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));
/// No answer of etcd to our questions is larger.
const LARGEST_ANSWER: u64 = 64 << 20;
const OTHER_CLUSTER: &str = "it belongs to another cluster than the other endpoints, so it must not be in the URL";

pub(super) struct Client {
    endpoints: Vec<String>,
    config: Config,
    agent: Agent,
    /// The endpoint that answered last.
    current: AtomicUsize,
    user: Option<(String, String)>,
    token: Mutex<Token>,
    /// The number of the cluster. 0: not known yet.
    cluster: AtomicU64,
}

#[derive(Clone)]
enum Token {
    Unknown,
    /// This etcd has no users.
    None,
    Known(String),
}

/// An answer, and which endpoint gave it.
pub(super) struct Answer {
    pub json: Value,
    /// Etcd may carry out an earlier try of this request later.
    pub may_come_again: bool,
}

impl Client {
    pub fn new(target: &Target) -> Result<Client> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls::config(target)?)
            .build();
        Ok(Client {
            endpoints: target.endpoints.clone(),
            agent: agent(&config, Tcp::default()),
            config,
            current: AtomicUsize::new(0),
            user: target.user.clone(),
            token: Mutex::new(Token::Unknown),
            cluster: AtomicU64::new(0),
        })
    }

    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    pub fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed) % self.endpoints.len()
    }

    /// This endpoint failed. The next request goes to the next one, unless another thread has seen to that.
    pub fn pass_on(&self, failed: usize) {
        let next = (failed + 1) % self.endpoints.len();
        let _ = self.current.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks one endpoint after the other, until one answers or the time is over. The request must be one that may be carried out twice.
    pub fn ask(&self, path: &str, body: &Value, end: Instant) -> Result<Answer, Fault> {
        let (mut may_come_again, mut tries, mut pause) = (false, 0, PAUSES.0);
        let mut last: Option<Fault> = None;
        loop {
            let left = end.saturating_duration_since(sys::now());
            let at = self.current();
            if left.is_zero() {
                let silent = || self.fault(at, What::Silent(io::ErrorKind::TimedOut.into()), false);
                let mut fault = last.unwrap_or_else(silent);
                fault.may_be_done = may_come_again;
                return Err(fault);
            }
            let others = self.endpoints.len() - tries % self.endpoints.len();
            let share = left / u32::try_from(others).unwrap_or(u32::MAX);
            match self.ask_at(at, path, body, share.max(SHORTEST_TRY).min(left).min(TRY)) {
                Ok(json) => return Ok(Answer { json, may_come_again }),
                Err(mut fault) => {
                    may_come_again |= fault.may_be_done;
                    if !fault.what.may_pass() {
                        fault.may_be_done = may_come_again;
                        return Err(fault);
                    }
                    // A last try that had no time hides no better reason.
                    if last.is_none() || !fault.what.is_time_out() {
                        last = Some(fault);
                    }
                }
            }
            self.pass_on(at);
            tries += 1;
            if tries % self.endpoints.len() == 0 {
                sys::sleep(pause.min(end.saturating_duration_since(sys::now())));
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }

    /// Asks this endpoint once.
    pub fn ask_at(&self, at: usize, path: &str, body: &Value, time: Duration) -> Result<Value, Fault> {
        let end = sys::now() + time;
        let body = body.to_string();
        let asked = self.try_at(at, path, &body, self.token(at, end)?, end);
        match asked {
            Err(fault) if self.user.is_some() && fault.what.wants_token() => {
                *self.known_token() = Token::Unknown; // it has expired, or the users have changed
                self.try_at(at, path, &body, self.token(at, end)?, end)
            }
            asked => asked,
        }
    }

    fn try_at(&self, at: usize, path: &str, body: &str, token: Option<String>, end: Instant) -> Result<Value, Fault> {
        let time = end.saturating_duration_since(sys::now()).max(Duration::from_millis(1));
        let failed = |e| {
            let (what, may_be_done) = What::of(e);
            self.fault(at, what, may_be_done)
        };
        let request = self.request(&self.agent, at, path, token).config().timeout_global(Some(time)).build();
        let mut response = request.send(body).map_err(failed)?;
        let text = response.body_mut().with_config().limit(LARGEST_ANSWER).lossy_utf8(true).read_to_string();
        let text = text.map_err(failed)?;
        match What::of_answer(response.status().as_u16(), &text) {
            None => {
                let answer = serde_json::from_str(&text).unwrap_or_default();
                match self.is_of_our_cluster(&answer) {
                    true => Ok(answer),
                    false => Err(self.fault(at, What::Strange(OTHER_CLUSTER.to_owned()), true)),
                }
            }
            Some(what) => {
                let may_be_done = !what.is_undone();
                Err(self.fault(at, what, may_be_done))
            }
        }
    }

    fn request(&self, agent: &Agent, at: usize, path: &str, token: Option<String>) -> RequestBuilder<WithBody> {
        let request =
            agent.post(format!("{}/v3/{path}", self.endpoints[at])).header("Content-Type", "application/json");
        token.iter().fold(request, |request, token| request.header("Authorization", token))
    }

    /// Begins a request whose answer comes line by line, for as long as it takes. The breaker ends it.
    pub fn stream(&self, at: usize, path: &str, body: &Value, breaker: &Breaker) -> Result<impl io::Read, Fault> {
        let agent = agent(&self.config, Tcp { breaker: Some(breaker.clone()) });
        let token = self.token(at, sys::now() + TRY)?;
        let request = self.request(&agent, at, path, token);
        let request = request.config().timeout_resolve(Some(TRY)).timeout_connect(Some(TRY)).build();
        let response = request.send(body.to_string()).map_err(|e| self.fault(at, What::of(e).0, true))?;
        match response.status().as_u16() {
            200 => Ok(response.into_body().into_with_config().limit(u64::MAX).reader()),
            status => {
                let text = response.into_body().into_with_config().limit(4096).lossy_utf8(true).read_to_string();
                let what = What::of_answer(status, &text.unwrap_or_default());
                Err(self.fault(at, what.unwrap_or_else(|| What::Strange(format!("HTTP status {status}"))), true))
            }
        }
    }

    /// Whether all endpoints that answered so far are members of one cluster. Two clusters would grant the lock twice.
    fn is_of_our_cluster(&self, answer: &Value) -> bool {
        let header = answer.get("header").or_else(|| answer.get("result")?.get("header"));
        let id = header.and_then(|header| header.get("cluster_id")?.as_str()?.parse::<u64>().ok());
        let Some(id) = id.filter(|id| *id > 0) else { return true };
        match self.cluster.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(known) => known == id,
        }
    }

    fn fault(&self, at: usize, what: What, may_be_done: bool) -> Fault {
        Fault { endpoint: self.endpoints[at].clone(), what, may_be_done }
    }

    fn known_token(&self) -> std::sync::MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The proof of who we are, fetched when it is needed first. `None`: nobody asks.
    fn token(&self, at: usize, end: Instant) -> Result<Option<String>, Fault> {
        let Some((name, password)) = &self.user else { return Ok(None) };
        let known = self.known_token().clone();
        match known {
            Token::Known(token) => return Ok(Some(token)),
            Token::None => return Ok(None),
            Token::Unknown => {}
        }
        let body = serde_json::json!({ "name": name, "password": password });
        let got = match self.try_at(at, "auth/authenticate", &body.to_string(), None, end) {
            Ok(answer) => match answer.get("token").and_then(Value::as_str) {
                Some(token) => Token::Known(token.to_owned()),
                None => Token::None,
            },
            Err(Fault { what: What::Refused { message, .. }, .. }) if message.contains("not enabled") => Token::None,
            Err(mut fault) => {
                fault.may_be_done = false; // only the name was asked for
                return Err(fault);
            }
        };
        *self.known_token() = got.clone();
        Ok(match got {
            Token::Known(token) => Some(token),
            Token::None | Token::Unknown => None,
        })
    }
}

fn agent(config: &Config, tcp: Tcp) -> Agent {
    Agent::with_parts(config.clone(), tcp.chain(RustlsConnector::default()), Names)
}
