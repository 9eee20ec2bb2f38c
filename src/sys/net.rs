//! Connections to an engine: TCP, names of hosts, and the files with certificates.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Thread;

/// No call waits without a limit: one that has none waits this long.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// One TCP connection.
pub(crate) struct Connection {
    stream: Arc<TcpStream>,
    /// What the system was told, so that it is told again only if that changes.
    limits: [Option<Duration>; 2],
}

/// Ends a connection from another thread: a read of that connection then ends.
#[derive(Clone)]
pub(crate) struct Cutter(Arc<TcpStream>);

impl Cutter {
    pub fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Connection {
    /// Connects to the first of these addresses that answers.
    pub fn open(addresses: &[SocketAddr], time: Duration) -> io::Result<Connection> {
        let end = Instant::now() + time.min(FOR_EVER);
        let mut refusal = io::Error::from(io::ErrorKind::NotFound);
        for (at, address) in addresses.iter().enumerate() {
            // An address that does not answer leaves some time to the others.
            let share =
                end.saturating_duration_since(Instant::now()) / u32::try_from(addresses.len() - at).unwrap_or(1);
            match connect(address, share.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Connection { stream: Arc::new(stream), limits: [None; 2] });
                }
                Err(e) => refusal = e,
            }
        }
        Err(refusal)
    }

    pub fn cutter(&self) -> Cutter {
        Cutter(Arc::clone(&self.stream))
    }

    /// Reads what is there, or waits for it. 0: the other side has closed it.
    pub fn read(&mut self, buffer: &mut [u8], time: Option<Duration>) -> io::Result<usize> {
        let end = time.map(|time| Instant::now() + time.min(FOR_EVER));
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
            if self.limits[0] != left {
                self.stream.set_read_timeout(left)?;
                self.limits[0] = left;
            }
            match (&*self.stream).read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(as_time_out),
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8], time: Option<Duration>) -> io::Result<()> {
        let time = time.map(|time| time.clamp(Duration::from_millis(1), FOR_EVER));
        if self.limits[1] != time {
            self.stream.set_write_timeout(time)?;
            self.limits[1] = time;
        }
        (&*self.stream).write_all(bytes).map_err(as_time_out)
    }

    /// Whether nothing has come that was not asked for, not even the end.
    pub fn is_idle(&self) -> bool {
        let look = || {
            self.stream.set_nonblocking(true)?;
            let seen = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            seen
        };
        look().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A time-out of a socket is `WouldBlock` on Unix, and `TimedOut` on Windows.
fn as_time_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

#[cfg(unix)]
fn connect(address: &SocketAddr, time: Duration) -> io::Result<TcpStream> {
    use rustix::io::Errno;
    let connect = || {
        let stream = TcpStream::connect_timeout(address, time);
        let errno = |e: io::Error| Errno::from_io_error(&e).unwrap_or(Errno::TIMEDOUT); // std's own time-out has no number
        stream.map(rustix::fd::OwnedFd::from).map_err(errno)
    };
    super::calls::descriptor(connect).map(TcpStream::from)
}

#[cfg(windows)]
fn connect(address: &SocketAddr, time: Duration) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(address, time)
}

/// The addresses of a host. A name is looked up in a thread, because the system's own call may take long.
pub(crate) fn addresses(host_and_port: &str, time: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host_and_port.parse() {
        return Ok(vec![address]);
    }
    let (sender, receiver) = channel();
    let name = host_and_port.to_owned();
    let look_up = move || drop(sender.send(name.to_socket_addrs().map(Iterator::collect)));
    let thread = Thread::spawn("lockfolder-dns", look_up)?;
    match receiver.recv_timeout(time) {
        Ok(found) => found,
        Err(_) => {
            std::mem::forget(thread); // it ends by itself when the system gives up
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

/// The content of a file that the program's user named.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_cut_ends_a_read_and_a_time_ends_another() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = addresses(&listener.local_addr().unwrap().to_string(), Duration::from_secs(10)).unwrap();
        let mut connection = Connection::open(&addresses, Duration::from_secs(10)).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        assert!(connection.is_idle());
        let error = connection.read(&mut [0], Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        other.write_all(b"x").unwrap();
        assert_eq!(connection.read(&mut [0; 9], None).unwrap(), 1);
        let cutter = connection.cutter();
        let thread = std::thread::spawn(move || connection.read(&mut [0], None));
        cutter.cut();
        assert_eq!(thread.join().unwrap().unwrap(), 0);
    }

    #[test]
    fn a_port_without_a_listener_refuses() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Connection::open(&[port], Duration::from_secs(10)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
