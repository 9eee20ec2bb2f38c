//! Containers whose root is nobody outside: users have other numbers there, or none. They rob nobody, and are never robbed.

mod support;

use std::process::Command;

use support::containers::{contained, each_filesystem, is_respected_until_it_dies};
use support::{both, root_or_skip, skip, Kind, Puppet, Scratch};

both!(
    another_user_namespace_changes_nothing,
    a_rootless_container_is_never_robbed_and_its_death_frees_the_folder,
    another_user_is_judged_from_a_user_namespace_that_has_no_name_for_it,
);

const USER: &[&str] = &["unshare", "--user", "--map-root-user"];
/// As containers without root are: with its own users, and its own processes.
const ROOTLESS: &[&str] = &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];

fn possible_or_skip() -> bool {
    let possible = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status().unwrap().success();
    if !possible {
        skip("user namespaces: not to be had here");
    }
    possible
}

fn among_other_users(before: &[&str], kind: Kind, scratch: &Scratch) -> Puppet {
    let mut puppet = Puppet::behind(before, kind);
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(namespace(puppet.pid()), namespace(std::process::id()), "it is in no user namespace of its own");
    puppet.open(0, &scratch.folder());
    puppet
}

fn another_user_namespace_changes_nothing(kind: Kind) {
    if !possible_or_skip() {
        return;
    }
    each_filesystem("another user namespace", |scratch| {
        let mut outside = Puppet::at(kind, &scratch.folder());
        is_respected_until_it_dies(among_other_users(USER, kind, scratch), &mut outside);
        let mut inside = among_other_users(USER, kind, scratch);
        is_respected_until_it_dies(outside, &mut inside);
        is_respected_until_it_dies(among_other_users(USER, kind, scratch), &mut inside);
    });
}

fn a_rootless_container_is_never_robbed_and_its_death_frees_the_folder(kind: Kind) {
    if !possible_or_skip() {
        return;
    }
    each_filesystem("another user namespace", |scratch| {
        let mut outside = Puppet::at(kind, &scratch.folder());
        let mut inside = among_other_users(ROOTLESS, kind, scratch);
        assert_eq!(inside.must("pid").number(), 1);
        is_respected_until_it_dies(among_other_users(ROOTLESS, kind, scratch), &mut outside);
        is_respected_until_it_dies(outside, &mut inside);
        is_respected_until_it_dies(among_other_users(ROOTLESS, kind, scratch), &mut inside);
        is_respected_until_it_dies(contained(kind, scratch), &mut inside);
        is_respected_until_it_dies(inside, &mut contained(kind, scratch));
    });
}

/// No signal may be sent from there, not even none at all: the kernel says that the process exists, and no more.
fn another_user_is_judged_from_a_user_namespace_that_has_no_name_for_it(kind: Kind) {
    if !root_or_skip("processes of other users") || !possible_or_skip() {
        return;
    }
    let scratch = Scratch::shm(); // where every user can reach it
    scratch.folder_with_mode(0o777);
    let stranger = || {
        let mut puppet = support::nobody(kind);
        puppet.open(0, &scratch.folder());
        puppet
    };
    for before in [USER, ROOTLESS] {
        is_respected_until_it_dies(stranger(), &mut among_other_users(before, kind, &scratch));
        is_respected_until_it_dies(among_other_users(before, kind, &scratch), &mut stranger());
    }
}
