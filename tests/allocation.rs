//! Locking costs no memory: after the first one, an uncontended cycle allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lockfolder::LockFolder;

/// Counts what the thread that asks for it allocates.
struct Counting;

thread_local! {
    // Without a destructor and without an initializer that allocates, so the allocator may use it.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|n| n.set(n.get() + 1));
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as our caller promised.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations_of(body: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    body();
    ALLOCATIONS.with(Cell::get) - before
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lockfolder-allocation-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path); // a killed predecessor's with our PID
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_of(|| drop(std::hint::black_box(vec![1, 2, 3]))), 1);
}

#[test]
fn an_uncontended_cycle_allocates_nothing() {
    let folder = Folder::new("try");
    let lock = LockFolder::open(&folder.0).unwrap();
    assert_ne!(allocations_of(|| lock.try_lock().unwrap().unlock().unwrap()), 0, "the first prepares");
    // Enough to use up the random bits that are fetched for many names at once.
    let allocations = allocations_of(|| (0..100).for_each(|_| lock.try_lock().unwrap().unlock().unwrap()));
    assert_eq!(allocations, 0);
}

#[test]
fn an_uncontended_wait_allocates_nothing() {
    let folder = Folder::new("wait");
    let lock = LockFolder::open(&folder.0).unwrap();
    lock.lock().unwrap().unlock().unwrap();
    let allocations = allocations_of(|| (0..100).for_each(|_| lock.lock().unwrap().unlock().unwrap()));
    assert_eq!(allocations, 0);
}

#[test]
fn others_that_only_have_it_open_cost_nothing() {
    let folder = Folder::new("beside");
    let open = || LockFolder::open(&folder.0).unwrap();
    let others: Vec<LockFolder> = (0..50).map(|_| open()).collect();
    others.iter().for_each(|other| other.try_lock().unwrap().unlock().unwrap());
    let lock = open();
    lock.try_lock().unwrap().unlock().unwrap();
    assert_eq!(allocations_of(|| lock.try_lock().unwrap().unlock().unwrap()), 0);
}
