//! Large blocks through the GEMM of the `gemm` crates, whose packing and blocking stay near the machine's peak.
//!
//! With fused multiply-add every element that library computes is one chain in the order of the depth, whatever the
//! block, the strides and the vectors: the same bits as our tiles. (It cuts depths above 512 and has kernels of its own
//! for depths up to 2, for vectors, and for operands contiguous in depth; none of those get there.)

use std::sync::LazyLock;

use gemm_common::Parallelism;

use super::{View, ViewMut, tile};
use crate::memory::{self, reserve};

/// What the library can do on this machine.
#[derive(Clone, Copy, PartialEq)]
enum Support {
    /// It has fused multiply-add.
    Fused,
    /// It rounds products before it adds them, unlike the tiles.
    Rounded,
    /// It would look for instructions next to AVX-512F or FMA that are not there, and panic.
    Broken,
}

static SUPPORT: LazyLock<Support> = LazyLock::new(support);

#[cfg(target_arch = "x86_64")]
fn support() -> Support {
    let v3 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt");
    let v4 = v3
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (is_x86_feature_detected!("avx512f"), is_x86_feature_detected!("fma")) {
        (true, _) if v4 => Support::Fused,
        (false, true) if v3 => Support::Fused,
        (false, false) => Support::Rounded,
        _ => Support::Broken,
    }
}

#[cfg(target_arch = "aarch64")]
fn support() -> Support {
    Support::Fused
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn support() -> Support {
    Support::Rounded
}

/// Bytes that the library takes for itself, and without which it would end the process: it packs operands that fill its
/// caches, on two cache levels.
const WORKSPACE: usize = 4 << 20;

/// False where the library rounds otherwise than the tiles, so that how a product is cut would show in its bits.
pub(super) fn agrees_with_tiles() -> bool {
    *SUPPORT != Support::Rounded
}

macro_rules! library {
    ($t:ident, $get:path) => {
        /// `c = a b` or `c += a b` on the calling thread.
        ///
        /// # Safety
        /// As [`super::matmul`]; `a.cols` is at most 512.
        pub(super) unsafe fn $t(a: View<$t>, b: View<$t>, c: ViewMut<$t>, accumulate: bool) {
            memory::known(reserve::require(memory::NAMELESS, WORKSPACE));
            let special = a.cols <= 2 || c.rows == 1 || c.cols == 1 || b.row_stride == 1;
            // SAFETY: the caller's. The library thinks in columns, so it computes the transposed product.
            unsafe {
                if special || *SUPPORT == Support::Broken {
                    return tile::product(a, b, c, accumulate);
                }
                $get()(
                    c.cols,
                    c.rows,
                    a.cols,
                    c.ptr,
                    c.row_stride,
                    c.col_stride,
                    accumulate,
                    b.ptr,
                    b.row_stride,
                    b.col_stride,
                    a.ptr,
                    a.row_stride,
                    a.col_stride,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        }
    };
}

library!(f32, gemm_f32::gemm::f32::get_gemm_fn);
library!(f64, gemm_f64::gemm::f64::get_gemm_fn);
