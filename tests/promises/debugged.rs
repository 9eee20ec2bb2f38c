//! A holder that a debugger has attached to. (Emulators of other machines have no ptrace(2), so this is a file of its own.)

use crate::support::{both, state_of, wait_until, Kind, Puppet, Scratch};

both!(a_killed_holder_whose_threads_a_debugger_keeps_frees_the_folder);

/// A debugger at its prompt does not wait for the threads, so they stay as zombies, and the kernel does not say that the process has exited.
fn a_killed_holder_whose_threads_a_debugger_keeps_frees_the_folder(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    holder.must(&format!("open 1 0 {}", scratch.join("another").display()));
    let mut third = Puppet::at(kind, &scratch.join("another"));
    third.must("lock 0");
    holder.start_to_wait(1, -1);
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    let threads = || {
        let all = std::fs::read_dir(format!("/proc/{}/task", holder.pid())).unwrap();
        all.map(|thread| thread.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(threads().len(), 2);
    for thread in threads() {
        // SAFETY: the call gets no memory of ours.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, 0, 0) }, 0, "{}", std::io::Error::last_os_error());
    }
    // A debugger alone changes nothing.
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(holder.pid() as i32, libc::SIGKILL) }, 0);
    let state = |thread: &u32| state_of(*thread);
    wait_until(|| threads().iter().all(|thread| state(thread) == Some('Z')));
    assert_eq!(threads().len(), 2, "a debugger keeps them");
    let locked = other.ask("wait 0 10000");
    for thread in threads().into_iter().filter(|thread| *thread != holder.pid()) {
        // SAFETY: as above. The debugger lets go of the thread.
        assert_eq!(unsafe { libc::waitpid(thread as i32, std::ptr::null_mut(), libc::__WALL) }, thread as i32);
    }
    assert_eq!(locked, "LF_OK");
}
