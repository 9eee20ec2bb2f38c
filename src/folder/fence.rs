//! Fencing tokens: numbers that grow with every holder. A resource can use them to refuse a holder that was paused for
//! too long and has lost the lock to another. See M. Kleppmann, "How to do distributed locking" (2016).
//!
//! The counter is the name of an empty file, `fence-N`, in the hidden sub-folder. Making the file is atomic and
//! exclusive. Two claimants that both believe they hold the lock therefore never get the same number, and a power
//! failure can't leave a half-written name.
//!
//! Two things complicate this. A listing is no snapshot: it may miss a file that is made or deleted meanwhile. And an
//! owner whose bid somebody deletes continues for a while beside the next owner. Every token is nevertheless larger
//! than all tokens before it:
//!
//! - A token is *confirmed* when its owner has made the file and afterwards has seen that it still holds the lock. Only
//!   confirmed tokens are given. Only an owner with a confirmed token deletes the files of others, and only files of
//!   smaller tokens.
//! - The file of the largest confirmed token is therefore never deleted, because only a larger confirmed token could
//!   delete it. (An owner also deletes its own file if it sees a larger token before it has confirmed its own.)
//! - An owner that confirms has held the lock from before its first listing until then. Every other confirmation
//!   happened while another owner held the lock: before this first listing began, or after this confirmation. The
//!   largest token that was confirmed earlier is therefore there during each whole listing. Each listing shows it, so
//!   the new token is larger.
//!
//! Where several may hold the lock together, others confirm tokens while we list. A listing could then miss the token that
//! another owner deletes meanwhile, and also the larger one that this owner made meanwhile. So there, unless it sees after its
//! confirmation that nobody else has a bid, an owner deletes a token only if a larger one is older than its own by [`SETTLED`]. And a
//! listing that takes longer than [`SHORT`] is made again. So a listing that counts began when that larger token was there, and shows
//! it, or one that is larger still. (An owner that comes later begins its listings when our token is there.) Each
//! listing shows a token that is not smaller than the largest that was confirmed before it began.
//!
//! A token of a claimant is therefore larger than those of all that had left before it came. It may be smaller than those of the
//! others that hold the lock with it. So an owner gives its new token up only if there is one more than [`KEPT`] above it, because then
//! its name may have been used before. And the last [`KEPT`] tokens stay.

use std::io;
use std::time::Duration;

use crate::error::Result;
use crate::folder::broom::{Hidden, Like};
use crate::folder::location::TRIES;
use crate::folder::names::Token;
use crate::sys;

/// How many of the last tokens stay while others hold the lock together with us.
const KEPT: u64 = 64;
/// A listing takes no longer, or it is made again: a process can be stopped in the midst of it.
const SHORT: Duration = Duration::from_secs(1);
/// A token is settled when it is older than the newest by so many milliseconds: longer than a listing takes, whatever the clocks'
/// grain is. (Both times come from the clock of the filesystem.)
const SETTLED: i64 = 2500;

/// Makes the next token; it is on the disk before the call returns. `holds` checks that the lock is still held. If it
/// is not, the error of `holds` is the inner result. `is_alone`, for a claimant that tolerates company: whether nobody else has a bid.
pub(crate) fn next(
    hidden: &Hidden,
    anew: bool,
    holds: impl FnMut() -> Result<()>,
    is_alone: Option<impl FnMut() -> bool>,
) -> io::Result<Result<u64>> {
    next_of(&mut Files { hidden, anew, holds, is_alone })
}

/// The steps that a token takes.
trait Steps {
    fn list(&mut self) -> io::Result<Vec<u64>>;
    /// False: the token is there already.
    fn make(&mut self, token: u64) -> io::Result<bool>;
    fn delete(&mut self, token: u64);
    fn holds(&mut self) -> Result<()>;
    /// How many of the last tokens others may be making at this moment.
    fn kept(&self) -> u64;
    /// Whether nobody else has a bid.
    fn is_alone(&mut self) -> bool;
    /// The largest of these tokens, in their order, that is settled. 0: none is.
    fn settled(&mut self, tokens: &[u64], own: u64) -> u64;
}

struct Files<'a, Holds, IsAlone> {
    hidden: &'a Hidden,
    anew: bool,
    holds: Holds,
    is_alone: Option<IsAlone>,
}

impl<Holds: FnMut() -> Result<()>, IsAlone: FnMut() -> bool> Steps for Files<'_, Holds, IsAlone> {
    fn list(&mut self) -> io::Result<Vec<u64>> {
        for _ in 0..TRIES {
            // A claimant that is alone does without the clock: it is a look into /proc.
            let (began, mut tokens) = (self.is_alone.as_ref().map(|_| sys::since_boot()), Vec::new());
            self.hidden.list(self.anew, |name, _| tokens.extend(Token::of_file(name).map(|token| token.0)))?;
            if began.is_none_or(|began| sys::since_boot().saturating_sub(began) <= SHORT) {
                return Ok(tokens);
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "each listing took longer than a second"))
    }

    fn make(&mut self, token: u64) -> io::Result<bool> {
        self.hidden.create_durably(&Token(token).file())
    }

    fn delete(&mut self, token: u64) {
        // An old token only clutters `ls`.
        self.hidden.broom().map(|broom| broom.delete(&Token(token).file(), Like::Token));
    }

    fn holds(&mut self) -> Result<()> {
        (self.holds)()
    }

    fn kept(&self) -> u64 {
        self.is_alone.as_ref().map_or(0, |_| KEPT)
    }

    fn is_alone(&mut self) -> bool {
        self.is_alone.as_mut().is_none_or(|is_alone| is_alone())
    }

    fn settled(&mut self, tokens: &[u64], own: u64) -> u64 {
        let made = |token: u64| self.hidden.stat_at(&Token(token).file()).ok().flatten().map(|stat| stat.modified());
        let Some(now) = made(own) else { return 0 };
        let is_settled = |token: &u64| made(*token).is_some_and(|then| then <= now - SETTLED);
        // Almost always a larger token is also a younger one. It does no harm if this finds a smaller one that is settled.
        let count = tokens.partition_point(is_settled);
        tokens[..count].last().copied().filter(is_settled).unwrap_or(0)
    }
}

fn next_of(steps: &mut impl Steps) -> io::Result<Result<u64>> {
    let mut seen = steps.list()?;
    // Another token may appear in between. That happens rarely: only holders make tokens, and each robbed owner makes
    // one more.
    for _ in 0..TRIES {
        let token = match seen.iter().max() {
            None => 1,
            Some(last) => {
                last.checked_add(1).ok_or_else(|| io::Error::other("the largest token there can be was given"))?
            }
        };
        if steps.make(token)? {
            // A slow owner can make a name that was already used and deleted. A larger token is then there by now.
            let mut now = steps.list()?;
            if now.iter().all(|&other| other <= token.saturating_add(steps.kept())) {
                // After we made our file, and before we delete the files of others: see above.
                if let Err(lost) = steps.holds() {
                    return Ok(Err(lost));
                }
                let limit = match steps.is_alone() {
                    true => token,
                    false => {
                        now.sort_unstable();
                        token.saturating_sub(steps.kept()).min(steps.settled(&now, token))
                    }
                };
                now.into_iter().filter(|&old| old < limit).for_each(|old| steps.delete(old));
                return Ok(Ok(token));
            }
            steps.delete(token);
        }
        seen = steps.list()?;
    }
    Err(io::Error::other(
        "others who may write to the sub-folder make tokens all the time; find out who, by the owners of `fence-*`",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::scratch::Scratch;
    use crate::sys::Dir;

    /// For a claimant that tolerates no company.
    const ALONE: Option<fn() -> bool> = None;

    #[test]
    fn each_token_is_the_next_number_and_only_the_last_stays() {
        let path = Scratch::new();
        let hidden = Hidden::from(Dir::open(&path).unwrap());
        let left = || {
            let names =
                std::fs::read_dir(&*path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        let next = |hidden: &Hidden, anew| next(hidden, anew, || Ok(()), ALONE).map(|token| token.unwrap());
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

    /// A listing of another owner may have begun when a token was the largest.
    #[test]
    fn beside_other_holders_only_what_is_old_and_small_is_deleted() {
        let path = Scratch::new();
        let hidden = Hidden::from(Dir::open(&path).unwrap());
        let made = |token: u64, age: u64| {
            let file = std::fs::File::create(path.join(format!("fence-{token}"))).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        let left = |is_alone: bool| {
            let given = next(&hidden, false, || Ok(()), Some(|| is_alone)).unwrap().unwrap();
            let names =
                std::fs::read_dir(&*path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut tokens: Vec<u64> = names.map(|name| name["fence-".len()..].parse().unwrap()).collect();
            tokens.sort_unstable();
            (tokens[0], tokens.len(), given)
        };
        (1..=100).for_each(|token| made(token, 0));
        assert_eq!(left(false), (1, 101, 101), "no larger token is old");
        (1..=20).for_each(|token| made(token, 10));
        assert_eq!(left(false), (20, 83, 102), "what is smaller than the newest of the old ones");
        (20..=102).for_each(|token| made(token, 10));
        assert_eq!(left(false), (103 - KEPT, KEPT as usize + 1, 103), "the last ones stay");
        assert_eq!(left(true), (104, 1, 104));
    }

    /// Each listing shows a new token.
    #[test]
    fn endless_foreign_tokens_cause_an_error_and_no_endless_call() {
        struct Rushed(u64);
        impl Steps for Rushed {
            fn list(&mut self) -> io::Result<Vec<u64>> {
                self.0 += 1;
                Ok(vec![self.0])
            }
            fn make(&mut self, _: u64) -> io::Result<bool> {
                self.0 += 1;
                Ok(self.0 % 3 != 0)
            }
            fn delete(&mut self, _: u64) {}
            fn holds(&mut self) -> Result<()> {
                panic!("no token is to be confirmed");
            }
            fn kept(&self) -> u64 {
                0
            }
            fn is_alone(&mut self) -> bool {
                true
            }
            fn settled(&mut self, _: &[u64], own: u64) -> u64 {
                own
            }
        }
        let error = next_of(&mut Rushed(1)).unwrap_err();
        assert!(error.to_string().contains("all the time"), "{error}");
    }

    /// Somebody robs the owner while it makes a token. It gets no token, and deletes none.
    #[test]
    fn an_owner_that_lost_the_lock_meanwhile_gets_no_token_and_deletes_none() {
        let path = Scratch::new();
        let hidden = Hidden::from(Dir::open(&path).unwrap());
        std::fs::write(path.join("fence-6"), "").unwrap();
        let lost = next(
            &hidden,
            false,
            || {
                assert!(path.join("fence-7").exists(), "the lock is checked after the file is made");
                Err(Error::fixed(ErrorKind::Lost, "robbed"))
            },
            ALONE,
        );
        assert_eq!(lost.unwrap().unwrap_err().kind(), ErrorKind::Lost);
        assert!(path.join("fence-6").exists());
    }

    /// A folder whose listings show or miss each concurrent change at random. At each step of an owner somebody may
    /// delete its bid; other owners then lock and make tokens, and after that the first owner continues.
    struct World {
        files: BTreeSet<u64>,
        owner: u32,
        given: u64,
        chance: u64,
        depth: u32,
        robbed_and_refused: u32,
        /// Several hold the lock together, and nobody is robbed. `None`: one at a time. The number is that of the tokens that are kept.
        together: Option<u64>,
        /// The owners that hold the lock at this moment.
        inside: u32,
        /// All tokens that were given, by owners that hold the lock or have left.
        all: BTreeSet<u64>,
        too_small: u32,
    }

    struct Owner<'a> {
        world: &'a mut World,
        me: u32,
        /// The largest token that was given when this owner last saw that it held the lock.
        given: u64,
    }

    impl World {
        fn chance(&mut self, of: u64) -> bool {
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.chance >> 33) % of == 0
        }

        fn make_token(&mut self) {
            self.owner += 1;
            self.inside += 1;
            let given = if self.together.is_some() { self.given } else { u64::MAX };
            let mut owner = Owner { me: self.owner, given, world: self };
            let made = next_of(&mut owner).unwrap();
            let given = owner.given;
            self.inside -= 1;
            match made {
                Ok(token) => {
                    self.too_small += u32::from(token <= given || !self.all.insert(token));
                    self.given = self.given.max(token);
                }
                Err(_) => self.robbed_and_refused += 1,
            }
        }

        /// Lets other owners run.
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
            if self.world.together.is_some() {
                return Ok(());
            }
            self.given = self.world.given;
            let holds = self.world.owner == self.me;
            holds.then_some(()).ok_or_else(|| Error::fixed(ErrorKind::Lost, "robbed"))
        }

        fn kept(&self) -> u64 {
            self.world.together.unwrap_or(0)
        }

        fn is_alone(&mut self) -> bool {
            self.world.others();
            self.world.together.is_none() || self.world.inside == 1 && self.world.together != Some(0)
        }

        /// The tokens that are kept are enough for the listings of this world.
        fn settled(&mut self, _: &[u64], own: u64) -> u64 {
            own
        }
    }

    fn world(chance: u64, together: Option<u64>) -> World {
        World {
            files: BTreeSet::new(),
            owner: 0,
            given: 0,
            chance,
            depth: 0,
            robbed_and_refused: 0,
            together,
            inside: 0,
            all: BTreeSet::new(),
            too_small: 0,
        }
    }

    #[test]
    fn robbed_owners_and_inconsistent_listings_never_make_a_token_too_small() {
        let mut refused = 0;
        for chance in 0..1000 {
            let mut world = world(chance, None);
            (0..4).for_each(|_| world.make_token());
            assert_eq!(world.too_small, 0);
            refused += world.robbed_and_refused;
        }
        assert!(refused > 100, "{refused}");
    }

    /// Each token is unique, and larger than those of all owners that had left before its own owner came.
    #[test]
    fn owners_that_hold_the_lock_together_get_tokens_of_their_own() {
        let too_small = |kept| {
            let worlds = (0..20).map(|chance| {
                let mut world = world(chance, Some(kept));
                (0..2).for_each(|_| world.make_token());
                assert_eq!(world.robbed_and_refused, 0);
                world.too_small
            });
            worlds.sum::<u32>()
        };
        assert_eq!(too_small(KEPT), 0);
        assert!(too_small(0) > 0, "nothing shows that the last tokens must stay");
    }
}
