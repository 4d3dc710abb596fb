//! A running SELECT.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::Select;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::{OutputType, bound, normalise};
use reqwest::Response;

use crate::answer::Batches;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::hosts::HostId;

/// Batches of a SELECT, read as they are asked for: a reader that stops reading stops the server. Dropping it kills what
/// has not ended, also before it was answered.
pub(crate) struct SelectStream {
    client: Arc<Client>,
    context: QueryContext,
    host: HostId,
    query_id: String,
    is_running: bool,
    /// `None`: the answer has not begun, or has ended.
    response: Option<Response>,
    batches: Batches,
}

impl SelectStream {
    /// Asks these servers by turns, until one is reached.
    pub(crate) fn start(
        client: &Arc<Client>,
        hosts: &[HostId],
        mut select: Select,
        context: &QueryContext,
    ) -> Result<Self, (HostId, Failure)> {
        bound(&mut select.settings, context);
        let sql = select.to_string();
        client.wait_for_one(context, hosts, async |host| {
            client.reach(host).await?;
            let query_id = client.next_query_id();
            let request = Request::read(sql.clone()).with("query_id", query_id.clone());
            let mut stream = Self {
                client: client.clone(),
                context: context.clone(),
                host,
                query_id,
                is_running: true,
                response: None,
                batches: Batches::default(),
            };
            let answer = client.unless_lost(host, client.send(host, &request)).await;
            stream.is_running = answer.is_ok();
            stream.response = Some(answer?);
            Ok(stream)
        })
    }

    pub(crate) fn host(&self) -> HostId {
        self.host
    }

    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        loop {
            self.context.check()?;
            if let Some(batch) = self.batches.next()? {
                return Ok(Some(batch));
            }
            let Some(response) = &mut self.response else { return Ok(None) };
            let chunk = self.client.unless_lost(self.host, async { Ok(response.chunk().await?) });
            match self.client.wait(&self.context, chunk) {
                Ok(Some(chunk)) => self.batches.push(chunk),
                Ok(None) => {
                    self.end();
                    self.batches.finish()?;
                }
                Err(failure @ Failure::Unreachable(_)) => {
                    self.end();
                    return Err(self.batches.broken_off(failure));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// All rows, for statements with small results.
    pub(crate) fn collect(mut self) -> Result<Vec<RecordBatch>, Failure> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next()? {
            batches.push(batch);
        }
        Ok(batches)
    }

    fn end(&mut self) {
        (self.is_running, self.response) = (false, None);
    }
}

impl Drop for SelectStream {
    fn drop(&mut self) {
        if !self.is_running {
            return;
        }
        if self.response.is_none() {
            // It may hang: the next query asks another one first.
            self.client.hosts.set_down(self.host);
        }
        self.client.kill(self.host, std::mem::take(&mut self.query_id));
    }
}

/// Batches of a scan, in the types the port promises.
pub(crate) struct ScanStream {
    select: SelectStream,
    types: Vec<OutputType>,
}

impl ScanStream {
    pub(crate) fn new(select: SelectStream, types: Vec<OutputType>) -> Self {
        Self { select, types }
    }
}

impl BatchStream for ScanStream {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        match self.select.next() {
            Ok(Some(batch)) => normalise(batch, &self.types).map(Some),
            Ok(None) => Ok(None),
            Err(failure) => {
                let host = self.select.host();
                Err(failure.into_engine_error(self.select.client.hosts.url(host), "scan"))
            }
        }
    }
}
