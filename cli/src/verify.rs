//! `ringpool verify`: reads every page of a segment against its checksum.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use ringpool::EngineChoice;
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::table;

/// Read all pages of a segment against their checksums
#[derive(Args)]
pub struct VerifyArgs {
    /// The segment: a folder that `build` made
    dir: PathBuf,

    /// What pages are read with: auto, uring or blocking
    #[arg(long, default_value = "auto")]
    engine: EngineChoice,
}

#[derive(Serialize)]
struct Verdict {
    /// How many pages were read.
    pages: u64,
    bad: Vec<BadPage>,
}

#[derive(Serialize)]
struct BadPage {
    component: String,
    page: u64,
    error: String,
}

/// Runs the command. Bad pages are printed on stdout, and then are a failure as well.
pub fn execute(args: &VerifyArgs, console: &Console) -> Result<(), Failure> {
    let bar = console.bar();
    let mut verdict = Verdict { pages: 0, bad: Vec::new() };
    let pages = &mut verdict.pages;
    let verified = ringpool::verify(
        &args.dir,
        args.engine,
        &mut |done, total| {
            *pages = done;
            bar.update("verifying pages", done, total);
            if console.interrupt.asked() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        },
        &mut |component, page, error| {
            verdict.bad.push(BadPage {
                component: component.into(),
                page: page.0,
                error: Failure::of(error).to_string(),
            });
        },
    );
    drop(bar);
    console.interrupt.check()?;
    verified.map_err(|error| Failure::of(&error))?;
    console.show(&verdict, |verdict| text(args, verdict))?;
    match verdict.bad.len() {
        0 => Ok(()),
        bad => Err(Failure::new(format!(
            "{}: {bad} of {} pages are bad; restore the segment from a copy or build it again",
            args.dir.display(),
            verdict.pages
        ))),
    }
}

fn text(args: &VerifyArgs, verdict: &Verdict) -> String {
    if verdict.bad.is_empty() {
        let pages = table::count(verdict.pages);
        return format!("{}: all {pages} pages match their checksums", args.dir.display());
    }
    let line = |bad: &BadPage| format!("{} page {}: {}\n", bad.component, bad.page, bad.error);
    verdict.bad.iter().map(line).collect()
}
