//! Each source that wakes a sleeper, tested alone.

use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};

use super::*;
use crate::scratch::Scratch;

pub(in crate::sys) fn folder() -> (Scratch, Dir) {
    let path = Scratch::new();
    let dir = Dir::open(&path).unwrap();
    (path, dir)
}

/// Whether there is something to read.
pub(in crate::sys) fn is_ready(source: Source<'_>) -> bool {
    Waker::new().unwrap().sleep(&[Some(source), None], Duration::ZERO)
}

#[test]
fn a_sleep_ends_by_any_source_and_tells_whether_it_was_the_first() {
    let [quiet, loud, waker] = [(); 3].map(|()| Waker::new().unwrap());
    let (quiet, loud) = (Some(quiet.fd.as_fd()), Some(loud.fd.as_fd()));
    rustix::io::write(loud.unwrap(), &1u64.to_ne_bytes()).unwrap();
    // If nothing wakes the thread, this sleeps for ever.
    assert!(waker.sleep(&[loud, quiet], Duration::MAX));
    assert!(!waker.sleep(&[quiet, loud], Duration::MAX));
    assert!(!waker.sleep(&[None, loud], Duration::MAX));
    assert!(!waker.sleep(&[None, None], Duration::ZERO));
}

/// If the bell stayed on, every later sleep would end at once.
#[test]
fn a_bell_wakes_once() {
    let waker = Waker::new().unwrap();
    waker.ring();
    assert!(is_ready(waker.fd.as_fd()));
    assert!(!waker.sleep(&[None, None], Duration::MAX));
    assert!(!is_ready(waker.fd.as_fd()));
}

/// A look takes a byte from a beacon that is out. A forked child of the owner can keep the beacon open, and then a close by the owner
/// tells the watchers nothing.
#[test]
fn a_look_takes_the_news_from_nobody_else() {
    for news in [News::HandedOver, News::Left] {
        let (path, dir) = folder();
        let (_, beacon) = dir.light_fifo(&mut [OwnFifo::new(c"beacon".to_owned())]).unwrap();
        let watches = [(); 2].map(|()| watch(&dir, c"beacon"));
        drop(path); // open files stay
        assert!(watches.iter().all(FifoWatch::is_lit));

        let childs = beacon.fd.as_fd().try_clone_to_owned().unwrap();
        beacon.put_out(news);
        let lights: Vec<FifoState> = (0..4).map(|look| watches[look % 2].light()).collect();
        drop(childs);
        assert_eq!(lights, [FifoState::Out(news); 4]);
    }
}

#[test]
fn the_death_of_its_owner_makes_a_beacon_dark() {
    let (_path, dir) = folder();
    let (_, beacon) = dir.light_fifo(&mut [OwnFifo::new(c"beacon".to_owned())]).unwrap();
    let watch = watch(&dir, c"beacon");
    assert!(!is_ready(watch.source()));
    drop(beacon);
    assert_eq!(watch.light(), FifoState::Dark);
}

fn watch(dir: &Dir, name: &CStr) -> FifoWatch {
    FifoWatch { fd: dir.open_fifo(name, None, OFlags::RDONLY).unwrap() }
}

/// A watcher that still watches the beacon of the last time would mistake the new beacon for it.
#[test]
fn a_beacon_is_lit_again_when_nobody_watches_it_any_more() {
    let (path, dir) = folder();
    let mut beacons = [c"a", c"b"].map(|name| OwnFifo::new(name.to_owned()));
    let number = |name: &str| std::fs::metadata(path.join(name)).unwrap().ino();
    let mut lit = || ["a", "b"][dir.light_fifo(&mut beacons).unwrap().0];
    assert_eq!(lit(), "a");
    let a = number("a");
    assert_eq!((lit(), number("a")), ("a", a));
    let (watch, another) = (watch(&dir, c"a"), watch);
    assert_eq!((lit(), number("a")), ("b", a));
    let another = another(&dir, c"b");
    assert_eq!(lit(), "a");
    assert_ne!(number("a"), a, "it is another file");
    assert!(!watch.is_lit() && !another.is_lit());
}

/// In a sticky folder others may only read.
#[test]
fn who_may_write_to_the_folder_may_use_its_fifos_and_nobody_else() {
    let (path, dir) = folder();
    let plain = [(0o700, 0o600), (0o755, 0o600), (0o775, 0o660), (0o770, 0o660), (0o777, 0o666)];
    for (folder, fifo) in plain.into_iter().chain([(0o1777, 0o644), (0o1770, 0o640), (0o1755, 0o600)]) {
        std::fs::set_permissions(&*path, PermissionsExt::from_mode(folder)).unwrap();
        drop(dir.make_fifo(c"fifo").unwrap());
        assert_eq!(std::fs::metadata(path.join("fifo")).unwrap().mode() & 0o7777, fifo);
        dir.unlink(c"fifo").unwrap();
    }
}

/// This holds also for a FIFO that could not be made.
#[test]
fn nothing_stays_of_the_making_of_a_fifo() {
    let (path, dir) = folder();
    drop(dir.make_fifo(c"fifo").unwrap());
    assert_eq!(dir.make_fifo(c"fifo").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    let names: Vec<_> = std::fs::read_dir(&*path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["fifo"]);
}

/// An open never waits, and a read never waits.
#[test]
fn only_a_fifo_is_opened_and_no_program_inherits_it() {
    let (path, dir) = folder();
    drop(dir.make_fifo(c"fifo").unwrap());
    let fifo = dir.open_fifo(c"fifo", None, OFlags::RDONLY).unwrap();
    assert!(rustix::io::fcntl_getfd(&fifo).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    symlink("fifo", path.join("link")).unwrap();
    std::fs::write(path.join("file"), "").unwrap();
    for name in [c"link", c"file", c"nothing"] {
        assert!(dir.open_fifo(name, None, OFlags::RDWR).is_err());
    }
}

#[test]
fn the_tail_is_one_for_all_and_has_the_last_name_once() {
    let (_path, dir) = folder();
    assert!(dir.open_tail(c"tail", None).is_err());
    let [tail, same] = [(); 2].map(|()| dir.make_tail(c"tail").unwrap());
    let letter = |bytes: &[u8]| Some(bytes[0]).filter(u8::is_ascii_alphabetic);
    assert_eq!(tail.take(1, letter), None);
    [c"b", c"c", c"a"].into_iter().for_each(|name| tail.leave(name));
    assert_eq!(same.take(1, letter), Some(b'c'));
    assert_eq!(dir.open_tail(c"tail", None).unwrap().take(1, letter), None);
}
