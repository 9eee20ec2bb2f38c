//! Which users may write to a folder. `LF_OPEN_PRIVATE` depends on it.

use std::ffi::c_void;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{LocalFree, GENERIC_ALL, GENERIC_WRITE};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW,
    SDDL_REVISION_1, SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    EqualSid, GetAce, GetTokenInformation, IsWellKnownSid, TokenOwner, TokenUser, WinBuiltinAdministratorsSid,
    WinCreatorOwnerRightsSid, WinCreatorOwnerSid, WinLocalSystemSid, ACCESS_ALLOWED_ACE, ACL,
    DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
    TOKEN_INFORMATION_CLASS, TOKEN_QUERY,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_DELETE_CHILD, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::open::{About, FileId};
use super::{done, wide};

/// What a mode says on Unix. There are no modes on Windows, so all folders have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights;

impl Rights {
    /// Always false, because Windows has no sticky folders.
    pub fn is_sticky(self) -> bool {
        false
    }

    /// It is not looked at here: see docs/platforms.md.
    pub fn let_all_delete(self) -> bool {
        true
    }

    /// Whether all users that may write to a file in this folder may delete it too. It is not looked at here either.
    pub fn let_delete(self, _file: Rights) -> bool {
        true
    }
}

/// The identity of a folder, or of a file in it, and whether other users may write to it.
pub(crate) struct FolderStat {
    pub id: FileId,
    pub is_folder: bool,
    is_link: bool,
    /// The reason why it is not private. `None`: it is private.
    others: Option<&'static str>,
    modified: i64,
}

impl FolderStat {
    pub(super) fn of(path: &Path, about: &About) -> FolderStat {
        // It is no failure if we may not read the rights, because most callers do not need them.
        let others = who_else_writes(path).unwrap_or(Some("has an access control list that we may not read"));
        FolderStat {
            id: about.id(),
            is_folder: about.is_dir(),
            is_link: about.is_link(),
            others,
            modified: about.modified(),
        }
    }

    pub fn is_private(&self) -> bool {
        self.others.is_none()
    }

    /// The same for a file inside a private folder.
    pub fn is_private_within(&self) -> bool {
        self.is_private() && !self.is_link
    }

    /// Always true, because a process keeps its user on Windows.
    pub fn is_ours(&self) -> bool {
        true
    }

    pub fn rights(&self) -> Rights {
        Rights
    }

    /// Always false, because Windows has no sticky folders.
    pub fn is_sticky(&self) -> bool {
        self.rights().is_sticky()
    }

    /// Always true, because Windows has no sticky folders.
    pub fn may_be_trusted_in(&self, _above: &FolderStat) -> bool {
        true
    }

    /// When the content last changed, in Unix milliseconds.
    pub fn modified(&self) -> i64 {
        self.modified
    }

    /// Describes the users that may write, for messages to people.
    pub fn access(&self) -> String {
        self.others.unwrap_or("belongs to us, and only we may write to it").to_owned()
    }
}

/// Memory that the system allocated for us. It is freed on drop.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the system allocated it, demands this call to free it, and it is not used any more.
        unsafe { LocalFree(self.0) };
    }
}

/// An answer about our token. It begins with a pointer to a SID.
struct Us(Vec<u64>);

impl Us {
    fn ask(what: TOKEN_INFORMATION_CLASS) -> io::Result<Us> {
        let mut answer = vec![0u64; 32]; // a SID has at most 68 bytes
        let mut size = size_of_val(&answer[..]) as u32;
        // SAFETY: the pseudo-handle is valid, the new handle is ours, and there is room for the answer.
        unsafe {
            let mut token = ptr::null_mut();
            done(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token))?;
            let token = OwnedHandle::from_raw_handle(token);
            done(GetTokenInformation(token.as_raw_handle(), what, answer.as_mut_ptr().cast(), size, &mut size))?;
        }
        Ok(Us(answer))
    }

    fn sid(&self) -> PSID {
        // SAFETY: TOKEN_USER and TOKEN_OWNER both begin with this pointer. It points into the answer.
        unsafe { self.0.as_ptr().cast::<PSID>().read() }
    }
}

fn who_else_writes(path: &Path) -> io::Result<Option<&'static str>> {
    let us = [Us::ask(TokenUser)?, Us::ask(TokenOwner)?];
    let (mut owner, mut dacl, mut whole) = (ptr::null_mut(), ptr::null_mut::<ACL>(), ptr::null_mut());
    let path = wide(path);
    // SAFETY: the string is terminated, and there is room for three pointers. They point into `whole`, which we free.
    let error = unsafe {
        let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
        let none = ptr::null_mut();
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            what,
            &mut owner,
            none,
            &mut dacl,
            ptr::null_mut(),
            &mut whole,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error as i32));
    }
    let _whole = Local(whole);
    // SAFETY: all SIDs are valid.
    let is_us = |sid: PSID| us.iter().any(|us| unsafe { EqualSid(us.sid(), sid) } != 0);
    if !is_us(owner) {
        return Ok(Some("belongs to another user"));
    }
    if dacl.is_null() {
        return Ok(Some("has no access control list, so everybody may write to it"));
    }
    // SAFETY: the list and its entries are valid. The type of an entry is checked before the entry is read as that type.
    unsafe {
        for index in 0..u32::from((*dacl).AceCount) {
            let mut entry = ptr::null_mut();
            done(GetAce(dacl, index, &mut entry))?;
            let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
            match (*entry).Header.AceType {
                ALLOWS => {}
                DENIES => continue,
                _ => return Ok(Some("has an access control list that we don't understand")),
            }
            let sid = entry.cast::<u8>().add(offset_of!(ACCESS_ALLOWED_ACE, SidStart)).cast::<c_void>();
            let is_trusted = is_us(sid) || TRUSTED.iter().any(|&kind| IsWellKnownSid(sid, kind) != 0);
            if (*entry).Mask & WRITES != 0 && !is_trusted {
                return Ok(Some("can be written to by others: see its access control list (icacls)"));
            }
        }
    }
    Ok(None)
}

const ALLOWS: u8 = 0;
const DENIES: u8 = 1;
/// A user with one of these rights can add or delete bids, or can take the right to do so.
const WRITES: u32 =
    FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY | FILE_DELETE_CHILD | WRITE_DAC | WRITE_OWNER | GENERIC_WRITE | GENERIC_ALL;
/// These accounts can do anything anyway, or stand for the owner.
const TRUSTED: &[i32] = &[WinLocalSystemSid, WinBuiltinAdministratorsSid, WinCreatorOwnerSid, WinCreatorOwnerRightsSid];

/// Makes a folder that only we, the system and administrators may use.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let user = Us::ask(TokenUser)?;
    // SAFETY: the SID is valid, the strings are terminated, and we free the pointers that the system returns.
    unsafe {
        let mut text = ptr::null_mut();
        done(ConvertSidToStringSidW(user.sid(), &mut text))?;
        let text = Local(text.cast());
        let length = (0..).take_while(|&i| *text.0.cast::<u16>().add(i) != 0).count();
        let user = String::from_utf16_lossy(std::slice::from_raw_parts(text.0.cast::<u16>(), length));
        let rights = format!("D:P(A;OICI;FA;;;{user})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)");
        let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
        done(ConvertStringSecurityDescriptorToSecurityDescriptorW(
            wide(&rights).as_ptr(),
            SDDL_REVISION_1,
            &mut descriptor,
            ptr::null_mut(),
        ))?;
        let descriptor = Local(descriptor);
        let attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: descriptor.0,
            bInheritHandle: 0,
        };
        done(CreateDirectoryW(wide(path).as_ptr(), &attributes))
    }
}
