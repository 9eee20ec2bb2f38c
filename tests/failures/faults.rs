//! Every system call that the library makes fails, with every error that its manual page lists. EINTR is tried at every call,
//! because FUSE can give it to any call that names a file. The runs themselves tell how many calls there are.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::c::trace::{a_few_at_a_time, is_as_if_nothing_had_been, lock_folder, Call, Fate, Outcome, Story, Tracer};
use crate::support::Scratch;
use lockfolder::{Guard, LockFolder};
use rustix::io::Errno;

/// The errors of a call, by the names of `tracer.c`.
fn errnos(call: &str) -> &'static [Errno] {
    use rustix::io::Errno as E;
    match call {
        "openat" => &[
            E::ACCESS,
            E::DQUOT,
            E::INTR,
            E::IO,
            E::LOOP,
            E::MFILE,
            E::NFILE,
            E::NOENT,
            E::NOMEM,
            E::NOSPC,
            E::NOTDIR,
            E::NXIO,
            E::PERM,
            E::ROFS,
            E::STALE,
        ],
        "mkdirat" => &[
            E::ACCESS,
            E::DQUOT,
            E::INTR,
            E::IO,
            E::LOOP,
            E::MLINK,
            E::NOENT,
            E::NOMEM,
            E::NOSPC,
            E::NOTDIR,
            E::PERM,
            E::ROFS,
            E::STALE,
        ],
        "stat" => &[E::ACCESS, E::INTR, E::IO, E::LOOP, E::NOENT, E::NOMEM, E::NOTDIR, E::OVERFLOW, E::STALE],
        "fstatfs" => &[E::INTR, E::IO, E::NOMEM, E::NOSYS, E::OVERFLOW, E::STALE],
        "getdents64" => &[E::INTR, E::IO, E::NOENT, E::NOMEM, E::STALE],
        "lseek" => &[E::INVAL, E::IO, E::OVERFLOW],
        "read" => &[E::INTR, E::IO, E::NOMEM, E::STALE],
        "write" => &[E::DQUOT, E::FBIG, E::INTR, E::IO, E::NOSPC, E::PERM, E::STALE],
        "close" => &[E::DQUOT, E::INTR, E::IO, E::NOSPC],
        // Not ENOENT for unlinkat: that would be a false statement about a file that is there.
        "unlinkat" => &[E::ACCESS, E::BUSY, E::INTR, E::IO, E::LOOP, E::NOMEM, E::NOTDIR, E::PERM, E::ROFS, E::STALE],
        "linkat" => &[
            E::ACCESS,
            E::DQUOT,
            E::INTR,
            E::IO,
            E::LOOP,
            E::MLINK,
            E::NOENT,
            E::NOMEM,
            E::NOSPC,
            E::NOTDIR,
            E::OPNOTSUPP,
            E::PERM,
            E::ROFS,
            E::STALE,
            E::XDEV,
        ],
        "renameat" => &[
            E::ACCESS,
            E::BUSY,
            E::DQUOT,
            E::INTR,
            E::IO,
            E::LOOP,
            E::MLINK,
            E::NOMEM,
            E::NOSPC,
            E::NOTDIR,
            E::PERM,
            E::ROFS,
            E::STALE,
            E::XDEV,
        ],
        "readlink" => &[E::ACCESS, E::IO, E::LOOP, E::NOMEM, E::NOTDIR],
        "fcntl" => &[E::INTR, E::IO, E::NOLCK],
        "getxattr" | "setxattr" => &[E::ACCESS, E::DQUOT, E::INTR, E::IO, E::NODATA, E::NOSPC, E::OPNOTSUPP, E::PERM],
        "fchmod" | "fchown" => &[E::ACCESS, E::INTR, E::IO, E::NOMEM, E::PERM, E::ROFS, E::STALE],
        "fsync" => &[E::DQUOT, E::INTR, E::IO, E::NOSPC],
        "getrandom" => &[E::INTR, E::IO, E::NOSYS],
        "mmap" | "munmap" => &[E::AGAIN, E::NFILE, E::NOMEM, E::PERM],
        "madvise" => &[E::AGAIN, E::INVAL, E::IO, E::NOMEM, E::PERM],
        "pidfd_open" => &[E::MFILE, E::NFILE, E::NODEV, E::NOMEM, E::NOSYS, E::PERM],
        "poll" => &[E::INTR, E::INVAL, E::NOMEM],
        "eventfd" => &[E::MFILE, E::NFILE, E::NODEV, E::NOMEM],
        "inotify_init" => &[E::MFILE, E::NFILE, E::NOMEM, E::NOSYS],
        "inotify_add_watch" => &[E::ACCESS, E::NOENT, E::NOMEM, E::NOSPC, E::NOTDIR],
        "inotify_rm_watch" => &[E::INVAL],
        "kill" => &[E::PERM],
        "sleep" => &[E::INTR],
        "never" => &[],
        _ => &[E::INTR, E::IO, E::NOMEM, E::NOSYS, E::PERM],
    }
}

/// One run: the call, and the fault at this call.
struct Case {
    call: Call,
    error: Errno,
    for_ever: bool,
}

impl Case {
    fn title(&self) -> String {
        let how = if self.for_ever { " from then on" } else { "" };
        format!("call {} ({}) in {} fails{how} with {}", self.call.number, self.call.name, self.call.step, self.text())
    }

    fn at(&self) -> String {
        format!("{},{}", self.call.number, self.call.name)
    }

    fn fate(&self) -> Fate {
        match self.for_ever {
            true => Fate::FailOn(self.error.raw_os_error()),
            false => Fate::Fail(self.error.raw_os_error()),
        }
    }

    /// The system's text for the error, as messages contain it.
    fn text(&self) -> String {
        std::io::Error::from(self.error).to_string()
    }
}

/// Each call with every error. Of the calls of one kind in one step, only the first `most`.
fn cases(calls: &[Call], most: usize, for_ever: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        if calls[..i].iter().filter(|c| (&c.step, &c.name) == (&call.step, &call.name)).count() >= most {
            continue;
        }
        // A call that is always interrupted would be repeated without end.
        let errors = errnos(&call.name).iter().filter(|&&error| !(for_ever && error == Errno::INTR));
        cases.extend(errors.map(|&error| Case { call: call.clone(), error, for_ever }));
    }
    cases
}

fn is_refusal(status: &str) -> bool {
    status == "LF_BUSY" || status == "LF_TIMEOUT"
}

/// The library never gives a false status. It returns LF_ERR_IO with the system's code and a message that names the folder and has the
/// system's text. Or it did not need the call. Or what it could not see counts as a rival.
fn status_is_right(case: &Case, outcome: &Outcome, folder: &Path) -> Result<(), String> {
    let locks = outcome.step.starts_with("lock") || outcome.step.starts_with("wait");
    let status = outcome.status.as_str();
    if status == "LF_OK" || is_refusal(status) && locks {
        return Ok(());
    }
    // The bid can't be found, so the lock is lost, or another folder is there.
    if status == "LF_ERR_LOST" && case.error == Errno::NOENT {
        return Ok(());
    }
    // There is no /proc.
    if status == "LF_ERR_UNSUPPORTED" && case.error == Errno::NOENT && outcome.message.contains("/proc") {
        return Ok(());
    }
    // This status follows from the failure before.
    if case.for_ever && ["LF_ERR_ALREADY_HELD", "LF_ERR_NOT_HELD"].contains(&status) {
        return Ok(());
    }
    if case.error == Errno::INTR {
        return Err("EINTR surfaces".into());
    }
    if status != "LF_ERR_IO" {
        return Err("the status is wrong".into());
    }
    if outcome.code != case.error.raw_os_error() {
        return Err("the code is wrong".into());
    }
    if !outcome.message.contains(&case.text()) {
        return Err("the message lacks the system's text".into());
    }
    let names_a_file = outcome.message.contains(folder.to_str().unwrap()) || outcome.message.contains("/proc");
    let is_about_none = ["eventfd", "inotify_init", "pidfd_open", "poll"].contains(&case.call.name.as_str());
    (names_a_file || is_about_none).then_some(()).ok_or("the message names no file".into())
}

/// After each status except LF_OK, the message names a bid of ours that is still there.
fn no_bid_is_left(outcome: &Outcome) -> Result<(), String> {
    let locks = outcome.step.starts_with("lock") || outcome.step.starts_with("wait");
    if !locks || ["LF_OK", "LF_ERR_ALREADY_HELD"].contains(&outcome.status.as_str()) {
        return Ok(());
    }
    let planted = |bid: &str| bid.starts_with("1111") || bid.starts_with("0111");
    let unnamed = outcome.bids.iter().find(|bid| !planted(bid) && !outcome.message.contains(*bid));
    unnamed.map_or(Ok(()), |bid| Err(format!("the bid {bid} is left behind")))
}

fn check(case: &Case, story: &Story, folder: &Path) -> Result<(), String> {
    let never_opened = case.for_ever && story.end == "exited 3";
    if !story.ended_well() && !never_opened {
        return Err(format!("it ended with {}", story.end));
    }
    for (i, outcome) in story.outcomes.iter().enumerate() {
        let wrong = |what| format!("{what}: {outcome:?}");
        status_is_right(case, outcome, folder).map_err(wrong)?;
        no_bid_is_left(outcome).map_err(wrong)?;
        let second = story.outcomes.get(i + 1).filter(|next| next.step == format!("{}+", outcome.step));
        let repeated = ["LF_OK", "LF_ERR_LOST"].contains(&second.map_or("LF_OK", |s| s.status.as_str()));
        if !case.for_ever && !repeated {
            return Err(wrong("the handle can't be used afterwards".into()));
        }
        // A token is on the disk before it is given out, and the folders above it too. (Except where no descriptor can be had:
        // the failed call may be a look at a name, which is then made without a descriptor.)
        let blind = [Errno::NOMEM, Errno::IO].contains(&case.error);
        // Only the first time: a wait makes a varying number of calls, so after it another call may have that number.
        let hit = case.call.step == "fence" && outcome.step == "fence" && case.call.name == "openat";
        if hit && blind && outcome.status == "LF_OK" {
            return Err(wrong("a token was given out although a folder could not be opened to be synced".into()));
        }
    }
    // A bid that lacks something can be misjudged by a process that sees more. It may lack what this system does not have, or
    // does not show.
    let hidden = [Errno::NOENT, Errno::ACCESS, Errno::PERM].contains(&case.error);
    for bid in story.own_bids.iter().filter(|_| !hidden) {
        let complete = ["PID", "CREATED", "START", "BOOT", "PIDNS", "HOST", "COMMAND"];
        let lacks = complete.iter().find(|key| !bid.contains(&format!("\"{key}\": ")));
        if let Some(key) = lacks {
            return Err(format!("the bid does not say {key}: {bid}"));
        }
    }
    match story.descriptors {
        Some((before, after)) if before != after => Err(format!("{before} descriptors before, {after} after")),
        _ => Ok(()),
    }
}

/// Runs all cases, and reports every failure, not only the first.
fn run_all(cases: &[Case], run: impl Fn(&Case) -> Result<(), String> + Sync) {
    let failures = std::sync::Mutex::new(Vec::new());
    a_few_at_a_time(cases, |case| {
        if let Err(what) = run(case) {
            failures.lock().unwrap().push(format!("{}:\n    {what}", case.title()));
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{} faults", cases.len());
    assert!(failures.is_empty(), "{} of {} faults:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn alone(for_ever: bool) {
    let tracer = Tracer::new();
    let calls = tracer.calls(&lock_folder(&Scratch::new()), &["alone"]);
    let most = if for_ever { 1 } else { usize::MAX };
    run_all(&cases(&calls, most, for_ever), |case| {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        // The claimant waits where it can't see that there is no rival, and must not wait without end.
        let story = tracer.run(&folder, &["alone", "20"], &case.at(), case.fate());
        check(case, &story, &folder).map_err(|what| format!("{what}\n{}", story.text))?;
        is_as_if_nothing_had_been(&folder, &story, &case.title());
        Ok(())
    });
}

/// The token, its sub-folder, and the two folders above. These folders may be as new as their first token.
#[test]
fn a_token_and_the_folders_above_it_are_synced() {
    let scratch = Scratch::new();
    let calls = Tracer::new().calls(&lock_folder(&scratch), &["alone"]);
    let synced = calls.iter().filter(|call| (call.step.as_str(), call.name.as_str()) == ("fence", "fsync"));
    assert_eq!(synced.count(), 4);
}

/// One call is enough for the look before the bid. After the bid, the listing is read until it says that it ends. The buffer has grown
/// at the first lock if it was too small.
#[test]
fn a_folder_is_listed_once_and_a_half() {
    let tracer = Tracer::new();
    for (others, calls) in [(0, 3), (50, 3), (100, 3)] {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        std::fs::create_dir(&folder).unwrap();
        (0..others).for_each(|n| std::fs::write(folder.join(format!("{n:0100}")), "").unwrap());
        let made = tracer.calls(&folder, &["alone"]);
        let listed = made.iter().filter(|call| (call.step.as_str(), call.name.as_str()) == ("lock3", "getdents64"));
        assert_eq!(listed.count(), calls, "with {others} other files");
    }
}

#[test]
fn every_call_fails_once() {
    alone(false);
}

#[test]
fn every_call_fails_from_some_point_on() {
    alone(true);
}

/// When a disk dies, a bid on it can't be deleted. Then the message says which file remains.
#[test]
fn the_disk_dies_at_any_call() {
    let tracer = Tracer::new();
    let calls = tracer.calls(&lock_folder(&Scratch::new()), &["alone"]);
    let disk = ["openat", "mkdirat", "stat", "getdents64", "linkat", "unlinkat", "renameat"];
    let cases = cases(&calls, usize::MAX, true);
    let cases: Vec<_> =
        cases.into_iter().filter(|c| c.error == Errno::IO && disk.contains(&c.call.name.as_str())).collect();
    let remained = AtomicUsize::new(0);
    run_all(&cases, |case| {
        let scratch = Scratch::new();
        let folder = lock_folder(&scratch);
        let story = tracer.run(&folder, &["alone", "20"], &case.at(), Fate::FailDisk(case.error.raw_os_error()));
        if !story.ended_well() && story.end != "exited 3" {
            return Err(format!("it ended with {}\n{}", story.end, story.text));
        }
        for outcome in &story.outcomes {
            no_bid_is_left(outcome).map_err(|what| format!("{what}: {outcome:?}"))?;
            let named = outcome.bids.iter().any(|bid| outcome.message.contains(bid));
            if outcome.message.contains("could not be deleted and remains") && named {
                remained.fetch_add(1, Ordering::Relaxed);
            }
        }
        is_as_if_nothing_had_been(&folder, &story, &case.title());
        Ok(())
    });
    assert!(remained.into_inner() > 0, "no run left a bid, so this test proves nothing");
}

#[test]
fn every_call_fails_while_another_holds() {
    let tracer = Tracer::new();
    let hold = |scratch: &Scratch| -> Guard { LockFolder::open(lock_folder(scratch)).unwrap().try_lock().unwrap() };
    let scenario = ["contended", "5"];
    let scratch = Scratch::new();
    let holder = hold(&scratch);
    let mut calls = tracer.calls(&lock_folder(&scratch), &scenario);
    drop(holder);
    // The open is the same as without a rival, so it is left out. A wait looks again and again.
    calls.retain(|call| call.step != "open");
    run_all(&cases(&calls, 2, false), |case| {
        let scratch = Scratch::new();
        let holder = hold(&scratch);
        let folder = lock_folder(&scratch);
        let story = tracer.run(&folder, &scenario, &case.at(), case.fate());
        let told = |what| format!("{what}\n{}", story.text);
        if !story.ended_well() {
            return Err(told(format!("it ended with {}", story.end)));
        }
        for outcome in story.outcomes.iter().filter(|o| !o.step.starts_with("unlock")) {
            let got_in = outcome.status == "LF_OK" && !outcome.step.starts_with("open");
            let right = if got_in { Err("it came in".into()) } else { status_is_right(case, outcome, &folder) };
            right.map_err(|what| told(format!("{what}: {outcome:?}")))?;
            // With this error a server says that a file was deleted while it was open. Then its name leads to another file by
            // now, or to none.
            if (case.error, case.call.name.as_str(), outcome.status.as_str()) == (Errno::STALE, "read", "LF_ERR_IO") {
                return Err(told(format!("a bid that vanishes under its reader is no error: {outcome:?}")));
            }
            if outcome.bids.len() != 1 {
                return Err(told(format!("there is more than the holder's bid: {outcome:?}")));
            }
        }
        match story.descriptors {
            Some((before, after)) if before == after => {}
            other => return Err(told(format!("descriptors before and after: {other:?}"))),
        }
        holder.holds().map_err(|e| told(format!("the holder does not hold any more: {e}")))?;
        drop(holder);
        is_as_if_nothing_had_been(&folder, &story, &case.title());
        Ok(())
    });
}
