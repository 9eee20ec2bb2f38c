//! Removes leftovers from the hidden sub-folder: the claims of processes that died. The leftovers disturb no claimant,
//! so a sweep is only housekeeping: it never fails, and it never delays the lock for more than a moment.

use crate::folder::broom::{Broom, Like};
use crate::folder::claims::{claims, delete_beacons, delete_claim, Entry};
use crate::folder::names::ClaimId;
use crate::folder::scan::Scanner;
use crate::owner::bid::Flaw;
use crate::owner::liveness::Verdict;
use crate::sys::Proof;

/// How many claims of others are examined when a claim is made. With two for each new claim there are in the long run
/// no more leftovers than live claims, however many processes die.
const SAMPLE: usize = 2;

/// Deletes the claims behind bids that were just deleted; `numbers` are the numbers of their files. Each claim is
/// judged again, because a bid without a claim (a Python peer's) leaves a number that a new claim may have by now. If
/// that claim is our own, we skip it without a verdict.
pub(crate) fn sweep_twins(scanner: &Scanner<'_>, broom: Broom<'_>, own: Option<ClaimId>, numbers: &mut [u64]) {
    numbers.sort_unstable();
    let claims = claims(scanner.dir, !scanner.on.is_local(), own);
    let twins = claims.iter().filter(|(_, number)| numbers.binary_search(number).is_ok());
    twins.for_each(|twin| sweep_one(scanner, broom, *twin));
}

/// Examines a few claims, chosen at random, and deletes the stale ones.
pub(crate) fn sweep_some<'a>(
    scanner: &Scanner<'_>,
    broom: impl FnOnce() -> Option<Broom<'a>>,
    own: ClaimId,
    chance: u64,
) {
    let claims = claims(scanner.dir, !scanner.on.is_local(), Some(own));
    if claims.is_empty() {
        return;
    }
    if let Some(broom) = broom() {
        let start = chance as usize % claims.len();
        let some = claims.iter().cycle().skip(start);
        some.take(SAMPLE.min(claims.len())).for_each(|claim| sweep_one(scanner, broom, *claim));
    }
}

/// Examines every claim, and deletes the stale ones.
pub(crate) fn sweep_all(scanner: &Scanner<'_>, broom: Broom<'_>, own: Option<ClaimId>) {
    let all = claims(scanner.dir, !scanner.on.is_local(), own);
    all.into_iter().for_each(|claim| sweep_one(scanner, broom, claim));
    sweep_orphans(broom);
}

/// Deletes orphaned beacons: their claim is gone, and its owner, or the process that swept the claim, could not delete
/// them. A claim is made before its beacons and deleted after them, so a beacon without a claim is an orphan.
fn sweep_orphans(broom: Broom<'_>) {
    let (hidden, mut owners) = (broom.dir(), Vec::new());
    let _ = hidden.list(false, |name, _| owners.extend(ClaimId::of_beacon(name)));
    for owner in owners.into_iter().filter(|owner| matches!(hidden.file_id(&owner.file()), Ok(None))) {
        delete_beacons(broom, owner);
    }
}

fn sweep_one(scanner: &Scanner<'_>, broom: Broom<'_>, (claim, number): Entry) {
    let file = claim.file();
    match scanner.judge(&(file.clone(), number)) {
        Ok(Some(c)) if c.verdict == Verdict::Stale => delete_claim(broom, claim),
        // The maker of the claim died, or is about to lock it. A live maker then sees that we took the claim, and
        // starts again.
        Ok(Some(c)) if matches!(c.bid, Err(Flaw::CutOff(_))) => {
            let is_deleted = match scanner.on.proof() {
                Proof::None => broom.delete(&file, Like::Bid),
                _ => broom.delete_unfinished(&file),
            };
            if is_deleted {
                delete_claim(broom, claim);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use super::*;
    use crate::folder::broom::Hidden;
    use crate::folder::location::join;
    use crate::folder::sightings::Sightings;
    use crate::owner::bid::Bid;
    use crate::scratch::{proven, Scratch};
    use crate::sys::{Dir, Identity};

    struct Place {
        path: Scratch,
        dir: Hidden,
        me: Arc<Identity>,
        seen: Sightings,
    }

    impl Place {
        fn new() -> Place {
            let path = Scratch::new();
            Place {
                dir: Dir::open(&path).unwrap().into(),
                path,
                me: Identity::current().unwrap(),
                seen: Sightings::default(),
            }
        }

        /// Makes a claim with a beacon. Returns the number of its file.
        fn claim(&self, claim: ClaimId, pid: u32) -> u64 {
            let path = join(&self.path, &claim.file());
            fs::write(&path, Bid { pid, ..Bid::default() }.to_json()).unwrap();
            fs::write(join(&self.path, &claim.beacons()[0]), "").unwrap();
            fs::metadata(path).unwrap().ino()
        }

        fn scanner(&self) -> Scanner<'_> {
            Scanner::local(&self.dir, &self.me, &self.seen)
        }

        fn broom(&self) -> Broom<'_> {
            self.dir.broom().unwrap()
        }

        fn left(&self) -> BTreeSet<String> {
            fs::read_dir(&*self.path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }

        /// Asserts that only these claims, with a beacon each, and these names are left.
        #[track_caller]
        fn has_only(&self, claims: &[ClaimId], names: &[&str]) {
            let claims = claims.iter().flat_map(|claim| [claim.file(), claim.beacons()[0].clone()]);
            let claims = claims.map(|name| name.into_string().unwrap());
            assert_eq!(self.left(), claims.chain(names.iter().map(|name| name.to_string())).collect());
        }
    }

    /// Linux never gives a PID this large.
    const DEAD: u32 = 1 << 22;

    const OWN: ClaimId = ClaimId(0xff);
    const LIVE: ClaimId = ClaimId(0x11);
    const GONE: ClaimId = ClaimId(0xdd);
    const OTHER: ClaimId = ClaimId(0x77);

    #[test]
    fn a_sweep_deletes_leftovers_of_dead_claimants_and_nothing_else() {
        let hidden = Place::new();
        hidden.claim(GONE, DEAD);
        hidden.claim(LIVE, hidden.me.pid);
        hidden.claim(OWN, DEAD); // a sweep would delete it if we did not name it as ours
        fs::write(join(&hidden.path, &OTHER.file()), "").unwrap();
        let made_now = ClaimId(0x88).file().into_string().unwrap();
        let _unfinished = proven(File::create(hidden.path.join(&made_now)).unwrap());
        // This is no claim of ours, although its name fits.
        let foreign = ClaimId(0x99).file().into_string().unwrap();
        fs::write(hidden.path.join(&foreign), "[]").unwrap();
        for orphan in ClaimId(0xee).beacons() {
            fs::write(join(&hidden.path, &orphan), "").unwrap();
        }
        // We never give names like these.
        let strangers = [
            "fence-7",
            "x.json",
            "00000000000000DD.json",
            "+0000000000000dd.json",
            "x.beacon-1",
            "00000000000000DD.beacon-2",
        ];
        for name in strangers {
            fs::write(hidden.path.join(name), Bid { pid: DEAD, ..Bid::default() }.to_json()).unwrap();
        }
        sweep_all(&hidden.scanner(), hidden.broom(), Some(OWN));
        hidden.has_only(&[LIVE, OWN], &[&strangers[..], &[&made_now, &foreign]].concat());
    }

    /// This holds wherever the sample begins, so in the long run each claim is examined.
    #[test]
    fn a_new_claim_sweeps_two_others() {
        for chance in 0..5 {
            let hidden = Place::new();
            for id in [0xa, 0xb, 0xc] {
                hidden.claim(ClaimId(id), DEAD);
            }
            hidden.claim(OWN, DEAD);
            sweep_some(&hidden.scanner(), || hidden.dir.broom(), OWN, chance);
            assert_eq!(hidden.left().len(), 4, "one claim and our own, with a beacon each");
            sweep_some(&hidden.scanner(), || hidden.dir.broom(), OWN, chance);
            hidden.has_only(&[OWN], &[]);
            sweep_some(&hidden.scanner(), || hidden.dir.broom(), OWN, chance); // none is left to examine
        }
    }

    #[test]
    fn the_claims_of_reaped_bids_are_deleted_unless_their_owner_lives() {
        let hidden = Place::new();
        let gone = ClaimId(0xa);
        // A sweep would delete the last one if we did not name it as ours.
        let mut numbers = [ClaimId(0x99), gone, GONE, OWN].map(|claim| hidden.claim(claim, DEAD));
        numbers[1] = hidden.claim(LIVE, hidden.me.pid);
        hidden.claim(OTHER, DEAD);
        sweep_twins(&hidden.scanner(), hidden.broom(), Some(OWN), &mut numbers);
        hidden.has_only(&[gone, LIVE, OTHER, OWN], &[]);
    }
}
