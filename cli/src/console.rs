//! What is between a command and whoever started it: stdout, `--json`, the bar and Ctrl-C.

use std::io::{ErrorKind, Write, stderr, stdout};

use serde::Serialize;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// The way to the user of one command.
pub struct Console {
    json: bool,
    /// Whether the user asked to stop.
    pub interrupt: Interrupt,
}

impl Console {
    /// A console that prints JSON, or text.
    pub fn new(json: bool, interrupt: Interrupt) -> Self {
        Self { json, interrupt }
    }

    /// Prints `value` as the command's one JSON object, or else what `text` makes of it.
    pub fn show<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let object = serde_json::to_string(value).map_err(|error| Failure::of(&error))?;
            return print(&object);
        }
        print(text(value).trim_end())
    }

    /// Says on stderr what is no failure and worth knowing.
    pub fn note(&self, line: &str) {
        // Nothing is left to tell it to when stderr is closed.
        let _ = writeln!(stderr(), "note: {line}");
    }

    /// A bar on stderr, where there is a terminal and something takes longer than a second.
    pub fn bar(&self) -> Bar {
        Bar::started()
    }
}

/// Writes a line to stdout. A reader that has seen enough, as `head` has, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format!(
            "stdout: cannot write: {error}; point it at a place with room"
        ))),
        _ => Ok(()),
    }
}
