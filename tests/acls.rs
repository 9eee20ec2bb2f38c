//! A lock folder with an access control list (acl(5)): the same people may use the sub-folder and all below it, and nobody else.

mod support;

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{access, Access};
use support::users::{each_stage, each_stage_with_an_acl, set_acl, Stage, User};
use support::{both, wait_until, Kind, Puppet};

both!(
    named_users_who_may_write_can_lock_and_wait,
    a_member_who_may_only_read_can_write_nothing,
    a_default_acl_adds_nobody,
);

/// The sub-folder and all below it.
fn everything_in(hidden: &Path) -> Vec<PathBuf> {
    let mut found = vec![hidden.to_owned()];
    for entry in fs::read_dir(hidden).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(everything_in(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// What this user could change.
fn writable(by: User, hidden: &Path) -> Vec<PathBuf> {
    let everything = everything_in(hidden);
    let kinds = |is: fn(&fs::FileType) -> bool| {
        everything.iter().filter(|path| is(&fs::symlink_metadata(path).unwrap().file_type())).count()
    };
    assert!(kinds(fs::FileType::is_dir) > 1 && kinds(fs::FileType::is_file) > 1 && kinds(fs::FileType::is_fifo) > 1);
    by.acts(|| everything.into_iter().filter(|path| access(path, Access::WRITE_OK).is_ok()).collect())
}

/// A line so long has a tail.
const LONG: usize = 8;

/// A holder and a long line of several users: so everything is in the sub-folder that there can be.
fn full_house(kind: Kind, stage: &Stage, users: &[Option<User>]) -> Vec<Puppet> {
    let puppet = |user: &Option<User>| {
        let mut puppet = user.map_or_else(|| Puppet::new(kind), |user| user.puppet(kind));
        puppet.must("umask 0");
        puppet.open(0, &stage.folder());
        puppet
    };
    let mut puppets: Vec<_> = users.iter().cycle().take(LONG + 2).map(puppet).collect();
    puppets[0].must("lock 0");
    puppets[0].must("fence 0");
    for (before, waiter) in puppets[1..].iter_mut().enumerate() {
        waiter.tell("wait 0 -1");
        // Who can't stand in line says so, or tries again and again without a ticket.
        wait_until(|| {
            let has_ticket = fs::read_dir(stage.hidden().join("queue")).is_ok_and(|queue| queue.count() == before + 1);
            has_ticket || waiter.has_answered()
        });
        if waiter.has_answered() {
            panic!("{}, {users:?}: waiter {before}: {:?}: {}", stage.name, waiter.hear(), waiter.why(0));
        }
    }
    assert!(!stage.hidden().join("tail").exists(), "others can put files there, so no tail is believed");
    puppets
}

#[track_caller]
fn all_get_it(mut puppets: Vec<Puppet>, what: &str) {
    puppets[0].must("unlock 0");
    for waiter in &mut puppets[1..] {
        let got = waiter.hear();
        assert!(got == "LF_OK", "{what}: {got:?}: {}", waiter.why(0));
        waiter.must("fence 0");
        waiter.must("unlock 0");
    }
}

const OWNER: User = User { id: 47_145, group: 47_145 };

/// Each of them may come first, and then all can.
fn named_users_who_may_write_can_lock_and_wait(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        // The last one owns the folder, and no list names it.
        let mut users = [None, Some(stage.attacker), Some(stage.neighbour), Some(OWNER)];
        for _ in 0..users.len() {
            stage.renew();
            std::os::unix::fs::chown(stage.folder(), Some(OWNER.id), None).unwrap();
            users.rotate_left(1);
            all_get_it(full_house(kind, stage, &users), &format!("{}, {users:?}", stage.name));
        }
    });
}

fn a_member_who_may_only_read_can_write_nothing(kind: Kind) {
    each_stage(|stage| {
        let Some(reader) = stage.reader else { return };
        let mut users = [None, Some(stage.attacker)];
        for _ in 0..users.len() {
            stage.renew();
            users.rotate_left(1);
            let puppets = full_house(kind, stage, &users);
            let found = writable(reader, &stage.hidden());
            assert_eq!(found, Vec::<PathBuf>::new(), "{}, {users:?}", stage.name);
            // And by trying.
            let tried = reader.acts(|| fs::write(stage.hidden().join("mine"), ""));
            assert!(tried.is_err(), "{}", stage.name);
            all_get_it(puppets, &stage.name);
        }
    });
}

const STRANGER: User = User { id: 47_140, group: 47_140 };

/// Whom it names gets what is made in the folder, unless the maker sees to it; but only who may write the folder may.
fn a_default_acl_adds_nobody(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        let mut users = [None, Some(stage.attacker)];
        for _ in 0..users.len() {
            stage.renew();
            users.rotate_left(1);
            set_acl(&stage.folder(), &["-m", &format!("other::x,user:{}:x", STRANGER.id)]);
            set_acl(&stage.folder(), &["-d", "-m", &format!("user:{}:rwx,group:{0}:rwx,other::rwx", STRANGER.id)]);
            let puppets = full_house(kind, stage, &users);
            for who in [Some(STRANGER), Some(User { id: 47_141, group: 47_140 }), stage.reader].into_iter().flatten() {
                let found = writable(who, &stage.hidden());
                assert_eq!(found, Vec::<PathBuf>::new(), "{}, {who:?}, {users:?}", stage.name);
            }
            all_get_it(puppets, &stage.name);
        }
    });
}
