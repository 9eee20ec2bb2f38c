//! The claims in the hidden sub-folder: which there are, and how one is deleted with all that belongs to it.

use crate::folder::broom::{Broom, Like};
use crate::folder::names::ClaimId;
use crate::sys::Dir;

/// A claim, and the number of its file.
pub(super) type Entry = (ClaimId, u64);

/// The claims in the sub-folder that are not ours. A file with another kind of name belongs to somebody else.
pub(super) fn claims(hidden: &Dir, anew: bool, own: Option<ClaimId>) -> Vec<Entry> {
    let mut claims = Vec::new();
    let listed = hidden.list(anew, |name, number| {
        claims.extend(ClaimId::of_file(name).filter(|claim| own != Some(*claim)).map(|claim| (claim, number)));
    });
    listed.map_or_else(|_| Vec::new(), |()| claims)
}

/// Deletes the claim behind a bid whose lease we took over. The bid must still be there, so no other file has its number.
pub(crate) fn delete_twin(broom: Broom<'_>, number: u64) {
    let twins = claims(broom.dir(), true, None).into_iter().filter(|twin| twin.1 == number);
    twins.for_each(|(claim, _)| delete_claim(broom, claim));
}

pub(super) fn delete_claim(broom: Broom<'_>, claim: ClaimId) {
    delete_beacons(broom, claim); // first, because the claim is what leads us to the beacons
    broom.delete(&claim.file(), Like::Bid);
}

pub(super) fn delete_beacons(broom: Broom<'_>, claim: ClaimId) {
    for beacon in claim.beacons() {
        broom.delete(&beacon, Like::Beacon);
    }
}
