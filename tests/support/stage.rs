//! A stage for one filesystem: mount, network and PID namespaces of its own, so that nothing in it outlives the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Kind, Puppet, Scratch};

pub struct Stage {
    /// Waits for its child, which is the first process of the PID namespace. When that process ends, the whole stage
    /// ends.
    starter: Child,
    scratch: Scratch,
}

impl Stage {
    pub fn new() -> Stage {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ]);
        // The process ends when we close its input, or die.
        let mut starter =
            command.args(["sh", "-c", "echo; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut up = [0];
        std::io::Read::read_exact(starter.stdout.as_mut().unwrap(), &mut up).unwrap();
        let stage = Stage { starter, scratch: Scratch::new() };
        stage.run("ip link set lo up");
        stage
    }

    /// A path of ours, which is the same inside and outside. Mounts there are seen only inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The path by which we see from outside what is at a path inside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.starter.id(), path.display()))
    }

    /// The words that come before a command that is to run inside.
    fn enter(&self, pid: bool) -> Vec<String> {
        let id = self.starter.id();
        let mut words = vec!["nsenter".into(), "--mount".into(), "--net".into(), "--target".into(), id.to_string()];
        if pid {
            words.push(format!("--pid=/proc/{id}/ns/pid_for_children"));
        }
        words
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let words = self.enter(true);
        let mut command = Command::new("timeout");
        command.args(["-k", "10", "300"]).args(words).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a shell script inside. `$T` is [`Stage::join`]. Background processes of the script live as long as the
    /// stage.
    pub fn run(&self, script: &str) {
        if let Err(log) = self.try_run(script) {
            panic!("{script}\n{log}");
        }
    }

    pub fn try_run(&self, script: &str) -> Result<(), String> {
        let log = self.join("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command("sh");
        command.args(["-euc", script]).env("T", &*self.scratch).stdout(file.try_clone().unwrap()).stderr(file);
        match command.status().unwrap().success() {
            true => Ok(()),
            false => Err(std::fs::read_to_string(log).unwrap_or_default()),
        }
    }

    pub fn puppet(&self, kind: Kind) -> Puppet {
        let words = self.enter(true);
        Puppet::behind(&words.iter().map(String::as_str).collect::<Vec<_>>(), kind)
    }

    /// A puppet in a container: another PID namespace, in which the puppet is PID 1.
    pub fn contained(&self, kind: Kind) -> Puppet {
        let words = self.enter(false);
        let container = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
        Puppet::behind(&words.iter().map(String::as_str).chain(container).collect::<Vec<_>>(), kind)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.starter.stdin.take());
        let _ = self.starter.wait();
    }
}
