//! How ureq reaches an endpoint: by connections of ours (`sys::net`), which another thread can cut, and whose descriptors are none of
//! the program's.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

use crate::sys::{self, Connection, Cutter};

/// The stack of a thread that makes requests: room for TLS.
pub(super) const STACK: usize = 1024 * 1024;

/// The connection could not be made, so the request was not sent.
#[derive(Debug)]
pub(super) struct NotConnected(pub io::Error);

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotConnected {}

fn not_connected(error: io::Error) -> Error {
    Error::Other(Box::new(NotConnected(error)))
}

fn left(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|left| *left)
}

/// Makes connections.
#[derive(Clone, Default)]
pub(super) struct Tcp {
    pub breaker: Option<Breaker>,
}

/// Ends the connection of one request, whenever it comes.
#[derive(Clone, Default)]
pub(super) struct Breaker(Arc<Mutex<Broken>>);

#[derive(Default)]
struct Broken {
    is_broken: bool,
    cutter: Option<Cutter>,
}

impl Breaker {
    pub fn cut(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_broken = true;
        state.cutter.take().iter().for_each(Cutter::cut);
    }

    pub fn is_cut(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_broken
    }

    fn guard(&self, cutter: Cutter) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_broken {
            cutter.cut();
        }
        state.cutter = Some(cutter);
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tcp")
    }
}

impl Connector<()> for Tcp {
    type Out = Link;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Link>, Error> {
        let time = left(details.timeout).unwrap_or(Duration::from_secs(10));
        let connection = Connection::open(&details.addrs, time).map_err(not_connected)?;
        self.breaker.iter().for_each(|breaker| breaker.guard(connection.cutter()));
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Link { connection, buffers, head: Vec::new() }))
    }
}

/// One connection, as ureq sees it.
pub(super) struct Link {
    connection: Connection,
    buffers: LazyBuffers,
    /// The head of a request. Each request of ours has a body, so the two go in one packet.
    head: Vec<u8>,
}

impl Link {
    fn send(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        let sent = self.connection.write(&self.head, left(timeout)).map_err(|e| failed(e, timeout.reason));
        self.head.clear();
        sent
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

fn failed(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => error.into(),
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let is_head = self.head.is_empty() && self.buffers.output()[..amount].ends_with(b"\r\n\r\n");
        self.head.extend_from_slice(&self.buffers.output()[..amount]);
        if is_head {
            Ok(())
        } else {
            self.send(timeout)
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !self.head.is_empty() {
            self.send(timeout)?;
        }
        let input = self.buffers.input_append_buf();
        let amount = self.connection.read(input, left(timeout)).map_err(|e| failed(e, timeout.reason))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_idle()
    }
}

/// Finds the addresses of a host.
#[derive(Debug)]
pub(super) struct Names;

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let time = left(timeout).unwrap_or(Duration::from_secs(10));
        let mut found = self.empty();
        let addresses = sys::addresses(host, time).map_err(not_connected)?;
        addresses.into_iter().take(16).for_each(|address| found.push(address));
        match found.is_empty() {
            true => Err(Error::HostNotFound),
            false => Ok(found),
        }
    }
}
