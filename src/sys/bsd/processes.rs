//! The identity of a process, and whether the process lives. These systems have no PID namespaces, so a process looks the same to all
//! other processes.

use std::io;

use super::kernel::{Kernel, Seen, This};
use crate::sys::contract::{Identity, ProcessState, Processes, Source, System};
use crate::sys::process::is_about;

/// The state of the clock when we read it.
#[derive(Clone, Copy, Debug)]
pub(in crate::sys) struct ClockView {
    /// The base from which `Identity::created` was computed.
    base: i64,
}

/// This type has no value, because we can't watch the exit of a process on these systems.
pub(in crate::sys) enum NoExit {}

/// In Unix seconds, as in [`Identity::created`].
fn created_of(seen: &Seen) -> io::Result<i64> {
    Ok((seen.micros + This::base_of_starts()?).div_euclid(1_000_000))
}

impl Processes for System {
    /// The PID. (A descendant can get the PID of an ancestor that is gone. If it still has a handle of that ancestor, it is mistaken for
    /// the ancestor.)
    type Mark = u32;
    type Clock = ClockView;
    type Outlook = ();
    type Seen = Seen;
    type Exit = NoExit;

    const TABLE: &'static str = "the kernel's table of processes";

    fn mark() -> u32 {
        std::process::id()
    }

    fn identify(_before: Option<&Identity>) -> io::Result<Identity> {
        let pid = std::process::id();
        // The clock is read first, so that a step during the rest of this function counts as a later step.
        let clock = ClockView { base: This::base_of_starts()? };
        let seen = This::process(pid)?.ok_or_else(|| io::Error::other("the kernel does not know this process"))?;
        Ok(Identity {
            pid,
            start: System::start(&seen, &()),
            created: created_of(&seen)?,
            boot: Some(This::boot()?),
            pidns: None,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            command: seen.command,
            clock,
        })
    }

    fn has_stepped(clock: &ClockView) -> bool {
        This::base_of_starts().is_ok_and(|base| base.abs_diff(clock.base) > 100_000)
    }

    fn booted(_clock: &ClockView) -> io::Result<i64> {
        Ok(This::boot_time()?.div_euclid(1_000_000))
    }

    fn outlook(_own: u32) -> Option<()> {
        Some(())
    }

    fn look(_from: &(), pid: u32) -> Result<Seen, ProcessState> {
        match This::process(pid) {
            Ok(Some(seen)) if seen.exited => Err(ProcessState::Gone),
            Ok(Some(seen)) => Ok(seen),
            _ if This::exists(pid) => Err(ProcessState::Exists),
            _ => Err(ProcessState::Gone),
        }
    }

    fn start(seen: &Seen, _from: &()) -> Option<u64> {
        u64::try_from(seen.micros).ok()
    }

    fn is_created(seen: &Seen, _from: &(), created: i64) -> Option<bool> {
        Some(is_about(created_of(seen).ok()?, created))
    }

    fn exists(pid: u32) -> bool {
        This::exists(pid)
    }

    fn watch(_pid: u32) -> io::Result<NoExit> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn has_exited(exit: &NoExit) -> bool {
        match *exit {}
    }

    fn source(exit: &NoExit) -> Source<'_> {
        match *exit {}
    }
}
