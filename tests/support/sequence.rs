//! Any sequence of calls on a few handles of one real folder, beside a model of a dozen lines that says what each call
//! must answer. `tests/promises/sequences.rs` feeds it from proptest, `fuzz/` from libFuzzer. So a sequence is bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockfolder::{BidState, ErrorKind, Guard, LockFolder};

const HANDLES: usize = 3;

/// The state of the folder.
#[derive(Default, Debug)]
struct Model {
    /// The handle whose bid is in the folder.
    holder: Option<usize>,
    /// The handles that believe they hold, while their bids were deleted.
    lost: [bool; HANDLES],
    /// Bids of others. Their names sort: the stale bids before ours, the live and the malformed bids after ours.
    stale: usize,
    live: bool,
    malformed: bool,
    token: u64,
}

impl Model {
    fn has(&self, handle: usize) -> bool {
        self.holder == Some(handle) || self.lost[handle]
    }

    fn is_free(&self) -> bool {
        self.holder.is_none() && !self.live && !self.malformed
    }

    /// The answer of a call that needs the lock.
    fn held(&self, handle: usize) -> Result<(), ErrorKind> {
        match self.holder == Some(handle) {
            true => Ok(()),
            false if self.lost[handle] => Err(ErrorKind::Lost),
            false => Err(ErrorKind::NotHeld),
        }
    }

    fn lock(&mut self, handle: usize, refusal: ErrorKind) -> Result<(), ErrorKind> {
        if self.has(handle) {
            return Err(ErrorKind::AlreadyHeld);
        }
        self.stale = 0; // the check reaps
        if !self.is_free() {
            return Err(refusal);
        }
        self.holder = Some(handle);
        Ok(())
    }

    fn unlock(&mut self, handle: usize) -> Result<(), ErrorKind> {
        let was = self.held(handle);
        self.lost[handle] = false;
        if was.is_ok() {
            self.holder = None;
        }
        was
    }
}

struct Run<'a> {
    folder: &'a Path,
    handles: [LockFolder; HANDLES],
    guards: [Option<Guard>; HANDLES],
    model: Model,
    posted: usize,
}

fn open(folder: &Path) -> LockFolder {
    LockFolder::open(folder).unwrap()
}

fn kind<T>(result: lockfolder::Result<T>) -> Result<T, ErrorKind> {
    result.map_err(|e| {
        assert!(!e.to_string().is_empty());
        e.kind()
    })
}

/// Runs the sequence in `folder`, which does not exist yet, and panics where the library and the model differ.
pub fn run(folder: &Path, steps: &[u8]) {
    let mut run = Run {
        folder,
        handles: std::array::from_fn(|_| open(folder)),
        guards: Default::default(),
        model: Model::default(),
        posted: 0,
    };
    for step in steps {
        run.step(*step);
    }
    let Run { handles, guards, model, .. } = run;
    drop((handles, guards));
    let left = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name != ".lockfolder").collect();
    let expected = model.stale + usize::from(model.live) + usize::from(model.malformed);
    assert_eq!(left.len(), expected, "{left:?} {model:?}");
    if let Ok(hidden) = fs::read_dir(folder.join(".lockfolder")) {
        let hidden: Vec<_> = hidden.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(hidden.iter().all(|name| name.starts_with("fence-")) && hidden.len() <= 1, "{hidden:?}");
    }
}

impl Run<'_> {
    /// Locks in one of the ways, and keeps the guard. The guard of a lost lock may be there from before: it harms no
    /// lock.
    fn lock(
        &mut self,
        number: usize,
        how: impl FnOnce(&LockFolder) -> lockfolder::Result<Guard>,
    ) -> Result<(), ErrorKind> {
        self.guards[number] = Some(kind(how(&self.handles[number]))?);
        Ok(())
    }

    /// Asks the guard, or the handle if there is no guard.
    fn held<T>(&self, number: usize, ask: impl FnOnce(&Guard) -> lockfolder::Result<T>) -> Result<T, ErrorKind> {
        match &self.guards[number] {
            Some(guard) => kind(ask(guard)),
            None => Err(kind(self.handles[number].holds()).expect_err("held, but by no guard")),
        }
    }

    fn unlock(&mut self, number: usize) -> Result<(), ErrorKind> {
        match self.guards[number].take() {
            None => self.held(number, |_| Ok(())),
            Some(guard) => guard.unlock().map_err(|failed| {
                let why = failed.error().kind();
                self.guards[number] = Some(failed.into_guard());
                why
            }),
        }
    }

    fn step(&mut self, step: u8) {
        let (what, number) = (step / HANDLES as u8, usize::from(step) % HANDLES);
        let answer = match what % 20 {
            0..=3 => self.lock(number, LockFolder::try_lock),
            4 => self.lock(number, |handle| handle.lock_timeout(Duration::ZERO)),
            5 => self.lock(number, |handle| handle.lock_timeout(Duration::from_micros(200))),
            6..=9 => self.unlock(number),
            10 => self.held(number, Guard::holds),
            _ => Ok(()),
        };
        let token = (what % 20 == 11).then(|| self.held(number, Guard::fence));
        let (handle, model) = (&self.handles[number], &mut self.model);
        match what % 20 {
            0..=3 => assert_eq!(answer, model.lock(number, ErrorKind::Busy), "{model:?}"),
            4 | 5 => assert_eq!(answer, model.lock(number, ErrorKind::Timeout)),
            6..=9 => assert_eq!(answer, model.unlock(number)),
            10 => {
                assert_eq!(answer, model.held(number));
                assert_eq!(kind(handle.holds()), answer);
            }
            11 => match (token.expect("asked for"), model.held(number)) {
                (Ok(token), Ok(())) => {
                    assert!(token > model.token);
                    model.token = token;
                }
                (token, held) => assert_eq!(token.map(drop), held),
            },
            12 => {
                let others = model.holder.is_some_and(|holder| holder != number);
                assert_eq!(kind(handle.in_use()), Ok(others || model.live || model.malformed));
            }
            13 => assert_eq!(states(handle), expected_states(model, number)),
            14 => {
                assert_eq!(kind(handle.reap_stale()), Ok(model.stale));
                model.stale = 0;
            }
            15 => {
                self.guards[number] = None;
                self.handles[number] = open(self.folder); // and closes the old one
                let _ = model.unlock(number);
            }
            16 => self.toggle_stranger(number),
            17 => self.post_stale(),
            18 => self.delete_held_bid(),
            _ => self.delete_hidden(),
        }
    }

    /// Another process adds a bid, or removes one.
    fn toggle_stranger(&mut self, number: usize) {
        let live = format!("{{\"PID\": {}}}", std::process::id());
        let (path, content, there) = match number % 2 {
            0 => (self.folder.join("eeeeeeee-0000-4000-8000-00000000000a.json"), live.as_str(), &mut self.model.live),
            _ => {
                (self.folder.join("eeeeeeee-0000-4000-8000-00000000000b.json"), "{\"PID\": ", &mut self.model.malformed)
            }
        };
        *there = !*there;
        match *there {
            true => fs::write(path, content).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    fn post_stale(&mut self) {
        self.posted += 1;
        self.model.stale += 1;
        // The largest PID that Linux can give is below 2^22.
        fs::write(
            self.folder.join(format!("00000000-0000-4000-8000-{:012}.json", self.posted)),
            "{\"PID\": 4194304, \"CREATED\": 1}",
        )
        .unwrap();
    }

    fn delete_held_bid(&mut self) {
        if let Some(holder) = self.model.holder.take() {
            self.model.lost[holder] = true;
            let bids = self.handles[holder].bids().unwrap();
            let own: Vec<_> = bids.iter().filter(|bid| bid.state == BidState::Own).collect();
            assert_eq!(own.len(), 1);
            fs::remove_file(self.folder.join(&own[0].name)).unwrap();
        }
    }

    /// A user cleans up too much, while no claimant holds.
    fn delete_hidden(&mut self) {
        if self.model.holder.is_none() {
            let hidden: PathBuf = self.folder.join(".lockfolder");
            let _ = fs::remove_dir_all(hidden);
            self.model.token = 0;
        }
    }
}

/// The number of bids of each state, as the handle sees them.
fn states(handle: &LockFolder) -> [usize; 4] {
    let bids = handle.bids().unwrap();
    [BidState::Own, BidState::Live, BidState::Stale, BidState::Malformed]
        .map(|state| bids.iter().filter(|bid| bid.state == state).count())
}

fn expected_states(model: &Model, number: usize) -> [usize; 4] {
    let own = usize::from(model.holder == Some(number));
    let rivals = usize::from(model.holder.is_some_and(|holder| holder != number));
    [own, rivals + usize::from(model.live), model.stale, usize::from(model.malformed)]
}
