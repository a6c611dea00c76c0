//! A measured run as a process of its own, so that a limit holds for it alone and its peak
//! memory is its own.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use serde::de::DeserializeOwned;

use crate::cgroup::Group;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// How often is looked whether a child has ended or the user wants it to.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// The most that is kept of what a child prints: a run's JSON has about one KiB.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// How this very program is started again.
pub struct Program {
    path: PathBuf,
}

/// What a child is called when something goes wrong, and what its memory limit is.
pub struct Place<'a> {
    /// Its name in errors.
    pub label: &'a str,
    /// Where it runs; without, where its parent does.
    pub group: Option<&'a Group>,
    /// Of the group, for errors.
    pub limit_bytes: u64,
}

impl Program {
    /// The program that is running.
    pub fn this() -> Result<Self, Failure> {
        let path = std::env::current_exe();
        let refused = |error| Failure::new(format!("cannot find this program: {error}"));
        let path = path.map_err(refused)?;
        // Its code comes into the page cache here. What a child in a limited group had to bring in
        // would be charged to the group, dropped at the limit and read again at each call.
        io::copy(&mut File::open(&path).map_err(refused)?, &mut io::sink()).map_err(refused)?;
        Ok(Self { path })
    }

    /// Runs this program with `arguments` and reads the JSON object that it prints.
    ///
    /// # Errors
    /// What the child itself said; that it was killed, and why; or Ctrl-C.
    pub fn run<T: DeserializeOwned>(
        &self,
        arguments: &[OsString],
        place: &Place<'_>,
        interrupt: &Interrupt,
    ) -> Result<T, Failure> {
        interrupt.check()?;
        let refused = |doing: &str, error: &dyn std::fmt::Display| {
            Failure::new(format!("{}: cannot {doing}: {error}", place.label))
        };
        let child = self.spawn(arguments, place.group);
        let mut child = child.map_err(|error| refused("start the run", &error))?;
        let ended = watch(&mut child, interrupt);
        let (status, out, said) = ended.map_err(|error| refused("wait for the run", &error))?;
        interrupt.check()?;
        if !status.success() {
            return Err(place.failure(status, &said));
        }
        serde_json::from_slice(&out).map_err(|error| refused("read the run's JSON", &error))
    }

    fn spawn(&self, arguments: &[OsString], group: Option<&Group>) -> io::Result<Child> {
        let entrance = group.map(Group::entrance).transpose()?;
        let mut command = Command::new(&self.path);
        // What they set is in the arguments already.
        let variables = std::env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.as_encoded_bytes().starts_with(b"RINGPOOL_")) {
            command.env_remove(name);
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let prepare = move || {
            // Nobody would clean up behind a child that outlives its parent.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // Before the program is loaded, so that all of its memory counts. 0 means "me".
            entrance.as_ref().map_or(Ok(()), |mut entrance| entrance.write_all(b"0"))
        };
        // SAFETY: between fork and exec only prctl and write are called, with memory that was
        // allocated before: both may be called there.
        unsafe { command.pre_exec(prepare) };
        command.spawn()
    }
}

/// Waits until the child ends, or ends it when the user asks to stop.
fn watch(child: &mut Child, interrupt: &Interrupt) -> io::Result<(ExitStatus, Vec<u8>, String)> {
    let (out, said) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let out = scope.spawn(move || drain(out));
        let said = scope.spawn(move || drain(said));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if interrupt.asked() {
                child.kill()?;
                break child.wait()?;
            }
            thread::sleep(POLL_EVERY);
        };
        let out = out.join().unwrap_or_default();
        let said = said.join().unwrap_or_default();
        Ok((status, out, String::from_utf8_lossy(&said).into_owned()))
    })
}

/// Reads a pipe to its end and keeps the beginning. A pipe that breaks has ended.
fn drain(pipe: Option<impl Read>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut kept);
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    kept
}

impl Place<'_> {
    /// Why the run ended as it did, in one line.
    fn failure(&self, status: ExitStatus, said: &str) -> Failure {
        let label = self.label;
        let last = said.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
        if let Some(line) = last {
            return Failure::new(format!("{label}: {line}"));
        }
        if self.group.is_some_and(|group| group.oom_kills() > 0) {
            return Failure::new(format!(
                "{label}: the kernel killed the run: it needed more than the {} bytes that its \
                 memory cgroup allows; raise --memory",
                self.limit_bytes
            ));
        }
        Failure::new(match status.signal() {
            Some(libc::SIGBUS) => format!(
                "{label}: the run was ended by SIGBUS: a page of the mapping could not be read; \
                 run verify"
            ),
            Some(signal) => {
                format!("{label}: the run was ended by signal {signal}; try it alone")
            }
            None => format!("{label}: the run failed without a word ({status}); try it alone"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(raw: i32) -> ExitStatus {
        ExitStatus::from_raw(raw)
    }

    #[test]
    fn a_childs_own_line_comes_first_and_signals_have_names() {
        let place = Place { label: "mmap, cold", group: None, limit_bytes: 0 };
        let said = "warning\nerror: f: page 3 is bad\n";
        let line = place.failure(status(1 << 8), said).to_string();
        assert_eq!(line, "mmap, cold: f: page 3 is bad");
        assert!(place.failure(status(7), "").to_string().contains("SIGBUS"));
        assert!(place.failure(status(9), "").to_string().contains("signal 9"));
        assert!(place.failure(status(3 << 8), "").to_string().contains("exit status: 3"));
    }
}
