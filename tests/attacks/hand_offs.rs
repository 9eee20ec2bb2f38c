//! A user that may write to a sticky folder may not delete the tickets of others there. Then it must not be able to say, by bytes in
//! their hand-off FIFOs, that they left the line.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use crate::support::users::User;
use crate::support::{both, listing, root_or_skip, wait_until, Kind, Puppet, Scratch};
use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;

both!(bytes_of_others_take_no_ticket_out_of_the_line);

const GROUP: u32 = 47_150;
const STRANGER: User = User { id: 47_151, group: GROUP };
const OWNER: u32 = 47_152;

/// What a claimant writes there when it leaves the line, and when it hands the lock over.
const FORGED: [[u8; 4096]; 2] = [[1; 4096], [2; 4096]];

fn lie(ticket: &Path) -> Result<(), Errno> {
    let fifo = open(ticket, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    for bytes in &FORGED {
        let _ = rustix::io::write(&fifo, bytes);
    }
    Ok(())
}

fn bytes_of_others_take_no_ticket_out_of_the_line(kind: Kind) {
    if !root_or_skip("another user") {
        return;
    }
    for (mode, owner) in [(0o1777, 0), (0o3777, 0), (0o3770, 0), (0o1777, OWNER)] {
        let scratch = Scratch::shm();
        let folder = scratch.folder();
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(owner), Some(GROUP)).unwrap();
        crate::support::set_mode(&folder, mode);
        let (mut holder, queue) = (Puppet::at(kind, &folder), folder.join(".lockfolder/queue"));
        holder.must("lock 0");
        // The last waiter is of the attacking user. It reads the FIFO of the waiter before it.
        let mut line = [Puppet::new(kind), Puppet::new(kind), STRANGER.puppet(kind)];
        for (before, waiter) in line.iter_mut().enumerate() {
            waiter.open(0, &folder);
            waiter.start_to_wait(0, -1);
            wait_until(|| fs::read_dir(&queue).is_ok_and(|queue| queue.count() == before + 1));
        }
        let tickets = listing(&queue);
        let lied = STRANGER.acts(|| [0, 1].map(|ticket| lie(&queue.join(&tickets[ticket]))));
        assert_eq!(lied, [Err(Errno::ACCESS); 2], "{mode:o} of {owner}");
        assert_eq!(listing(&queue), tickets);
        holder.must("unlock 0");
        for waiter in 0..line.len() {
            assert_eq!(line[waiter].ask("join 1"), "LF_OK");
            assert!(line[waiter + 1..].iter_mut().all(|later| !later.has_answered()), "{mode:o}: out of turn");
            line[waiter].must("unlock 0");
        }
    }
}
