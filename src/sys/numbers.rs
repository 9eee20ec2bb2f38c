//! User and group numbers. In a user namespace one number stands for everybody who has none there (user_namespaces(7), "Unmapped user
//! and group IDs"): it says of nobody who it is.

/// What is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// Whether this number, as stat(2) gave it, is one user's or one group's alone.
#[cfg(target_os = "linux")]
pub(super) fn is_certain(kind: Kind, number: u32) -> bool {
    use super::linux_fs::own_proc;
    use super::linux_proc::Proc;

    /// The number of those who have none. Somebody could change it, but hardly while a program runs.
    fn overflow(kind: Kind) -> u32 {
        static KNOWN: [std::sync::OnceLock<u32>; 2] = [const { std::sync::OnceLock::new() }; 2];
        let (known, name) = match kind {
            Kind::User => (&KNOWN[0], "sys/kernel/overflowuid"),
            Kind::Group => (&KNOWN[1], "sys/kernel/overflowgid"),
        };
        let read = || Proc::open().ok()?.read_text(name).ok()?.trim().parse().ok();
        *known.get_or_init(|| read().unwrap_or(65_534))
    }

    if number != overflow(kind) {
        return true;
    }
    let map = match kind {
        Kind::User => "uid_map",
        Kind::Group => "gid_map",
    };
    // Anew each time: a process can enter another user namespace. Where it can't be told, it is not certain.
    let map = Proc::open().and_then(|proc| proc.read_text(&format!("{}/{map}", own_proc())));
    map.is_ok_and(|map| names_all(&map))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_certain(_kind: Kind, _number: u32) -> bool {
    true
}

/// Whether everybody has a number in a user namespace with this map. The last number is nobody's: it means "none".
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
