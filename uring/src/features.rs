//! What the kernel says of its io_uring, for people. No rung is chosen by it: see `rung`.

use std::io;

use io_uring::IoUring;

/// The features that the kernel reports when a ring is set up, by their names in
/// io_uring_setup(2) without the prefix, oldest first.
///
/// # Errors
/// The kernel's refusal of a ring.
pub fn kernel_features() -> io::Result<Vec<&'static str>> {
    let ring = IoUring::new(1)?;
    let params = ring.params();
    let features = [
        ("SINGLE_MMAP", params.is_feature_single_mmap()),
        ("NODROP", params.is_feature_nodrop()),
        ("SUBMIT_STABLE", params.is_feature_submit_stable()),
        ("RW_CUR_POS", params.is_feature_rw_cur_pos()),
        ("CUR_PERSONALITY", params.is_feature_cur_personality()),
        ("FAST_POLL", params.is_feature_fast_poll()),
        ("POLL_32BITS", params.is_feature_poll_32bits()),
        ("SQPOLL_NONFIXED", params.is_feature_sqpoll_nonfixed()),
        ("EXT_ARG", params.is_feature_ext_arg()),
        ("NATIVE_WORKERS", params.is_feature_native_workers()),
        ("RSRC_TAGS", params.is_feature_resource_tagging()),
        ("CQE_SKIP", params.is_feature_skip_cqe_on_success()),
        ("LINKED_FILE", params.is_feature_linked_file()),
        ("RECVSEND_BUNDLE", params.is_feature_recvsend_bundle()),
        ("MIN_TIMEOUT", params.is_feature_min_timeout()),
        ("NO_IOWAIT", params.is_feature_no_iowait()),
    ];
    Ok(features.into_iter().filter_map(|(name, found)| found.then_some(name)).collect())
}
