//! Several users of one lock folder: the attackers, the attacked, and the rights that the folder gives them.

use std::fs;
use std::os::unix::fs::{chown, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::{root_or_skip, set_mode, skip, Kind, Puppet, Scratch};

/// A user that is not root, with a group of its own or that of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub id: u32,
    pub group: u32,
}

/// The group of the lock folders.
const GROUP: u32 = 47_110;

/// The users that an ACL names: two that may write, and one that may only read. In a group's folder the first two are in the
/// group.
const ATTACKER: u32 = 47_101;
const NEIGHBOUR: u32 = 47_102;
const READER: u32 = 47_103;

impl User {
    pub fn puppet(self, kind: Kind) -> Puppet {
        let mut puppet = Puppet::new(kind);
        puppet.must(&format!("become {} {}", self.id, self.group));
        puppet
    }

    /// A thread of ours acts as this user. Only this thread changes, because the calls are direct system calls. The functions
    /// of libc would change all threads (setresuid(2), "C library/kernel differences").
    pub fn acts<T: Send>(self, act: impl FnOnce() -> T + Send) -> T {
        extern "C" {
            fn syscall(number: i64, ...) -> i64;
        }
        #[cfg(target_arch = "x86_64")]
        const SETGROUPS_SETRESUID_SETRESGID: [i64; 3] = [116, 117, 119];
        #[cfg(target_arch = "aarch64")]
        const SETGROUPS_SETRESUID_SETRESGID: [i64; 3] = [159, 147, 149];
        let [setgroups, setresuid, setresgid] = SETGROUPS_SETRESUID_SETRESGID;
        let (user, group) = (self.id, self.group);
        let as_user = move || {
            // SAFETY: plain system calls. The first reads no list.
            unsafe {
                assert_eq!(syscall(setgroups, 0_usize, std::ptr::null::<u32>()), 0);
                assert_eq!(syscall(setresgid, group, group, group), 0);
                assert_eq!(syscall(setresuid, user, user, user), 0);
            }
            act()
        };
        std::thread::scope(|scope| scope.spawn(as_user).join()).unwrap_or_else(|e| std::panic::resume_unwind(e))
    }
}

/// A lock folder of root's that other users may use too.
pub struct Stage {
    scratch: Scratch,
    /// `on disk, 1777`
    pub name: String,
    pub attacker: User,
    pub neighbour: User,
    /// A user that may list the folder and read what is in it, and may do nothing else. There is none where all users may
    /// write.
    pub reader: Option<User>,
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Mode(u32),
    Acl,
    /// The folder is the attacker's own, with this mode.
    Own(u32),
}

impl Stage {
    fn new(access: Access, is_on_disk: bool) -> Stage {
        let scratch = if is_on_disk { Scratch::public() } else { Scratch::shm() };
        let (what, in_group, has_reader) = match access {
            Access::Mode(mode) => (format!("{mode:o}"), mode & 0o2000 != 0, mode & 0o007 == 0),
            Access::Acl => ("an ACL".to_owned(), false, true),
            Access::Own(mode) => (format!("{mode:o}, the attacker's own"), false, false),
        };
        let user = |id| User { id, group: if in_group { GROUP } else { id } };
        let name = format!("{}, {what}", if is_on_disk { "on disk" } else { "in memory" });
        let reader = has_reader.then_some(User { id: READER, group: READER });
        let (attacker, neighbour) = (user(ATTACKER), user(NEIGHBOUR));
        let stage = Stage { scratch, name, attacker, neighbour, reader, access };
        stage.renew();
        stage
    }

    pub fn folder(&self) -> PathBuf {
        self.scratch.folder()
    }

    pub fn hidden(&self) -> PathBuf {
        self.folder().join(".lockfolder")
    }

    /// A path beside the lock folder, where the library must change nothing.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The folder, as it was before its first use.
    pub fn renew(&self) {
        let folder = self.folder();
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(0), Some(GROUP)).unwrap();
        match self.access {
            Access::Mode(mode) => set_mode(&folder, mode),
            Access::Acl => {
                set_mode(&folder, 0o700);
                let users = format!("user:{ATTACKER}:rwx,user:{NEIGHBOUR}:rwx,user:{READER}:r-x");
                set_acl(&folder, &["-m", &users]);
            }
            Access::Own(mode) => {
                chown(&folder, Some(ATTACKER), Some(ATTACKER)).unwrap();
                set_mode(&folder, mode);
            }
        }
    }
}

/// Changes an access control list by setfacl(1).
pub fn set_acl(path: &Path, change: &[&str]) {
    let status = Command::new("setfacl").args(change).arg(path).status().unwrap();
    assert!(status.success(), "setfacl {change:?} {}", path.display());
}

fn has_acls() -> bool {
    let has = Command::new("setfacl").arg("--version").output().is_ok();
    if !has {
        skip("ACLs: no setfacl");
    }
    has
}

const ALL: [Access; 5] =
    [Access::Mode(0o777), Access::Mode(0o1777), Access::Mode(0o2770), Access::Mode(0o3777), Access::Acl];

/// The two folders of a kind take their turns side by side, because most of a test is the start of processes.
fn each(what: &str, accesses: &[Access], test: impl Fn(&Stage) + Sync) {
    if !root_or_skip(what) {
        return;
    }
    for &access in accesses {
        if access != Access::Acl || has_acls() {
            thread::scope(|scope| {
                for is_on_disk in [true, false] {
                    let test = &test;
                    scope.spawn(move || test(&Stage::new(access, is_on_disk)));
                }
            });
        }
    }
}

/// Runs in each kind of folder that others may use, on a disk and in memory.
pub fn each_stage(test: impl Fn(&Stage) + Sync) {
    each("several users", &ALL, test);
}

/// The same, and in folders that belong to the attacker.
pub fn each_stage_or_own_folder(test: impl Fn(&Stage) + Sync) {
    each("several users", &[&ALL[..], &[Access::Own(0o755), Access::Own(0o1777)]].concat(), test);
}

pub fn each_stage_with_an_acl(test: impl Fn(&Stage) + Sync) {
    each("ACLs", &[Access::Acl], test);
}

/// The owner, the group and the mode.
pub fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let about = fs::symlink_metadata(path).unwrap();
    (about.uid(), about.gid(), about.mode())
}
