//! Results that are worked out once for each key.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use super::explore::Fast;

pub struct Memo<K, V>(RefCell<HashMap<K, V, BuildHasherDefault<Fast>>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Memo<K, V> {
        Memo(RefCell::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// `make` may use the same memo.
    pub fn get(&self, key: K, make: impl FnOnce(&K) -> V) -> V {
        let known = self.0.borrow().get(&key).cloned();
        known.unwrap_or_else(|| {
            let made = make(&key);
            self.0.borrow_mut().insert(key, made.clone());
            made
        })
    }
}
