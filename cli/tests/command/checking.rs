//! `check`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::support::*;

fn check(arguments: &[&str]) -> (i32, String) {
    let output = run(&[&["check"], arguments].concat());
    (status(&output), text(&output.stdout))
}

#[test]
fn it_says_what_a_folder_is_good_for() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    assert_eq!(check(&[&lock]), (2, String::new()), "it is missing");
    assert_eq!(status(&run(&["run", &lock, "true"])), 0);
    let (code, said) = check(&[&lock]);
    assert!(
        code == 0 && said.contains("one at a time of all processes") && said.contains("lock        free"),
        "{said}"
    );
    assert!(said.ends_with("verdict     good\n"), "{said}");

    let holder = Holder::new(&lock);
    let odd = "eeeeeeee-0000-4000-8000-00000000000b.json";
    fs::write(format!("{lock}/{odd}"), "").unwrap();
    fs::write(format!("{lock}/notes.txt"), "").unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o777)).unwrap();
    let (code, said) = check(&[&lock]);
    assert_eq!(code, 1, "{said}");
    for part in [
        "in use",
        &format!("{odd} is in the way"),
        "notes.txt",
        "every user can lock it",
        ".lockfolder has another mode",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    holder.leave();
}

#[test]
fn it_says_why_a_filesystem_is_refused() {
    let (code, said) = check(&["/proc/self/net"]);
    assert!(code == 1 && said.contains("filesystem  proc at /proc") && said.contains("--trust-filesystem"), "{said}");
}

#[test]
fn two_paths_of_one_folder_are_tried_and_those_of_two_are_told_apart() {
    let scratch = Scratch::new();
    let (lock, link) = (scratch.lock(), scratch.path("link"));
    fs::create_dir(&lock).unwrap();
    std::os::unix::fs::symlink(&lock, &link).unwrap();
    let (code, said) = check(&[&lock, &link]);
    assert!(code == 0 && said.contains("200 of 200"), "{said}");
    assert_eq!(fs::read_dir(&lock).unwrap().count(), 0, "it left something");

    fs::create_dir_all(scratch.path("upper")).unwrap();
    let (code, said) = check(&[&lock, &scratch.path("upper")]);
    assert!(code == 1 && said.contains("two folders"), "{said}");
}

/// The name of its file may be taken.
#[test]
fn it_deletes_no_file_that_was_there_before() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    assert_eq!(status(&run(&["run", &lock, "true"])), 0);
    let mut command = Command::new("sh");
    let script = r#"touch "$2/.lockfolder-check-$$"; exec "$1" check "$2" "$2""#;
    let output = command.args(["-c", script, "sh", OURS, &lock]).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(status(&output) != 0 && said.contains("exists"), "{said}");
    let left = fs::read_dir(&lock)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".lockfolder-check-"));
    assert_eq!(left.count(), 1);
}
