//! Which filesystems keep the promise that this lock needs, by their types and mount options. The kernel shows both in
//! `/proc/self/mountinfo` (proc_pid_mountinfo(5)). `docs/filesystems.md` has the same table.

use super::filesystem::Filesystem::{self, LocalByName};
use super::filesystem::Shared::{self, GlusterFs, Nfs3, Nfs4};
use super::filesystem::{vouch_if, Refusal, ALONE, UNTRIED};

use Then::{Accept, Remount, Vouch};
use When::{Always, Has, Is, IsNot};

struct Row {
    /// The types. A star at the end stands for any rest.
    kinds: &'static [&'static str],
    when: When,
    then: Then,
    /// Where it was tried. The page says it.
    #[cfg_attr(not(test), allow(dead_code))]
    tried: &'static str,
}

/// What the options must be.
enum When {
    Always,
    /// One of these options is there, with any value.
    Has(&'static [&'static str]),
    /// The option is there, and it has this value wherever it is there.
    Is(&'static str, &'static str),
    /// The option is missing, or it has none of these values somewhere.
    IsNot(&'static str, &'static [&'static str]),
}

enum Then {
    Accept(Filesystem),
    /// Refuse it, because of this. Another mount, made in this way, is accepted.
    Remount(&'static str, &'static str),
    /// Refuse it, because of this. The caller can vouch for it on this condition.
    Vouch(&'static str, &'static str),
}

const NFS: &[&str] = &["nfs", "nfs4"];
const SMB: &[&str] = &["cifs", "smb3"];

/// Filesystems that only this kernel writes to, and that statfs(2) does not name for certain. The list has no
/// filesystem that is backed by a network, a host machine or a cluster.
const LOCAL: &[&str] = &[
    "ramfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs", "nilfs2", "vfat", "msdos", "exfat", "ntfs", "fuseblk",
    "udf", "hfsplus", "ubifs", "jffs2",
];

const CLUSTERS: &[&str] =
    &["ceph", "fuse.ceph", "fuse.ceph-fuse", "lustre", "gfs2", "ocfs2", "beegfs", "gpfs", "orangefs", "afs"];

/// Folders that a host machine shares with its guests.
const OF_THE_HOST: &[&str] = &["vboxsf", "prl_fs", "vmhgfs", "fuse.vmhgfs-fuse"];

const TRIED: &str = "two clients and a server, Linux 6.1";
const NOT_TRIED: &str = "not tried";

/// The first row that fits decides.
#[rustfmt::skip] // this reads like a table
const TABLE: &[Row] = &[
    row(LOCAL, Always, Accept(LocalByName), "exFAT was (below); the others are accepted by name"),

    row(NFS, Has(&["nocto"]), Remount("a listing can miss bids", "Mount it without nocto"), TRIED),
    // softerr switches softreval on, and the kernel shows both.
    row(NFS, Has(&["softreval"]),
        Remount("without an answer a listing comes from the cache", "Mount it with nosoftreval"), NOT_TRIED),
    row(NFS, IsNot("vers", &["3", "4.0", "4.1", "4.2"]),
        Remount("nobody has tried this version of NFS", "Mount it with vers=4.2 or vers=3"), NOT_TRIED),
    row(NFS, Is("vers", "3"), shared(Nfs3), TRIED),
    row(NFS, Is("vers", "4.0"),
        Remount("while one host stands still, the others can wait for 90 s and longer", "Mount it with vers=4.2 or vers=3"), TRIED),
    row(NFS, Is("vers", "4.1"), shared(Nfs4), TRIED),
    row(NFS, Is("vers", "4.2"), shared(Nfs4), TRIED),

    // Its client answers EINVAL and ESTALE for files that other hosts have just linked or deleted.
    row(SMB, Always, Vouch("two hosts tried it, and some claimants waited in vain", ALONE), "two clients and a server, Linux 6.1, Samba"),

    row(&["fuse.glusterfs"], Always, shared(GlusterFs), "two mounts, of one brick and of three (below)"),
    row(&["fuse.sshfs"], Always,
        Vouch("with its default caches two were seen to hold at once", "it is mounted with -o dir_cache=no"), "below"),
    row(&["fuse.fuse-overlayfs"], Always,
        Vouch("a listing was seen to miss a name", "it is mounted with -o timeout=0"), "below"),
    // The kernel shows nothing for cache=none. Before Linux 6.4 it showed the mode alone.
    row(&["9p"], Has(&["cache", "loose", "fscache", "mmap"]),
        Vouch("nobody has tried it with a cache", "all claimants use this one mount"), NOT_TRIED),
    row(&["9p"], Always, Vouch(UNTRIED, ALONE), NOT_TRIED),
    row(&["virtiofs"], Always,
        Vouch("virtiofsd keeps names for a second by default, and nobody has tried it without",
              "all claimants use this one mount, or virtiofsd runs with --cache=never"), NOT_TRIED),
    row(CLUSTERS, Always, Vouch(UNTRIED, ALONE), NOT_TRIED),
    row(OF_THE_HOST, Always, Vouch(UNTRIED, ALONE), NOT_TRIED),
    row(&["fuse", "fuse.*"], Always, Vouch(UNTRIED, ALONE), NOT_TRIED),
    row(&["*"], Always, Vouch(UNTRIED, ALONE), NOT_TRIED),
];

const fn row(kinds: &'static [&'static str], when: When, then: Then, tried: &'static str) -> Row {
    Row { kinds, when, then, tried }
}

const fn shared(shared: Shared) -> Then {
    Accept(Filesystem::Shared(shared))
}

/// Judges a filesystem by its type and by the options of its mount, separated by commas.
pub(super) fn judge(kind: &str, options: &str) -> Result<Filesystem, Refusal> {
    let Some(row) = TABLE.iter().find(|row| row.names(kind) && row.when.fits(options)) else {
        return Err(Refusal::unknown(kind));
    };
    let refuse = |why, way_out: &str| Err(Refusal::unfit(kind, &(row.when.in_the_way(options) + why), way_out));
    match row.then {
        Accept(on) => Ok(on),
        Remount(why, how) => {
            refuse(why, &format!("{how}. Or pass LF_OPEN_TRUST_FILESYSTEM, if all claimants use this one mount"))
        }
        Vouch(why, condition) => refuse(why, &vouch_if(condition)),
    }
}

impl Row {
    fn names(&self, kind: &str) -> bool {
        self.kinds.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => kind == *name,
        })
    }
}

impl When {
    /// The kernel shows an option once. If an option is there twice all the same, the stricter one counts.
    fn fits(&self, options: &str) -> bool {
        match *self {
            Always => true,
            Has(names) => names.iter().any(|name| find(options, name).next().is_some()),
            Is(name, value) => has_only(options, name, &[value]),
            IsNot(name, values) => !has_only(options, name, values),
        }
    }

    /// Names the option because of which a filesystem is refused.
    fn in_the_way(&self, options: &str) -> String {
        let (names, values): (&[&str], &[&str]) = match self {
            Always => return String::new(),
            Is(name, value) => return format!("the mount option {name}={value} is in the way, because "),
            Has(names) => (names, &[]),
            IsNot(name, values) => (&[name], values),
        };
        let mut found = names.iter().flat_map(|name| find(options, name));
        match found.find(|(_, value)| !values.contains(value)) {
            Some((option, _)) => format!("the mount option {option} is in the way, because "),
            None => format!("the mount option {} is missing, and ", names[0]),
        }
    }
}

fn has_only(options: &str, name: &str, values: &[&str]) -> bool {
    let mut found = find(options, name).peekable();
    found.peek().is_some() && found.all(|(_, value)| values.contains(&value))
}

/// Finds an option: as it is written, and its value.
fn find<'a>(options: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    options.split(',').filter_map(move |option| {
        let (found, value) = option.split_once('=').unwrap_or((option, ""));
        (found == name).then_some((option, value))
    })
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub kind: String,
    pub point: String,
    /// Those of the mount, and those of the filesystem.
    pub options: String,
}

impl Mount {
    /// Finds the mount with this number. `None`: no valid line has it.
    pub fn find(mountinfo: &str, id: &str) -> Option<Mount> {
        mountinfo.lines().find_map(|line| Mount::read(line, id))
    }

    fn read(line: &str, id: &str) -> Option<Mount> {
        // Each field is escaped, so this text is nowhere else.
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let [found, _parent, _device, _root, point, of_mount, ..] = before[..] else { return None };
        // The source between the two may be empty.
        let mut after = after.split(' ');
        let kind = after.next().filter(|kind| !kind.is_empty())?;
        let of_filesystem = after.nth(1).unwrap_or("");
        (found == id).then(|| Mount {
            kind: kind.to_owned(),
            point: unescape(point),
            options: format!("{of_mount},{of_filesystem}"),
        })
    }
}

/// Undoes the kernel's escapes: a space, for example, is written as `\040`.
fn unescape(field: &str) -> String {
    let bytes = field.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = field.get(at + 1..at + 4).filter(|_| byte == b'\\');
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests;
