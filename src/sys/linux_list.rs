//! How Linux lists a folder (getdents64(2)).

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;

use rustix::fd::BorrowedFd;
use rustix::fs::{self, FileType, RawDir, SeekFrom};
use rustix::io::Errno;

use super::thread::{in_a_thread, Blocked};

/// The buffer has room for about 100 bids at a time.
const BUFFER: usize = 8192;

thread_local! {
    /// The buffer is not on the stack, because a thread may have a small stack. It is kept, because an uncontended lock must allocate
    /// nothing.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Before the first value of a thread that has a destructor, the standard library makes a key (pthread_key_create(3)). The fork of musl
/// 1.2.3 does not wait for a thread that makes one, and in the child the lock of the keys is then held for ever.
pub(super) fn keep_buffers() {
    let _ = SPARE.try_with(|_| ());
}

/// Names every entry of an open folder, its inode, and what kind of file it is, where the filesystem says so.
///
/// `at_once`: one getdents64(2) reads all of it. The kernel lets nobody change the folder during that call. Between two calls, others can
/// make and delete files. Then tmpfs of Linux 6.14 and later can skip names that are there all the time, because it goes on at the next
/// number of a file, and not at the next place in the listing. A call ends too early if the buffer is full, or if something interrupts it:
/// a signal, a stop, a freezer, or work that the kernel does in this thread (io_uring(7)). Then this begins again, with a larger buffer
/// and without signals, and after some tries in a thread of its own, for which the kernel has no other work.
pub(super) fn kinds(
    dir: BorrowedFd<'_>,
    at_once: bool,
    mut begin: impl FnMut(),
    mut each: impl FnMut(&CStr, u64, FileType),
) -> io::Result<()> {
    if read(dir, at_once.then_some(10), &mut begin, &mut each)? == Read::Whole {
        return Ok(());
    }
    // Where there can be no other thread, this one goes on.
    let tried = in_a_thread(|| collect(dir, Some(100)));
    let is_apart = tried.is_ok();
    let (done, mut all) = tried.unwrap_or_else(|_| collect(dir, Some(100)))?;
    if done != Read::Whole {
        if !is_whole_in_pieces(dir, is_apart && done == Read::InPages)? {
            return Err(Errno::AGAIN.into());
        }
        all = collect(dir, None)?.1;
    }
    begin();
    all.iter().for_each(|(name, number, kind)| each(name, *number, *kind));
    Ok(())
}

/// Whether a listing in pieces shows all. Few come here: a process that is stopped, or interrupted by the kernel, at each call, and an
/// overlay whose upper layer is on FUSE, where a piece has 4 KiB at most. A tmpfs skips names between pieces, and so does an overlay with
/// a tmpfs below it. `in_pages`: it looks like FUSE, in a thread where the kernel has no other work.
fn is_whole_in_pieces(dir: BorrowedFd<'_>, in_pages: bool) -> io::Result<bool> {
    const TMPFS: u32 = 0x0102_1994;
    const OVERLAY: u32 = 0x794c_7630;
    Ok(match rustix::io::retry_on_intr(|| fs::fstatfs(dir))?.f_type as u32 {
        TMPFS => false,
        OVERLAY => in_pages,
        _ => true,
    })
}

/// What came of a listing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// As it was asked for.
    Whole,
    /// All tries failed. The first piece of each had less than 4 KiB, and was not much less.
    InPages,
    Failed,
}

type Entry = (CString, u64, FileType);

/// The same as [`read`], into memory.
fn collect(dir: BorrowedFd<'_>, tries: Option<u32>) -> io::Result<(Read, Vec<Entry>)> {
    let all = RefCell::new(Vec::new());
    let each = |name: &CStr, number, kind| all.borrow_mut().push((name.to_owned(), number, kind));
    let done = read(dir, tries, || all.borrow_mut().clear(), each)?;
    Ok((done, all.into_inner()))
}

/// `tries`: so often it tries to read all in one call. Without `tries`, it reads all in any number of calls.
fn read(
    dir: BorrowedFd<'_>,
    tries: Option<u32>,
    mut begin: impl FnMut(),
    mut each: impl FnMut(&CStr, u64, FileType),
) -> io::Result<Read> {
    // A nested listing, or one at the end of the thread, finds no spare buffer and allocates a buffer of its own.
    let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
    let mut size = buffer.capacity().max(BUFFER);
    let (mut tried, mut quiet, mut failure) = (0, None, Read::InPages);
    let done = loop {
        if buffer.try_reserve_exact(size).is_err() {
            break Err(Errno::NOMEM.into());
        }
        begin();
        match read_pieces(&mut buffer.spare_capacity_mut()[..size], dir, tries.is_some(), &mut each) {
            Ok(Pieces::One) => break Ok(Read::Whole),
            Ok(Pieces::More { .. }) if tries.is_none() => break Ok(Read::Whole),
            Ok(Pieces::More { first }) if first > size - LARGEST && size == LARGEST_BUFFER => break Ok(Read::Failed),
            Ok(Pieces::More { first }) if first > size - LARGEST => size = (size * 4).min(LARGEST_BUFFER),
            Ok(Pieces::More { first }) => {
                tried += 1;
                if !(2048..=4096).contains(&first) {
                    failure = Read::Failed;
                }
            }
            Err(e) => break Err(e),
        }
        if tries.is_some_and(|tries| tried >= tries) {
            break Ok(failure);
        }
        quiet.get_or_insert_with(Blocked::all);
    };
    if buffer.capacity() <= MOST_KEPT {
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
    done
}

/// In how many pieces a folder was read.
enum Pieces {
    One,
    /// `first`: how many bytes the first one filled.
    More {
        first: usize,
    },
}

/// `only_one`: it stops after the second piece.
fn read_pieces(
    buffer: &mut [MaybeUninit<u8>],
    dir: BorrowedFd<'_>,
    only_one: bool,
    mut each: impl FnMut(&CStr, u64, FileType),
) -> io::Result<Pieces> {
    let (mut pieces, mut first) = (0, 0);
    read_by(buffer, dir, &mut each, |filled| {
        pieces += 1;
        if pieces == 1 {
            first = filled;
        }
        only_one && pieces > 1
    })?;
    Ok(if pieces > 1 { Pieces::More { first } } else { Pieces::One })
}

/// An entry with the longest name takes 280 bytes, and alignment may skip 7 bytes of the buffer. If more than this is left, all was read.
const LARGEST: usize = 288;

/// getdents64(2) takes the size for an `int`. This is enough for some ten million names of bids.
const LARGEST_BUFFER: usize = 1 << 30;

/// A thread keeps no larger buffer.
const MOST_KEPT: usize = 1 << 20;

/// The same as [`kinds`], but it stops after a call that left room in the buffer. So it can miss entries: if getdents64(2) fails after
/// some entries, it reports the error only at the next call.
pub(super) fn glance(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr, u64)) -> io::Result<()> {
    let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
    let size = buffer.capacity().max(BUFFER);
    buffer.try_reserve_exact(size).map_err(|_| Errno::NOMEM)?;
    let note = |name: &CStr, number, _| each(name, number);
    let done = read_by(&mut buffer.spare_capacity_mut()[..size], dir, note, |filled| filled <= size - LARGEST);
    let _ = SPARE.try_with(|spare| spare.set(buffer));
    done
}

fn read_by(
    buffer: &mut [MaybeUninit<u8>],
    dir: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr, u64, FileType),
    mut is_enough: impl FnMut(usize) -> bool,
) -> io::Result<()> {
    rustix::io::retry_on_intr(|| fs::seek(dir, SeekFrom::Start(0)))?;
    let mut entries = RawDir::new(dir, buffer);
    let mut filled = 0;
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                each(entry.file_name(), entry.ino(), entry.file_type());
                filled += (19 + entry.file_name().count_bytes() + 1).next_multiple_of(8);
                // struct linux_dirent64
            }
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        if entries.is_buffer_empty() {
            if is_enough(filled) {
                break;
            }
            filled = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod ring;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use super::ring::Ring;
    use super::*;
    use crate::scratch::Scratch;
    use crate::sys::Dir;
    use rustix::fd::AsFd;

    fn glances_at_all(path: &Path) {
        let mut dir = Dir::open(path).unwrap();
        dir.must_read_at_once();
        let (all, mut glanced) = (RefCell::new(Vec::new()), Vec::new());
        let each = |name: &CStr, number| all.borrow_mut().push((name.to_owned(), number));
        dir.list_in_one(false, || all.borrow_mut().clear(), each).unwrap();
        let all = all.into_inner();
        dir.glance(|name, number| glanced.push((name.to_owned(), number))).unwrap();
        assert_eq!(all.len(), std::fs::read_dir(path).unwrap().count() + 2);
        assert_eq!(all, glanced);
    }

    /// This holds also if it takes several calls to read them, and for each length of name, because the length decides how much room
    /// an entry takes.
    #[test]
    fn a_glance_names_all_that_local_filesystems_have() {
        for width in 97..=104 {
            let path = Scratch::new();
            for count in [0, 1, 70, 200] {
                (0..count).for_each(|n| std::fs::write(path.join(format!("{n:0width$}")), "").unwrap());
                glances_at_all(&path);
            }
        }
    }

    /// Other files are rewritten by a rename over them, and deleted in the midst of the listing, each right where the listing goes on.
    fn names_what_is_there_all_the_time(width: usize, deletes_after: std::ops::Range<usize>) {
        for path in [Scratch::new(), Scratch::inside(Path::new("/dev/shm"))] {
            let name = |n: usize| format!("{n:03}{:0width$}", 0);
            (0..300).for_each(|n| std::fs::write(path.join(name(n)), "").unwrap());
            std::fs::write(path.join("held"), "").unwrap();
            for n in (0..300).step_by(2) {
                std::fs::write(path.join("new"), "").unwrap();
                std::fs::rename(path.join("new"), path.join(name(n))).unwrap();
            }
            let mut dir = Dir::open(&path).unwrap();
            dir.must_read_at_once();
            let (named, seen, begun) = (Cell::new(0), Cell::new(0), Cell::new(0));
            let begin = || {
                named.set(0);
                begun.set(begun.get() + 1);
            };
            let each = |entry: &CStr, _: u64| {
                named.set(named.get() + usize::from(entry == c"held"));
                seen.set(seen.get() + 1);
                // On tmpfs, the next name that is rewritten is two numbers before.
                if begun.get() == 1 && deletes_after.contains(&seen.get()) {
                    let n = entry.to_bytes().get(..3).and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
                    if let Some(next) = n.and_then(|n| n.checked_sub(2)) {
                        let _ = std::fs::remove_file(path.join(name(next)));
                    }
                }
            };
            dir.list_in_one(false, begin, each).unwrap();
            assert_eq!(named.get(), 1, "{}", path.display());
        }
    }

    #[test]
    fn a_listing_names_what_is_there_all_the_time_while_other_files_are_rewritten_and_deleted() {
        names_what_is_there_all_the_time(200, 30..39); // one piece has 38 entries
    }

    /// A signal ends a call early.
    #[test]
    fn a_listing_names_what_is_there_all_the_time_while_signals_come() {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR2, nothing as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        let is_over = std::sync::atomic::AtomicBool::new(false);
        // SAFETY: the call has no arguments.
        let lister = unsafe { libc::pthread_self() };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // SAFETY: that thread waits for this one.
                    unsafe { libc::pthread_kill(lister, libc::SIGUSR2) };
                    std::thread::sleep(std::time::Duration::from_micros(30));
                }
            });
            let tried = std::panic::catch_unwind(|| (0..20).for_each(|_| names_what_is_there_all_the_time(0, 3..300)));
            is_over.store(true, Ordering::Relaxed);
            tried.unwrap();
        });
    }

    /// This thread can't list so large a folder in one call then. A listing in pieces is an error on tmpfs.
    #[test]
    fn a_listing_is_one_call_although_the_kernel_works_in_this_thread() {
        let path = Scratch::inside(Path::new("/dev/shm"));
        (0..3000).for_each(|n| std::fs::write(path.join(n.to_string()), "").unwrap());
        let dir = Dir::open(&path).unwrap();
        let ring = Ring::new(std::time::Duration::from_micros(20));
        let (mut done, mut split) = (0, 0);
        for _ in 0..10 {
            split += u32::from(read(dir.as_fd(), Some(10), || (), |_, _, _| ()).unwrap() != Read::Whole);
            let names = Cell::new(0);
            kinds(dir.as_fd(), true, || names.set(0), |_, _, _| names.set(names.get() + 1)).unwrap();
            assert_eq!(names.get(), 3000 + 2);
            done += ring.drain();
        }
        assert!(split > 0 && done > 100, "{split}, {done}");
    }

    /// A long name may not fit into the rest of the buffer. However large that rest is, there is more to read.
    #[test]
    fn a_glance_does_not_take_a_buffer_that_is_full_for_the_end() {
        for length in (1..=255).step_by(8) {
            let path = Scratch::new();
            for n in 0..30 {
                let name = if n == 15 { "x".repeat(length) } else { format!("{n:0255}") };
                std::fs::write(path.join(name), "").unwrap();
            }
            glances_at_all(&path);
        }
    }

    /// An entry has 19 bytes before its name and a zero byte after it, and each entry begins at a multiple of 8 (getdents64(2)).
    #[test]
    fn how_much_was_filled_is_told_to_the_byte() {
        for (width, size) in [(1, 24), (4, 24), (5, 32), (108, 128), (109, 136), (255, 280)] {
            let path = Scratch::new();
            (0..9).for_each(|n| std::fs::write(path.join(format!("{n:0width$}")), "").unwrap());
            let (dir, mut filled) = (Dir::open(&path).unwrap(), 0);
            let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
            let note = |bytes| {
                filled += bytes;
                false
            };
            read_by(&mut buffer, dir.as_fd(), |_, _, _| {}, note).unwrap();
            assert_eq!(filled, 2 * 24 + 9 * size);
        }
    }
}
