//! A user that may write to a lock folder can put something else in the place of the FIFOs of the line. The user can do so also
//! between the making of a FIFO and the change of its mode. Root waits there. It must not change a file elsewhere because of such a
//! swap.

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::unix::fs::{chown, symlink, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::c::trace::{At, Tracer};
use crate::c::{compile, Link, Program};
use crate::support::users::User;
use crate::support::{both, listing, root_or_skip, set_mode, wait_until, Kind, Puppet, Scratch, NOBODY};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{fstat, mknodat, openat, renameat_with, FileType, Mode, OFlags, RenameFlags, CWD};
use rustix::io::Errno;

both!(fifos_that_are_swapped_all_the_time_cost_root_time_and_nothing_else);

/// Root's files outside of the lock folder. None has a mode that a FIFO would get.
struct Outside {
    file: PathBuf,
    fifo: PathBuf,
}

impl Outside {
    fn beside(scratch: &Scratch) -> Outside {
        let (file, fifo) = (scratch.join("file"), scratch.join("fifo"));
        fs::write(&file, "precious").unwrap();
        mknodat(CWD, &fifo, FileType::Fifo, Mode::empty(), 0).unwrap();
        set_mode(&file, 0o600);
        set_mode(&fifo, 0o600);
        Outside { file, fifo }
    }

    #[track_caller]
    fn is_untouched(&self, when: &str) {
        for path in [&self.file, &self.fifo] {
            let about = fs::symlink_metadata(path).unwrap();
            assert_eq!((about.mode() & 0o7777, about.uid(), about.gid()), (0o600, 0, 0), "{}, {when}", path.display());
        }
        assert_eq!(fs::read(&self.file).unwrap(), b"precious", "{when}");
    }
}

/// A line of this length has a tail.
const LONG: usize = 8;

/// The names that FIFOs have or may get: those of each claim, and the tail.
fn fifos(hidden: &Path) -> Vec<PathBuf> {
    let names = listing(hidden);
    let claims = names.iter().filter_map(|name| name.strip_suffix(".json"));
    let beacons = claims.flat_map(|claim| [1, 2].map(|number| format!("{claim}.beacon-{number}")));
    beacons.chain(["tail".to_owned()]).map(|name| hidden.join(name)).collect()
}

/// Root joins a long line, where it makes a beacon and the tail. Root stops at each system call of its wait in turn. It goes on when
/// every file that it has made, or may make next, has been swapped.
#[test]
fn a_fifo_that_is_swapped_at_any_system_call_leads_root_nowhere() {
    if !root_or_skip("root in another user's folder") {
        return;
    }
    let (scratch, tracer) = (Scratch::shm(), Tracer::new());
    let outside = Outside::beside(&scratch);
    let folder = scratch.folder_with_mode(0o755);
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap(); // this user may swap what root makes there
    let hidden = folder.join(".lockfolder");
    let mut holder = Puppet::at(Kind::C, &folder);
    holder.must("lock 0");
    let mut line: Vec<_> = (1..LONG).map(|_| Puppet::at(Kind::C, &folder)).collect();
    for (before, waiter) in line.iter_mut().enumerate() {
        waiter.tell("wait 0 -1");
        wait_until(|| fs::read_dir(hidden.join("queue")).is_ok_and(|queue| queue.count() == before + 1));
    }
    let others = fifos(&hidden);
    let scenario = ["contended", "30"];
    let calls = tracer.calls(&folder, &scenario);
    let first = calls.iter().find(|call| call.step == "wait").unwrap().number;
    type Make<'a> = &'a dyn Fn(&Path);
    // Root makes this file at that very moment, so neither its age nor its names tell that it is another file.
    let moved = RefCell::new(Vec::new());
    let root_makes_another = |name: &Path| {
        mknodat(CWD, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        moved.borrow_mut().push(openat(CWD, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap());
    };
    let attacks: [(&str, Make); 4] = [
        ("another new FIFO of root's", &root_makes_another),
        ("a link to a file", &|name| symlink(&outside.file, name).unwrap()),
        ("a link to a FIFO", &|name| symlink(&outside.fifo, name).unwrap()),
        ("a second name of a FIFO", &|name| fs::hard_link(&outside.fifo, name).unwrap()),
    ];
    for (what, make) in attacks {
        let mut swapped = [0, 0];
        for number in first.. {
            let _ = fs::remove_file(hidden.join("tail"));
            let root = tracer.run_up_to(&folder, &scenario, number, Duration::MAX);
            if !matches!(&root.at, At::Stopped(step) if step != "wait+") {
                root.go_on();
                break; // the second wait is the same as the first
            }
            let when = format!("{what}, call {number}");
            for fifo in fifos(&hidden).iter().filter(|fifo| fifo.ends_with("tail") || !others.contains(fifo)) {
                let is_fifo = fs::symlink_metadata(fifo).is_ok_and(|it| it.file_type().is_fifo());
                swapped[usize::from(fifo.ends_with("tail"))] += u32::from(is_fifo);
                make(&scratch.join("spare"));
                fs::rename(scratch.join("spare"), fifo).unwrap();
            }
            let story = root.go_on();
            outside.is_untouched(&when);
            for fifo in moved.take() {
                let about = fstat(&fifo).unwrap();
                assert_eq!((about.st_mode & 0o7777, about.st_uid), (0o600, 0), "{when}");
            }
            assert!(story.ended_well(), "{when}: {}", story.text);
            let waits = story.outcomes.iter().filter(|outcome| outcome.step.starts_with("wait"));
            waits.for_each(|wait| assert_eq!(wait.status, "LF_TIMEOUT", "{when}: {}", story.text));
        }
        println!("{what}: swapped {} times for a beacon, {} times for the tail", swapped[0], swapped[1]);
        assert!(swapped[0] > 0);
        assert_eq!(swapped[1], 0, "root must make no tail where another user can put files");
    }
    holder.must("unlock 0");
    for waiter in &mut line {
        assert_eq!(waiter.hear(), "LF_OK");
        waiter.must("unlock 0");
    }
}

/// Everything in the folder and below, except folders.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let hidden = folder.join(".lockfolder");
    let in_each = [folder.to_owned(), hidden.clone(), hidden.join("queue")].map(|folder| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| !path.is_dir()).collect()
    });
    in_each.into_iter().flat_map(|found: Vec<_>| found).collect()
}

/// The things that must not be opened, beside the folder. The kernel tells whether one was opened.
struct Traps {
    folder: PathBuf,
    kind: FileType,
    watch: OwnedFd,
    /// The place of each thing, and what is in that place in the meantime.
    set: Vec<(PathBuf, PathBuf)>,
}

impl Traps {
    fn beside(scratch: &Scratch, kind: FileType) -> Traps {
        let folder = scratch.join("traps");
        fs::create_dir(&folder).unwrap();
        set_mode(&folder, 0o777);
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        Traps { folder, kind, watch, set: Vec::new() }
    }

    /// Root makes the things, because not every user can make a device. The user swaps them in.
    fn set(&mut self, user: User, places: &[PathBuf]) {
        for place in places {
            let trap = self.folder.join(self.set.len().to_string());
            mknodat(CWD, &trap, self.kind, Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3)).unwrap();
            inotify::add_watch(&self.watch, &trap, WatchFlags::OPEN).unwrap();
            let swap = || renameat_with(CWD, &trap, CWD, place, RenameFlags::EXCHANGE).is_ok();
            if user.acts(swap) {
                self.set.push((place.clone(), trap));
            } else {
                fs::remove_file(trap).unwrap();
            }
        }
    }

    fn take_back(&mut self) -> usize {
        for (place, aside) in &self.set {
            let is_there = fs::symlink_metadata(place)
                .is_ok_and(|about| FileType::from_raw_mode(about.mode()) == self.kind && about.nlink() == 1);
            if is_there {
                fs::rename(aside, place).unwrap();
            }
            let _ = fs::remove_file(aside);
        }
        self.set.drain(..).count()
    }

    #[track_caller]
    fn were_not_opened(&self, when: &str) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut buffer);
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::OPEN) => panic!("{when}: one of the things was opened"),
                Ok(_) => {} // it was deleted
                Err(Errno::AGAIN) => return,
                Err(e) => panic!("{e}"),
            }
        }
    }
}

/// The opening of a FIFO wakes a process that waits for a reader or a writer, and the opening of a device can have any effect. Root
/// locks in a folder of everybody's, where one claimant holds and one waits. Root stops at each system call in turn. It goes on when
/// another user has put a FIFO or a device in the place of every file.
#[test]
fn what_is_swapped_for_a_fifo_or_a_device_at_any_system_call_is_not_opened() {
    if !root_or_skip("root in a folder of everybody's") {
        return;
    }
    let (tracer, user) = (Tracer::new(), User { id: NOBODY, group: NOBODY });
    for (what, kind, scratch) in
        [("a FIFO", FileType::Fifo, Scratch::shm()), ("a device", FileType::CharacterDevice, Scratch::public())]
    {
        let folder = scratch.folder_with_mode(0o777);
        let hidden = folder.join(".lockfolder");
        let mut traps = Traps::beside(&scratch, kind);
        let (mut holder, mut waiter) = (Puppet::at(Kind::C, &folder), Puppet::at(Kind::C, &folder));
        holder.must("lock 0");
        waiter.start_to_wait(0, -1);
        let unfinished = hidden.join("00000000000000a1.json");
        let calls = tracer.calls(&folder, &["contended", "30"]);
        let first = calls.iter().find(|call| call.step == "lock").unwrap().number;
        let mut swapped = 0;
        for number in first.. {
            user.acts(|| fs::write(&unfinished, "").unwrap());
            let root = tracer.run_up_to(&folder, &["contended", "30"], number, Duration::MAX);
            let At::Stopped(step) = root.at.clone() else {
                root.go_on();
                break;
            };
            let when = format!("{what}, call {number}, {step}");
            traps.set(user, &files_below(&folder));
            let story = root.go_on();
            traps.were_not_opened(&when);
            swapped += traps.take_back();
            assert!(story.ended_well(), "{when}: {}", story.text);
            if !step.starts_with("lock") && !step.starts_with("wait") {
                break;
            }
        }
        println!("{what}: {swapped} were swapped in");
        assert!(swapped > 100);
        holder.must("unlock 0");
        assert_eq!(waiter.ask("join 1"), "LF_OK");
        waiter.must("unlock 0");
    }
}

/// A process of another user that swaps every FIFO that it may swap, until it is told to end.
struct Swapper(Child);

impl Swapper {
    fn start(program: &Program, hidden: &Path, target: &Path) -> Swapper {
        let mut command = Command::new(&program.0);
        command.arg(NOBODY.to_string()).arg(hidden).arg(target);
        Swapper(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// The number of FIFOs that it swapped.
    fn end(mut self) -> u32 {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        said.trim().parse().unwrap()
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same as a race. The race may miss the moment, and it has a real attacker: in a folder of the attacker's own, in a folder of
/// everybody's, and in a sticky folder, where the attacker can succeed only if it is faster than root.
fn fifos_that_are_swapped_all_the_time_cost_root_time_and_nothing_else(kind: Kind) {
    const ROUNDS: usize = 40;
    if !root_or_skip("root in another user's folder") {
        return;
    }
    let swapper = Program(compile("swapper.c", &["gcc", "-std=c11", "-O1"], Link::Alone));
    for (owner, mode, may_swap) in [(NOBODY, 0o755, true), (0, 0o777, true), (0, 0o1777, false)] {
        let scratch = Scratch::shm();
        let outside = Outside::beside(&scratch);
        let folder = scratch.folder_with_mode(mode);
        chown(&folder, Some(owner), Some(owner)).unwrap();
        let mut claimants: Vec<_> = (0..LONG + 2).map(|_| Puppet::at(kind, &folder)).collect();
        claimants[0].must("lock 0"); // this also makes the sub-folder
        claimants[0].must("unlock 0");
        let hidden = folder.join(".lockfolder");
        let swappers = [&outside.file, &outside.fifo].map(|target| Swapper::start(&swapper, &hidden, target));
        for _ in 0..ROUNDS {
            claimants.iter_mut().for_each(|claimant| claimant.tell("wait 0 -1"));
            let mut waiting: Vec<_> = claimants.iter_mut().collect();
            while !waiting.is_empty() {
                let mut answered = None;
                wait_until(|| {
                    answered = waiting.iter().position(|claimant| claimant.has_answered());
                    answered.is_some()
                });
                let claimant = waiting.swap_remove(answered.unwrap());
                assert_eq!(claimant.hear(), "LF_OK");
                claimant.must("holds 0");
                claimant.must("unlock 0");
            }
        }
        let swapped = swappers.map(Swapper::end);
        println!("in a folder of mode {mode:o}, {swapped:?} FIFOs were swapped");
        outside.is_untouched(&format!("in a folder of mode {mode:o}"));
        assert!(!may_swap || swapped.iter().all(|&swapped| swapped > 0));
        // The attack is over, and no effect of it remains.
        for claimant in &mut claimants {
            claimant.must("wait 0 -1");
            claimant.must("unlock 0");
        }
    }
}
