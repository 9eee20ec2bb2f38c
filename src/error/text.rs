//! The sentences that errors say to people.

use std::fmt::{self, Write as _};

use super::{BidState, Error, ErrorKind, Holder, Reason, Taken, Unread};

/// Text that others wrote is escaped, because it may be shown on a terminal.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.to_string_lossy();
        let name = name.escape_debug();
        match self.unread {
            Some(Unread::Denied) => {
                return write!(
                    f,
                    "the bid {name} can't be judged: we may not read it, or can't read it now. It counts as live. \
                     If its owner is gone, delete it"
                );
            }
            Some(Unread::CutOff(why)) => {
                return write!(
                    f,
                    "the bid {name} can't be judged: {why}, so its owner may be writing it. It counts as live until the \
                     grace of lf_set_malformed_grace is over. If nobody is writing it, delete it"
                );
            }
            Some(Unread::Foreign(why)) => {
                return write!(
                    f,
                    "the file {name} is in the way: it has the name of a bid, but {why}. It counts as live, and we never \
                     delete it. Move it away, or delete it if nobody needs it"
                );
            }
            #[cfg(feature = "etcd")]
            Some(Unread::Mute) => {
                return write!(
                    f,
                    "the key {name} does not say whose it is: another program made it, such as `etcdctl lock`. It is there \
                     until that program ends, or its lease does"
                );
            }
            None => write!(f, "the bid {name}")?,
        }
        if let Some(pid) = self.pid {
            write!(f, " of PID {pid}")?;
        }
        if let Some(command) = &self.command {
            write!(f, " ({})", command.escape_debug())?;
        }
        if let Some(host) = &self.host {
            write!(f, " on host {}", host.escape_debug())?;
        }
        f.write_str(match self.state {
            BidState::Own => " is ours",
            BidState::Live => " is live",
            BidState::Stale => " is stale",
            BidState::Unknown => " can't be judged from here (another host or container), so it counts as live",
            BidState::Malformed => " is malformed",
        })
    }
}

/// Writes control characters escaped. A path may contain them, and a message may be shown on a terminal.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.split_inclusive(char::is_control).try_for_each(|part| match part.chars().next_back() {
            Some(last) if last.is_control() => {
                self.0.write_str(&part[..part.len() - last.len_utf8()])?;
                write!(self.0, "{}", last.escape_default())
            }
            _ => self.0.write_str(part),
        })
    }
}

/// Why the lock is busy: the process that has it, where that is known, and else what is in the way.
struct InTheWay<'a>(&'a Holder);

impl fmt::Display for InTheWay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.0;
        let (BidState::Live, None, Some(pid)) = (holder.state, &holder.unread, holder.pid) else {
            return holder.fmt(f);
        };
        write!(f, "held by PID {pid}")?;
        if let Some(command) = &holder.command {
            write!(f, " ({})", command.escape_debug())?;
        }
        if let Some(host) = &holder.host {
            write!(f, " on host {}", host.escape_debug())?;
        }
        write!(f, ", bid {}", holder.name.to_string_lossy().escape_debug())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f = &mut Escaping(f);
        match self.kind {
            ErrorKind::Timeout if matches!(self.reason, Reason::Busy { .. }) => {
                f.write_str("timed out waiting for ")?
            }
            ErrorKind::Timeout => f.write_str("the time to wait is over: ")?,
            ErrorKind::Cancelled => f.write_str("the wait was cancelled: ")?,
            ErrorKind::Internal => f.write_str("an internal error in lockfolder, please report it: ")?,
            _ => {}
        }
        match &self.reason {
            Reason::Text(text) => f.write_str(text)?,
            Reason::Fixed(text) => f.write_str(text)?,
            Reason::System { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display())?,
            Reason::Handle { folder, what } => write!(f, "this handle on the lock folder {} {what}", folder.display())?,
            Reason::Busy { folder, holder, why } => {
                let busy = if self.kind == ErrorKind::Timeout { "" } else { " is busy" };
                write!(f, "the lock folder {}{busy}: ", folder.display())?;
                match why {
                    Taken::Alone => {}
                    Taken::Places(n) => write!(f, "{n} of {n} places are taken, one of them: ")?,
                    Taken::ForAnother => {
                        f.write_str("a claimant that waits for the lock comes first, and this keeps it out: ")?
                    }
                }
                write!(f, "{}", InTheWay(holder))?;
            }
        }
        if let Some(advice) = self.advice {
            write!(f, " ({advice})")?;
        }
        match &self.left_behind {
            None => Ok(()),
            Some(bid) => write!(
                f,
                "; our bid {} could not be deleted and remains. The next call on this handle tries again. \
                 The bid counts as stale after this process has ended",
                bid.display()
            ),
        }
    }
}
