//! How far a probe is, for the bar, and whether it shall go on.

use std::time::Instant;

use crate::console::Console;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// Somebody who watches the probe and may stop it.
pub struct Watch<'a> {
    bar: Bar,
    interrupt: &'a Interrupt,
    began: Instant,
    /// How long it will take, roughly.
    seconds: f64,
    what: String,
}

impl<'a> Watch<'a> {
    pub fn new(console: &'a Console, seconds: f64) -> Self {
        let (bar, interrupt) = (console.bar(), &console.interrupt);
        Self { bar, interrupt, began: Instant::now(), seconds, what: String::new() }
    }

    /// What comes next, in the bar's words.
    pub fn begins(&mut self, what: &str) {
        self.what = what.to_owned();
    }

    /// Moves the bar. An error when it is time to stop.
    pub fn look(&self) -> Result<(), Failure> {
        let seconds = self.seconds.ceil() as u64;
        self.bar.update(&self.what, self.began.elapsed().as_secs().min(seconds), seconds);
        self.interrupt.check()
    }
}
