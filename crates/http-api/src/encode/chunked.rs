//! Chunked answers: a document for each block, with `partial` where more of the statement follows; statements whose series
//! are all there at once say themselves what goes into a document.

use hyperbytedb_domain::result::{Message, SeriesBlock};

use super::{Encoder, StatementEnd};

/// What one document says.
pub struct DocumentParts<'a> {
    pub statement_id: usize,
    pub blocks: &'a [SeriesBlock],
    pub messages: &'a [Message],
    /// More documents of this statement follow.
    pub partial: bool,
    pub error: Option<&'a str>,
}

/// Writes self-contained documents.
pub trait Document: Send {
    fn push(&mut self, out: &mut Vec<u8>, parts: &DocumentParts<'_>);
}

/// Holds each block back until it is known whether another follows.
pub struct ChunkedEncoder<D> {
    document: D,
    held: Option<(usize, SeriesBlock)>,
    /// The statement whose documents have been written as they came.
    written: Option<usize>,
}

impl<D: Document> ChunkedEncoder<D> {
    pub fn new(document: D) -> Self {
        Self { document, held: None, written: None }
    }

    fn release(&mut self, out: &mut Vec<u8>, messages: &[Message], partial: bool) {
        if let Some((statement_id, block)) = self.held.take() {
            let parts = DocumentParts { statement_id, blocks: &[block], messages, partial, error: None };
            self.document.push(out, &parts);
        }
    }
}

impl<D: Document> Encoder for ChunkedEncoder<D> {
    fn series(&mut self, out: &mut Vec<u8>, statement_id: usize, block: SeriesBlock) {
        let partial = self.held.as_ref().is_some_and(|(id, _)| *id == statement_id);
        self.release(out, &[], partial);
        self.held = Some((statement_id, block));
    }

    fn documents(&mut self, out: &mut Vec<u8>, statement_id: usize, documents: Vec<Vec<SeriesBlock>>) {
        self.release(out, &[], false);
        for blocks in documents.iter().filter(|blocks| !blocks.is_empty()) {
            let parts = DocumentParts { statement_id, blocks, messages: &[], partial: false, error: None };
            self.document.push(out, &parts);
            self.written = Some(statement_id);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>, end: StatementEnd) {
        let held = self.held.as_ref().is_some_and(|(id, _)| *id == end.statement_id);
        if held && end.error.is_none() {
            self.release(out, &end.messages, false);
            return;
        }
        self.release(out, &[], held);
        if self.written.take() == Some(end.statement_id) && end.error.is_none() {
            return;
        }
        let StatementEnd { statement_id, messages, error } = end;
        let error = error.as_deref();
        let parts = DocumentParts { statement_id, blocks: &[], messages: &messages, partial: false, error };
        self.document.push(out, &parts);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(out, &[], false);
    }
}
