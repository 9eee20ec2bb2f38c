//! Of all who want the lock, one has it.

mod support;

use support::{both, Kind, Puppet, Scratch};

both!(one_process_holds_and_others_are_refused, two_handles_in_one_process_exclude_each_other);

fn one_process_holds_and_others_are_refused(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let folder = scratch.folder();
        let (mut a, mut b) = (Puppet::at(kind, &folder), Puppet::at(Kind::C, &folder));
        a.must("lock 0");
        a.must("holds 0");
        assert_eq!(b.ask("lock 0"), "LF_BUSY");
        assert_eq!(b.ask("wait 0 0"), "LF_TIMEOUT");
        assert_eq!(b.ask("wait 0 20"), "LF_TIMEOUT");
        assert_eq!(b.must("in_use 0").number(), 1);
        assert_eq!(a.must("in_use 0").number(), 0);
        a.must("unlock 0");
        assert_eq!(b.must("in_use 0").number(), 0);
        b.must("lock 0");
        assert_eq!(a.ask("lock 0"), "LF_BUSY");
        b.must("close 0");
        a.must("lock 0");
    }
}

fn two_handles_in_one_process_exclude_each_other(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    puppet.open(1, &scratch.folder());
    puppet.must("lock 0");
    assert_eq!(puppet.ask("lock 1"), "LF_BUSY");
    assert_eq!(puppet.ask("unlock 1"), "LF_ERR_NOT_HELD");
    puppet.must("holds 0");
    puppet.must("close 1");
    puppet.must("holds 0");
    puppet.must("unlock 0");
}
