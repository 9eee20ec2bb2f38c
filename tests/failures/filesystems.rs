//! The promises, on a small scale, on one filesystem after the other; and the table of docs/filesystems.md.

mod sites;
mod table;

use std::fs::{self, File};
use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use crate::support::{Answer, Kind, Puppet};
use rustix::fs::{fallocate, FallocateFlags};
use rustix::io::Errno;
use sites::Site;
use table::Row;

const TRUST: u32 = 4;

/// Each is a column of the table: its title, and the test that gives the cell.
type Column = (&'static str, fn(&Site) -> &'static str);
const COLUMNS: &[Column] = &[
    ("`lf_open`", is_opened_or_refused_with_the_reason),
    ("a bid is", a_bid_is_published_in_one_step),
    ("exclusion under kills", no_two_are_inside_under_kills),
    ("a dead holder", a_dead_holder_is_stale),
    ("one in another container", a_holder_in_another_container_is_respected_until_it_dies),
    ("waiters", a_waiter_gets_the_lock_when_the_holder_unlocks_or_dies),
    ("a half-written bid", a_half_written_bid_counts_as_live),
    ("fencing tokens", fencing_tokens_grow),
    ("full", when_it_is_full_no_bid_is_left),
    ("read-only", when_it_is_read_only_only_the_lock_fails),
];

#[test]
fn each_filesystem_keeps_the_promises_that_the_table_says() {
    if !crate::support::namespaces_or_skip("the filesystems") {
        return;
    }
    let only = std::env::var("LOCKFOLDER_FILESYSTEM").unwrap_or_default(); // to look at one filesystem
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for &(filesystem, mount) in sites::ALL.iter().filter(|(name, _)| name.contains(&only)) {
        let site = match catch_unwind(mount) {
            Ok(Ok(site)) => site,
            Ok(Err(why)) => {
                eprintln!("{filesystem}: not run: {why}");
                rows.push(Row { filesystem, cells: Err(why) });
                continue;
            }
            Err(_) => {
                failed.push(format!("{filesystem}: could not be mounted"));
                continue;
            }
        };
        let mut cells = Vec::new();
        for (column, test) in COLUMNS {
            match catch_unwind(AssertUnwindSafe(|| test(&site))) {
                Ok(cell) => cells.push(cell.to_owned()),
                Err(_) => failed.push(format!("{filesystem}: {column}")),
            }
        }
        eprintln!("{filesystem}: {cells:?}");
        rows.push(Row { filesystem, cells: Ok(cells) });
    }
    assert!(failed.is_empty(), "the panics above say why: {failed:#?}");
    let columns: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    table::compare(&columns, &rows).unwrap_or_else(|e| panic!("{e}"));
}

/// A lock folder of that name, on the mount of that number (or the only mount), by its path inside the stage.
fn folder(site: &Site, name: &str, mount: usize) -> PathBuf {
    site.mounts[mount % site.mounts.len()].join(name)
}

fn open(site: &Site, mut puppet: Puppet, folder: &Path) -> Puppet {
    let flags = if site.refused { TRUST } else { 0 };
    let answer = puppet.try_open(0, flags, folder);
    assert_eq!(answer, "LF_OK", "{}", puppet.why_not_opened());
    puppet
}

/// Two processes, on two mounts if there are two.
fn two(site: &Site, name: &str) -> (Puppet, Puppet) {
    let a = open(site, site.stage.puppet(Kind::C), &folder(site, name, 0));
    (a, open(site, site.stage.puppet(Kind::Rust), &folder(site, name, 1)))
}

/// The names in a folder of the stage that have this ending.
fn entries(site: &Site, path: &Path, end: &str) -> Vec<String> {
    let names = fs::read_dir(site.stage.seen(path)).into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(end)).collect()
}

fn is_opened_or_refused_with_the_reason(site: &Site) -> &'static str {
    let mut puppet = site.stage.puppet(Kind::C);
    for mount in &site.mounts {
        let answer = puppet.try_open(0, 0, &mount.join("opened"));
        if !site.refused {
            assert_eq!(answer, "LF_OK", "{}", puppet.why_not_opened());
            continue;
        }
        assert_eq!(answer, "LF_ERR_UNSUPPORTED");
        let why = puppet.why_not_opened();
        let parts = [mount.to_str().unwrap(), "(fuse.", "mounted at ", "not known to work", "LF_OPEN_TRUST_FILESYSTEM"];
        parts.iter().for_each(|part| assert!(why.contains(part), "{part:?} is not in {why:?}"));
    }
    if site.refused {
        "refuses; the rest with `LF_OPEN_TRUST_FILESYSTEM`"
    } else {
        "opens"
    }
}

fn a_bid_is_published_in_one_step(site: &Site) -> &'static str {
    let (mut a, mut b) = two(site, "published");
    a.must("lock 0");
    a.must("holds 0");
    assert_eq!(b.ask("lock 0"), "LF_BUSY");
    assert_eq!(b.bids(0).len(), 1);
    assert_eq!(b.bids(0)[0].state, "LIVE");
    let claims = entries(site, &folder(site, "published", 0).join(".lockfolder"), ".json").len();
    assert_eq!(entries(site, &folder(site, "published", 1), ".json").len(), 1);
    a.must("unlock 0");
    assert_eq!(entries(site, &folder(site, "published", 1), ".json"), Vec::<String>::new());
    b.must("lock 0");
    assert_eq!(a.ask("lock 0"), "LF_BUSY");
    match claims {
        1 => "a link",
        0 => "the claim, moved",
        _ => panic!("{claims} claims, where one claimant has bid"),
    }
}

/// Several processes make the sub-folder of a new lock folder at the same time.
fn a_new_folder_is_made_by_several_at_once(site: &Site) {
    let together = compiled("together");
    let output = crate::c::run(site.stage.command(&together.0).args([&flags(site), "60"]).args(folders(site, "new")));
    assert!(output.status.success(), "{}: {}", output.status, crate::c::said(&output));
}

/// A C program of this test.
fn compiled(name: &str) -> crate::c::Program {
    let source = format!("../failures/filesystems/{name}.c");
    crate::c::Program(crate::c::compile(&source, &["gcc", "-std=gnu11", "-O2"], crate::c::Link::Shared))
}

fn flags(site: &Site) -> String {
    if site.refused { TRUST } else { 0 }.to_string()
}

/// A lock folder of that name, by its path on each mount.
fn folders<'a>(site: &'a Site, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    (0..site.mounts.len()).map(move |mount| folder(site, name, mount))
}

fn no_two_are_inside_under_kills(site: &Site) -> &'static str {
    a_new_folder_is_made_by_several_at_once(site);
    let witness = crate::support::Scratch::shm();
    File::create(witness.join("witness")).unwrap();
    let rivals = compiled("rivals");
    let mut race = site.stage.command(&rivals.0);
    race.arg(flags(site)).arg(witness.join("witness")).arg("3").args(folders(site, "raced"));
    let output = crate::c::run(&mut race);
    assert!(output.status.success(), "{}: {}", output.status, crate::c::said(&output));
    eprint!("{}", crate::c::said(&output));
    // Afterwards the lock is free, and the folder contains only known files.
    let (mut a, mut b) = two(site, "raced");
    a.must("wait 0 60000");
    a.must("unlock 0");
    a.must("reap 0");
    a.must("close 0");
    assert_eq!(b.must("in_use 0").number(), 0);
    let raced = folder(site, "raced", 0);
    // libfuse gives such a name to a file that was deleted while it was open, and may leave the file there. It is
    // no bid, and not ours.
    for path in [raced.clone(), raced.join(".lockfolder")].iter().filter(|_| site.refused) {
        let names = entries(site, path, "").into_iter().filter(|name| name.starts_with(".fuse_hidden"));
        names.for_each(|name| drop(fs::remove_file(site.stage.seen(path).join(name))));
    }
    assert_eq!(crate::c::unexplained(&site.stage.seen(&raced)), None);
    "kept"
}

fn a_dead_holder_is_stale(site: &Site) -> &'static str {
    for _ in 0..3 {
        let (mut a, mut b) = two(site, "dead");
        a.must("lock 0");
        assert_eq!(b.ask("lock 0"), "LF_BUSY");
        assert_eq!(b.must("reap 0").number(), 0);
        a.kill();
        assert_eq!(b.bids(0)[0].state, "STALE");
        b.must("lock 0");
        b.kill_and_reap();
        let (mut c, _) = two(site, "dead");
        assert_eq!(c.must("reap 0").number(), 1);
    }
    "is stale at once"
}

/// The puppet is PID 1, as the other is in its own container. So no PID proves anything here.
fn a_holder_in_another_container_is_respected_until_it_dies(site: &Site) -> &'static str {
    let mut holder = open(site, site.stage.contained(Kind::C), &folder(site, "container", 0));
    let mut reader = open(site, site.stage.contained(Kind::Rust), &folder(site, "container", 1));
    assert_eq!((holder.must("pid").number(), reader.must("pid").number()), (1, 1));
    for claimant in [&mut holder, &mut reader] {
        claimant.must("set_lease 0 5000");
    }
    holder.must("lock 0");
    let leased = holder.must("valid_for 0").data() != ["-1"];
    for _ in 0..3 {
        assert_eq!(reader.ask("lock 0"), "LF_BUSY");
        assert_eq!(reader.must("reap 0").number(), 0);
        holder.must("holds 0");
    }
    let live = reader.bids(0)[0].state;
    holder.kill();
    match live {
        "LIVE" => {
            // A network may need a moment to learn of the death. This kernel does not.
            crate::support::wait_until(|| reader.bids(0)[0].state != "LIVE");
            if reader.bids(0)[0].state == "STALE" {
                reader.must("lock 0");
                return "live while it lives, then stale";
            }
            assert_eq!(reader.ask("lock 0"), "LF_BUSY");
            assert_eq!(reader.must("reap 0").number(), 0);
            "live while it lives, then unknown, so live for ever"
        }
        "UNKNOWN" => {
            assert_eq!(reader.ask("lock 0"), "LF_BUSY");
            assert_eq!(reader.must("reap 0").number(), 0);
            if leased {
                reader.must("wait 0 -1");
                return "unknown, then free when its lease is over";
            }
            "unknown, so live for ever"
        }
        other => panic!("{other}"),
    }
}

fn a_waiter_gets_the_lock_when_the_holder_unlocks_or_dies(site: &Site) -> &'static str {
    let (mut a, mut b) = two(site, "waited");
    a.must("lock 0");
    b.start_to_wait(0, -1);
    let queue = site.stage.seen(&folder(site, "waited", 0).join(".lockfolder/queue"));
    let tickets = || fs::read_dir(&queue).map_or(0, Iterator::count);
    if site.has_line {
        crate::support::wait_until(|| tickets() > 0);
    } else {
        std::thread::sleep(std::time::Duration::from_secs(1)); // usually enough for its second look
        assert_eq!(tickets(), 0);
    }
    assert!(!b.has_answered());
    a.must("unlock 0");
    assert_eq!(b.ask("join 1"), "LF_OK");
    assert_eq!(a.ask("wait 0 30"), "LF_TIMEOUT");
    a.start_to_wait(0, -1);
    b.kill();
    assert_eq!(a.ask("join 1"), "LF_OK");
    if site.has_line {
        "in line"
    } else {
        "look again and again"
    }
}

fn a_half_written_bid_counts_as_live(site: &Site) -> &'static str {
    let (mut a, mut b) = two(site, "half");
    let path = site.stage.seen(&folder(site, "half", 0)).join("00000000-0000-4000-8000-000000000000.json");
    fs::write(&path, "{\"PID\": ").unwrap();
    for puppet in [&mut a, &mut b] {
        assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
        assert_eq!(puppet.must("reap 0").number(), 0);
        assert_eq!(puppet.bids(0)[0].state, "MALFORMED");
    }
    fs::remove_file(&path).unwrap();
    b.must("lock 0");
    "counts as live"
}

fn fencing_tokens_grow(site: &Site) -> &'static str {
    let (mut a, mut b) = two(site, "fenced");
    for round in 0..3 {
        a.must("lock 0");
        assert_eq!(a.must("fence 0").number(), 2 * round + 1);
        a.must("unlock 0");
        b.must("lock 0");
        assert_eq!(b.must("fence 0").number(), 2 * round + 2);
        b.must("unlock 0");
    }
    "grow"
}

/// The call that was tried has ended cleanly, and returns the error of the system.
fn is_refused_by(puppet: &mut Puppet, answer: &Answer, errno: Errno, at: &Path) {
    assert_eq!(answer.status(), "LF_ERR_IO", "{}", puppet.why(0));
    assert_eq!(puppet.code(0), errno.raw_os_error());
    assert!(puppet.why(0).contains(at.to_str().unwrap()), "{}", puppet.why(0));
}

/// Fills the filesystem, in large pieces and then in small ones.
fn fill(path: &Path) {
    let file = File::create(path).unwrap();
    let (mut at, mut size) = (0, 64 << 20);
    while size >= 4096 {
        match fallocate(&file, FallocateFlags::empty(), at, size) {
            Ok(()) => at += size,
            Err(_) => size /= 2,
        }
    }
    for number in 0.. {
        let made =
            File::create(path.with_extension(number.to_string())).and_then(|mut file| file.write_all(&[1; 4096]));
        if made.is_err() || number > 1000 {
            break;
        }
    }
}

fn when_it_is_full_no_bid_is_left(site: &Site) -> &'static str {
    if !site.small {
        return "not tried";
    }
    let at = folder(site, "full", 0);
    let (mut a, mut b) = two(site, "full");
    a.must("lock 0");
    a.must("unlock 0"); // now the puppet has its claim
    let filler = site.stage.seen(&site.mounts[0].join("filler"));
    fs::create_dir(&filler).unwrap();
    fill(&filler.join("fill"));
    let answer = b.ask("lock 0");
    is_refused_by(&mut b, &answer, Errno::NOSPC, &at);
    assert_eq!(entries(site, &at, ".json"), Vec::<String>::new());
    // A claimant that had the lock needs no more room. Or it is refused too.
    let answer = a.ask("lock 0");
    match answer.status() {
        "LF_OK" => drop(a.must("unlock 0")),
        _ => is_refused_by(&mut a, &answer, Errno::NOSPC, &at),
    }
    assert_eq!(entries(site, &at, ".json"), Vec::<String>::new());
    fs::remove_dir_all(&filler).unwrap();
    b.must("lock 0");
    assert_eq!(a.ask("lock 0"), "LF_BUSY");
    "`LF_ERR_IO`, no bid left"
}

fn when_it_is_read_only_only_the_lock_fails(site: &Site) -> &'static str {
    if !site.small {
        return "not tried";
    }
    let at = folder(site, "read-only", 0);
    drop(two(site, "read-only"));
    site.stage.run("mount -o remount,ro $T/at");
    let mut puppet = open(site, site.stage.puppet(Kind::C), &at);
    assert_eq!(puppet.must("in_use 0").number(), 0);
    let answer = puppet.ask("lock 0");
    is_refused_by(&mut puppet, &answer, Errno::ROFS, &at);
    site.stage.run("mount -o remount,rw $T/at");
    puppet.must("lock 0");
    puppet.must("unlock 0");
    "`LF_ERR_IO`, no bid left"
}
