//! A pile. Every thread can put an item on it, and one thread can take the whole pile. No thread waits for another, so the pile also
//! works in a forked child, where a mutex can stay locked for ever by a thread that fork did not copy.
//!
//! Nothing in std does the same. With `Mutex::try_lock` we would have to drop an item when the mutex is locked, and a dropped bid keeps
//! others out while this process lives. The receiver of a channel can't be shared without a mutex.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

pub(crate) struct Pile<T> {
    top: AtomicPtr<Item<T>>,
}

struct Item<T> {
    value: T,
    below: *mut Item<T>,
}

impl<T: Send> Pile<T> {
    pub const fn new() -> Pile<T> {
        Pile { top: AtomicPtr::new(ptr::null_mut()) }
    }

    pub fn is_empty(&self) -> bool {
        self.top.load(Ordering::Acquire).is_null()
    }

    pub fn put(&self, value: T) {
        let item = Box::into_raw(Box::new(Item { value, below: ptr::null_mut() }));
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            // SAFETY: the item is ours until the exchange below succeeds.
            unsafe { (*item).below = top };
            match self.top.compare_exchange_weak(top, item, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Takes all items. The last item that was put comes first.
    pub fn take(&self) -> Vec<T> {
        let mut item = self.top.swap(ptr::null_mut(), Ordering::Acquire);
        let mut all = Vec::new();
        while !item.is_null() {
            // SAFETY: it was made by `Box::into_raw`, and the swap gave the whole pile to us alone.
            let taken = unsafe { Box::from_raw(item) };
            item = taken.below;
            all.push(taken.value);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_put_is_taken_once() {
        static PILE: Pile<u32> = Pile::new();
        let mut taken = Vec::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..1000).for_each(|n| PILE.put(thread * 1000 + n)));
            }
            let takers: Vec<_> = (0..2).map(|_| scope.spawn(|| (0..500).flat_map(|_| PILE.take()).collect())).collect();
            taken = takers.into_iter().flat_map(|taker| -> Vec<u32> { taker.join().unwrap() }).collect();
        });
        taken.extend(PILE.take());
        taken.sort_unstable();
        assert!(PILE.is_empty());
        assert_eq!(taken, (0..4000).collect::<Vec<_>>());
    }
}
