//! `ringpool delete`: points that searches are to find no more.

use std::path::PathBuf;

use clap::Args;
use ringpool::{Manifest, vectors};
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::table;

/// Delete points of a segment: for good once the command ends, and crash-safe
#[derive(Args)]
#[command(group = clap::ArgGroup::new("points").required(true).multiple(true))]
pub struct DeleteArgs {
    /// The segment: a folder that `build` or `compact` made
    dir: PathBuf,

    /// File of ids: .npy of u64 or i64, or .txt with one a line, each also with .gz
    #[arg(long, value_name = "FILE", group = "points")]
    ids: Option<PathBuf>,

    /// An id; may be given several times
    #[arg(long, value_name = "N", group = "points")]
    id: Vec<u64>,
}

/// What was deleted.
#[derive(Serialize)]
struct Deleted {
    dir: PathBuf,
    deleted: u64,
    /// Ids whose points were deleted before.
    already: u64,
    /// Ids that no point has.
    missing: u64,
    /// Points that are left.
    live: u64,
    points: u64,
}

/// Runs the command.
pub fn execute(args: &DeleteArgs, console: &Console) -> Result<(), Failure> {
    let mut ids = args.id.clone();
    if let Some(path) = &args.ids {
        ids.extend(vectors::read_point_ids(path).map_err(|error| Failure::of(&error))?);
    }
    let report = ringpool::delete(&args.dir, &ids).map_err(|error| Failure::of(&error))?;
    let manifest = Manifest::read(&args.dir).map_err(|error| Failure::of(&error))?;
    let deleted = Deleted {
        dir: args.dir.clone(),
        deleted: report.deleted,
        already: report.already,
        missing: report.missing,
        live: report.live,
        points: manifest.points as u64,
    };
    console.show(&deleted, text)
}

fn text(deleted: &Deleted) -> String {
    let more = |count: u64, what: &str| match count {
        0 => String::new(),
        count => format!("; {} {what}", table::count(count)),
    };
    format!(
        "{}: {} deleted, {} of {} points are left{}{}",
        deleted.dir.display(),
        table::count(deleted.deleted),
        table::count(deleted.live),
        table::count(deleted.points),
        more(deleted.already, "were deleted before"),
        more(deleted.missing, "ids are of no point")
    )
}
