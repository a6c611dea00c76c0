//! The command as its users meet it: a process with arguments, a folder, stdout, stderr and an
//! exit code.

mod comparing;
mod configuring;
mod damage;
mod fields;
mod filters;
mod interrupted;
mod making;
mod output;
mod pages;
mod probe;
mod refusals;
mod replay;
mod rewriting;
mod simd;
mod system;
mod workshop;
