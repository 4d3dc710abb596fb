//! From the thread that runs a query to the client: a bounded channel of encoded pieces.
//!
//! A client that reads slowly fills the channel, which blocks the query until the client reads on or the query must
//! end; the end always finds room. A client that goes away closes the channel, which sets the query's cancel token.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_core::Stream;
use hyperbytedb_application::{ResultEvent, ResultSink, SinkClosed};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{CancelToken, QueryContext, limits, settings};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::encode::{Encoder, Indenter, Shape, StatementEnd, encoder};
use crate::error::{ApiError, statement_text};

/// Pieces in flight between the query and the connection.
const PIECES: usize = 4;
/// A place for the last piece, so that a query can end although its client does not read.
const END_PIECES: usize = 1;
/// Size from which a piece is sent on.
const PIECE_BYTES: usize = 64 << 10;
/// How often a query that waits for its client looks whether it must end.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// What the query's thread tells the connection.
pub enum Piece {
    /// More follows.
    Part(Bytes),
    /// The last of the answer.
    Last(Bytes),
    /// The query failed as a whole.
    Failed(ApiError),
}

/// The two ends of an answer. The second is told to stop by `cancel` when the first is dropped; it must be used on a
/// thread that may block.
pub fn channel(shape: &Shape, max_rows: usize, cancel: CancelToken) -> (AnswerReader, AnswerSink) {
    let (sender, receiver) = mpsc::channel(PIECES + END_PIECES);
    let sink = AnswerSink {
        encoder: encoder(shape),
        indenter: shape.pretty.then(Indenter::default),
        rows_left: (max_rows > 0 && !shape.chunked).then_some(max_rows),
        send_each: shape.chunked,
        buffer: Vec::new(),
        sender,
        runtime: Handle::current(),
    };
    (AnswerReader { receiver, cancel }, sink)
}

/// The connection's end.
pub struct AnswerReader {
    receiver: mpsc::Receiver<Piece>,
    cancel: CancelToken,
}

impl AnswerReader {
    /// The next piece; `None` when the query's thread is gone.
    pub async fn next(&mut self) -> Option<Piece> {
        self.receiver.recv().await
    }

    /// What follows `first`, as a body.
    pub fn into_body(self, first: Bytes) -> Body {
        Body::from_stream(AnswerStream { first: Some(first), reader: Some(self) })
    }
}

impl Drop for AnswerReader {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

struct AnswerStream {
    first: Option<Bytes>,
    reader: Option<AnswerReader>,
}

impl Stream for AnswerStream {
    type Item = Result<Bytes, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
        let piece = match reader.receiver.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        match piece {
            Some(Piece::Part(bytes)) => Poll::Ready(Some(Ok(bytes))),
            Some(Piece::Last(bytes)) => {
                self.reader = None;
                Poll::Ready(Some(Ok(bytes)))
            }
            // The status line is gone: breaking the connection is how the client learns of it.
            Some(Piece::Failed(error)) => {
                self.reader = None;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.reader = None;
                Poll::Ready(Some(Err(ApiError::internal("the query ended without an answer"))))
            }
        }
    }
}

/// The query's end.
pub struct AnswerSink {
    encoder: Box<dyn Encoder>,
    indenter: Option<Indenter>,
    /// Rows that may still be answered.
    rows_left: Option<usize>,
    /// Send every document as soon as the client has read the one before.
    send_each: bool,
    buffer: Vec<u8>,
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
}

impl AnswerSink {
    /// Completes the answer.
    pub fn finish(mut self) {
        let from = self.buffer.len();
        self.encoder.finish(&mut self.buffer);
        self.indent(from);
        let _ = self.sender.try_send(Piece::Last(self.buffer.into()));
    }

    /// Replaces the answer, or breaks it off where it has begun.
    pub fn fail(self, error: ApiError) {
        let _ = self.sender.try_send(Piece::Failed(error));
    }

    fn indent(&mut self, from: usize) {
        if let Some(indenter) = &mut self.indenter {
            let compact = self.buffer.split_off(from);
            indenter.push(&mut self.buffer, &compact);
        }
    }

    /// Cuts a block to the rows that may still be answered; whether none is left then.
    fn cut(&mut self, block: &mut SeriesBlock) -> bool {
        let Some(left) = &mut self.rows_left else { return false };
        let width = block.columns.len().max(1);
        let rows = block.values.len() / width;
        if rows > *left {
            limits::exceeded(settings::HTTP_MAX_ROW_LIMIT);
            block.values.truncate(*left * width);
            block.partial = true;
        }
        *left -= rows.min(*left);
        *left == 0
    }

    fn send_if_due(&mut self, context: &QueryContext) -> Result<(), SinkClosed> {
        let idle = self.send_each && self.sender.capacity() == self.sender.max_capacity();
        if self.buffer.is_empty() || (self.buffer.len() < PIECE_BYTES && !idle) {
            return if self.sender.is_closed() { Err(SinkClosed) } else { Ok(()) };
        }
        let capacity = self.buffer.len();
        if let Some(place) = place(&self.sender, &self.runtime, context)? {
            let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(capacity));
            place.send(Piece::Part(piece.into()));
        }
        Ok(())
    }
}

/// A place in the channel beside that of the end, as soon as there is one; `None` when the query must end first.
fn place<'s>(
    sender: &'s mpsc::Sender<Piece>,
    runtime: &Handle,
    context: &QueryContext,
) -> Result<Option<mpsc::Permit<'s, Piece>>, SinkClosed> {
    loop {
        match runtime.block_on(async { timeout(WATCH_INTERVAL, sender.reserve_many(1 + END_PIECES)).await }) {
            Ok(Ok(mut places)) => return Ok(places.next()),
            Ok(Err(_)) => return Err(SinkClosed),
            Err(_) if context.check().is_err() => return Ok(None),
            Err(_) => {}
        }
    }
}

impl ResultSink for AnswerSink {
    fn emit(&mut self, event: ResultEvent, context: &QueryContext) -> Result<(), SinkClosed> {
        let from = self.buffer.len();
        let mut limit_reached = false;
        match event {
            ResultEvent::Series { statement_id, mut block } => {
                limit_reached = self.cut(&mut block);
                self.encoder.series(&mut self.buffer, statement_id, block);
            }
            ResultEvent::Documents { statement_id, mut documents } => {
                documents.iter_mut().flatten().for_each(|block| limit_reached = self.cut(block));
                self.encoder.documents(&mut self.buffer, statement_id, documents);
            }
            ResultEvent::End { statement_id, messages, error } => {
                let error = error.map(|error| statement_text(&error));
                self.encoder.end(&mut self.buffer, StatementEnd { statement_id, messages, error });
            }
        }
        self.indent(from);
        if limit_reached {
            return Err(SinkClosed);
        }
        self.send_if_due(context)
    }
}
