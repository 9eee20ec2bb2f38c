//! Fencing tokens: numbers that grow with every holder, for resources that can refuse a holder who was paused for too long
//! and whose lock has passed on. See M. Kleppmann, "How to do distributed locking" (2016).
//!
//! The counter is the name of an empty file, `fence-N`, in the hidden sub-folder. Making it is atomic and exclusive, so even
//! two who both believe that they hold never get the same number; and a name can't be half written when the power fails.

//!
//! A listing is no snapshot: it may miss a file that is made or deleted meanwhile. And an owner whose bid somebody deletes goes on
//! for a while, beside the next owner. Why a token is larger than every token before it all the same:
//!
//! - Call a token *confirmed* when its owner, after it made the file, saw that it still held the lock. Only confirmed tokens are
//!   given. Only an owner that has confirmed a token deletes the files of others, and only those of smaller tokens.
//! - So the file of the largest confirmed token is never deleted: to delete it takes a larger confirmed token.
//!   (An owner also deletes the file that it made itself, if it saw a larger one before it confirmed its own.)
//! - An owner that confirms has held from before its first listing until then. Each other confirmation was at a moment when another
//!   held, so it was before the first listing began, or it comes later than this one. So the largest confirmed token of before is
//!   there during the whole listing: each listing shows it, and the new token is larger.

use std::io;

use crate::error::Result;
use crate::folder::names::Token;
use crate::sys::Dir;

/// Makes the next token, on the disk before it is returned. `holds` tells whether the lock is still held; if it is not, its
/// error is the inner result.
pub(crate) fn next(hidden: &Dir, anew: bool, holds: impl FnMut() -> Result<()>) -> io::Result<Result<u64>> {
    next_of(&mut Files { hidden, anew, holds })
}

/// The steps that a token takes.
trait Steps {
    fn list(&mut self) -> io::Result<Vec<u64>>;
    /// False: it is there already.
    fn make(&mut self, token: u64) -> io::Result<bool>;
    fn delete(&mut self, token: u64);
    fn holds(&mut self) -> Result<()>;
}

struct Files<'a, Holds> {
    hidden: &'a Dir,
    anew: bool,
    holds: Holds,
}

impl<Holds: FnMut() -> Result<()>> Steps for Files<'_, Holds> {
    fn list(&mut self) -> io::Result<Vec<u64>> {
        let mut tokens = Vec::new();
        self.hidden.list(self.anew, |name, _| tokens.extend(Token::of_file(name).map(|token| token.0)))?;
        Ok(tokens)
    }

    fn make(&mut self, token: u64) -> io::Result<bool> {
        self.hidden.create_durably(&Token(token).file())
    }

    fn delete(&mut self, token: u64) {
        let _ = self.hidden.unlink(&Token(token).file()); // an old token is only in the way of `ls`
    }

    fn holds(&mut self) -> Result<()> {
        (self.holds)()
    }
}

fn next_of(steps: &mut impl Steps) -> io::Result<Result<u64>> {
    let mut seen = steps.list()?;
    loop {
        let token = match seen.iter().max() {
            None => 1,
            Some(last) => {
                last.checked_add(1).ok_or_else(|| io::Error::other("the largest token there can be was given"))?
            }
        };
        if steps.make(token)? {
            // One that was slow can make a name that was used and deleted already; then a later one is there by now.
            let now = steps.list()?;
            if now.iter().all(|&other| other <= token) {
                // After the file is made, and before another's is deleted: see above.
                if let Err(lost) = steps.holds() {
                    return Ok(Err(lost));
                }
                now.into_iter().filter(|&old| old < token).for_each(|old| steps.delete(old));
                return Ok(Ok(token));
            }
            steps.delete(token);
        }
        seen = steps.list()?;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::error::{Error, ErrorKind};
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
        let next = |hidden: &Dir, anew| next(hidden, anew, || Ok(())).map(|token| token.unwrap());
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
    /// Somebody robs the owner while it makes a token: no token, and the older ones stay.
    #[test]
    fn who_lost_the_lock_meanwhile_gets_no_token_and_deletes_none() {
        let path = Scratch::new();
        let hidden = Dir::open(&path).unwrap();
        std::fs::write(path.join("fence-6"), "").unwrap();
        let lost = next(&hidden, false, || {
            assert!(path.join("fence-7").exists(), "it asks when the file is made");
            Err(Error::fixed(ErrorKind::Lost, "robbed"))
        });
        assert_eq!(lost.unwrap().unwrap_err().kind(), ErrorKind::Lost);
        assert!(path.join("fence-6").exists());
    }

    /// A folder whose listings show of what changes meanwhile whatever chance will. At any step of an owner somebody may delete its
    /// bid, and others lock, and make tokens; then it goes on.
    struct World {
        files: BTreeSet<u64>,
        owner: u32,
        given: u64,
        chance: u64,
        depth: u32,
        robbed_and_refused: u32,
    }

    struct Owner<'a> {
        world: &'a mut World,
        me: u32,
        /// The largest token that was given when this owner last knew that it held.
        given: u64,
    }

    impl World {
        fn chance(&mut self, of: u64) -> bool {
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.chance >> 33) % of == 0
        }

        fn make_token(&mut self) {
            self.owner += 1;
            let mut owner = Owner { me: self.owner, given: u64::MAX, world: self };
            match next_of(&mut owner).unwrap() {
                Ok(token) => {
                    assert!(token > owner.given, "{token} was given after {}", owner.given);
                    self.given = self.given.max(token);
                }
                Err(_) => self.robbed_and_refused += 1,
            }
        }

        /// The others' turn.
        fn others(&mut self) {
            while self.depth < 3 && self.chance(3) {
                self.depth += 1;
                self.make_token();
                self.depth -= 1;
            }
        }
    }

    impl Steps for Owner<'_> {
        fn list(&mut self) -> io::Result<Vec<u64>> {
            let before = self.world.files.clone();
            self.world.others();
            let now = self.world.files.clone();
            let changed: Vec<_> = before.symmetric_difference(&now).copied().collect();
            let seen = changed.into_iter().filter(|_| self.world.chance(2)).collect::<Vec<_>>();
            Ok(before.intersection(&now).copied().chain(seen).collect())
        }

        fn make(&mut self, token: u64) -> io::Result<bool> {
            self.world.others();
            Ok(self.world.files.insert(token))
        }

        fn delete(&mut self, token: u64) {
            self.world.others();
            self.world.files.remove(&token);
        }

        fn holds(&mut self) -> Result<()> {
            self.world.others();
            self.given = self.world.given;
            let holds = self.world.owner == self.me;
            holds.then_some(()).ok_or_else(|| Error::fixed(ErrorKind::Lost, "robbed"))
        }
    }

    #[test]
    fn robbed_owners_and_listings_that_are_no_snapshot_never_make_a_token_too_small() {
        let mut refused = 0;
        for chance in 0..1000 {
            let mut world =
                World { files: BTreeSet::new(), owner: 0, given: 0, chance, depth: 0, robbed_and_refused: 0 };
            (0..4).for_each(|_| world.make_token());
            refused += world.robbed_and_refused;
        }
        assert!(refused > 100, "{refused}");
    }
}
