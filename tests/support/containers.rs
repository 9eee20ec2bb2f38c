//! What the tests of containers share.

use super::{namespaces_or_skip, Kind, Puppet, Scratch};

/// A container's PID namespace, with a `/proc` of its own: the puppet is its PID 1.
pub const CONTAINER: &[&str] = &["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// On the disk and in memory, because the kernel's proof of life exists on both. And on a disk that other hosts use too: a lease
/// changes nothing between the processes of one kernel.
pub fn each_filesystem(what: &str, mut test: impl FnMut(&Scratch)) {
    if namespaces_or_skip(what) {
        test(&Scratch::new());
        test(&Scratch::shm());
        test(&Scratch::marked());
    }
}

pub fn contained(kind: Kind, scratch: &Scratch) -> Puppet {
    let mut puppet = Puppet::behind(CONTAINER, kind);
    assert_eq!(puppet.must("pid").number(), 1);
    assert_ne!(puppet.pid(), 1);
    puppet.open(0, &scratch.folder());
    puppet
}

/// The holder holds. The reader respects that as long as the holder lives, stopped or not, and no
/// longer.
pub fn is_respected_until_it_dies(mut holder: Puppet, reader: &mut Puppet) {
    holder.must("lock 0");
    for _ in 0..2 {
        assert_eq!(reader.ask("lock 0"), "LF_BUSY");
        assert_eq!(reader.must("reap 0").number(), 0);
        assert_eq!(reader.bids(0)[0].state, "LIVE");
        assert_eq!(reader.must("in_use 0").number(), 1);
    }
    holder.stop();
    assert_eq!(reader.ask("wait 0 30"), "LF_TIMEOUT");
    holder.go_on();
    holder.must("holds 0");
    holder.must("unlock 0");
    reader.must("lock 0");
    assert_eq!(holder.ask("lock 0"), "LF_BUSY");
    reader.must("unlock 0");
    holder.must("lock 0");
    assert_eq!(reader.ask("lock 0"), "LF_BUSY");
    holder.kill();
    assert_eq!(reader.bids(0)[0].state, "STALE");
    reader.must("lock 0");
    reader.must("unlock 0");
}
