//! A mounted slow disk, as an experiment has one: made for one run, and gone after it, so that
//! nothing of it is in the page cache when the next begins.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_cli::failure::Failure;
use tempfile::TempDir;

use super::{Behaviour, leave_the_mounts};

/// How long its process may take to mount, or to end. It reads the whole folder first.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often is looked whether its process has ended.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// The most that is kept of what it says when it fails.
const SAID_BYTES_MAX: u64 = 4096;

/// One disk after the other over the same folder.
pub struct Disks {
    source: PathBuf,
    mounted: RefCell<Option<SlowDisk>>,
}

impl Disks {
    /// None yet. From here on mounts of this thread, and of what it starts, are seen by nobody else
    /// where that is allowed; elsewhere they are taken away all the same.
    pub fn over(source: &Path) -> Self {
        let _ = leave_the_mounts();
        Self { source: source.to_owned(), mounted: RefCell::default() }
    }

    /// Takes the last one away, and says where the next, which does as `behaviour` says, is mounted.
    pub fn next(&self, behaviour: &Behaviour) -> Result<PathBuf, Failure> {
        let mut mounted = self.mounted.borrow_mut();
        *mounted = None;
        let disk = SlowDisk::mount(&self.source, behaviour)?;
        Ok(mounted.insert(disk).at().to_owned())
    }
}

/// A mounted disk, unmounted when dropped.
pub struct SlowDisk {
    process: Child,
    /// Closed in order to end the process.
    input: Option<ChildStdin>,
    /// Removed last.
    at: TempDir,
}

impl SlowDisk {
    /// Mounts the folder `source` again, as slow as `behaviour` says.
    ///
    /// # Errors
    /// What of this machine prevents it, in one line.
    pub fn mount(source: &Path, behaviour: &Behaviour) -> Result<Self, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(format!("the slow disk's process cannot be started: {error}"))
        };
        let at = tempfile::Builder::new().prefix("ringpool-slow-disk-").tempdir();
        let at = at.map_err(|error| refused(&error))?;
        let program = std::env::current_exe().map_err(|error| refused(&error))?;
        let paths = [OsString::from("--source"), source.into(), "--at".into(), at.path().into()];
        let mut process = Command::new(program)
            .args(["slow-disk", "serve", "--json", "--until-eof"])
            .args(paths)
            .args(behaviour.words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for whoever measures, who then ends this one: reads are answered meanwhile.
            .process_group(0)
            .spawn()
            .map_err(|error| refused(&error))?;
        let input = process.stdin.take();
        let lines = lines_of(process.stdout.take());
        let mut disk = Self { process, input, at };
        match lines.recv_timeout(PATIENCE) {
            Ok(_mounted) => Ok(disk),
            Err(_) => Err(disk.failure()),
        }
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        self.at.path()
    }

    /// Why its process has mounted nothing.
    fn failure(&mut self) -> Failure {
        self.end();
        let mut said = String::new();
        if let Some(stderr) = self.process.stderr.take() {
            let _ = stderr.take(SAID_BYTES_MAX).read_to_string(&mut said);
        }
        let last = said.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
        Failure::new(format!(
            "slow disk: {}",
            last.unwrap_or("its process mounts nothing and does not say why")
        ))
    }

    fn end(&mut self) {
        self.input = None;
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.process.kill();
            }
            thread::sleep(POLL_EVERY);
        }
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.end();
    }
}

/// The lines of a pipe as they come.
fn lines_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
