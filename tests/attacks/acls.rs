//! A lock folder with an access control list (acl(5)). The users of the lock folder may use the sub-folder and all below it. No
//! other user may.

use std::fs;
use std::os::unix::fs::{chown, FileTypeExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::stage::Stage as MountStage;
use crate::support::users::{each_stage, each_stage_with_an_acl, set_acl, Stage, User};
use crate::support::{both, namespaces_or_skip, set_mode, wait_until, Kind, Puppet};
use rustix::fs::{access, Access};

both!(
    named_users_who_may_write_can_lock_and_wait,
    a_member_who_may_only_read_can_write_nothing,
    a_default_acl_adds_nobody,
    a_mask_that_takes_writing_from_a_named_user_takes_it_everywhere,
    a_list_that_the_kernel_does_not_look_at_shuts_nobody_out,
    a_group_that_may_do_less_than_others_may_not_do_more_below,
    where_nobody_can_be_named_nobody_is_shut_out,
    no_token_where_somebody_could_delete_it_whom_the_folder_does_not_let_write_any_more,
);

/// The sub-folder and everything below it.
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

/// The paths that this user could change.
fn writable(by: User, hidden: &Path) -> Vec<PathBuf> {
    let everything = everything_in(hidden);
    let kinds = |is: fn(&fs::FileType) -> bool| {
        everything.iter().filter(|path| is(&fs::symlink_metadata(path).unwrap().file_type())).count()
    };
    assert!(kinds(fs::FileType::is_dir) > 1 && kinds(fs::FileType::is_file) > 1 && kinds(fs::FileType::is_fifo) > 1);
    by.acts(|| everything.into_iter().filter(|path| access(path, Access::WRITE_OK).is_ok()).collect())
}

/// A line of this length has a tail.
const LONG: usize = 8;

/// A holder and a long line of several users. With them the sub-folder contains every kind of file that it can have.
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
        // A waiter that can't stand in line answers with an error, or tries again and again without a ticket.
        wait_until(|| {
            let has_ticket = fs::read_dir(stage.hidden().join("queue")).is_ok_and(|queue| queue.count() == before + 1);
            has_ticket || waiter.has_answered()
        });
        if waiter.has_answered() {
            panic!("{}, {users:?}: waiter {before}: {:?}: {}", stage.name, waiter.hear(), waiter.why(0));
        }
    }
    assert!(!stage.hidden().join("tail").exists(), "another user can put files there, so the library trusts no tail");
    puppets
}

#[track_caller]
fn all_get_it(mut puppets: Vec<Puppet>, what: &str) {
    puppets[0].must("unlock 0");
    for waiter in &mut puppets[1..] {
        let got = waiter.hear();
        assert!(got == "LF_OK", "{what}: {got:?}: {}", waiter.why(0));
        let token = waiter.ask("fence 0");
        let why = waiter.why(0);
        assert!(token == "LF_OK" || token == "LF_ERR_UNSAFE" && why.contains("sticky"), "{what}: {token:?}: {why}");
        waiter.must("unlock 0");
    }
}

const OWNER: User = User { id: 47_145, group: 47_145 };

/// Each user may be the first. After that, all users can lock and wait.
fn named_users_who_may_write_can_lock_and_wait(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        // The last user owns the folder, and no list entry names this user.
        let mut users = [None, Some(stage.attacker), Some(stage.neighbour), Some(OWNER)];
        for _ in 0..users.len() {
            stage.renew();
            chown(stage.folder(), Some(OWNER.id), None).unwrap();
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
            // The same by trying it.
            let tried = reader.acts(|| fs::write(stage.hidden().join("mine"), ""));
            assert!(tried.is_err(), "{}", stage.name);
            all_get_it(puppets, &stage.name);
        }
    });
}

const STRANGER: User = User { id: 47_140, group: 47_140 };

/// A user that a default list names gets rights to everything that is made in the folder, unless the maker prevents it. Only a user
/// that may write to the folder may write below.
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

/// A folder that belongs to the owner and the owner's group, with this mode and then these changes to its list.
fn renew_with(stage: &Stage, mode: u32, changes: &[&[&str]]) {
    stage.renew();
    set_acl(&stage.folder(), &["-b"]);
    chown(stage.folder(), Some(OWNER.id), Some(OWNER.group)).unwrap();
    set_mode(&stage.folder(), mode);
    changes.iter().for_each(|change| set_acl(&stage.folder(), change));
}

/// Where the mask is empty the kernel does not look at a list (acl_permission_check in fs/namei.c). So what the library makes there
/// has no list.
fn a_mask_that_takes_writing_from_a_named_user_takes_it_everywhere(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        let limited = format!("user:{}:r-x", STRANGER.id);
        let masked = format!("user:{}:rwx,mask::r-x", STRANGER.id);
        for (mode, list) in [(0o757, &limited), (0o1777, &masked)] {
            renew_with(stage, mode, &[&["-m", list]]);
            let users = [None, Some(stage.attacker)];
            let puppets = full_house(kind, stage, &users);
            assert_eq!(writable(STRANGER, &stage.hidden()), Vec::<PathBuf>::new(), "{}, {list}", stage.name);
            all_get_it(puppets, &format!("{}, {list}", stage.name));
        }
    });
}

fn a_list_that_the_kernel_does_not_look_at_shuts_nobody_out(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        let members = User { id: STRANGER.id, group: 47_148 };
        let mut users = [Some(stage.attacker), Some(members), Some(OWNER), None];
        for _ in 0..users.len() {
            renew_with(stage, 0o707, &[&["-n", "-m", &format!("group:{}:---,mask::---", members.group)]]);
            users.rotate_left(1);
            all_get_it(full_house(kind, stage, &users), &format!("{}, {users:?}", stage.name));
        }
    });
}

/// A user of another group makes the folder. A member of both groups may do in it what both groups may do.
fn a_group_that_may_do_less_than_others_may_not_do_more_below(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        for mode in [0o757, 0o2757] {
            renew_with(stage, mode, &[]);
            let puppets = full_house(kind, stage, &[Some(stage.attacker), Some(stage.neighbour)]);
            let find = |path: &Path| {
                let both = format!("{},{}", OWNER.group, stage.attacker.group);
                let as_member = ["--reuid", "47149", "--regid", "47149", "--groups", &both, "find"];
                let output = Command::new("setpriv")
                    .current_dir("/")
                    .args(as_member)
                    .arg(path)
                    .arg("-writable")
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
            assert_eq!((find(&stage.folder()), find(&stage.hidden())), Default::default(), "{}, {mode:o}", stage.name);
            all_get_it(puppets, &format!("{}, {mode:o}", stage.name));
        }
    });
}

/// A filesystem with modes and without lists. A user that can't give its files there to the folder's owner or group makes no files.
fn where_nobody_can_be_named_nobody_is_shut_out(kind: Kind) {
    if !namespaces_or_skip("a filesystem without lists") {
        return;
    }
    let stage = MountStage::new();
    stage.run("mount -t ramfs ramfs /mnt && chmod 755 /mnt"); // every user can reach this path
    let folder = PathBuf::from("/mnt/lock");
    let group = 47_148;
    let member = User { id: STRANGER.id, group };
    for mode in [0o2770, 0o770, 0o2775] {
        for (first, second) in [(member, OWNER), (OWNER, member)] {
            let _ = fs::remove_dir_all(stage.seen(&folder));
            fs::create_dir(stage.seen(&folder)).unwrap();
            chown(stage.seen(&folder), Some(OWNER.id), Some(group)).unwrap();
            set_mode(&stage.seen(&folder), mode);
            let mut puppets = [first, second].map(|user| {
                let mut puppet = stage.puppet(kind);
                puppet.must(&format!("become {} {}", user.id, user.group));
                puppet.open(0, &folder);
                puppet
            });
            let mut lock = |puppet: usize| {
                let said = puppets[puppet].ask("lock 0");
                if said == "LF_OK" {
                    puppets[puppet].must("fence 0");
                    puppets[puppet].must("unlock 0");
                }
                said
            };
            let before = lock(0);
            let after = lock(1);
            let at = format!("{mode:o}, {first:?}: {before:?}, {after:?}");
            // A user that would shut another user out gets an error that says what to do. After that, no user is shut out.
            assert!(before == "LF_OK" && after == "LF_OK" || before == "LF_ERR_IO", "{at}");
            if before == "LF_ERR_IO" {
                let why = puppets[0].why(0);
                assert!(why.contains("let root, or the owner"), "{at}: {why}");
                assert!(!stage.seen(&folder).join(".lockfolder").exists() || after == "LF_OK", "{at}");
            }
        }
    }
}

/// How a folder starts, how it is closed to a user later, and how the sub-folder is then made right.
struct Closing {
    what: &'static str,
    first: Option<User>,
    open: fn(&Path),
    close: fn(&Path),
    mend: fn(&Path),
}

const FORMER: User = User { id: 47_150, group: 47_150 };
const OTHER_GROUP: u32 = 47_160;

fn names_former(path: &Path) {
    set_mode(path, 0o700);
    set_acl(path, &["-m", &format!("user:{}:rwx,user:{}:rwx", FORMER.id, OWNER.id)]);
}

fn names_former_no_more(path: &Path) {
    set_acl(path, &["-x", &format!("user:{}", FORMER.id)]);
}

const CLOSINGS: [Closing; 5] = [
    Closing {
        what: "its group may not write any more",
        first: None,
        open: |folder| set_mode(folder, 0o775),
        close: |folder| set_mode(folder, 0o755),
        mend: |hidden| set_mode(hidden, 0o755),
    },
    Closing {
        what: "it is another group's",
        first: None,
        open: |folder| set_mode(folder, 0o775),
        close: |folder| chown(folder, None, Some(OTHER_GROUP)).unwrap(),
        mend: |hidden| chown(hidden, None, Some(OTHER_GROUP)).unwrap(),
    },
    Closing {
        what: "the list does not name a user any more",
        first: None,
        open: names_former,
        close: names_former_no_more,
        mend: names_former_no_more,
    },
    Closing {
        what: "the list does not name the owner of the sub-folder any more",
        first: Some(FORMER),
        open: names_former,
        close: names_former_no_more,
        mend: |hidden| {
            names_former_no_more(hidden);
            chown(hidden, Some(0), None).unwrap();
        },
    },
    Closing {
        what: "the list lets the owner of the sub-folder read alone",
        first: Some(FORMER),
        open: names_former,
        close: |folder| set_acl(folder, &["-m", &format!("user:{}:r-x", FORMER.id)]),
        mend: |hidden| {
            names_former_no_more(hidden);
            chown(hidden, Some(0), None).unwrap();
        },
    },
];

/// A user that could write once, and may not now, could delete tokens. Then the count would go backwards.
fn no_token_where_somebody_could_delete_it_whom_the_folder_does_not_let_write_any_more(kind: Kind) {
    each_stage_with_an_acl(|stage| {
        for Closing { what, first, open, close, mend } in &CLOSINGS {
            stage.renew();
            set_acl(&stage.folder(), &["-b"]);
            open(&stage.folder());
            let mut first = first.map_or_else(|| Puppet::new(kind), |first| first.puppet(kind));
            let mut root = Puppet::at(kind, &stage.folder());
            first.open(0, &stage.folder());
            for (before, puppet) in [&mut first, &mut root].into_iter().enumerate() {
                puppet.must("lock 0");
                let token = puppet.ask("fence 0");
                assert!(token == "LF_OK", "{}: {what}: {token:?}: {}", stage.name, puppet.why(0));
                assert_eq!(token.number(), 1 + before as u64);
                puppet.must("unlock 0");
            }
            drop(first);
            close(&stage.folder());
            root.must("lock 0");
            assert_eq!(root.ask("fence 0"), "LF_ERR_UNSAFE", "{}: {what}", stage.name);
            assert!(root.why(0).contains("may not write"), "{}", root.why(0));
            mend(&stage.hidden());
            assert_eq!(root.must("fence 0").number(), 3, "{}: {what}", stage.name);
            root.must("unlock 0");
        }
    });
}
