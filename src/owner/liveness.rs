//! Which owners are alive. We may delete a rival's bid only if its owner is provably gone. In every other case the bid
//! counts as live.
//!
//! | the bid | its owner is judged by |
//! | --- | --- |
//! | users that may not delete it may write to it (`chmod -R` in a sticky folder), or could and did | that lock first, because they may have changed what the bid says; where locks prove nothing it is unknown |
//! | our boot, our PID namespace | the process with its PID; if that seems to be another process, by the lock that the kernel keeps on the bid while its owner lives |
//! | our boot, another PID namespace | that lock |
//! | another boot | that lock too; on a local filesystem a free lock means that the boot is over |
//! | the bid does not say its boot, or we can't tell ours | the rules of our boot; but if other hosts can write here, a process that is missing here may live on another host |
//! | the bid does not say its namespace, or we can't tell ours | a process with its PID and start time, which is the owner; without such a process, by that lock |
//! | posted on a shared filesystem, and we see a local one | the rules above if it names our boot and namespace; otherwise it is unknown |
//! | says that it is another file than it is, and that lock is free | this alone: the bid is a copy, so it is stale |
//! | posted through an overlay, and we see its files without it, or the reverse | the rules above; but a free lock proves nothing |
//! | a Python peer's: PID and CREATED alone | the process with its PID and start time, to 2 s |
//!
//! The lock can overrule what we see of an existing process. It can't overrule that there is no process, because a
//! forked child keeps the lock of its dead parent. A process that lost its descriptors has no lock, but it lives.

use std::cell::OnceCell;
use std::io;

use crate::owner::bid::{Bid, Flaw};
use crate::sys::{
    self, ExitWatch, Filesystem, ForeignFile, Identity, Presence, ProcessState, Proof, Rights, Source, View,
};

/// What we know of a bid's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Live,
    /// The owner is provably gone.
    Stale,
    /// We can't judge the owner from here (another host or container). Counts as live.
    Unknown,
    /// The bid is cut off, or is no bid at all, so there is no owner to judge. Counts as live.
    Malformed,
}

/// The liveness probe: it asks again, in one or two system calls, whether an owner that was alive still is.
pub(crate) enum Probe {
    /// We saw that this process is the owner, or take it for the owner.
    Process(ExitWatch),
    /// There is a process with the owner's PID. Only the lock shows that this process is the owner.
    Proven(ExitWatch, ForeignFile),
    Lock(ForeignFile),
    None,
}

impl Probe {
    /// The owner still lives. False: we no longer know that, and must judge the bid again.
    pub fn says_alive(&self) -> bool {
        let is_locked = |file: &ForeignFile| file.is_locked().unwrap_or(false);
        match self {
            Probe::Process(exit) => !exit.happened(),
            Probe::Proven(exit, file) => is_locked(file) && !exit.happened(),
            Probe::Lock(file) => is_locked(file),
            Probe::None => false,
        }
    }

    /// What wakes a sleeper when the owner dies, if the kernel notifies us.
    pub fn source(&self) -> Option<Source<'_>> {
        match self {
            Probe::Process(exit) | Probe::Proven(exit, _) => Some(exit.source()),
            Probe::Lock(_) | Probe::None => None,
        }
    }
}

/// Judges the owner of a bid. `file` is the bid's open file, and `folder` says what users may do in its folder.
pub(crate) fn judge(
    bid: &Bid,
    file: ForeignFile,
    folder: Rights,
    me: &Identity,
    view: &View,
    on: Filesystem,
) -> (Verdict, Probe) {
    let born = OnceCell::new();
    let born = || *born.get_or_init(|| file.born());
    if is_copy(bid, &file, born, on) {
        return (Verdict::Stale, Probe::None);
    }
    if !folder.let_delete(file.rights) || !folder.let_all_delete() && file.was_rewritten(born()) {
        match is_locked(&file, on) {
            Ok(true) => return (Verdict::Live, Probe::Lock(file)),
            Err(_) if on.is_shared() => return (Verdict::Unknown, Probe::None),
            _ => {}
        }
    }
    let boot = is_same(bid.boot.as_ref(), me.boot.as_ref());
    let namespace = is_same(bid.pidns.as_ref(), me.pidns.as_ref());
    if bid.shared && on.is_local() && (boot, namespace) != (Some(true), Some(true)) {
        // The folder is local for us but shared for the owner. We may be the server of an export, and would see neither
        // the owner's process nor its lock.
        return (Verdict::Unknown, Probe::None);
    }
    // Clones of a virtual machine have one boot ID and one number of the first namespace, and here they meet. A host name tells them
    // apart, if each clone was given its own.
    let is_clone = on.is_shared() && bid.host.as_ref().is_some_and(|host| *host != me.host);
    if boot != Some(false) && namespace != Some(false) && !is_clone {
        match owner(bid, &file, me, view, on) {
            Owner::Lives(exit) => return (Verdict::Live, exit.map_or(Probe::None, Probe::Process)),
            Owner::Proven(Some(exit)) => return (Verdict::Live, Probe::Proven(exit, file)),
            Owner::Proven(None) => return (Verdict::Live, Probe::Lock(file)),
            Owner::Unsure => return (Verdict::Live, Probe::None),
            // A bid of ours that does not say its namespace comes from a place where the namespace can't be seen. Its
            // PID may have another meaning here.
            Owner::Gone if namespace == Some(true) || !is_ours(bid) => {
                // A bid that does not say where its PID counts may be another host's, if other hosts can write here.
                let is_sure = boot == Some(true) || on.is_local();
                return (if is_sure { Verdict::Stale } else { Verdict::Unknown }, Probe::None);
            }
            Owner::Gone => {}
        }
    }
    match is_locked(&file, on) {
        Ok(true) => (Verdict::Live, Probe::Lock(file)),
        // The lock can't be seen through an overlay, or without the overlay through which it was taken.
        Ok(false) if bid.overlay != on.is_overlay() && is_ours(bid) && boot != Some(false) => {
            (Verdict::Unknown, Probe::None)
        }
        // Some containers have a boot ID of their own (systemd-nspawn(1)). A bid of "another boot" is therefore gone
        // only if its lock is free.
        Ok(false) if on.locks_prove_death() => (Verdict::Stale, Probe::None),
        _ => (Verdict::Unknown, Probe::None),
    }
}

/// Whether this is a copy of a bid, as `cp -a` or a restored backup makes one. A bid says which file it is and when
/// that file was made; a copy is another file. And no owner holds the lock on a copy.
fn is_copy(bid: &Bid, file: &ForeignFile, born: impl Fn() -> Option<u64>, on: Filesystem) -> bool {
    let Some(inode) = bid.inode.filter(|_| on.has_stable_numbers()) else { return false };
    // An overlay may give other numbers to the files that it shows.
    let is_another = || inode != file.id.number() && bid.overlay == on.is_overlay();
    let is_younger = || bid.born.zip(born()).is_some_and(|(then, now)| then != now);
    matches!(file.is_locked(), Ok(false)) && (is_another() || is_younger())
}

/// Whether the PID of this bid counts here, and no process has it. No descriptor of ours has part in this answer.
pub(crate) fn has_no_process(bid: &Result<Bid, Flaw>, me: &Identity) -> bool {
    let is_of_here = |bid: &Bid| bid.boot.is_some() && bid.boot == me.boot && bid.pidns == me.pidns;
    bid.as_ref().is_ok_and(|bid| is_of_here(bid) && matches!(sys::presence(bid.pid), Presence::Gone))
}

/// Whether the owner holds the lock on its bid. Where the lease decides, no owner takes that lock, and to ask a server for it could
/// take long.
fn is_locked(file: &ForeignFile, on: Filesystem) -> io::Result<bool> {
    match on.proof() {
        Proof::None => Err(io::ErrorKind::Unsupported.into()),
        _ => file.is_locked(),
    }
}

/// `None`: one of the two is not known.
fn is_same<T: PartialEq>(theirs: Option<&T>, ours: Option<&T>) -> Option<bool> {
    Some(theirs? == ours?)
}

/// Whether the bid is ours in kind: it says something that a Python peer's bid never says. Its owner then keeps a lock
/// on it.
fn is_ours(bid: &Bid) -> bool {
    bid.start.is_some() || bid.boot.is_some() || bid.pidns.is_some()
}

/// The owner of a bid of ours takes no lock on it if its lease decides.
fn takes_lock(bid: &Bid) -> bool {
    !(bid.shared && bid.lease.is_some())
}

/// What the PID of a bid tells of its owner, if the PID counts here.
enum Owner {
    Lives(Option<ExitWatch>),
    /// The owner lives if the lock on its bid is held.
    Proven(Option<ExitWatch>),
    /// The owner may live.
    Unsure,
    Gone,
}

fn owner(bid: &Bid, file: &ForeignFile, me: &Identity, view: &View, on: Filesystem) -> Owner {
    // First the descriptor, then the look. The process that we watch is then the process that we saw.
    let Presence::Exists(exit) = sys::presence(bid.pid) else { return Owner::Gone };
    // The process that had the PID has exited, even if we can't see more of it.
    let has_exited = || exit.as_ref().is_some_and(ExitWatch::happened);
    // The common case, which costs less than a look at the process. (Not where the lock would be asked for over a
    // network. And without a descriptor only a look recognises a zombie, whose child may keep the lock.)
    if exit.is_some() && on.is_local() && is_ours(bid) && matches!(file.is_locked(), Ok(true)) {
        return if has_exited() { Owner::Gone } else { Owner::Proven(exit) };
    }
    // This costs one system call. The look costs about fifteen, and would change nothing.
    if has_exited() {
        return Owner::Gone;
    }
    let state = sys::process(view, me, bid.pid, bid.start, bid.created);
    if state == ProcessState::Gone || has_exited() {
        return Owner::Gone;
    }
    // What we see of another process may be wrong, because the clock was shifted or the process was restored from a
    // checkpoint.
    match state {
        ProcessState::Replaced if !is_ours(bid) => Owner::Gone,
        ProcessState::Replaced => match is_locked(file, on) {
            Ok(true) => Owner::Proven(exit),
            Ok(false) if takes_lock(bid) => Owner::Gone,
            _ => Owner::Unsure,
        },
        // A clock that was set looks the same, so here the lock must prove the death, as for a process that can't be seen.
        ProcessState::SeemsReplaced => match is_locked(file, on) {
            Ok(true) => Owner::Proven(exit),
            Ok(false) if on.locks_prove_death() && bid.overlay == on.is_overlay() && takes_lock(bid) => Owner::Gone,
            _ => Owner::Lives(exit),
        },
        _ => Owner::Lives(exit),
    }
}

/// Whether a cut-off bid, last modified at `modified` (Unix milliseconds), is too old. That is so after the caller's
/// grace, or if the bid is older than this boot and only this machine can write here. (A complete bid is never judged
/// by its age, because somebody may set the clock.) The last second of 32 bits is what ext3, and XFS without `bigtime`, tell for
/// each time after it (in January 2038). So that second says nothing.
pub(crate) fn is_abandoned(modified: i64, grace_ms: u32, me: &Identity, on: Filesystem) -> bool {
    let now = (sys::unix_nanos() / 1_000_000) as i64;
    let boot = || me.booted().ok().filter(|_| on.is_local()).map(|boot| boot * 1000);
    is_older(modified, now, grace_ms, boot)
}

fn is_older(modified: i64, now: i64, grace_ms: u32, boot: impl FnOnce() -> Option<i64>) -> bool {
    let says_nothing = modified.div_euclid(1000) == i64::from(i32::MAX);
    let is_over = grace_ms > 0 && now.saturating_sub(modified) >= i64::from(grace_ms);
    !says_nothing && (is_over || boot().is_some_and(|boot| modified < boot))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::Filesystem::{Local, Trusted};
    use super::Verdict::{Live, Stale, Unknown};
    use super::*;
    use crate::scratch::{proven, Scratch};
    use crate::sys::{Dir, Opened, Shared};

    /// A bid's open file, and the same file as its owner has it open. The owner may lock it.
    fn file() -> (ForeignFile, std::fs::File) {
        let folder = Scratch::new();
        let owners = std::fs::File::create(folder.join("bid.json")).unwrap();
        let Opened::File(small) = Dir::open(&folder).unwrap().open_small(c"bid.json").unwrap() else { panic!() };
        (small, owners)
    }

    /// The rights to a folder whose users may delete what they may write to.
    fn anyones() -> Rights {
        Dir::open(&Scratch::new()).unwrap().stat().unwrap().rights()
    }

    fn of_us(me: &Identity) -> Bid {
        let (created, start) = (Some(me.created), me.start);
        Bid { pid: me.pid, created, start, boot: me.boot.clone(), pidns: me.pidns, ..Bid::default() }
    }

    #[test]
    fn each_row_of_the_table_on_each_filesystem() {
        let me = Identity::current().unwrap();
        let alive = of_us(&me);
        let dead = Bid { pid: 1 << 22, ..alive.clone() }; // larger than any PID that Linux gives
        let another_start = Bid { start: me.start.map(|start| start + 1), ..alive.clone() };
        let python = |bid: &Bid| Bid { start: None, boot: None, pidns: None, ..bid.clone() };
        let (no_boot, no_namespace) =
            (|bid: &Bid| Bid { boot: None, ..bid.clone() }, |bid: &Bid| Bid { pidns: None, ..bid.clone() });
        let later = Bid { created: Some(me.created + 3), ..python(&alive) };
        let elsewhere = |bid: &Bid| Bid { pidns: Some(7), ..bid.clone() };
        let before = |bid: &Bid| Bid { boot: Some("another".into()), ..bid.clone() };
        let rows = [
            ("alive", alive.clone(), [Live; 2], [Live; 2]),
            ("dead", dead.clone(), [Stale; 2], [Stale; 2]),
            ("its PID seems to be another's now", another_start.clone(), [Stale; 2], [Live; 2]),
            ("the same, says no boot", no_boot(&another_start), [Stale, Unknown], [Live; 2]),
            ("the same, says no namespace", no_namespace(&another_start), [Stale, Unknown], [Live; 2]),
            ("of Python, alive", python(&alive), [Live; 2], [Live; 2]),
            ("of Python, its PID is another's now", later, [Stale, Unknown], [Stale, Unknown]),
            ("of Python, dead", python(&dead), [Stale, Unknown], [Stale, Unknown]),
            ("says no boot, alive", no_boot(&alive), [Live; 2], [Live; 2]),
            ("says no boot, dead", no_boot(&dead), [Stale, Unknown], [Stale, Unknown]),
            ("says no namespace, alive", no_namespace(&alive), [Live; 2], [Live; 2]),
            ("says no namespace, dead", no_namespace(&dead), [Stale, Unknown], [Live; 2]),
            ("of another namespace, alive here", elsewhere(&alive), [Stale, Unknown], [Live; 2]),
            ("of another namespace, dead here", elsewhere(&dead), [Stale, Unknown], [Live; 2]),
            ("of another namespace, says no boot", no_boot(&elsewhere(&dead)), [Stale, Unknown], [Live; 2]),
            ("of another boot", before(&alive), [Stale, Unknown], [Live; 2]),
            ("of another boot, says no namespace", before(&no_namespace(&dead)), [Stale, Unknown], [Live; 2]),
            ("of another boot and namespace", before(&elsewhere(&dead)), [Stale, Unknown], [Live; 2]),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
        // The bids of another machine or of a container, on a shared filesystem. If we see the filesystem as local, we
        // can't judge them.
        let shared = |bid: &Bid| Bid { shared: true, ..bid.clone() };
        let rows = [
            ("shared, alive", shared(&alive), [Live; 2], [Live; 2]),
            ("shared, dead", shared(&dead), [Stale; 2], [Stale; 2]),
            ("shared, of another boot", shared(&before(&alive)), [Unknown; 2], [Unknown, Live]),
            ("shared, of another namespace", shared(&elsewhere(&dead)), [Unknown; 2], [Unknown, Live]),
            ("shared, says no boot", shared(&no_boot(&dead)), [Unknown; 2], [Unknown; 2]),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
        // The bids of this kernel where other hosts use its disk too. The kernel's lock decides, as without a lease.
        let leased = |bid: &Bid| Bid { lease: Some(30_000), ..bid.clone() };
        let rows = [
            ("leased, its PID seems to be another's now", leased(&another_start), [Stale; 2], [Live; 2]),
            ("leased, of another namespace", leased(&elsewhere(&dead)), [Stale, Unknown], [Live; 2]),
            ("leased, of another boot", leased(&before(&alive)), [Stale, Unknown], [Live; 2]),
            (
                "leased elsewhere, of another namespace",
                leased(&shared(&elsewhere(&dead))),
                [Unknown; 2],
                [Unknown, Live],
            ),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
        // No file of this test has this number.
        let copied = Bid { inode: Some(u64::MAX), ..alive.clone() };
        holds(&me, ("a copy", copied, [Stale, Live], [Live; 2]));
    }

    /// A description, a bid, and the verdicts on a local and a trusted filesystem: first with the lock
    /// free, then with it held.
    type Row<'a> = (&'a str, Bid, [Verdict; 2], [Verdict; 2]);

    #[track_caller]
    fn holds(me: &Identity, (what, bid, unlocked, locked): Row<'_>) {
        for (is_locked, verdicts) in [(false, unlocked), (true, locked)] {
            for (on, expected) in [Local, Trusted].into_iter().zip(verdicts) {
                let (small, owners) = file();
                let _owner = if is_locked { proven(owners) } else { owners };
                let (verdict, probe) = judge(&bid, small, anyones(), me, &View::default(), on);
                assert_eq!(verdict, expected, "{what}, {on:?}, locked: {is_locked}");
                assert_eq!(probe.says_alive(), verdict == Live, "{what}");
            }
        }
    }

    /// A lock changes nothing there.
    #[test]
    fn where_a_lease_decides_only_a_missing_process_of_this_host_is_proof() {
        let me = Identity::current().unwrap();
        let alive = of_us(&me);
        let dead = Bid { pid: 1 << 22, ..alive.clone() };
        let python = |bid: &Bid| Bid { start: None, boot: None, pidns: None, ..bid.clone() };
        let rows = [
            ("alive", alive.clone(), Live),
            ("alive, of a clone of this machine", Bid { host: Some("clone".into()), ..alive.clone() }, Unknown),
            ("dead, of a clone of this machine", Bid { host: Some("clone".into()), ..dead.clone() }, Unknown),
            ("dead", dead.clone(), Stale),
            (
                "its PID seems to be another's now",
                Bid { start: me.start.map(|start| start + 1), ..alive.clone() },
                Live,
            ),
            ("of Python, alive", python(&alive), Live),
            ("of Python, dead", python(&dead), Unknown),
            ("says no boot, dead", Bid { boot: None, ..dead.clone() }, Unknown),
            ("of another namespace", Bid { pidns: Some(7), ..dead.clone() }, Unknown),
            ("of another boot", Bid { boot: Some("another".into()), ..dead }, Unknown),
        ];
        for on in [Shared::Nfs3, Shared::Nfs4, Shared::GlusterFs].map(Filesystem::Shared) {
            for (what, bid, expected) in &rows {
                let (small, owners) = file();
                let _owner = proven(owners);
                assert_eq!(judge(bid, small, anyones(), &me, &View::default(), on).0, *expected, "{what}, {on:?}");
            }
        }
    }

    /// As with the option `subset=pid` of /proc. A process of this boot must not be taken for one of another boot.
    #[test]
    fn each_row_of_the_table_where_we_can_not_say_our_boot() {
        let alive = of_us(&Identity::current().unwrap());
        let mut me = Identity::clone(&Identity::current().unwrap());
        me.boot = None;
        let dead = Bid { pid: 1 << 22, ..alive.clone() };
        let another_start = Bid { start: me.start.map(|start| start + 1), ..alive.clone() };
        let python = |bid: &Bid| Bid { start: None, boot: None, pidns: None, ..bid.clone() };
        let elsewhere = Bid { pidns: Some(7), ..dead.clone() };
        let rows = [
            ("alive", alive.clone(), [Live; 2], [Live; 2]),
            ("dead", dead.clone(), [Stale, Unknown], [Stale, Unknown]),
            ("its PID seems to be another's now", another_start, [Stale, Unknown], [Live; 2]),
            ("of Python, alive", python(&alive), [Live; 2], [Live; 2]),
            ("of Python, dead", python(&dead), [Stale, Unknown], [Stale, Unknown]),
            ("of another namespace", elsewhere, [Stale, Unknown], [Live; 2]),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
    }

    #[test]
    fn each_row_of_the_table_where_we_can_not_say_our_namespace() {
        let alive = of_us(&Identity::current().unwrap());
        let mut me = Identity::clone(&Identity::current().unwrap());
        me.pidns = None;
        let dead = Bid { pid: 1 << 22, ..alive.clone() };
        let rows = [
            ("alive", alive.clone(), [Live; 2], [Live; 2]),
            ("dead here", dead.clone(), [Stale, Unknown], [Live; 2]),
            ("its PID is another's here", Bid { start: Some(1), ..alive }, [Stale, Unknown], [Live; 2]),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
    }

    /// The probe of a process answers until the process has exited. The exit also wakes a sleeper.
    #[test]
    fn the_liveness_probe_of_a_process() {
        let me = Identity::current().unwrap();
        let cat = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn();
        let mut cat = cat.unwrap();
        let bid = Bid { pid: cat.id(), ..Bid::default() };
        let (_, probe) = judge(&bid, file().0, anyones(), &me, &View::default(), Local);
        let is_ready = || {
            let source = probe.source().expect("the kernel tells");
            let mut sources = [rustix::event::PollFd::new(&source, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut sources, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
        };
        let alive = (probe.says_alive(), is_ready());
        cat.kill().unwrap();
        cat.wait().unwrap();
        assert_eq!(alive, (true, false));
        assert_eq!((probe.says_alive(), is_ready()), (false, true));
    }

    /// The probe of a lock answers while the lock is held. Afterwards the bid must be judged again. The end of the lock
    /// wakes no sleeper.
    #[test]
    fn the_liveness_probe_of_a_lock() {
        let me = Identity::current().unwrap();
        let (small, owners) = file();
        let owners = proven(owners);
        let (_, probe) = judge(&Bid { pidns: Some(7), ..of_us(&me) }, small, anyones(), &me, &View::default(), Local);
        assert!(probe.says_alive());
        assert!(probe.source().is_none());
        drop(owners);
        // A process that a test beside this one forked just now has a copy of the open file until it runs its program.
        for _ in 0..10_000 {
            if !probe.says_alive() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("the lock is free, and the probe still answers");
    }

    #[test]
    fn the_last_time_that_a_filesystem_tells_says_nothing() {
        let (last, boot) = (i64::from(i32::MAX) * 1000, i64::from(i32::MAX) * 1000 + 86_400_000);
        for modified in [last, last + 999] {
            assert!(!is_older(modified, boot + 60_000, 1, || Some(boot)));
        }
        for modified in [last - 1, last + 1000] {
            assert!(is_older(modified, boot + 60_000, 1, || None) && is_older(modified, boot, 0, || Some(boot)));
        }
    }

    #[test]
    fn a_cut_off_bid_is_abandoned_after_its_grace_or_when_it_is_older_than_this_boot() {
        let me = Identity::current().unwrap();
        let now = (sys::unix_nanos() / 1_000_000) as i64;
        let boot = me.booted().unwrap() * 1000;
        for on in [Local, Trusted] {
            let abandoned = |modified, grace_ms| is_abandoned(modified, grace_ms, &me, on);
            assert!(
                !abandoned(now, 0) && !abandoned(now - 10, 0),
                "without a grace, a bid of this boot is never abandoned"
            );
            assert!(abandoned(now - 1000, 1000) && abandoned(now - 1000, 1) && abandoned(i64::MIN, u32::MAX));
            assert!(!abandoned(now, 3_600_000) && !abandoned(now + 86_400_000, 1) && !abandoned(i64::MAX, 1));
            assert!(!abandoned(boot, 0), "the bid is of this boot");
            assert_eq!(
                abandoned(boot - 1, 0),
                on == Local,
                "on the other filesystems another machine may have written the bid"
            );
        }
    }
}
