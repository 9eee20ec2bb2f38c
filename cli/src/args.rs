//! The command line: which sub-commands and options there are. The man pages and the completions are made of this file too, so it uses
//! nothing else of the program.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, PathBufValueParser, ValueParser};
use clap::{value_parser, Arg, ArgAction, Command};
use lockfolder::Slots;

/// The whole command line.
pub fn command() -> Command {
    Command::new("lockfolder")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs commands under a lock that lives in a folder, and shows who has it")
        .after_help("`lockfolder SUBCOMMAND --help` says more.")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run())
        .subcommand(ls())
        .subcommand(wait())
        .subcommand(reap())
        .subcommand(check())
}

/// What the library takes if nothing is said.
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

const ABOUT_SIGNALS: &str = "\
COMMAND runs in the process group of the runner. A signal to that group reaches it once, and a signal to the runner alone is passed on \
once. The runner ends as COMMAND ended: if a signal killed it, the runner kills itself by that signal. If the runner is killed by \
SIGKILL, so is COMMAND on Linux and Windows, but not what COMMAND has started.

Exit status: that of COMMAND; 1, or STATUS of -E, if the lock was not obtained; 64 wrong usage; 71 the folder can't be used; 75 the lock \
was lost while COMMAND ran; 126 COMMAND can't be run; 127 COMMAND was not found.";

fn run() -> Command {
    Command::new("run")
        .about("Runs a command while it holds the lock, as flock(1) does")
        .long_about(
            "Runs COMMAND while it holds the lock of FOLDER. It makes FOLDER if it is missing. While it waits on a terminal, one line \
             says who holds the lock.",
        )
        .after_long_help(ABOUT_SIGNALS)
        .override_usage("lockfolder run [OPTIONS] FOLDER [--] COMMAND...\n       lockfolder run [OPTIONS] FOLDER -c LINE")
        .arg(flag("nonblock", 'n', "Don't wait: fail if another process holds the lock"))
        .arg(
            value("wait", 'w', "SECONDS", "Wait no longer than this (0.5 is half a second)")
                .alias("timeout")
                .value_parser(seconds)
                .conflicts_with("nonblock"),
        )
        .arg(flag("shared", 's', "Share the lock with all others that use -s, as readers do"))
        .arg(
            value_long("slots", "N", "Let N hold the lock together; all users of FOLDER name the same N [default: 1]")
                .value_parser(value_parser!(u32).range(1..))
                .conflicts_with("shared"),
        )
        .arg(
            value("exit-code", 'E', "STATUS", "The exit status if the lock was not obtained [default: 1]")
                .alias("conflict-exit-code")
                .value_parser(value_parser!(u8)),
        )
        .arg(
            value("command", 'c', "LINE", "Run this line by the shell; it may also stand behind FOLDER")
                .value_parser(ValueParser::os_string()),
        )
        .arg(value("name", 'N', "NAME", "What others see as our command [default: COMMAND and its first arguments]"))
        .arg(flag("verbose", 'v', "Say how long it waited, and what it runs"))
        .arg(flag("quiet", 'q', "Say nothing if the lock was not obtained").conflicts_with("verbose"))
        .arg(flag_long("no-create", "Don't make FOLDER if it is missing"))
        .arg(flag_long("private", "Refuse a folder that other users can write to"))
        .arg(flag_long("trust-filesystem", "Use FOLDER although its filesystem is refused: see `lockfolder check`"))
        .arg(value_long("lease", "SECONDS", "The lease, where other hosts use FOLDER too [default: 30]").value_parser(seconds))
        .arg(
            value_long("malformed-grace", "SECONDS", "After how long a cut-off bid counts as stale [default: never]")
                .value_parser(seconds),
        )
        .arg(folder())
        .arg(
            Arg::new("program")
                .value_name("COMMAND")
                .help("The command, and its arguments")
                .num_args(0..)
                .last(true)
                .value_parser(OsStringValueParser::new()),
        )
}

fn ls() -> Command {
    Command::new("ls")
        .about("Shows who holds the lock, and who waits")
        .long_about(
            "Shows who holds the lock of each FOLDER, and who waits in which order. It changes nothing, so it also works where nothing \
             can be locked.",
        )
        .after_long_help(
            "Exit status: 0 the lock of a FOLDER is in use, 1 none is, 2 wrong usage, or a FOLDER is missing or can't be read.",
        )
        .arg(flag("quiet", 'q', "Print nothing, and only set the exit status"))
        .arg(flag_long("json", "Print JSON, one object for each FOLDER").conflicts_with("quiet"))
        .arg(flag_long("watch", "Show a live view of the first FOLDER, until q or Ctrl-C").conflicts_with_all(["quiet", "json"]))
        .arg(
            value_long("timeline", "FILE", "While watching: draw a picture of who held and who waited, as SVG")
                .value_parser(PathBufValueParser::new())
                .requires("watch"),
        )
        .arg(folder().num_args(1..))
}

fn wait() -> Command {
    Command::new("wait")
        .about("Waits until nobody holds the lock, without taking it")
        .after_long_help("Exit status: 0 the lock is free, 1 the time is over, 2 wrong usage, or FOLDER is missing or can't be read.")
        .arg(value("wait", 'w', "SECONDS", "Wait no longer than this (0.5 is half a second)").value_parser(seconds))
        .arg(folder())
}

fn reap() -> Command {
    Command::new("reap")
        .about("Deletes what dead processes left, and prints how many bids that were")
        .after_long_help(
            "Each lock deletes such bids too, so this is only for tidiness.\n\nExit status: 0 done, 2 wrong usage, or FOLDER is missing or \
             can't be changed.",
        )
        .arg(flag("quiet", 'q', "Print nothing"))
        .arg(flag_long("trust-filesystem", "Use FOLDER although its filesystem is refused: see `lockfolder check`"))
        .arg(folder())
}

fn check() -> Command {
    Command::new("check")
        .about("Says what a folder is good for, and why")
        .long_about(
            "Says what the lock of FOLDER is good for, and why: its filesystem, what is promised there, what is stale, what is in the \
             way, and what to do. With two paths, which lead to one folder by two mounts, it tries whether each mount sees at once what \
             the other one changes.",
        )
        .after_long_help(
            "Exit status: 0 the folder can be used, 1 it can't, or something is in the way, 2 wrong usage, or FOLDER is missing.",
        )
        .arg(folder())
        .arg(
            Arg::new("other")
                .value_name("OTHER")
                .help("The same folder by another mount. Here something is written")
                .value_parser(PathBufValueParser::new()),
        )
}

fn folder() -> Arg {
    Arg::new("folder")
        .value_name("FOLDER")
        .help("The lock folder")
        .required(true)
        .value_parser(PathBufValueParser::new())
}

fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    flag_long(name, help).short(short)
}

fn flag_long(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn value(name: &'static str, short: char, of: &'static str, help: &'static str) -> Arg {
    value_long(name, of, help).short(short)
}

fn value_long(name: &'static str, of: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(of).help(help)
}

/// A number of seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let begins_well = text.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let number = text.parse::<f64>().ok().filter(|number| begins_well && (0.0..=1e9).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| "not a number of seconds".to_owned())
}

/// What a user asked `run` to do.
pub struct Run {
    pub wait: Wait,
    pub slots: Slots,
    pub not_obtained: u8,
    pub name: Option<String>,
    pub verbose: bool,
    pub quiet: bool,
    pub create: bool,
    pub private: bool,
    pub trust: bool,
    pub lease: Duration,
    pub grace: Option<Duration>,
    pub folder: PathBuf,
    pub job: Job,
}

pub enum Wait {
    No,
    For(Duration),
    Ever,
}

pub enum Job {
    /// A program and its arguments.
    Program(Vec<OsString>),
    /// A line for the shell.
    Line(OsString),
}

impl Run {
    /// `arguments`: all behind `run`.
    pub fn parse(arguments: &[OsString]) -> Result<Run, clap::Error> {
        let mut parser = run().bin_name("lockfolder run").no_binary_name(true);
        let (options, folder, rest) = split(&parser, arguments);
        let rest = match rest.first() {
            Some(first) if first == "--" => &rest[1..],
            _ => rest,
        };
        // flock(1) has its -c behind the file.
        let is_line = rest.len() == 2 && (rest[0] == "-c" || rest[0] == "--command");
        let dashes = OsString::from("--");
        let head = options.iter().chain(&folder).chain(rest.iter().filter(|_| is_line));
        let tail = [&dashes].into_iter().chain(rest).filter(|_| !is_line);
        let mut found = parser.try_get_matches_from_mut(head.chain(tail))?;
        let program: Vec<OsString> = found.remove_many("program").map(Iterator::collect).unwrap_or_default();
        let line = found.remove_one("command");
        let job = match (line, program.is_empty()) {
            (Some(line), true) => Job::Line(line),
            (None, false) => Job::Program(program),
            (Some(_), false) => {
                return Err(
                    parser.error(clap::error::ErrorKind::ArgumentConflict, "-c LINE and a COMMAND: which of them?")
                );
            }
            (None, true) => {
                return Err(parser.error(clap::error::ErrorKind::MissingRequiredArgument, "which command?"));
            }
        };
        let wait = match (found.get_flag("nonblock"), found.remove_one::<Duration>("wait")) {
            (true, _) => Wait::No,
            (_, Some(time)) if time.is_zero() => Wait::No,
            (_, Some(time)) => Wait::For(time),
            (_, None) => Wait::Ever,
        };
        let slots = match (found.get_flag("shared"), found.remove_one("slots")) {
            (true, _) => Slots::Any,
            (_, Some(number)) => Slots::AtMost(number),
            (_, None) => Slots::One,
        };
        Ok(Run {
            wait,
            slots,
            not_obtained: found.remove_one("exit-code").unwrap_or(1),
            name: found.remove_one("name"),
            verbose: found.get_flag("verbose"),
            quiet: found.get_flag("quiet"),
            create: !found.get_flag("no-create"),
            private: found.get_flag("private"),
            trust: found.get_flag("trust-filesystem"),
            lease: found.remove_one("lease").unwrap_or(DEFAULT_LEASE),
            grace: found.remove_one("malformed-grace"),
            folder: found.remove_one("folder").expect("it is required"),
            job,
        })
    }
}

/// Splits the arguments into options, the folder, and the rest. All the rest belongs to the command, also if it looks like an option of
/// ours.
fn split<'a>(parser: &Command, arguments: &'a [OsString]) -> (&'a [OsString], Option<OsString>, &'a [OsString]) {
    let takes_value = |text: &str| {
        let of = |arg: &&Arg| match text.strip_prefix("--") {
            Some(long) => arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|all| all.contains(&long)),
            None => arg.get_short().is_some_and(|short| text == format!("-{short}")),
        };
        parser.get_arguments().find(of).is_some_and(|arg| arg.get_action().takes_values())
    };
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_str().unwrap_or("");
        at += match text {
            "--" => {
                // The folder may begin with a hyphen, and must not look like an option then.
                let folder = arguments.get(at + 1).map(|folder| match folder.as_encoded_bytes().starts_with(b"-") {
                    true => Path::new(".").join(folder).into_os_string(),
                    false => folder.clone(),
                });
                return (&arguments[..at], folder, arguments.get(at + 2..).unwrap_or_default());
            }
            _ if !text.starts_with('-') || text == "-" => {
                return (&arguments[..at], Some(argument.clone()), &arguments[at + 1..]);
            }
            _ if text.starts_with("--") => 1 + usize::from(!text.contains('=') && takes_value(text)),
            // `-nw5`: the value of the first option that has one is the rest, or, if nothing is left, the next argument.
            _ => {
                let first = text[1..].char_indices().find(|(_, short)| takes_value(&format!("-{short}")));
                1 + usize::from(first.is_some_and(|(place, short)| 1 + place + short.len_utf8() == text.len()))
            }
        };
    }
    (arguments, None, &[])
}

/// The command as other users should see it: the command itself, and its first arguments.
pub fn name_of(job: &Job) -> String {
    const LONGEST: usize = 60;
    let words: Vec<_> = match job {
        Job::Line(line) => vec![line.to_string_lossy()],
        Job::Program(words) => {
            let program = Path::new(&words[0]).file_name().unwrap_or(OsStr::new(&words[0]));
            std::iter::once(program.to_string_lossy())
                .chain(words[1..].iter().map(|word| word.to_string_lossy()))
                .collect()
        }
    };
    let mut name = words.join(" ");
    if let Some((end, _)) = name.char_indices().nth(LONGEST) {
        name.truncate(end);
        name.push('…');
    }
    name
}
