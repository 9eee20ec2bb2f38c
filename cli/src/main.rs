//! `lockfolder`: runs commands under a lock that lives in a folder, and shows who has it.

#![cfg_attr(unix, no_main)]

mod args;
#[cfg(unix)]
mod arguments;
mod check;
mod errors;
mod listing;
mod looking;
mod ls;
mod reap;
mod run;
mod sleep;
mod text;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;

use errors::WRONG_USAGE;

/// How this program ends.
enum Ending {
    Status(i32),
    /// It kills itself by this signal, as the command was killed.
    #[cfg(unix)]
    Signal(i32),
}

fn go(arguments: &[OsString]) -> Ending {
    let is_run = arguments.get(1).is_some_and(|first| first == "run");
    if is_run {
        // Only the parser of this sub-command is built, because `run` is to start fast.
        return match args::Run::parse(&arguments[2..]) {
            Ok(options) => run::run(&options),
            Err(error) => Ending::Status(errors::usage(&error, WRONG_USAGE)),
        };
    }
    let found = match args::command().try_get_matches_from(arguments) {
        Ok(found) => found,
        Err(error) => return Ending::Status(errors::usage(&error, 2)),
    };
    Ending::Status(match found.subcommand() {
        Some(("ls", given)) => {
            let paths: Vec<PathBuf> = given.get_many("folder").into_iter().flatten().cloned().collect();
            if given.get_flag("watch") {
                return Ending::Status(ls::watch(
                    &paths[0],
                    given.get_one::<PathBuf>("timeline").map(PathBuf::as_path),
                ));
            }
            let how = match (given.get_flag("quiet"), given.get_flag("json")) {
                (true, _) => ls::How::Not,
                (_, true) => ls::How::Json,
                _ => ls::How::Table,
            };
            ls::ls(&paths, how)
        }
        Some(("wait", given)) => wait::wait(folder(given), given.get_one("wait").copied()),
        Some(("reap", given)) => reap::reap(folder(given), given.get_flag("trust-filesystem"), given.get_flag("quiet")),
        Some(("check", given)) => check::check(folder(given), given.get_one::<PathBuf>("other").map(PathBuf::as_path)),
        _ => unreachable!("clap knows the sub-commands"),
    })
}

fn folder(given: &clap::ArgMatches) -> &PathBuf {
    given.get_one("folder").expect("it is required")
}

/// Rust's own start would ignore SIGPIPE and open the descriptors 0 to 2 if they are closed. The command would inherit both.
#[cfg(unix)]
#[no_mangle]
extern "C" fn main(count: std::ffi::c_int, words: *mut *mut std::ffi::c_char) -> std::ffi::c_int {
    use std::os::unix::ffi::OsStringExt;
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the system passes so many words, each of which ends with NUL.
    unsafe { arguments::remember(count, words) };
    // SAFETY: the system passes so many words, each of which ends with NUL.
    let word = |at: usize| unsafe { std::ffi::CStr::from_ptr(*words.add(at)) };
    let arguments: Vec<OsString> = (0..count).map(|at| OsString::from_vec(word(at).to_bytes().to_vec())).collect();
    match go(&arguments) {
        Ending::Status(status) => status,
        Ending::Signal(signal) => run::die_by(signal),
    }
}

#[cfg(windows)]
fn main() {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Ending::Status(status) = go(&arguments);
    std::process::exit(status);
}
