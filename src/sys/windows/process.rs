//! The identity of a process, and whether the process lives. The identity is the PID and the time of its creation. The system keeps
//! this time in units of 100 ns, and no step of the clock moves it.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_INVALID_PARAMETER, ERROR_MORE_DATA, FILETIME, HANDLE, STILL_ACTIVE, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::Registry::{RegGetValueW, HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6464KEY};
use windows_sys::Win32::System::SystemInformation::{ComputerNameDnsHostname, GetComputerNameExW, GetTickCount64};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetExitCodeProcess, GetProcessTimes, OpenProcess, WaitForSingleObject,
    PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
};

use super::open::is;
use super::time::{ticks, unix_micros};
use super::{done, until_nul, wide};
use crate::sys::contract::{Identity, ProcessState, Processes, Source, System};
use crate::sys::process::is_about;
use crate::sys::unix_nanos;

impl Processes for System {
    /// There is no fork, so only one process can have a handle.
    type Mark = ();
    /// No step of the clock changes our identity.
    type Clock = ();
    /// A process looks the same to all other processes.
    type Outlook = ();
    type Seen = Seen;
    type Exit = OwnedHandle;

    const TABLE: &'static str = "the system";

    fn mark() {}

    fn identify(_before: Option<&Identity>) -> io::Result<Identity> {
        // SAFETY: the pseudo-handle is always valid.
        let seen = Seen::of(unsafe { GetCurrentProcess() })?;
        let host = host()?;
        let command = std::env::current_exe()?;
        Ok(Identity {
            pid: std::process::id(),
            start: System::start(&seen, &()),
            created: seen.created(),
            boot: Some(boot(&host)?),
            pidns: None,
            host,
            command: command.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            clock: (),
        })
    }

    fn has_stepped(_clock: &()) -> bool {
        false
    }

    fn booted(_clock: &()) -> io::Result<i64> {
        // SAFETY: the call has no arguments.
        let uptime = unsafe { GetTickCount64() };
        Ok((unix_nanos() / 1_000_000).saturating_sub(uptime) as i64 / 1000 + 1)
    }

    fn outlook(_own: u32) -> Option<()> {
        Some(())
    }

    fn look(_from: &(), pid: u32) -> Result<Seen, ProcessState> {
        let process = match open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE)
            .or_else(|_| open(pid, PROCESS_QUERY_LIMITED_INFORMATION))
        {
            Ok(process) => process,
            Err(e) if is(&e, ERROR_INVALID_PARAMETER) => return Err(ProcessState::Gone),
            Err(_) => return Err(ProcessState::Exists), // we may have no right to see it
        };
        if has_exited(process.as_handle()) {
            return Err(ProcessState::Gone); // the PID still exists because a process has a handle on it
        }
        Seen::of(process.as_raw_handle()).map_err(|_| ProcessState::Exists)
    }

    fn start(seen: &Seen, _from: &()) -> Option<u64> {
        Some(seen.created)
    }

    fn is_created(seen: &Seen, _from: &(), created: i64) -> Option<bool> {
        Some(is_about(seen.created(), created))
    }

    /// Always true, because on Windows only `look` can tell.
    fn exists(_pid: u32) -> bool {
        true
    }

    fn watch(pid: u32) -> io::Result<OwnedHandle> {
        match open(pid, PROCESS_SYNCHRONIZE) {
            Err(e) if is(&e, ERROR_INVALID_PARAMETER) => Err(io::ErrorKind::NotFound.into()),
            process => process,
        }
    }

    fn has_exited(process: &OwnedHandle) -> bool {
        // SAFETY: the handle is open.
        unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_OBJECT_0 }
    }

    fn source(process: &OwnedHandle) -> Source<'_> {
        process.as_handle()
    }
}

/// The installation, the machine's name (because installations are cloned), and the number of this boot, which the system counts.
/// (Wine does not count boots, so there the value stays the same after a boot. Then PIDs decide, with starts that never repeat.)
fn boot(host: &str) -> io::Result<String> {
    /// `KUSER_SHARED_DATA.BootId` (ntddk.h). Every process can read it at this address.
    const BOOT_ID: *const u32 = 0x7FFE_02C4 as *const u32;
    // SAFETY: the system maps this page into every process for its whole life, and the address is aligned.
    let count = unsafe { BOOT_ID.read_volatile() };
    Ok(format!("{}/{host}/{count}", machine_guid()?))
}

fn machine_guid() -> io::Result<String> {
    let key = wide(r"SOFTWARE\Microsoft\Cryptography");
    let name = wide("MachineGuid");
    let mut text = [0u16; 64];
    let mut bytes = size_of_val(&text) as u32;
    let flags = RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY;
    // SAFETY: both strings are terminated, and the buffer has as many bytes as the call is told.
    let error = unsafe {
        let into = text.as_mut_ptr().cast();
        RegGetValueW(HKEY_LOCAL_MACHINE, key.as_ptr(), name.as_ptr(), flags, ptr::null_mut(), into, &mut bytes)
    };
    match error {
        0 => Ok(until_nul(&text)),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}

fn host() -> io::Result<String> {
    let mut text = [0u16; 256];
    let mut length = text.len() as u32;
    // SAFETY: the buffer has room for as many characters as the call is told.
    match done(unsafe { GetComputerNameExW(ComputerNameDnsHostname, text.as_mut_ptr(), &mut length) }) {
        Ok(()) => Ok(until_nul(&text)),
        Err(e) if is(&e, ERROR_MORE_DATA) => Ok(String::new()),
        Err(e) => Err(e),
    }
}

// ---- other processes ----

/// What the system shows about a running process.
pub(in crate::sys) struct Seen {
    /// When it was created, in units of 100 ns since 1601.
    created: u64,
}

impl Seen {
    /// In Unix seconds, as in [`Identity::created`].
    fn created(&self) -> i64 {
        unix_micros(self.created).div_euclid(1_000_000)
    }

    fn of(process: HANDLE) -> io::Result<Seen> {
        let [mut created, mut exited, mut kernel, mut user] = [FILETIME::default(); 4];
        // SAFETY: the handle is open, and there is room for the answers.
        done(unsafe { GetProcessTimes(process, &mut created, &mut exited, &mut kernel, &mut user) })?;
        Ok(Seen { created: ticks(created) })
    }
}

fn open(pid: u32, rights: u32) -> io::Result<OwnedHandle> {
    // SAFETY: the call returns a new handle of ours, or NULL.
    unsafe {
        let handle = OpenProcess(rights, 0, pid);
        match handle.is_null() {
            true => Err(io::Error::last_os_error()),
            false => Ok(OwnedHandle::from_raw_handle(handle)),
        }
    }
}

fn has_exited(process: BorrowedHandle<'_>) -> bool {
    let mut code = 0;
    // SAFETY: the handle is open. Without the right to wait, the wait fails, and then the exit code must tell.
    unsafe {
        let process = process.as_raw_handle();
        WaitForSingleObject(process, 0) == WAIT_OBJECT_0
            || GetExitCodeProcess(process, &mut code) != 0 && code != STILL_ACTIVE as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{process, View};

    #[test]
    fn an_exited_process_is_gone_although_we_have_a_handle_on_it() {
        let me = Identity::current().unwrap();
        // The child is this test program. It prints its list of tests and ends.
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("--list")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let exit = System::watch(child.id()).expect("the handle of `child` keeps it");
        child.wait().unwrap();
        assert!(System::has_exited(&exit));
        assert_eq!(process(&View::default(), &me, child.id(), None, None), ProcessState::Gone);
    }
}
