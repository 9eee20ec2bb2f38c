//! Fencing tokens: numbers that grow with every holder, for resources that can refuse a holder who was paused for too long
//! and whose lock has passed on. See M. Kleppmann, "How to do distributed locking" (2016).
//!
//! The counter is the name of an empty file, `fence-N`, in the hidden sub-folder. Making it is atomic and exclusive, so even
//! two who both believe that they hold never get the same number; and a name can't be half written when the power fails.

use std::io;

use crate::names::Token;
use crate::sys::Dir;

/// Makes the next token, on the disk before it is returned.
pub(crate) fn next(hidden: &Dir, anew: bool) -> io::Result<u64> {
    let mut seen = list(hidden, anew)?;
    loop {
        let token = match seen.iter().max() {
            None => 1,
            Some(last) => {
                last.checked_add(1).ok_or_else(|| io::Error::other("the largest token there can be was given"))?
            }
        };
        if hidden.create_durably(&Token(token).file())? {
            // One who was slow can make a name that was used and deleted already; then a later one is there by now.
            let now = list(hidden, anew)?;
            if now.iter().all(|&other| other <= token) {
                now.iter().filter(|&&old| old < token).for_each(|&old| {
                    let _ = hidden.unlink(&Token(old).file()); // an old token is only in the way of `ls`
                });
                return Ok(token);
            }
            let _ = hidden.unlink(&Token(token).file());
        }
        seen = list(hidden, anew)?;
    }
}

fn list(hidden: &Dir, anew: bool) -> io::Result<Vec<u64>> {
    let mut tokens = Vec::new();
    hidden.list(anew, |name, _| tokens.extend(Token::of_file(name).map(|token| token.0)))?;
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn each_token_is_the_next_and_the_last_alone_stays() {
        let path = Scratch::new();
        let hidden = Dir::open(&path).unwrap();
        let left = || {
            let names =
                std::fs::read_dir(&*path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        // First, for without it `next` would go on for ever.
        std::fs::write(path.join("fence-3"), "").unwrap();
        assert_eq!(list(&hidden, false).unwrap(), [3]);
        std::fs::remove_file(path.join("fence-3")).unwrap();
        let mut seen = vec![];
        for anew in [false, true] {
            seen.push((next(&hidden, anew).unwrap(), left()));
        }
        for name in ["fence-41", "fence-7", "fence-x", "fence-", "other-99"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        seen.push((next(&hidden, false).unwrap(), left()));
        std::fs::write(path.join(format!("fence-{}", u64::MAX)), "").unwrap();
        let last = next(&hidden, false);
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let strangers = names(&["fence-", "fence-42", "fence-x", "other-99"]);
        assert_eq!(seen, [(1, names(&["fence-1"])), (2, names(&["fence-2"])), (42, strangers)]);
        assert!(last.is_err(), "{last:?}");
    }
}
