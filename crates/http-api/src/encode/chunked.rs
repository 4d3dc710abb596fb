//! Chunked answers: a document for each block, with `partial` where more of the statement follows.

use hyperbytedb_domain::result::{Message, SeriesBlock};

use super::{Encoder, StatementEnd};

/// What one document says.
pub struct DocumentParts<'a> {
    pub statement_id: usize,
    pub block: Option<&'a SeriesBlock>,
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
}

impl<D: Document> ChunkedEncoder<D> {
    pub fn new(document: D) -> Self {
        Self { document, held: None }
    }

    fn release(&mut self, out: &mut Vec<u8>, messages: &[Message], partial: bool) {
        if let Some((statement_id, block)) = self.held.take() {
            let parts = DocumentParts { statement_id, block: Some(&block), messages, partial, error: None };
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

    fn end(&mut self, out: &mut Vec<u8>, end: StatementEnd) {
        let held = self.held.as_ref().is_some_and(|(id, _)| *id == end.statement_id);
        if held && end.error.is_none() {
            self.release(out, &end.messages, false);
            return;
        }
        self.release(out, &[], held);
        let StatementEnd { statement_id, messages, error } = end;
        let error = error.as_deref();
        let parts = DocumentParts { statement_id, block: None, messages: &messages, partial: false, error };
        self.document.push(out, &parts);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(out, &[], false);
    }
}
