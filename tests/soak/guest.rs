//! A guest of `examples-c/race` that enters through the Rust interface: `guest LIBRACE FOLDER`.
//!
//! The work inside the lock is done by the race itself (librace.so, from examples-c/race_worker.c), so one referee
//! watches all guests.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::time::Duration;

use lockfolder::{ErrorKind, Guard, LockFolder};

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}
const RTLD_NOW: c_int = 2;

struct Race {
    goes_on: unsafe extern "C" fn(*mut c_void) -> bool,
    update: unsafe extern "C" fn(*mut c_void),
    guest: *mut c_void,
}

impl Race {
    fn join(library: &str) -> Race {
        let (library, place) = (CString::new(library).unwrap(), std::env::var("RACE_PLACE").expect("started by race"));
        let place = CString::new(place).unwrap();
        // SAFETY: the types are those of examples-c/race.h, and the library stays loaded.
        unsafe {
            let library = dlopen(library.as_ptr(), RTLD_NOW);
            assert!(!library.is_null(), "cannot load librace");
            let find = |name: &CStr| {
                let found = dlsym(library, name.as_ptr());
                assert!(!found.is_null(), "{name:?} is missing");
                found
            };
            let join: unsafe extern "C" fn(*const c_char) -> *mut c_void = std::mem::transmute(find(c"race_join"));
            let guest = join(place.as_ptr());
            assert!(!guest.is_null(), "no race to join");
            Race {
                goes_on: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> bool>(find(
                    c"race_goes_on",
                )),
                update: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(find(c"race_update")),
                guest,
            }
        }
    }

    fn goes_on(&self) -> bool {
        // SAFETY: `guest` is what race_join gave.
        unsafe { (self.goes_on)(self.guest) }
    }

    fn update(&self) {
        // SAFETY: `guest` is what race_join gave.
        unsafe { (self.update)(self.guest) };
    }
}

/// Tries each way to lock, in turn.
fn enter(folder: &LockFolder, round: u64) -> Option<Guard> {
    let entered = match round % 3 {
        0 => folder.try_lock(),
        1 => folder.lock_timeout(Duration::from_millis(2)),
        _ => folder.lock(),
    };
    match entered {
        Ok(guard) => Some(guard),
        Err(e) if matches!(e.kind(), ErrorKind::Busy | ErrorKind::Timeout) => None,
        Err(e) => panic!("{e}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let race = Race::join(&arguments[1]);
    let folder = LockFolder::options().create(false).open(&arguments[2]).unwrap();
    folder.set_malformed_grace(Duration::from_secs(10)).unwrap();
    // SAFETY: `guest` is what race_join gave.
    for round in 0.. {
        if !race.goes_on() {
            break;
        }
        let Some(guard) = enter(&folder, round) else { continue };
        if race.goes_on() {
            race.update();
        }
        guard.holds().unwrap();
        guard.unlock().unwrap();
    }
}
