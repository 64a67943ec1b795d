//! The pages of a listing.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use openai_codex::AsyncCodex;
use openai_codex::raw::RawPages;
use pyo3::prelude::*;

use crate::models;
use crate::operation::Operation;

/// A listing, which makes one request for each page.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Pages {
    /// Keeps the runtime running.
    codex: Arc<AsyncCodex>,
    pages: Arc<Mutex<RawPages>>,
    class_name: String,
}

impl Pages {
    pub(crate) fn new(codex: &Arc<AsyncCodex>, pages: RawPages, class_name: String) -> Self {
        Self { codex: codex.clone(), pages: Arc::new(Mutex::new(pages)), class_name }
    }
}

#[pymethods]
impl Pages {
    /// Waits for the next page. The result is `None` after the last.
    fn next(&self) -> Operation {
        let (pages, class_name, codex) = (self.pages.clone(), self.class_name.clone(), self.codex.clone());
        let page = async move {
            let page =
                poll_fn(|context| pages.lock().unwrap_or_else(PoisonError::into_inner).poll_next(context));
            let page = page.await.transpose();
            drop(codex);
            page
        };
        Operation::of(page, move |py, page| match page {
            Some(page) => models::build(py, &class_name, page.as_bytes()),
            None => Ok(py.None()),
        })
    }
}
