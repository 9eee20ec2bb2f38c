//! Who is alive. A rival's bid may be deleted only when its owner is provably gone; everything else counts as live.
//!
//! | the bid | decides |
//! | --- | --- |
//! | our boot, our PID namespace | whether there is a process with its PID; and if it seems to be another one, the lock that the kernel keeps on the bid while its owner lives |
//! | our boot, another PID namespace | that lock |
//! | another boot | that lock too; without one, and on a local filesystem, the boot is over |
//! | it or we can't say the boot | as if it were our boot; but a process that is gone here may live on another host, where others can write |
//! | it or we can't say the namespace | a process with its PID and start is it; without one the lock decides |
//! | posted on a shared filesystem, and we see a local one | our boot and namespace: as above. Else it is unknown |
//! | another file than it says, without that lock | it is a copy: stale |
//! | posted through an overlay, and we see its files without it, or the reverse | a lock that is free says nothing |
//! | a Python peer's: PID and CREATED alone | the process with its PID and start time, to 2 s |
//!
//! The lock overrules what we see of a process, never that there is none: a forked child keeps the lock of its dead parent. And a
//! process that lost its descriptors has no lock, but lives.

use crate::owner::bid::Bid;
use crate::sys::{self, ExitWatch, Filesystem, ForeignFile, Identity, Presence, ProcessState, Source, View};

/// What is known of a bid's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Live,
    /// Provably gone.
    Stale,
    /// It can't be judged from here: another host or container. Counts as live.
    Unknown,
    /// It is cut off, or no bid at all, so it has no owner to judge. Counts as live.
    Malformed,
}

/// How to ask again whether an owner that was alive still is, in one system call or two.
pub(crate) enum Probe {
    /// The process was seen to be the owner, or is taken for it.
    Process(ExitWatch),
    /// There is a process with the owner's PID. That it is the owner, the lock alone says.
    Proven(ExitWatch, ForeignFile),
    Lock(ForeignFile),
    None,
}

impl Probe {
    /// The owner still lives. False: that is not known any more; the bid is to be judged anew.
    pub fn beats(&self) -> bool {
        let is_locked = |file: &ForeignFile| file.is_locked().unwrap_or(false);
        match self {
            Probe::Process(exit) => !exit.happened(),
            Probe::Proven(exit, file) => is_locked(file) && !exit.happened(),
            Probe::Lock(file) => is_locked(file),
            Probe::None => false,
        }
    }

    /// What wakes a sleeper when the owner dies, where the kernel tells.
    pub fn source(&self) -> Option<Source<'_>> {
        match self {
            Probe::Process(exit) | Probe::Proven(exit, _) => Some(exit.source()),
            Probe::Lock(_) | Probe::None => None,
        }
    }
}

/// Judges the owner of a bid. `file` is the bid, open.
pub(crate) fn judge(bid: &Bid, file: ForeignFile, me: &Identity, view: &View, on: Filesystem) -> (Verdict, Probe) {
    if is_copy(bid, &file, on) {
        return (Verdict::Stale, Probe::None);
    }
    let boot = is_same(&bid.boot, &me.boot);
    let namespace = is_same(&bid.pidns, &me.pidns);
    if bid.shared && on.is_local() && (boot, namespace) != (Some(true), Some(true)) {
        // What is local here is shared for its owner: we may be the server of an export, and see no process and no lock of it.
        return (Verdict::Unknown, Probe::None);
    }
    if boot != Some(false) && namespace != Some(false) {
        match owner(bid, &file, me, view, on) {
            Owner::Lives(exit) => return (Verdict::Live, exit.map_or(Probe::None, Probe::Process)),
            Owner::Proven(Some(exit)) => return (Verdict::Live, Probe::Proven(exit, file)),
            Owner::Proven(None) => return (Verdict::Live, Probe::Lock(file)),
            Owner::Unsure => return (Verdict::Live, Probe::None),
            // One of ours that doesn't say its namespace is from where that can't be seen, so its PID may not count here.
            Owner::Gone if namespace == Some(true) || !is_ours(bid) => {
                // A bid that doesn't say where its PID counts may be from another host, if others can write here.
                let is_sure = boot == Some(true) || on.is_local();
                return (if is_sure { Verdict::Stale } else { Verdict::Unknown }, Probe::None);
            }
            Owner::Gone => {}
        }
    }
    match file.is_locked() {
        Ok(true) => (Verdict::Live, Probe::Lock(file)),
        // Through an overlay, or without the one that it was taken on, a lock can't be seen.
        Ok(false) if bid.overlay != on.is_overlay() && is_ours(bid) && boot != Some(false) => {
            (Verdict::Unknown, Probe::None)
        }
        // Some containers are given a boot ID of their own (systemd-nspawn(1)), so even a bid of "another boot" is
        // only gone when its lock is.
        Ok(false) if on.is_local() || boot == Some(true) && on.locks_prove_death() => (Verdict::Stale, Probe::None),
        _ => (Verdict::Unknown, Probe::None),
    }
}

/// A copy of a bid, as `cp -a` or a backup that is put back makes one. It says which file it was and when that was made, and it is
/// another; and nobody gives the proof that its owner gives on the bid itself.
fn is_copy(bid: &Bid, file: &ForeignFile, on: Filesystem) -> bool {
    let Some(inode) = bid.inode.filter(|_| on.has_stable_numbers()) else { return false };
    // An overlay may give the files that it shows other numbers.
    let is_another = || inode != file.id.number() && bid.overlay == on.is_overlay();
    let is_younger = || bid.born.zip(file.born()).is_some_and(|(then, now)| then != now);
    matches!(file.is_locked(), Ok(false)) && (is_another() || is_younger())
}

/// `None`: one of the two can't say.
fn is_same<T: PartialEq>(theirs: &Option<T>, ours: &Option<T>) -> Option<bool> {
    Some(theirs.as_ref()? == ours.as_ref()?)
}

/// It says what a Python peer's bid never says; so its owner keeps a lock on it.
fn is_ours(bid: &Bid) -> bool {
    bid.start.is_some() || bid.boot.is_some() || bid.pidns.is_some()
}

/// What the PID of a bid says of its owner, if it counts here.
enum Owner {
    Lives(Option<ExitWatch>),
    /// It lives if the lock is right.
    Proven(Option<ExitWatch>),
    /// It may live.
    Unsure,
    Gone,
}

fn owner(bid: &Bid, file: &ForeignFile, me: &Identity, view: &View, on: Filesystem) -> Owner {
    // First the descriptor, then the look: so what we watch is what we saw.
    let Presence::Exists(exit) = sys::presence(bid.pid) else { return Owner::Gone };
    // The process that had the PID has exited, even where more can't be seen of it.
    let has_exited = || exit.as_ref().is_some_and(ExitWatch::happened);
    // The common case, and cheaper than a look at the process. (Not where the lock is asked for over a network; and without a
    // descriptor only a look tells a zombie, whose child may keep the lock.)
    if exit.is_some() && on.is_local() && is_ours(bid) && matches!(file.is_locked(), Ok(true)) {
        return if has_exited() { Owner::Gone } else { Owner::Proven(exit) };
    }
    let state = sys::process(view, me, bid.pid, bid.start, bid.created);
    if state == ProcessState::Gone || has_exited() {
        return Owner::Gone;
    }
    // What we see of another process may be wrong: by a shifted clock, or because it was restored from a checkpoint.
    match state {
        ProcessState::Replaced if !is_ours(bid) => Owner::Gone,
        ProcessState::Replaced => match file.is_locked() {
            Ok(true) => Owner::Proven(exit),
            Ok(false) => Owner::Gone,
            Err(_) => Owner::Unsure,
        },
        _ => Owner::Lives(exit),
    }
}

/// Whether a bid that is cut off, last modified at `modified` (Unix milliseconds), has been there for too long: longer than the
/// caller's grace, or since before this boot, where nobody but this machine writes. (Only a bid that is cut off is judged by its age, never
/// a whole one: somebody can set the clock.)
pub(crate) fn is_abandoned(modified: i64, grace_ms: u32, me: &Identity, on: Filesystem) -> bool {
    let now = (sys::unix_nanos() / 1_000_000) as i64;
    let over = grace_ms > 0 && now.saturating_sub(modified) >= i64::from(grace_ms);
    over || on.is_local() && me.booted().is_ok_and(|boot| modified < boot * 1000)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::Filesystem::{Coherent, Local, Trusted};
    use super::Verdict::{Live, Stale, Unknown};
    use super::*;
    use crate::scratch::{proven, Scratch};
    use crate::sys::{Dir, Opened};

    /// A bid, open. The second file is its owner's, who may lock it.
    fn file() -> (ForeignFile, std::fs::File) {
        let folder = Scratch::new();
        let owners = std::fs::File::create(folder.join("bid.json")).unwrap();
        let Opened::File(small) = Dir::open(&folder).unwrap().open_small(c"bid.json").unwrap() else { panic!() };
        (small, owners)
    }

    fn of_us(me: &Identity) -> Bid {
        let (created, start) = (Some(me.created), me.start);
        Bid { pid: me.pid, created, start, boot: me.boot.clone(), pidns: me.pidns, ..Bid::default() }
    }

    #[test]
    fn each_row_of_the_table_on_each_filesystem() {
        let me = Identity::current().unwrap();
        let alive = of_us(&me);
        let dead = Bid { pid: 1 << 22, ..alive.clone() }; // the largest PID that Linux can give is below
        let another_start = Bid { start: me.start.map(|start| start + 1), ..alive.clone() };
        let python = |bid: &Bid| Bid { start: None, boot: None, pidns: None, ..bid.clone() };
        let (no_boot, no_namespace) =
            (|bid: &Bid| Bid { boot: None, ..bid.clone() }, |bid: &Bid| Bid { pidns: None, ..bid.clone() });
        let later = Bid { created: Some(me.created + 3), ..python(&alive) };
        let elsewhere = |bid: &Bid| Bid { pidns: Some(7), ..bid.clone() };
        let before = |bid: &Bid| Bid { boot: Some("another".into()), ..bid.clone() };
        let rows = [
            ("alive", alive.clone(), [Live; 3], [Live; 3]),
            ("dead", dead.clone(), [Stale; 3], [Stale; 3]),
            ("its PID seems to be another's now", another_start.clone(), [Stale; 3], [Live; 3]),
            ("the same, says no boot", no_boot(&another_start), [Stale, Unknown, Unknown], [Live; 3]),
            ("the same, says no namespace", no_namespace(&another_start), [Stale, Stale, Unknown], [Live; 3]),
            ("of Python, alive", python(&alive), [Live; 3], [Live; 3]),
            ("of Python, its PID is another's now", later, [Stale, Unknown, Unknown], [Stale, Unknown, Unknown]),
            ("of Python, dead", python(&dead), [Stale, Unknown, Unknown], [Stale, Unknown, Unknown]),
            ("says no boot, alive", no_boot(&alive), [Live; 3], [Live; 3]),
            ("says no boot, dead", no_boot(&dead), [Stale, Unknown, Unknown], [Stale, Unknown, Unknown]),
            ("says no namespace, alive", no_namespace(&alive), [Live; 3], [Live; 3]),
            ("says no namespace, dead", no_namespace(&dead), [Stale, Stale, Unknown], [Live; 3]),
            ("of another namespace, alive here", elsewhere(&alive), [Stale, Stale, Unknown], [Live; 3]),
            ("of another namespace, dead here", elsewhere(&dead), [Stale, Stale, Unknown], [Live; 3]),
            ("of another namespace, says no boot", no_boot(&elsewhere(&dead)), [Stale, Unknown, Unknown], [Live; 3]),
            ("of another boot", before(&alive), [Stale, Unknown, Unknown], [Live; 3]),
            ("of another boot, says no namespace", before(&no_namespace(&dead)), [Stale, Unknown, Unknown], [Live; 3]),
            ("of another boot and namespace", before(&elsewhere(&dead)), [Stale, Unknown, Unknown], [Live; 3]),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
        // Posted by another machine, or in a container, on a filesystem that is shared: where we see a local one, we can't judge.
        let shared = |bid: &Bid| Bid { shared: true, ..bid.clone() };
        let rows = [
            ("shared, alive", shared(&alive), [Live; 3], [Live; 3]),
            ("shared, dead", shared(&dead), [Stale; 3], [Stale; 3]),
            ("shared, of another boot", shared(&before(&alive)), [Unknown; 3], [Unknown, Live, Live]),
            (
                "shared, of another namespace",
                shared(&elsewhere(&dead)),
                [Unknown, Stale, Unknown],
                [Unknown, Live, Live],
            ),
            ("shared, says no boot", shared(&no_boot(&dead)), [Unknown; 3], [Unknown; 3]),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
        // No file of this test has this number.
        let copied = Bid { inode: Some(u64::MAX), ..alive.clone() };
        holds(&me, ("a copy", copied, [Stale, Live, Live], [Live; 3]));
    }

    /// What is said of us, a bid, and the verdict on a local, a coherent and a trusted filesystem: unlocked, and locked.
    type Row<'a> = (&'a str, Bid, [Verdict; 3], [Verdict; 3]);

    #[track_caller]
    fn holds(me: &Identity, (what, bid, unlocked, locked): Row<'_>) {
        for (is_locked, verdicts) in [(false, unlocked), (true, locked)] {
            for (on, expected) in [Local, Coherent, Trusted].into_iter().zip(verdicts) {
                let (small, owners) = file();
                let _owner = if is_locked { proven(owners) } else { owners };
                let (verdict, probe) = judge(&bid, small, me, &View::default(), on);
                assert_eq!(verdict, expected, "{what}, {on:?}, locked: {is_locked}");
                assert_eq!(probe.beats(), verdict == Live, "{what}");
            }
        }
    }

    /// As with the option `subset=pid` of /proc. Nobody of this boot is taken for one of another.
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
            ("alive", alive.clone(), [Live; 3], [Live; 3]),
            ("dead", dead.clone(), [Stale, Unknown, Unknown], [Stale, Unknown, Unknown]),
            ("its PID seems to be another's now", another_start, [Stale, Unknown, Unknown], [Live; 3]),
            ("of Python, alive", python(&alive), [Live; 3], [Live; 3]),
            ("of Python, dead", python(&dead), [Stale, Unknown, Unknown], [Stale, Unknown, Unknown]),
            ("of another namespace", elsewhere, [Stale, Unknown, Unknown], [Live; 3]),
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
            ("alive", alive.clone(), [Live; 3], [Live; 3]),
            ("dead here", dead.clone(), [Stale, Stale, Unknown], [Live; 3]),
            ("its PID is another's here", Bid { start: Some(1), ..alive }, [Stale, Stale, Unknown], [Live; 3]),
        ];
        rows.into_iter().for_each(|row| holds(&me, row));
    }

    /// The pulse of a process is felt until it has exited, and its end wakes a sleeper.
    #[test]
    fn the_pulse_of_a_process() {
        let me = Identity::current().unwrap();
        let cat = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn();
        let mut cat = cat.unwrap();
        let bid = Bid { pid: cat.id(), ..Bid::default() };
        let (_, probe) = judge(&bid, file().0, &me, &View::default(), Local);
        let is_ready = || {
            let source = probe.source().expect("the kernel tells");
            let mut sources = [rustix::event::PollFd::new(&source, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut sources, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
        };
        let alive = (probe.beats(), is_ready());
        cat.kill().unwrap();
        cat.wait().unwrap();
        assert_eq!(alive, (true, false));
        assert_eq!((probe.beats(), is_ready()), (false, true));
    }

    /// The pulse of a lock is felt while it is held. Then the bid is to be judged anew; no sleeper is woken.
    #[test]
    fn the_pulse_of_a_lock() {
        let me = Identity::current().unwrap();
        let (small, owners) = file();
        let owners = proven(owners);
        let (_, probe) = judge(&Bid { pidns: Some(7), ..of_us(&me) }, small, &me, &View::default(), Local);
        assert!(probe.beats());
        assert!(probe.source().is_none());
        drop(owners);
        assert!(!probe.beats());
    }

    #[test]
    fn a_cut_off_bid_is_abandoned_after_its_grace_or_when_it_is_older_than_this_boot() {
        let me = Identity::current().unwrap();
        let now = (sys::unix_nanos() / 1_000_000) as i64;
        let boot = me.booted().unwrap() * 1000;
        for on in [Local, Coherent, Trusted] {
            let abandoned = |modified, grace_ms| is_abandoned(modified, grace_ms, &me, on);
            assert!(!abandoned(now, 0) && !abandoned(now - 10, 0), "no grace was given: never");
            assert!(abandoned(now - 1000, 1000) && abandoned(now - 1000, 1) && abandoned(i64::MIN, u32::MAX));
            assert!(!abandoned(now, 3_600_000) && !abandoned(now + 86_400_000, 1) && !abandoned(i64::MAX, 1));
            assert!(!abandoned(boot, 0), "of this boot");
            assert_eq!(abandoned(boot - 1, 0), on == Local, "elsewhere another machine may have written it");
        }
    }
}
