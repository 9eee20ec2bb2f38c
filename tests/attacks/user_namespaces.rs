//! Containers whose root has no rights outside. Users have other numbers there, or none. Such containers rob no claimant,
//! and are never robbed.

use std::os::unix::fs::{chown, MetadataExt};
use std::process::Command;

use crate::support::containers::{contained, each_filesystem, is_respected_until_it_dies};
use crate::support::users::User;
use crate::support::{both, root_or_skip, skip, Kind, Puppet, Scratch};

both!(
    another_user_namespace_changes_nothing,
    a_rootless_container_is_never_robbed_and_its_death_frees_the_folder,
    another_user_is_judged_from_a_user_namespace_that_has_no_name_for_it,
    what_is_made_goes_to_nobody_but_the_users_of_the_folder,
    who_would_shut_an_owner_or_a_group_out_is_refused_and_makes_nothing,
    a_private_handle_takes_no_number_that_stands_for_many_for_ours,
);

const USER: &[&str] = &["unshare", "--user", "--map-root-user"];
/// `LF_OPEN_PRIVATE`
const PRIVATE: u32 = 2;
/// The same namespaces as a rootless container: its own users and its own processes.
const ROOTLESS: &[&str] = &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];

fn possible_or_skip() -> bool {
    let possible = Command::new(ROOTLESS[0]).args(&ROOTLESS[1..]).arg("true").status().unwrap().success();
    if !possible {
        skip("user namespaces: not to be had here");
    }
    possible
}

fn among_other_users(before: &[&str], kind: Kind, scratch: &Scratch) -> Puppet {
    let mut puppet = Puppet::behind(before, kind);
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(namespace(puppet.pid()), namespace(std::process::id()), "the puppet has no user namespace of its own");
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

/// A process there may send no signal to the process outside, not even signal 0: the kernel says only that the process
/// exists.
fn another_user_is_judged_from_a_user_namespace_that_has_no_name_for_it(kind: Kind) {
    if !root_or_skip("processes of other users") || !possible_or_skip() {
        return;
    }
    let scratch = Scratch::shm(); // every user can reach it there
    scratch.folder_with_mode(0o777);
    let stranger = || {
        let mut puppet = crate::support::nobody(kind);
        puppet.open(0, &scratch.folder());
        puppet
    };
    for before in [USER, ROOTLESS] {
        is_respected_until_it_dies(stranger(), &mut among_other_users(before, kind, &scratch));
        is_respected_until_it_dies(among_other_users(before, kind, &scratch), &mut stranger());
    }
}

/// This user has no number in either namespace.
const OUTSIDER: User = User { id: 70_000, group: 70_000 };

/// The first numbers are the same inside. So 65534 is an ordinary user, and it also stands for all users that have no
/// number.
fn with_numbers(count: u32, kind: Kind, scratch: &Scratch) -> Puppet {
    let keeper = Puppet::behind(&["unshare", "--user"], kind);
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", keeper.pid()), format!("0 0 {count}")).unwrap();
    }
    // A program that starts after that is root there.
    let mut puppet = Puppet::behind(&["nsenter", &format!("--user=/proc/{}/ns/user", keeper.pid())], kind);
    puppet.open(0, &scratch.folder());
    puppet
}

const COUNTS: [u32; 2] = [1, 65_536];

fn cycle(puppet: &mut Puppet) {
    puppet.must("lock 0");
    puppet.must("unlock 0");
    puppet.must("wait 0 1000");
    puppet.must("unlock 0");
}

fn outsider(kind: Kind, scratch: &Scratch) -> Puppet {
    let mut puppet = OUTSIDER.puppet(kind);
    puppet.open(0, &scratch.folder());
    puppet
}

fn what_is_made_goes_to_nobody_but_the_users_of_the_folder(kind: Kind) {
    if !root_or_skip("folders of other users") || !possible_or_skip() {
        return;
    }
    for count in COUNTS {
        for mode in [0o777, 0o1777, 0o2777] {
            let scratch = Scratch::shm();
            scratch.folder_with_mode(mode);
            chown(scratch.folder(), Some(OUTSIDER.id), Some(OUTSIDER.group)).unwrap();
            crate::support::set_mode(&scratch.folder(), mode);
            let mut inside = with_numbers(count, kind, &scratch);
            cycle(&mut inside);
            let hidden = std::fs::metadata(scratch.folder().join(".lockfolder")).unwrap();
            assert!([0, OUTSIDER.id].contains(&hidden.uid()), "{count}, {mode:o}: user {}", hidden.uid());
            assert!([0, OUTSIDER.group].contains(&hidden.gid()), "{count}, {mode:o}: group {}", hidden.gid());
            let mut owner = outsider(kind, &scratch);
            cycle(&mut owner);
            is_respected_until_it_dies(inside, &mut owner);
        }
    }
}

/// Either the user or the group of the folder has no number there, and has the right to write only as such.
fn who_would_shut_an_owner_or_a_group_out_is_refused_and_makes_nothing(kind: Kind) {
    if !root_or_skip("folders of other users") || !possible_or_skip() {
        return;
    }
    for count in COUNTS {
        for (owner, group) in [(OUTSIDER.id, 0), (0, OUTSIDER.group)] {
            let scratch = Scratch::shm();
            scratch.folder_with_mode(0o770);
            chown(scratch.folder(), Some(owner), Some(group)).unwrap();
            let mut inside = with_numbers(count, kind, &scratch);
            let what = format!("{count}, {owner}:{group}");
            assert_eq!(inside.ask("lock 0"), "LF_ERR_IO", "{what}");
            assert!(inside.why(0).contains("user namespace"), "{what}: {}", inside.why(0));
            assert_eq!(crate::support::listing(&scratch.folder()), [""; 0], "{what}");
            // If a user that sees both numbers makes it, all users can use it.
            let mut other = outsider(kind, &scratch);
            cycle(&mut other);
            cycle(&mut inside);
            is_respected_until_it_dies(inside, &mut other);
        }
    }
}

fn a_private_handle_takes_no_number_that_stands_for_many_for_ours(kind: Kind) {
    if !root_or_skip("folders of other users") || !possible_or_skip() {
        return;
    }
    let scratch = Scratch::shm();
    scratch.folder_with_mode(0o755);
    chown(scratch.folder(), Some(OUTSIDER.id), Some(OUTSIDER.group)).unwrap();
    let mut without_a_number = Puppet::behind(&["unshare", "--user"], kind);
    let opened = without_a_number.try_open(0, PRIVATE, &scratch.folder());
    assert_eq!(opened, "LF_ERR_UNSAFE");
}
