//! Pure statistics of a few repeated measurements. No I/O, no opinion: what a spread means is for the caller to say.

mod summary;

pub use summary::Summary;
