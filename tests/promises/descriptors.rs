//! A program closes descriptors that are not its own (close_range(2), closefrom(3)), and opens files of its own, which get the numbers.
//! Its handle is of no use then. But nothing of the program is touched, and the handle does not say that it has a lock.

use std::fs;
use std::time::Instant;

use crate::line::places::holder_and_waiters;
use crate::line::turns::{are_served, is_served};
use crate::support::{all_waits, bid_name, both, listing, Bid, Kind, Puppet, Scratch};

all_waits!(by crate::line::turns::unless_somebody_dozes; a_file_that_has_a_number_of_ours_gets_no_byte);
both!(a_folder_that_has_a_number_of_ours_gets_no_file, a_handle_without_its_descriptors_has_no_lock);

/// The program closed our descriptors while it held the lock or waited, and opened a file of its own. The lock may be lost. The file is
/// not.
fn a_file_that_has_a_number_of_ours_gets_no_byte(kind: Kind) {
    for is_holder in [true, false] {
        let scratch = Scratch::new();
        let (folder, file) = (scratch.folder(), scratch.join("file"));
        fs::write(&file, "of the program").unwrap();
        let (mut holder, mut waiters) = holder_and_waiters(kind, &folder, 2);
        let freed = Instant::now();
        if is_holder {
            holder.must("unlock 0");
            is_served(&mut waiters, 0, freed);
            holder = waiters.remove(0);
            holder.must(&format!("reuse {}", file.display()));
            holder.ask("unlock 0");
            holder.ask("close 0");
            holder.kill();
        } else {
            let mut lost = Puppet::at(kind, &folder);
            lost.ask("begin 0 -1");
            lost.must(&format!("reuse {}", file.display()));
            for command in ["step 0", "cancel 0", "step 0", "end 0", "close 0"] {
                lost.ask(command);
            }
            lost.kill();
            holder.must("unlock 0");
        }
        assert_eq!(fs::read_to_string(&file).unwrap().len(), "of the program".len());
        are_served(&mut waiters, Instant::now());
    }
}

/// On these filesystems a listing or a look at the descriptor tells it.
fn each_place(test: impl Fn(&Scratch)) {
    [Scratch::new(), Scratch::shm(), Scratch::marked()].iter().for_each(test);
}

const CALLS: [&str; 7] = ["lock 0", "wait 0 0", "reap 0", "begin 0 -1", "step 0", "fence 0", "in_use 0"];

fn a_folder_that_has_a_number_of_ours_gets_no_file(kind: Kind) {
    each_place(|scratch| {
        for had_lock in [false, true] {
            let (folder, theirs) = (scratch.folder(), scratch.join("theirs"));
            fs::create_dir(&theirs).unwrap();
            let dead = theirs.join(bid_name("dead"));
            Bid::of(std::process::id()).with("PID", 1 << 22).write(&dead);
            let mut puppet = Puppet::at(kind, &folder);
            if had_lock {
                puppet.must("lock 0");
                puppet.must("unlock 0");
            }
            puppet.must(&format!("reuse {}", theirs.display()));
            let mut other = Puppet::at(kind, &folder);
            other.must("lock 0");
            for call in CALLS {
                let answer = puppet.ask(call);
                assert!(answer != "LF_OK" && answer != "LF_PENDING", "{call}: {answer:?}");
            }
            assert_eq!(listing(&theirs), [dead.file_name().unwrap().to_str().unwrap()]);
            other.must("holds 0");
            other.must("unlock 0");
            fs::remove_dir_all(&theirs).unwrap();
        }
    });
}

fn a_handle_without_its_descriptors_has_no_lock(kind: Kind) {
    each_place(|scratch| {
        let mut puppet = Puppet::at(kind, &scratch.folder());
        puppet.must("close_from 3");
        let mut other = Puppet::at(kind, &scratch.folder());
        other.must("lock 0");
        for call in CALLS {
            let answer = puppet.ask(call);
            assert!(answer != "LF_OK" && answer != "LF_PENDING", "{call}: {answer:?}");
        }
        other.must("holds 0");
    });
}
