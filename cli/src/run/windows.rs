//! Windows: how the command is started, what becomes of Ctrl-C meanwhile, and how this program ends.
//!
//! The console sends Ctrl-C to every program on it, so the command gets it without our help. A job object ends the command, and all that
//! it started, if this program is killed.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lockfolder::{Guard, LockFolder, Result};
use windows_sys::core::BOOL;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JobObjectExtendedLimitInformation, SetInformationJobObject,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JOB_OBJECT_LIMIT, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::status_line::StatusLine;
use super::{aside, words, Obtained, Ran};
use crate::args::Run;
use crate::errors::{CAN_NOT_RUN, NOT_FOUND};
use crate::Ending;

/// STATUS_CONTROL_C_EXIT: what a program returns that Ctrl-C ended.
const ENDED_BY_CONTROL_C: i32 = 0xc000_013a_u32 as i32;

/// Somebody pressed Ctrl-C or Ctrl-Break.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

pub(super) fn shell() -> [OsString; 2] {
    let shell = std::env::var_os("COMSPEC").filter(|shell| !shell.is_empty());
    [shell.unwrap_or_else(|| "cmd.exe".into()), "/C".into()]
}

extern "system" fn on_control(_event: u32) -> BOOL {
    INTERRUPTED.store(true, Ordering::SeqCst);
    1 // this program goes on
}

pub(super) struct Signals;

impl Signals {
    /// From now on Ctrl-C does not end this program, but its wait.
    pub fn heed() -> io::Result<Signals> {
        // SAFETY: the handler may run in any thread at any time.
        match unsafe { SetConsoleCtrlHandler(Some(on_control), 1) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Signals),
        }
    }

    pub fn unless_interrupted(&mut self, outcome: Obtained) -> Obtained {
        match INTERRUPTED.load(Ordering::SeqCst) {
            true => Obtained::Interrupted(Ending::Status(ENDED_BY_CONTROL_C)),
            false => outcome,
        }
    }

    /// Waits for the lock, at most for the time of the limit. Ctrl-C cancels the wait. A thread waits, and this one says on the console
    /// who has the lock.
    pub fn wait_for(&mut self, folder: &LockFolder, limit: Option<Duration>) -> Result<Guard> {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| match limit {
                Some(time) => folder.lock_timeout(time),
                None => folder.lock(),
            });
            let mut line = StatusLine::new(folder);
            while !waiter.is_finished() {
                if INTERRUPTED.load(Ordering::SeqCst) {
                    let _ = folder.cancel();
                } else {
                    line.show();
                }
                thread::sleep(Duration::from_millis(50));
            }
            line.clear();
            waiter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A thread that writes needs no preparation here.
pub(super) fn be_left_alone() {}

/// Writes to standard error. The system does not tell whether there is room.
pub(super) fn write_within(text: &str, _time: Duration) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Runs the command while the lock is held.
pub(super) fn run(options: &Run, _guard: &Guard, _signals: Signals) -> Ran {
    let words = words(&options.job);
    let together = Together::new();
    let ended = Command::new(&words[0]).args(&words[1..]).status();
    drop(together);
    let status = match ended {
        Ok(status) => status.code().unwrap_or(CAN_NOT_RUN),
        Err(error) => {
            aside::tell(format_args!("cannot run {}: {error}", words[0].to_string_lossy()));
            if error.kind() == io::ErrorKind::NotFound {
                NOT_FOUND
            } else {
                CAN_NOT_RUN
            }
        }
    };
    Ran { ending: Ending::Status(status), is_lost: false }
}

/// While this is there, the death of this process ends all that it starts.
struct Together(HANDLE);

impl Together {
    /// If the system refuses, the command runs without it.
    fn new() -> Together {
        // SAFETY: no name, no attributes; the handle of this process is always valid.
        unsafe {
            let job = CreateJobObjectW(ptr::null(), ptr::null());
            let together = Together(job);
            together.set(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE);
            AssignProcessToJobObject(job, GetCurrentProcess());
            together
        }
    }

    fn set(&self, flags: JOB_OBJECT_LIMIT) {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = flags;
        // SAFETY: the structure is of this class and size.
        unsafe {
            SetInformationJobObject(
                self.0,
                JobObjectExtendedLimitInformation,
                ptr::from_ref(&limits).cast(),
                size_of_val(&limits) as u32,
            );
        }
    }
}

impl Drop for Together {
    /// What the command left behind may go on. (The handle stays open until the end of this process.)
    fn drop(&mut self) {
        self.set(0);
    }
}
