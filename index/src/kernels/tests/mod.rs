//! Every kernel, for every instruction set that this processor has, against a naive loop.

mod codes;
mod floats;
