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
        // A clock that was set looks the same, so here the lock must prove the death.
        ProcessState::SeemsReplaced => match is_locked(file, on) {
            Ok(true) => Owner::Proven(exit),
            Ok(false) if on.locks_prove_death() && bid.overlay == on.is_overlay() && takes_lock(bid) => Owner::Gone,
            _ => Owner::Lives(exit),
        },
        // A process that is hidden from us may have lost its descriptors. So a free lock proves nothing here.
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
mod tests;
