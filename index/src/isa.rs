//! Runs a kernel with the widest vectors that this processor has.
//!
//! A [`Kernel`] is plain safe code. [`Isa::run`] compiles it once for each instruction set, and
//! LLVM vectorises each copy. All copies do the same additions in the same order and none fuses a
//! multiplication with an addition, so that their results agree bit by bit.

#![allow(unsafe_code)]

/// A computation that is worth wide vectors. `run` must be `#[inline(always)]`, else its body is
/// compiled without them.
pub(crate) trait Kernel {
    type Output;
    fn run(self) -> Self::Output;
}

/// An instruction set that this processor has: values of it come from detection only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The best one there is.
    pub(crate) fn detected() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                return Self(Level::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                return Self(Level::Avx2);
            }
        }
        Self(Level::Plain)
    }

    /// Runs the copy of `kernel` that was compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Plain => kernel.run(),
            // SAFETY: the level is `Avx2` only where `detected` found that feature.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: the level is `Avx512` only where `detected` found all four features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(kernel) },
        }
    }

    /// Every one that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self(Level::Plain)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            all.push(Self(Level::Avx2));
        }
        if !all.contains(&Self::detected()) {
            all.push(Self::detected());
        }
        all
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
