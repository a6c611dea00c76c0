//! Runs a kernel with the widest vectors that this processor has.
//!
//! [`Isa::run`] compiles a [`Kernel`] once for each instruction set. What differs from one to the
//! next stands behind [`Simd`], in a file for each; the rest of a kernel is plain code. All copies
//! do the same additions of floats in the same order and none fuses a multiplication with an
//! addition, so that their results agree bit by bit.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernels::Simd;

/// A computation that is worth wide vectors. `run` must be `#[inline(always)]`, else its body is
/// compiled without them. `simd` is what is there by hand; whoever needs nothing of it is
/// vectorised by LLVM.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// What every processor has that the target is compiled for.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// Proof that the processor has AVX2 and F16C: only detection makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Proof that the processor has AVX-512 F, BW, VL and DQ.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// Proof that it has VNNI and VPOPCNTDQ besides.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni(());

/// Every aarch64 processor has NEON.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

/// An instruction set that this processor has.
#[derive(Clone, Copy)]
pub(crate) struct Isa(Level);

#[derive(Clone, Copy)]
enum Level {
    Plain(Plain),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

static PLAIN_ONLY: AtomicBool = AtomicBool::new(false);

/// From now on what this process builds, opens and searches is computed without the wide vectors
/// that the processor has, which takes longer and changes nothing else: hits and the bytes of
/// segments are the same, bit by bit, and this is how to see that. What was opened before keeps
/// its vectors. There is no way back.
pub fn without_wide_vectors() {
    // Relaxed: nothing is published with it, and who sees it late computes the same.
    PLAIN_ONLY.store(true, Ordering::Relaxed);
}

impl Isa {
    /// The best one there is.
    pub(crate) fn detected() -> Self {
        if PLAIN_ONLY.load(Ordering::Relaxed) {
            return Self::plain();
        }
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(proof) = Avx512Vnni::detected() {
                return Self(Level::Avx512Vnni(proof));
            }
            if let Some(proof) = Avx512::detected() {
                return Self(Level::Avx512(proof));
            }
            if let Some(proof) = Avx2::detected() {
                return Self(Level::Avx2(proof));
            }
        }
        #[cfg(target_arch = "aarch64")]
        return Self(Level::Neon(Neon(())));
        #[cfg(not(target_arch = "aarch64"))]
        Self::plain()
    }

    /// The one that every processor has.
    pub(crate) fn plain() -> Self {
        Self(Level::Plain(Plain))
    }

    /// Runs the copy of `kernel` that was compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Plain(plain) => kernel.run(plain),
            // SAFETY: the proof says that the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(proof) => unsafe { avx2(kernel, proof) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(proof) => unsafe { avx512(kernel, proof) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni(proof) => unsafe { avx512_vnni(kernel, proof) },
            #[cfg(target_arch = "aarch64")]
            Level::Neon(proof) => kernel.run(proof),
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Level::Plain(_) => "plain",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni(_) => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => "neon",
        }
    }

    /// Every one that this processor has, the plain one first.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::plain()];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx2::detected().map(|proof| Self(Level::Avx2(proof))));
            all.extend(Avx512::detected().map(|proof| Self(Level::Avx512(proof))));
            all.extend(Avx512Vnni::detected().map(|proof| Self(Level::Avx512Vnni(proof))));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self::detected());
        all
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    fn detected() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")).then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    fn detected() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        (has && Avx2::detected().is_some()).then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512Vnni {
    fn detected() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("popcnt");
        (has && Avx512::detected().is_some()).then_some(Self(()))
    }

    /// What it has of AVX-512 without VNNI.
    #[inline(always)]
    pub(crate) fn avx512(self) -> Avx512 {
        Avx512(())
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn avx2<K: Kernel>(kernel: K, simd: Avx2) -> K::Output {
    kernel.run(simd)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
fn avx512<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
    kernel.run(simd)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq"
)]
fn avx512_vnni<K: Kernel>(kernel: K, simd: Avx512Vnni) -> K::Output {
    kernel.run(simd)
}
