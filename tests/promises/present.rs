//! What may change around a program: it enters another root or sandbox between two calls, or it sees a
//! `/proc` that is not its own or shows less. The handle still works, robs no claimant, and is not robbed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::c::{compile, guarded, run, said, Link, Program};
use crate::support::containers::{
    answers, dead, each_filesystem, is_respected_until_it_dies, judges_by_start, own_bid, CONTAINER,
};
use crate::support::{both, namespaces_or_skip, pid_namespace, skip, Bid, Kind, Orphan, Puppet, Scratch};

both!(
    a_proc_of_the_parent_namespace_that_shows_our_pid_misleads_nobody,
    a_root_without_proc_robs_nobody,
    a_root_that_changes_while_the_lock_is_held_loses_nothing,
    a_folder_in_the_place_of_proc_misleads_nobody,
    a_folder_in_the_place_of_proc_leads_no_waiter_astray,
    a_dead_holder_is_dead_even_if_kill_is_refused,
    a_proc_that_shows_only_processes_is_enough,
    a_process_of_this_boot_is_not_robbed_if_the_boot_is_not_shown,
);

/// The PIDs of a process, from our namespace to its own (`NSpid:`), or the PID of its parent (`PPid:`).
fn pids(puppet: &Puppet, field: &str) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", puppet.pid())).unwrap();
    let pids = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    pids.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// A puppet, and the process of a container that started it. The container does not end until that process is reaped.
struct Nested {
    first: Option<Puppet>,
    starter: u32,
}

impl Nested {
    fn new(first: Puppet) -> Nested {
        Nested { starter: pids(&first, "PPid:")[0], first: Some(first) }
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        drop(self.first.take());
        drop(Orphan(self.starter));
    }
}

/// After this call, the next process of that namespace gets the PID after `last`.
fn set_last_pid(of: &Puppet, last: u32) {
    let write = format!("echo {last} > /proc/sys/kernel/ns_last_pid");
    let target = of.pid().to_string();
    let status = Command::new("nsenter").args(["--pid", "--target", &target, "sh", "-c", &write]).status().unwrap();
    assert!(status.success());
}

fn a_proc_of_the_parent_namespace_that_shows_our_pid_misleads_nobody(kind: Kind) {
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        return skip("choosing a PID: this kernel can't");
    }
    each_filesystem("another PID namespace", |scratch| {
        // A container, and in it another PID namespace without a `/proc` of its own.
        let container = Puppet::behind(CONTAINER, kind);
        let within = |puppet: &Puppet, more: &[&str]| {
            let target = puppet.pid().to_string();
            let enter = ["nsenter", "--pid", "--mount", "--target", &target];
            Puppet::behind(&[&enter[..], more].concat(), kind)
        };
        let nested = Nested::new(within(&container, &["unshare", "--pid", "--fork", "--kill-child"]));
        let first = nested.first.as_ref().unwrap();
        // The holder has the PID that another process, `first`, has in that `/proc`.
        let taken = pids(first, "NSpid:")[1];
        set_last_pid(first, taken - 1);
        let mut holder = within(first, &[]);
        // The reader sees its own PID in that `/proc`.
        set_last_pid(&container, 600);
        set_last_pid(first, 601);
        let mut reader = within(first, &[]);
        assert_eq!(
            (pids(&holder, "NSpid:")[2], &pids(&reader, "NSpid:")[1..]),
            (taken, &[602, 602][..]),
            "the PIDs are not the ones that this test needs"
        );

        reader.open(0, &scratch.folder());
        holder.open(0, &scratch.folder());
        let link = std::fs::read_link(format!("/proc/{}/ns/pid", holder.pid())).unwrap();
        let number: u64 = link.to_str().unwrap()["pid:[".len()..].trim_end_matches(']').parse().unwrap();
        let bid = Bid::of(holder.pid()).with("PID", taken).with("PIDNS", number);
        assert_ne!(number, pid_namespace());
        answers(&mut reader, &bid, scratch, "LF_BUSY"); // this bid has no lock
        answers(&mut reader, &Bid::of_python(holder.pid()).with("PID", taken), scratch, "LF_BUSY");
        is_respected_until_it_dies(holder, &mut reader);
    });
}

/// A puppet whose folder is at the same path in another root, which it has not entered yet. `mount` is run on
/// `$root/proc`.
fn with_another_root(kind: Kind, scratch: &Scratch, mount: &str) -> (Puppet, PathBuf) {
    let root = scratch.join("root");
    std::fs::create_dir_all(&root).unwrap();
    let script = format!("root=$0; mount --rbind / \"$root\" && umount -l \"$root/proc\" && {mount} && exec \"$@\"");
    let mut puppet = Puppet::behind(&["unshare", "--mount", "sh", "-c", &script, root.to_str().unwrap()], kind);
    puppet.open(0, &scratch.folder());
    own_bid(&mut puppet, scratch);
    (puppet, root)
}

fn a_root_without_proc_robs_nobody(kind: Kind) {
    each_filesystem("another root", |scratch| {
        let (mut inside, root) = with_another_root(kind, scratch, "true");
        inside.must(&format!("chroot {}", crate::support::encode(&root)));
        let mut outside = Puppet::at(kind, &scratch.folder());
        answers(&mut inside, &Bid::of(outside.pid()), scratch, "LF_BUSY");
        answers(&mut inside, &Bid::of_python(outside.pid()), scratch, "LF_BUSY");
        answers(&mut inside, &dead(), scratch, "LF_OK");
        is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut inside);
        // A new handle there can't identify its process, and says so.
        assert_eq!(Puppet::try_open(&mut inside.fork(), 1, 0, &scratch.folder()), "LF_ERR_UNSUPPORTED");
        is_respected_until_it_dies(inside, &mut outside);
    });
}

/// The path of the folder leads nowhere in the new root, but nothing happened to the folder.
fn a_root_that_changes_while_the_lock_is_held_loses_nothing(kind: Kind) {
    if !namespaces_or_skip("another root") {
        return;
    }
    let (scratch, elsewhere) = (Scratch::new(), Scratch::new());
    let (mut inside, mut outside) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    inside.must("lock 0");
    inside.must(&format!("chroot {}", crate::support::encode(&*elsewhere)));
    inside.must("holds 0");
    inside.must("fence 0");
    assert_eq!(outside.ask("lock 0"), "LF_BUSY");
    inside.must("unlock 0");
    outside.must("lock 0");
    crate::support::fails(&mut inside, "lock 0", rustix::io::Errno::NOENT, &scratch.folder());
}

/// The forged files say that the holder has exited.
fn a_folder_in_the_place_of_proc_misleads_nobody(kind: Kind) {
    each_filesystem("another root", |scratch| {
        let (mut inside, root) = with_another_root(kind, scratch, "mount -t tmpfs tmpfs \"$root/proc\"");
        let outside = Puppet::at(kind, &scratch.folder());
        let proc = PathBuf::from(format!("/proc/{}/root{}/proc", inside.pid(), root.display()));
        let forge = |pid: u32| {
            std::fs::create_dir(proc.join(pid.to_string())).unwrap();
            for file in ["stat", "status"] {
                let truth = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
                let forged = [") S ", ") R "].iter().fold(truth, |text, state| text.replace(state, ") Z "));
                std::fs::write(proc.join(format!("{pid}/{file}")), forged).unwrap();
            }
        };
        forge(inside.pid());
        forge(outside.pid());
        std::os::unix::fs::symlink(inside.pid().to_string(), proc.join("self")).unwrap();
        std::fs::copy("/proc/stat", proc.join("stat")).unwrap();
        inside.must(&format!("chroot {}", crate::support::encode(&root)));
        let seen = format!("/proc/{}/root/proc/{}/stat", inside.pid(), outside.pid());
        assert!(
            std::fs::read_to_string(seen).unwrap().contains(") Z "),
            "the forged file does not say that the holder has exited"
        );
        answers(&mut inside, &Bid::of(outside.pid()), scratch, "LF_BUSY");
        answers(&mut inside, &Bid::of_python(outside.pid()), scratch, "LF_BUSY");
        is_respected_until_it_dies(outside, &mut inside);
    });
}

/// There each descriptor seems to be another folder. A waiter that watched that folder would sleep until a look is due.
/// So it looks again and again, and watches nothing.
fn a_folder_in_the_place_of_proc_leads_no_waiter_astray(kind: Kind) {
    if !namespaces_or_skip("another root") {
        return;
    }
    let scratch = Scratch::new();
    let forge =
        "mount -t tmpfs tmpfs \"$root/proc\" && mkdir -p \"$root/proc/elsewhere\" \"$root/proc/thread-self/fd\" && \
        for n in $(seq 3 60); do ln -s ../../elsewhere \"$root/proc/thread-self/fd/$n\"; done";
    let (mut inside, root) = with_another_root(kind, &scratch, forge);
    let mut holder = Puppet::at(kind, &scratch.folder());
    holder.must("lock 0");
    inside.must(&format!("chroot {}", crate::support::encode(&root)));
    inside.start_to_wait(0, -1);
    let before = inside.sleeps();
    crate::support::wait_until(|| inside.sleeps() > before + 9);
    let open = std::fs::read_dir(format!("/proc/{}/fdinfo", inside.pid())).unwrap();
    let open = open.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
    assert!(open.into_iter().all(|about| !about.contains("inotify wd")), "it watches the wrong folder");
    holder.must("unlock 0");
    assert_eq!(inside.ask("join 1"), "LF_OK");
}

fn a_dead_holder_is_dead_even_if_kill_is_refused(kind: Kind) {
    let scratch = Scratch::new();
    let mut reader = Puppet::at(kind, &scratch.folder());
    reader.must("no_kill");
    for met in [true, false] {
        let mut holder = Puppet::at(kind, &scratch.folder());
        holder.must("lock 0");
        if met {
            assert_eq!(reader.ask("lock 0"), "LF_BUSY");
        }
        holder.kill_and_reap();
        reader.must("lock 0");
        reader.must("unlock 0");
    }
    answers(&mut reader, &Bid::of(std::process::id()), &scratch, "LF_BUSY");
    answers(&mut reader, &Bid::of_python(std::process::id()), &scratch, "LF_BUSY");
    let gone = Puppet::new(kind);
    let bid = Bid::of(gone.pid());
    gone.kill_and_reap();
    answers(&mut reader, &bid, &scratch, "LF_OK");
    is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut reader);
}

/// Like `ProcSubset=pid` of systemd: no `/proc/stat`, no `/proc/sys`.
fn with_processes_alone(kind: Kind, scratch: &Scratch) -> Puppet {
    let mount = "mount -t proc -o subset=pid proc /proc && exec \"$@\"";
    let mut puppet = Puppet::behind(&["unshare", "--mount", "sh", "-c", mount, "sh"], kind);
    let proc = PathBuf::from(format!("/proc/{}/root/proc", puppet.pid()));
    assert!(
        proc.join("self").symlink_metadata().is_ok() && !proc.join("stat").exists(),
        "the puppet sees all of /proc"
    );
    puppet.open(0, &scratch.folder());
    puppet
}

fn a_proc_that_shows_only_processes_is_enough(kind: Kind) {
    each_filesystem("a /proc that shows processes alone", |scratch| {
        let (mut outside, mut inside) = (Puppet::at(kind, &scratch.folder()), with_processes_alone(kind, scratch));
        let (own, truth) = (own_bid(&mut inside, scratch), Bid::of(inside.pid()));
        for key in ["PID", "START", "PIDNS"] {
            assert_eq!(own.number(key), truth.number(key));
        }
        // The kernel rounds the boot time down at each question, and a slewed clock moves it.
        assert!((own.number("CREATED") - truth.number("CREATED")).abs() <= 1);
        judges_by_start(&mut inside, &outside, scratch);
        for reader in [&mut inside, &mut outside] {
            answers(reader, &dead(), scratch, "LF_OK");
            answers(reader, &dead().without("BOOT"), scratch, "LF_OK");
        }
        is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut inside);
        is_respected_until_it_dies(with_processes_alone(kind, scratch), &mut inside);
        is_respected_until_it_dies(inside, &mut outside);
    });
}

fn a_process_of_this_boot_is_not_robbed_if_the_boot_is_not_shown(kind: Kind) {
    each_filesystem("a /proc that shows processes alone", |scratch| {
        let mut inside = with_processes_alone(kind, scratch);
        let (mut holder, boot) = (Puppet::at(kind, &scratch.folder()), "11111111-2222-4333-8444-555555555555");
        let bid = Bid::of(holder.pid());
        answers(&mut inside, &bid.clone().with("BOOT", boot), scratch, "LF_BUSY"); // the bid may be of this boot
        answers(&mut inside, &bid.with("BOOT", boot).with("START", 1), scratch, "LF_OK");
        answers(&mut inside, &dead().with("BOOT", boot), scratch, "LF_OK");
        // The holder has lost its proof of life.
        holder.must("lock 0");
        holder.must("close_from 3");
        assert_eq!(inside.ask("lock 0"), "LF_BUSY");
        assert_eq!(inside.must("reap 0").number(), 0);
        holder.kill();
        inside.must("lock 0");
    });
}

/// The two share their memory, and each is PID 1 of its namespace.
#[test]
fn a_first_process_is_not_the_first_process_of_another_namespace() {
    if !namespaces_or_skip("a PID namespace in another one") {
        return;
    }
    let program = Program(compile("nested_first.c", &["gcc", "-std=c11", "-O1"], Link::Shared));
    let scratch = Scratch::new();
    let mut command = guarded(Path::new("unshare"));
    command.args(["--pid", "--fork", "--mount-proc"]).arg(&program.0).arg(scratch.join("lock"));
    let output = run(&mut command);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the holder was respected\n", "{}", said(&output));
}
