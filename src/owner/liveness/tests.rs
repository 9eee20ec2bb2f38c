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
        ("leased elsewhere, of another namespace", leased(&shared(&elsewhere(&dead))), [Unknown; 2], [Unknown, Live]),
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
        ("its PID seems to be another's now", Bid { start: me.start.map(|start| start + 1), ..alive.clone() }, Live),
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
