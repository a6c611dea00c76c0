//! Ctrl-C as a flag that the work looks at, so that every way out cleans up behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// Whether somebody asked the process to stop.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the signals that ask a process to stop. The first sets the flag; a second one ends
    /// the process at once, for those who cannot wait.
    pub fn install() -> Result<Self, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the shutdown looks at the flag before this signal sets it.
            flag::register_conditional_shutdown(signal, 1, asked.clone())
                .and_then(|_| flag::register(signal, asked.clone()))
                .map_err(|error| Failure::new(format!("cannot listen for Ctrl-C: {error}")))?;
        }
        Ok(Self(asked))
    }

    /// Whether to stop now.
    pub fn asked(&self) -> bool {
        // Nothing else is published with the flag.
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a search that is to be cancelled by it.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// An error when it is time to stop.
    pub fn check(&self) -> Result<(), Failure> {
        if self.asked() {
            return Err(Self::failure());
        }
        Ok(())
    }

    /// What a command says that was stopped.
    pub fn failure() -> Failure {
        Failure::new("interrupted: nothing half-made was left; run the command again")
    }
}
