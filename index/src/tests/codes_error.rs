//! The measured error of codes.

use super::*;
use crate::{Metric, Quantizer};

#[test]
fn finer_codes_err_less_and_exact_ones_not_at_all() {
    // 300 dimensions of f32 are more than a page of 1,024 bytes.
    for (metric, dim) in
        [(Metric::L2, 40), (Metric::Ip, 40), (Metric::Cosine, 40), (Metric::L2, 300)]
    {
        let base = as_element(dim, &clustered(500, dim, 8, false, 21), Element::F32);
        let quantizers = [Quantizer::Sq8, Quantizer::Sq4];
        let page_size = ringpool_storage::PageSize::new(1024).unwrap();
        let error = |quantizer: Quantizer| {
            let options = BuildOptions {
                metric,
                quantizers: vec![quantizer],
                page_size,
                m: 4,
                ef_construction: 8,
                ..Default::default()
            };
            segment(&base, &options).codes_error(200).unwrap().unwrap()
        };
        let [fine, coarse] = [quantizers[0], quantizers[1]].map(error);
        assert_eq!(fine.pairs, 199 * 200_usize.div_ceil(200_usize.div_ceil(32)));
        assert!(fine.squared > 0.0 && 4.0 * fine.squared < coarse.squared, "{fine:?} {coarse:?}");
        assert!(coarse.squared < 0.1 && fine.bias.abs() < 0.02, "{metric} {fine:?} {coarse:?}");
    }
    let bytes = as_element(40, &clustered(500, 40, 8, false, 21), Element::U8);
    let found = segment(&bytes, &BuildOptions::default()).codes_error(100).unwrap().unwrap();
    assert_eq!((found.squared, found.bias), (0.0, 0.0));
}

#[test]
fn without_codes_or_distances_there_is_no_error() {
    let base = as_element(3, &clustered(50, 3, 2, false, 1), Element::F32);
    let without = BuildOptions { quantizers: Vec::new(), ..Default::default() };
    assert_eq!(segment(&base, &without).codes_error(10).unwrap(), None);
    let alike = as_element(3, &[1.0; 30], Element::F32);
    assert_eq!(segment(&alike, &BuildOptions::default()).codes_error(10).unwrap(), None);
    let one = as_element(3, &[1.0; 3], Element::F32);
    assert_eq!(segment(&one, &BuildOptions::default()).codes_error(10).unwrap(), None);
}
