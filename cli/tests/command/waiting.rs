//! How `run` waits for the lock.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::process::Signal;

use super::support::*;

#[test]
fn it_waits_for_its_turn() {
    let scratch = Scratch::new();
    let holder = Holder::new(&scratch.lock());
    let mut waiters = Vec::new();
    for number in 0..3 {
        let mut command = Command::new(OURS);
        let line = format!("echo {number} >>{}", scratch.path("order"));
        waiters.push(Running::start(command.args(["run", &scratch.lock(), "-c", &line])));
        wait_for_waiters(&scratch.lock(), number + 1);
    }
    holder.leave();
    for waiter in waiters {
        assert_eq!(waiter.end().code(), Some(0));
    }
    assert_eq!(fs::read_to_string(scratch.path("order")).unwrap(), "0\n1\n2\n");
}

#[test]
fn a_signal_ends_the_wait_at_any_moment() {
    let scratch = Scratch::new();
    let holder = Holder::new(&scratch.lock());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM] {
        for is_early in [true, false] {
            let mut command = Command::new(OURS);
            let mark = scratch.path("ran");
            let waiter = Running::start(command.args(["run", &scratch.lock(), "touch", &mark]).current_dir(&scratch.0));
            match is_early {
                // It may be at any place of its start.
                true => wait_until("it heeds signals", || {
                    u64::from_str_radix(&stat(waiter.child.id(), "SigCgt"), 16)
                        .is_ok_and(|caught| caught & 1 << 14 != 0)
                }),
                false => wait_for_waiters(&scratch.lock(), 1),
            }
            waiter.signal(signal);
            assert_eq!(waiter.end().signal(), Some(signal.as_raw()), "{signal:?}");
        }
    }
    wait_for_waiters_to_go(&scratch.lock());
    holder.leave();
    assert!(!fs::exists(scratch.path("ran")).unwrap(), "a cancelled command ran");
    assert_eq!(fs::read_dir(scratch.path("lock/.lockfolder")).unwrap().count(), 0, "a cancelled waiter left a file");
}

fn wait_for_waiters_to_go(folder: &str) {
    wait_until("the line is gone", || !fs::exists(format!("{folder}/.lockfolder/queue")).unwrap());
}
