//! Tells that something changed in a folder, by inotify(7).

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fd::AsFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::calls::descriptor;
use super::contract::Source;
use super::kept::Kept;
use super::linux_proc::own_path;
use super::{process_mark, Dir, ProcessMark};

/// Tells when a name leaves a folder, when a file replaces another file there, and when the folder itself is moved or deleted.
pub(crate) struct FolderWatch {
    instance: Option<Instance>,
    watch: i32,
    spare: SpareWatch,
}

struct Instance {
    fd: Kept,
    of: ProcessMark,
}

/// Keeps the inotify instance of a handle for its next wait, because the kernel takes milliseconds to close an instance (it waits for
/// all CPUs). A handle keeps at most one instance, and a process keeps few, because the number of instances per user is limited.
///
/// The spare belongs to the handle and not to the process, because each thread may have its own table of descriptors (unshare(2) with
/// CLONE_FILES). Then the descriptor number of one thread refers to another file in another thread.
#[derive(Clone, Default)]
pub(crate) struct SpareWatch(Arc<Mutex<Option<Spare>>>);

struct Spare {
    instance: Instance,
    _one_of_few: OneOfFew,
}

/// One of the instances that the handles of this process may keep.
struct OneOfFew(());

static KEPT: AtomicUsize = AtomicUsize::new(0);
const MOST_KEPT: usize = 4;

impl OneOfFew {
    fn new() -> Option<OneOfFew> {
        let more = |kept| (kept < MOST_KEPT).then_some(kept + 1);
        KEPT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok().map(|_| OneOfFew(()))
    }
}

impl Drop for OneOfFew {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SpareWatch {
    fn take(&self) -> Option<Instance> {
        // This is not `lock`, because in a forked child the mutex can stay locked for ever by a thread that fork did not copy.
        let kept = self.0.try_lock().ok()?.take()?;
        // A forked child inherits the instance of its parent. An event that one of them reads is lost for the other.
        Some(kept.instance).filter(Instance::is_ours)
    }

    fn keep(&self, instance: Instance) {
        let Some(one_of_few) = OneOfFew::new() else { return };
        let kept = Spare { instance, _one_of_few: one_of_few };
        let surplus = self.0.try_lock().map(|mut place| place.replace(kept));
        drop(surplus); // this takes milliseconds, so it happens after the mutex is free
    }
}

impl FolderWatch {
    /// Fails if a limit is used up (`max_user_instances`), or if the system has no inotify.
    pub fn new(dir: &Dir, spare: &SpareWatch) -> io::Result<FolderWatch> {
        // The path leads through the descriptor, so the watch is on the folder that we opened, even if it was moved.
        let path = own_path(dir).ok_or(io::ErrorKind::Unsupported)?;
        let leaving = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let replaced = WatchFlags::MOVED_TO; // a rename over a name causes no event for the file that it replaces
        let instance = spare.take().map_or_else(Instance::new, Ok)?;
        match instance.fd.ours().and_then(|fd| inotify::add_watch(fd, path, leaving | replaced)) {
            Ok(watch) => Ok(FolderWatch { instance: Some(instance), watch, spare: spare.clone() }),
            Err(e) => {
                if e != Errno::BADF {
                    spare.keep(instance);
                }
                Err(e.into())
            }
        }
    }

    /// Forgets all events so far. From now on only new events wake a sleeper.
    pub fn reset(&self) {
        self.instance.iter().for_each(Instance::drain);
    }

    /// Whether an event since then may matter. `matters` decides for each name. An event without a name (the kernel's queue
    /// overflowed, or the folder itself is gone) always matters. Events that do not matter are forgotten, up to one buffer per call.
    pub fn has_news(&self, matters: impl Fn(&CStr) -> bool) -> bool {
        let Some(instance) = &self.instance else { return true };
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let Ok(fd) = instance.fd.ours() else { return true };
        let mut events = inotify::Reader::new(fd, &mut buffer);
        loop {
            match events.next().map(|event| event.file_name().is_none_or(&matters)) {
                Ok(true) => return true,
                Ok(false) if events.is_buffer_empty() => return false,
                Ok(false) | Err(Errno::INTR) => {}
                Err(e) => return e != Errno::AGAIN,
            }
        }
    }

    pub fn source(&self) -> Source<'_> {
        self.instance.as_ref().expect("there until it is dropped").fd.as_fd()
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take().filter(Instance::is_ours) {
            // This fails if the folder is gone, because then its watch is gone too.
            if let Ok(fd) = instance.fd.ours() {
                let _ = inotify::remove_watch(fd, self.watch);
                instance.drain();
                self.spare.keep(instance);
            }
        }
    }
}

impl Instance {
    fn new() -> io::Result<Instance> {
        let fd = descriptor(|| inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK))?;
        Ok(Instance { fd: Kept::nameless(fd), of: process_mark() })
    }

    fn is_ours(&self) -> bool {
        self.of == process_mark()
    }

    fn drain(&self) {
        const ALMOST_FULL: usize = 4096 - 300; // a smaller read emptied the queue, because an event has up to 272 bytes
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let Ok(fd) = self.fd.ours() else { return };
        while matches!(rustix::io::read(fd, &mut buffer), Ok((read, _)) if read.len() > ALMOST_FULL) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::events::tests::{folder, is_ready};

    #[test]
    fn what_happens_to_names_that_do_not_matter_is_no_news() {
        let (path, dir) = folder();
        let watch = FolderWatch::new(&dir, &SpareWatch::default()).unwrap();
        let matters = |name: &CStr| name == c"bid";
        let [bid, other, note] = ["bid", "other", "note"].map(|name| path.join(name));
        let news = |what: &dyn Fn()| {
            for name in [&bid, &other, &note] {
                std::fs::write(name, "").unwrap();
            }
            watch.reset();
            what();
            let told = watch.has_news(matters);
            watch.reset();
            told
        };
        use std::fs::{remove_file, rename};
        assert!(!news(&|| {}));
        assert!(!news(&|| remove_file(&other).unwrap()));
        assert!(!news(&|| rename(&other, &note).unwrap()));
        assert!(news(&|| remove_file(&bid).unwrap()));
        assert!(news(&|| rename(&bid, &other).unwrap()));
        assert!(news(&|| rename(&other, &bid).unwrap()), "the file that was there is gone");
        assert!(news(&|| [&other, &note, &bid].into_iter().for_each(|name| remove_file(name).unwrap())));
        assert!(news(&|| std::fs::remove_dir_all(&*path).unwrap()));
    }

    /// The kernel's queue has a limit, and an overflow causes an event of its own.
    #[test]
    fn more_changes_than_the_kernel_keeps_are_news() {
        let (path, dir) = folder();
        let watch = FolderWatch::new(&dir, &SpareWatch::default()).unwrap();
        let kept: usize =
            std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        let (a, b) = (path.join("a"), path.join("b"));
        std::fs::write(&a, "").unwrap();
        for _ in 0..kept / 4 + 1 {
            std::fs::rename(&a, &b).unwrap();
            std::fs::rename(&b, &a).unwrap();
        }
        let mut told = false;
        while is_ready(watch.source()) {
            told |= watch.has_news(|_| false);
        }
        assert!(told);
    }

    /// This holds for any number of old events.
    #[test]
    fn after_a_reset_only_news_wakes() {
        let (path, dir) = folder();
        let watch = FolderWatch::new(&dir, &SpareWatch::default()).unwrap();
        let come_and_go = |count: usize| {
            for number in 0..count {
                let name = path.join(format!("{number:0255}"));
                std::fs::write(&name, "").unwrap();
                std::fs::remove_file(&name).unwrap();
            }
        };
        for count in [1, 200] {
            assert!(!is_ready(watch.source()));
            come_and_go(count);
            assert!(is_ready(watch.source()));
            watch.reset();
        }
        assert!(!is_ready(watch.source()));
    }
}
