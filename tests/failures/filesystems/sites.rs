//! The filesystems: how each is mounted, and what the test expects of it.

use std::path::PathBuf;
use std::process::Command;

use crate::c;
use crate::support::stage::Stage;

/// A mounted filesystem. Everything in it ends with the stage.
pub struct Site {
    pub stage: Stage,
    /// The places where it is mounted. Two mounts are like two hosts.
    pub mounts: Vec<PathBuf>,
    /// `lf_open` must refuse the filesystem, unless it is told to trust it.
    pub refused: bool,
    /// Waiters stand in line.
    pub has_line: bool,
    /// The filesystem is so small that it can be filled, and it can be remounted read-only.
    pub small: bool,
}

/// The reason why a filesystem can't be used on this kernel, even with every package installed.
pub type Impossible = String;
pub type Mount = fn() -> Result<Site, Impossible>;

pub const ALL: &[(&str, Mount)] = &[
    ("ext4", || image("ext4", 16, "mkfs.ext4 -q -m 0", ("mkfs.ext4", "e2fsprogs"))),
    ("xfs", || image("xfs", 300, "mkfs.xfs -q", ("mkfs.xfs", "xfsprogs"))),
    ("btrfs", || image("btrfs", 120, "mkfs.btrfs -q", ("mkfs.btrfs", "btrfs-progs"))),
    ("tmpfs", || mounted("tmpfs", "mount -t tmpfs -o size=1m tmpfs $T/at", true)),
    ("overlayfs", || mounted("overlay", OVERLAY, false)),
    ("vfat", || Ok(Site { has_line: false, ..image("vfat", 16, "mkfs.vfat", ("mkfs.vfat", "dosfstools"))? })),
    ("exFAT (FUSE, `fuseblk`)", exfat),
    ("NTFS (FUSE, `fuseblk`)", ntfs),
    ("sshfs `-o dir_cache=no`", sshfs),
    ("GlusterFS, two mounts", glusterfs),
];

/// The lower layer has a folder with a file that the upper layer hides. So the folder is not a plain one.
const OVERLAY: &str =
    "mount -t tmpfs tmpfs $T/at && mkdir $T/at/lower $T/at/upper $T/at/work && touch $T/at/lower/old && \
    mount -t overlay -o lowerdir=$T/at/lower,upperdir=$T/at/upper,workdir=$T/at/work overlay $T/at && rm $T/at/old";

fn kernel_has(filesystem: &str) -> Result<(), Impossible> {
    let _ = Command::new("modprobe").args(["-q", filesystem]).status();
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    match known.split_whitespace().any(|word| word == filesystem) {
        true => Ok(()),
        false => Err(format!("this kernel has no {filesystem}")),
    }
}

/// Every tool that can be installed must be there. Without it `c::need` reports that, and CI fails.
fn need(tool: &str, package: &str) -> Result<(), Impossible> {
    match c::need(tool, &[package]) {
        true => Ok(()),
        false => Err(format!("no {tool}")),
    }
}

fn mounted(filesystem: &str, script: &str, small: bool) -> Result<Site, Impossible> {
    kernel_has(filesystem)?;
    let stage = Stage::new();
    stage.run(&format!("mkdir $T/at && {script}"));
    let mounts = vec![stage.join("at")];
    Ok(Site { stage, mounts, refused: false, has_line: true, small })
}

/// The loop device is freed when the filesystem is unmounted.
fn image(filesystem: &str, mib: u32, make: &str, (tool, package): (&str, &str)) -> Result<Site, Impossible> {
    kernel_has(filesystem)?;
    need(tool, package)?;
    let script =
        format!("truncate -s {mib}M $T/image && {make} $T/image && mount -t {filesystem} -o loop $T/image $T/at");
    mounted(filesystem, &script, true)
}

/// No hard links and no FIFOs, as on vfat. The filesystem is local, as vfat is.
fn exfat() -> Result<Site, Impossible> {
    need("mkfs.exfat", "exfatprogs")?;
    need("mount.exfat-fuse", "exfat-fuse")?;
    Ok(Site { has_line: false, ..fuseblk("mkfs.exfat", "mount.exfat-fuse")? })
}

/// It has hard links and FIFOs. But the kernel takes each link for a file of its own.
fn ntfs() -> Result<Site, Impossible> {
    need("mkfs.ntfs", "ntfs-3g")?;
    Ok(Site { has_line: false, ..fuseblk("mkfs.ntfs --quick --force", "ntfs-3g")? })
}

fn fuseblk(make: &str, mount: &str) -> Result<Site, Impossible> {
    kernel_has("fuseblk")?;
    let script = format!(
        "truncate -s 16M $T/image && {make} $T/image && device=$(losetup -f --show $T/image) && {mount} $device $T/at; losetup -d $device"
    );
    let site = mounted("fuseblk", &script, false)?;
    site.stage.run("mountpoint $T/at");
    Ok(site)
}

/// An sshd of our own on the loopback interface of our own network, with a key of its own.
fn sshfs() -> Result<Site, Impossible> {
    kernel_has("fuse")?;
    need("sshfs", "sshfs")?;
    need("sshd", "openssh-server")?;
    let script = r#"
        mkdir $T/served $T/ssh && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd
        ssh-keygen -q -t ed25519 -N '' -f $T/ssh/host && ssh-keygen -q -t ed25519 -N '' -f $T/ssh/key
        printf '%s\n' 'Port 2222' 'ListenAddress 127.0.0.1' "HostKey $T/ssh/host" "AuthorizedKeysFile $T/ssh/key.pub" \
            'StrictModes no' 'PermitRootLogin yes' 'UsePAM no' 'PidFile none' 'Subsystem sftp internal-sftp' >$T/ssh/config
        $(command -v sshd) -f $T/ssh/config
        sshfs -F /dev/null -o dir_cache=no,IdentityFile=$T/ssh/key,StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,port=2222 \
            root@127.0.0.1:$T/served $T/at"#;
    Ok(Site { refused: true, has_line: false, ..mounted("fuse", script, false)? })
}

/// One brick, on an address of its own, because glusterd accepts no loopback address.
fn glusterfs() -> Result<Site, Impossible> {
    kernel_has("fuse")?;
    need("glusterd", "glusterfs-server")?;
    need("glusterfs", "glusterfs-client")?;
    let script = r#"
        ip link add g0 type veth peer name g1 && ip addr add 10.77.0.1/24 dev g0 && ip link set g0 up && ip link set g1 up
        mkdir $T/brick $T/other && mount -t tmpfs tmpfs /run && mkdir /run/gluster
        mount -t tmpfs tmpfs /var/lib/glusterd && mount -t tmpfs tmpfs /var/log/glusterfs
        glusterd -p /run/glusterd.pid
        tries=0; until gluster --mode=script volume create v 10.77.0.1:$T/brick force; do
            tries=$((tries + 1)); [ $tries -lt 120 ]; sleep 1
        done
        gluster --mode=script volume start v
        mount -t glusterfs 10.77.0.1:/v $T/at && mount -t glusterfs 10.77.0.1:/v $T/other"#;
    let mut site = Site { has_line: false, ..mounted("fuse", script, false)? };
    site.mounts.push(site.stage.join("other"));
    Ok(site)
}
