//! Who a process is, and whether it lives: its PID and the time of its creation, which the system keeps to 100 ns and no step
//! of the clock moves.

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

use super::super::{unix_nanos, Identity, ProcessState};
use super::open::is;
use super::{done, until_nul, wide, Source};

/// There is no fork, so there is only one process that can have a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMark;

pub(crate) fn process_mark() -> ProcessMark {
    ProcessMark
}

/// Where we look for processes, for a person.
pub(crate) const PROCESS_TABLE: &str = "the system";

/// Nothing: no step of the clock changes what we say of ourselves.
#[derive(Clone, Copy, Debug)]
pub(in crate::sys) struct ClockView;

/// Nothing: from everywhere a process looks alike.
pub(in crate::sys) struct Outlook;

impl Outlook {
    pub fn now(_me: &Identity) -> Option<Outlook> {
        Some(Outlook)
    }
}

impl Identity {
    pub(in crate::sys) fn read(_before: Option<&Identity>) -> io::Result<Identity> {
        // SAFETY: a pseudo-handle that is always valid.
        let seen = ProcStat::of(unsafe { GetCurrentProcess() })?;
        let host = host()?;
        let command = std::env::current_exe()?;
        Ok(Identity {
            pid: std::process::id(),
            start: seen.start(&Outlook),
            created: seen.created(&Outlook)?,
            boot: Some(boot(&host)?),
            pidns: None,
            host,
            command: command.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            clock_view: ClockView,
        })
    }

    /// When this machine was booted at the latest, Unix seconds.
    pub fn booted(&self) -> io::Result<i64> {
        // SAFETY: it takes nothing.
        let uptime = unsafe { GetTickCount64() };
        Ok((unix_nanos() / 1_000_000).saturating_sub(uptime) as i64 / 1000 + 1)
    }
}

impl ClockView {
    /// No step of the clock changes what we say of ourselves.
    pub fn clock_stepped(&self) -> bool {
        false
    }
}

/// The installation, the machine's name (for installations are cloned), and the number of this boot, which the system counts.
/// (Where it doesn't, as in Wine, this is the same after the next boot: then PIDs decide, with starts that never repeat.)
fn boot(host: &str) -> io::Result<String> {
    /// `KUSER_SHARED_DATA.BootId`, ntddk.h: readable in every process at this address.
    const BOOT_ID: *const u32 = 0x7FFE_02C4 as *const u32;
    // SAFETY: the system maps this page into every process, for ever, and aligned.
    let count = unsafe { BOOT_ID.read_volatile() };
    Ok(format!("{}/{host}/{count}", machine_guid()?))
}

fn machine_guid() -> io::Result<String> {
    let key = wide(r"SOFTWARE\Microsoft\Cryptography");
    let name = wide("MachineGuid");
    let mut text = [0u16; 64];
    let mut bytes = size_of_val(&text) as u32;
    let flags = RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY;
    // SAFETY: two terminated strings, and room for as many bytes as it is told.
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
    // SAFETY: room for as many characters as it is told.
    match done(unsafe { GetComputerNameExW(ComputerNameDnsHostname, text.as_mut_ptr(), &mut length) }) {
        Ok(()) => Ok(until_nul(&text)),
        Err(e) if is(&e, ERROR_MORE_DATA) => Ok(String::new()),
        Err(e) => Err(e),
    }
}

// ---- time ----

/// 100 ns since 1601.
pub(super) fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

pub(super) fn unix_micros(ticks: u64) -> i64 {
    const UNTIL_1970: i64 = 116_444_736_000_000_000;
    (ticks as i64).saturating_sub(UNTIL_1970).div_euclid(10)
}

// ---- other processes ----

/// What is seen of a process.
pub(in crate::sys) struct ProcStat {
    /// When it was created: 100 ns since 1601.
    created: u64,
}

impl ProcStat {
    fn of(process: HANDLE) -> io::Result<ProcStat> {
        let [mut created, mut exited, mut kernel, mut user] = [FILETIME::default(); 4];
        // SAFETY: an open handle, and room for the answers.
        done(unsafe { GetProcessTimes(process, &mut created, &mut exited, &mut kernel, &mut user) })?;
        Ok(ProcStat { created: ticks(created) })
    }

    pub fn start(&self, _from: &Outlook) -> Option<u64> {
        Some(self.created)
    }

    pub fn created(&self, _from: &Outlook) -> io::Result<i64> {
        Ok(unix_micros(self.created).div_euclid(1_000_000))
    }
}

/// What is seen of a process that runs, or else all that is known of it.
pub(in crate::sys) fn see(_outlook: &Outlook, _me: &Identity, pid: u32) -> Result<ProcStat, ProcessState> {
    let process = match open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE)
        .or_else(|_| open(pid, PROCESS_QUERY_LIMITED_INFORMATION))
    {
        Ok(process) => process,
        Err(e) if is(&e, ERROR_INVALID_PARAMETER) => return Err(ProcessState::Gone),
        Err(_) => return Err(ProcessState::Exists), // it may not be ours to know
    };
    if has_exited(process.as_handle()) {
        return Err(ProcessState::Gone); // and somebody has a handle on it
    }
    ProcStat::of(process.as_raw_handle()).map_err(|_| ProcessState::Exists)
}

fn open(pid: u32, rights: u32) -> io::Result<OwnedHandle> {
    // SAFETY: it returns a new handle of ours, or NULL.
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
    // SAFETY: an open handle. Without the right to wait the wait fails, and the exit code must tell.
    unsafe {
        let process = process.as_raw_handle();
        WaitForSingleObject(process, 0) == WAIT_OBJECT_0
            || GetExitCodeProcess(process, &mut code) != 0 && code != STILL_ACTIVE as u32
    }
}

/// Tells when a process exits, whatever becomes of its PID.
pub(crate) struct ExitWatch {
    process: OwnedHandle,
}

impl ExitWatch {
    /// `NotFound`: there is no such process. Any other error: we may not wait for it. Ask [`crate::sys::process`] afterwards
    /// whether it is the right one.
    pub fn of(pid: u32) -> io::Result<ExitWatch> {
        match open(pid, PROCESS_SYNCHRONIZE) {
            Ok(process) => Ok(ExitWatch { process }),
            Err(e) if is(&e, ERROR_INVALID_PARAMETER) => Err(io::ErrorKind::NotFound.into()),
            Err(e) => Err(e),
        }
    }

    pub fn happened(&self) -> bool {
        // SAFETY: an open handle.
        unsafe { WaitForSingleObject(self.process.as_raw_handle(), 0) == WAIT_OBJECT_0 }
    }

    pub fn source(&self) -> Source<'_> {
        self.process.as_handle()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{process, View};
    use super::*;

    #[test]
    fn an_exited_process_is_gone_although_we_have_a_handle_on_it() {
        let me = Identity::current().unwrap();
        // This very test program: it prints its list of tests and ends.
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("--list")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let exit = ExitWatch::of(child.id()).expect("the handle of `child` keeps it");
        child.wait().unwrap();
        assert!(exit.happened());
        assert_eq!(process(&View::default(), &me, child.id(), None, None), ProcessState::Gone);
    }

    #[test]
    fn time_is_counted_from_1970() {
        assert_eq!(unix_micros(116_444_736_000_000_000 + 15), 1);
        assert_eq!(unix_micros(133_444_736_000_000_000), 1_700_000_000_000_000);
    }
}
