//! What a person wants to know of a lock folder, and the protocol does not need: who waits in line, how far the lock
//! reaches, and which command our own bids name.

use crate::error::{Error, Reach, Result};
use crate::folder::claim::Claim;
use crate::folder::names::{Ticket, HIDDEN, QUEUE};
use crate::folder::Folder;
use crate::owner::liveness::Verdict;
use crate::owner::rival::Rival;
use crate::sys::{Dir, Filesystem};

/// A bid has at most so many characters of the command that a program told.
const LONGEST_COMMAND: usize = 128;

impl Folder {
    /// From the next claim on, our bids name this command.
    pub fn set_command(&mut self, command: &str) {
        self.command = Some(command.chars().take(LONGEST_COMMAND).collect());
        self.claim.iter_mut().for_each(Claim::distrust); // the claim states the command
    }

    /// The tickets in line, and the claim of the owner of each, read and judged. The line is in the order of arrival. It has no ticket
    /// of the holder, of an owner who is gone, and none whose owner can't be read. Changes nothing.
    pub fn line(&mut self) -> Result<Vec<(Ticket, Rival)>> {
        let failed = |path, e| Error::io("read the line of the waiting in", path, e);
        let opened = self.dir().open_dir(HIDDEN).and_then(|hidden| Ok((hidden.open_dir(QUEUE)?, hidden)));
        let (queue, hidden) = match opened {
            Err(e) if Dir::has_vanished(&e) => return Ok(Vec::new()),
            opened => opened.map_err(|e| failed(self.hidden_path(), e))?,
        };
        let mut tickets = Vec::new();
        match queue.list_plain(|name| Ticket::parse(name.to_bytes()), |ticket| tickets.push(ticket)) {
            Err(e) if Dir::has_vanished(&e) => return Ok(Vec::new()),
            listed => listed.map_err(|e| failed(self.hidden_path(), e))?,
        }
        tickets.sort_unstable();
        // A holder keeps its ticket until it gives the lock back. Its bid is a link of its claim.
        let mut bids = Vec::new();
        self.scanner_of(self.dir()).list(&mut bids, None).map_err(|e| failed(self.path().to_path_buf(), e))?;
        let has_bid = |ticket: &Ticket| {
            let claim = hidden.file_id(&ticket.claim.file()).ok().flatten();
            claim.is_some_and(|claim| bids.iter().any(|(_, number)| *number == claim.number()))
        };
        tickets.retain(|ticket| !has_bid(ticket));
        let scanner = self.scanner_of(&hidden);
        let judge = |ticket: Ticket| match scanner.judge_to_show(&(ticket.claim.file(), 0)) {
            Ok(Some(owner)) => {
                let waits = !matches!(owner.verdict, Verdict::Stale | Verdict::Malformed);
                waits.then_some(Ok((ticket, owner)))
            }
            Ok(None) => None,
            Err(e) => Some(Err(failed(self.hidden_path(), e))),
        };
        tickets.into_iter().filter_map(judge).collect()
    }

    /// After how long a bid that is cut off counts as stale, in milliseconds. 0: never.
    pub fn set_malformed_grace(&mut self, ms: u32) -> Result<()> {
        self.malformed_grace_ms = ms;
        Ok(())
    }

    pub fn reach(&self) -> Reach {
        match self.location.on {
            Filesystem::Local | Filesystem::LocalByName => Reach::Host,
            Filesystem::Overlay => Reach::Overlay,
            Filesystem::Shared(_) => Reach::Hosts,
            Filesystem::Trusted => Reach::Vouched,
        }
    }
}
