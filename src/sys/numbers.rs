//! User and group numbers. In a user namespace one number stands for all users that have no number there (user_namespaces(7), "Unmapped
//! user and group IDs"). That number identifies no user.

/// Whether a number is a user's or a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// Whether this number, as returned by stat(2), belongs to exactly one user or one group.
#[cfg(target_os = "linux")]
pub(super) fn is_certain(kind: Kind, number: u32) -> bool {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::linux_proc::{own_proc, Proc};

    /// The number that stands for all users or groups without a number. It is read once: root could change it, but hardly while a
    /// program runs.
    fn overflow(kind: Kind) -> u32 {
        // Each thread that finds it unread reads it. A lock that another thread holds at a fork would stay locked in the child.
        static KNOWN: [AtomicU64; 2] = [const { AtomicU64::new(UNREAD) }; 2];
        const UNREAD: u64 = u64::MAX;
        let (known, name) = match kind {
            Kind::User => (&KNOWN[0], "sys/kernel/overflowuid"),
            Kind::Group => (&KNOWN[1], "sys/kernel/overflowgid"),
        };
        if let Ok(number) = u32::try_from(known.load(Ordering::Relaxed)) {
            return number;
        }
        let read = || Proc::open().ok()?.read_text(name).ok()?.trim().parse().ok();
        let number: u32 = read().unwrap_or(65_534);
        known.store(number.into(), Ordering::Relaxed);
        number
    }

    if number != overflow(kind) {
        return true;
    }
    let map = match kind {
        Kind::User => "uid_map",
        Kind::Group => "gid_map",
    };
    // The map is read anew each time, because a process can enter another user namespace. If it can't be read, the answer is false.
    let map = Proc::open().and_then(|proc| proc.read_text(&format!("{}/{map}", own_proc())));
    map.is_ok_and(|map| names_all(&map))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_certain(_kind: Kind, _number: u32) -> bool {
    true
}

/// Whether all users have a number in a user namespace with this map. The last number belongs to no user: it means "none".
#[cfg(target_os = "linux")]
fn names_all(map: &str) -> bool {
    let lengths = map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok());
    lengths.sum::<u64>() >= u64::from(u32::MAX)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_map_names_all_or_not() {
        assert!(names_all("         0          0 4294967295\n"));
        assert!(names_all("0 1 1\n1 0 1\n2 2 4294967293\n"));
        for part in ["", "0 0 65536\n", "0 1000 1\n1 100000 65536\n", "x"] {
            assert!(!names_all(part), "{part:?}");
        }
    }
}
