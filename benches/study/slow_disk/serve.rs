//! `slow-disk serve`: the process behind a slow disk. By hand it serves until Ctrl-C; for an
//! experiment until its standard input ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use fuser::{BackgroundSession, Config, MountOption};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::Serialize;

use super::Behaviour;
use super::filesystem::Mirror;
use super::mounts::take_away;
use super::queue::Queue;

/// How often is looked whether it is time to end.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Threads that take reads from the kernel. One more answers them.
const TAKERS: usize = 2;

/// Mount a folder again, slower
#[derive(Args)]
pub struct ServeArgs {
    /// The folder whose files are to be had; they are held in memory
    #[arg(long, value_name = "DIR")]
    source: PathBuf,

    /// Where to mount it: an empty folder
    #[arg(long, value_name = "DIR")]
    at: PathBuf,

    #[command(flatten)]
    behaviour: Behaviour,

    /// End when standard input does
    #[arg(long, hide = true)]
    until_eof: bool,
}

/// What is said once it is mounted.
#[derive(Serialize)]
struct Mounted<'a> {
    source: &'a Path,
    at: &'a Path,
    behaviour: &'a Behaviour,
}

/// Runs the command.
pub fn execute(args: &ServeArgs, console: &Console) -> Result<(), Failure> {
    if args.until_eof {
        // Asked to end when whoever started it is gone, even if that was killed.
        let asked = set_parent_process_death_signal(Some(Signal::TERM));
        asked.map_err(|error| Failure::new(format!("cannot end with its parent: {error}")))?;
    }
    let queue = Arc::new(Queue::new(args.behaviour.pace.clone()));
    let session = mount(args, &queue)?;
    let answering = queue.clone();
    thread::spawn(move || answering.answer_in_time());
    let mounted = Mounted { source: &args.source, at: &args.at, behaviour: &args.behaviour };
    let said = console.show(&mounted, text);
    let over = Arc::new(AtomicBool::new(said.is_err()));
    if args.until_eof {
        let over = over.clone();
        thread::spawn(move || wait_for_the_end(&over));
    }
    // Nothing is published with the flag. The session ends when somebody else unmounts.
    while !over.load(Ordering::Relaxed)
        && !console.interrupt.asked()
        && !session.guard.is_finished()
    {
        thread::sleep(POLL_EVERY);
    }
    let taken = take_away(&args.at);
    taken.map_err(|error| Failure::at(&args.at, "unmount; do so with umount", &error))?;
    said
}

fn mount(args: &ServeArgs, queue: &Arc<Queue>) -> Result<BackgroundSession, Failure> {
    if !Path::new("/dev/fuse").exists() {
        return Err(Failure::new(
            "/dev/fuse: is not there, so that there is no slow disk: load the module fuse, or give \
             the container that device and the right to mount",
        ));
    }
    let mirror = Mirror::of(&args.source, args.behaviour.clone(), queue.clone());
    let mirror = mirror.map_err(|error| Failure::at(&args.source, "read its files", &error))?;
    let mut config = Config::default();
    let name = "ringpool-slow-disk".to_owned();
    config.mount_options = vec![MountOption::RO, MountOption::FSName(name)];
    config.n_threads = Some(TAKERS);
    let mounted = fuser::spawn_mount(mirror, &args.at, &config);
    mounted.map_err(|error| {
        Failure::at(&args.at, "mount a slow disk there (be root, or install fusermount3)", &error)
    })
}

/// Reads standard input until whoever holds its other end is gone.
fn wait_for_the_end(over: &AtomicBool) {
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    over.store(true, Ordering::Relaxed);
}

fn text(mounted: &Mounted<'_>) -> String {
    let Behaviour { pace, faults } = mounted.behaviour;
    let of = faults.fail_file.as_deref().unwrap_or("all files");
    format!(
        "{} at {}: {pace}; {} % of the pages of {of} cannot be read. Ctrl-C ends it.",
        mounted.source.display(),
        mounted.at.display(),
        faults.fail_percent,
    )
}
