//! The module's functions, as the page calls them.
//!
//! The page asks for memory ([`allocate`]), writes bytes there and hands them over. A function's answer is JSON at
//! [`answer`], [`answer_length`] bytes of it, until the next call. A module has one thread and one network.

use std::cell::RefCell;
use std::{panic, ptr};

use serde_json::{Value, json};
use shufflenet_kernels::inference::softmax;

use crate::classifier::Classifier;

thread_local! {
    static CLASSIFIER: RefCell<Option<Classifier>> = const { RefCell::new(None) };
    static PIXELS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Memory for `length` bytes that the page will write and hand over.
#[unsafe(no_mangle)]
pub extern "C" fn allocate(length: usize) -> *mut u8 {
    // A module that runs out of memory here must not leave the last answer.
    begin();
    Box::into_raw(vec![0u8; length].into_boxed_slice()).cast()
}

/// Takes back what [`allocate`] returned.
///
/// # Safety
/// `start` is what `allocate(length)` returned, and is handed over once.
unsafe fn take(start: *mut u8, length: usize) -> Box<[u8]> {
    // SAFETY: the caller's promise: the box that `allocate` took apart.
    unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(start, length)) }
}

/// Start of the latest answer.
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> *const u8 {
    ANSWER.with_borrow(|answer| answer.as_ptr())
}

/// Bytes of the latest answer.
#[unsafe(no_mangle)]
pub extern "C" fn answer_length() -> usize {
    ANSWER.with_borrow(Vec::len)
}

/// Forgets the last answer, so that a call that ends the module leaves none but its own.
fn begin() {
    ANSWER.replace(b"{}".to_vec());
}

fn reply(value: &Value) {
    ANSWER.replace(value.to_string().into_bytes());
}

/// Reads the network. Answers `{}` or `{"error": "..."}`.
///
/// # Safety
/// Both pairs are memory of [`allocate`] and its length, handed over once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn load(
    manifest: *mut u8,
    manifest_length: usize,
    weights: *mut u8,
    weights_length: usize,
) {
    begin();
    // SAFETY: the caller's promise.
    let [manifest, weights] = unsafe {
        [
            take(manifest, manifest_length),
            take(weights, weights_length),
        ]
    };
    // A panic ends the module. The page reads why.
    panic::set_hook(Box::new(|info| {
        reply(&json!({ "error": info.to_string() }))
    }));
    match Classifier::new(&manifest, &weights) {
        Ok(classifier) => {
            CLASSIFIER.set(Some(classifier));
            reply(&json!({}));
        }
        Err(error) => reply(&json!({ "error": error.to_string() })),
    }
}

/// Decodes and prepares an image for [`classify`]. Answers `{}` or `{"error": "..."}`.
///
/// # Safety
/// `image` is memory of [`allocate`], `length` bytes, handed over once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prepare(image: *mut u8, length: usize) {
    begin();
    // SAFETY: the caller's promise.
    let image = unsafe { take(image, length) };
    let prepared = CLASSIFIER.with_borrow(|classifier| match classifier {
        Some(classifier) => classifier.prepare(&image),
        None => Err("no network is loaded".into()),
    });
    match prepared {
        Ok(pixels) => {
            PIXELS.set(pixels);
            reply(&json!({}));
        }
        Err(error) => reply(&json!({ "error": error })),
    }
}

/// Classifies what [`prepare`] prepared last. Answers `{"logits": [...], "probabilities": [...]}`.
#[unsafe(no_mangle)]
pub extern "C" fn classify() {
    begin();
    let logits = CLASSIFIER.with_borrow(|classifier| {
        PIXELS.with_borrow(|pixels| {
            let classifier = classifier.as_ref().filter(|_| !pixels.is_empty());
            classifier.map(|classifier| classifier.logits(pixels))
        })
    });
    match logits {
        Some(logits) if !logits.iter().all(|logit| logit.is_finite()) => {
            reply(&json!({ "error": "the network's answer is not a number" }));
        }
        Some(logits) => {
            reply(&json!({ "probabilities": softmax(&logits), "logits": logits }));
        }
        None => reply(&json!({ "error": "no image is prepared" })),
    }
}
