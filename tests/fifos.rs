//! Whoever may write to a lock folder can swap the FIFOs of the line for something else, also in the moment between the making of one
//! and the change of its mode. Root, who waits there, must not change a file elsewhere for that.

mod c;
mod support;

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{chown, symlink, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use c::trace::{At, Tracer};
use c::{compile, Link, Program};
use rustix::fs::{fstat, mknodat, openat, FileType, Mode, OFlags, CWD};
use support::{both, listing, root_or_skip, set_mode, wait_until, Kind, Puppet, Scratch, NOBODY};

both!(fifos_that_are_swapped_all_the_time_cost_root_time_and_nothing_else);

/// Files of root's, outside of the lock folder, that are in no mode that a FIFO would be given.
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

/// A line so long has a tail.
const LONG: usize = 8;

/// The names that FIFOs have or may get: of each claim, and the tail.
fn fifos(hidden: &Path) -> Vec<PathBuf> {
    let names = listing(hidden);
    let claims = names.iter().filter_map(|name| name.strip_suffix(".json"));
    let beacons = claims.flat_map(|claim| [1, 2].map(|number| format!("{claim}.beacon-{number}")));
    beacons.chain(["tail".to_owned()]).map(|name| hidden.join(name)).collect()
}

/// Root joins a long line, where it makes a beacon and the tail. It stops at each system call of its wait in turn, and goes on when
/// all that it has made, or may make next, has been swapped.
#[test]
fn a_fifo_that_is_swapped_at_any_system_call_leads_root_nowhere() {
    if !root_or_skip("root in another user's folder") {
        return;
    }
    let (scratch, tracer) = (Scratch::shm(), Tracer::new());
    let outside = Outside::beside(&scratch);
    let folder = scratch.folder_with_mode(0o755);
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap(); // who may swap what root makes there
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
    // Made by root at that very moment, so neither its age nor its names tell that it is another one.
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
                break; // the second wait is like the first
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
        assert_eq!(swapped[1], 0, "root makes no tail where another user can put files");
    }
    holder.must("unlock 0");
    for waiter in &mut line {
        assert_eq!(waiter.hear(), "LF_OK");
        waiter.must("unlock 0");
    }
}

/// A process of another user that swaps whatever FIFOs it may, until it is told to end.
struct Swapper(Child);

impl Swapper {
    fn start(program: &Program, hidden: &Path, target: &Path) -> Swapper {
        let mut command = Command::new(&program.0);
        command.arg(NOBODY.to_string()).arg(hidden).arg(target);
        Swapper(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// How many FIFOs it swapped.
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

/// The same as a race, which may miss the moment, but has a real attacker: in a folder of its own, in one that is everybody's, and in
/// a sticky one, where it can only be faster than root.
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
        claimants[0].must("lock 0"); // and the sub-folder is there
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
        // It is over, and nothing of it lasts.
        for claimant in &mut claimants {
            claimant.must("wait 0 -1");
            claimant.must("unlock 0");
        }
    }
}
