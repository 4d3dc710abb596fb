//! Views and continuous queries: when nothing happens any more, no window may stay wrong, whichever node led when.

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::CancelToken;
use parking_lot::Mutex;

use super::Cluster;
use crate::cluster::history::Computing;
use crate::history::{HOUR, Operation, VIEWS, query_statements, view_statements};
use crate::observe::check_view;
use crate::process::Process;
use crate::queries::QUERIES;

/// How long windows may take to be computed.
const COMPUTED_TIME: Duration = Duration::from_secs(60);
const LOOK_TIME: Duration = Duration::from_secs(2);
/// Until all windows with points have ended.
const ENDED_TIME: i64 = 48 * HOUR;
const QUERY: &str = "counted";

impl Cluster {
    /// What is computed is there from the beginning.
    pub(super) fn set_up_computing(&mut self) -> Result<(), String> {
        self.start_all()?;
        self.is_set_up = true;
        let statements = match self.computing {
            Some(Computing::View) => {
                vec![format!("CREATE DATABASE {VIEWS}"), Operation::CreateView { database: "d0" }.to_string()]
            }
            Some(Computing::Query) => {
                let [statement, ..] = query_statements(QUERIES, QUERY, i64::MAX);
                vec![format!("CREATE DATABASE {VIEWS}"), format!("CREATE DATABASE {QUERIES}"), statement]
            }
            None => return Ok(()),
        };
        let Some(process) = self.nth(0).and_then(|id| self.process(id)) else { return Ok(()) };
        let (asked, answer) = (process.clone(), Arc::new(Mutex::new(Ok(()))));
        let answered = answer.clone();
        self.scheduler.begin(self.seed, Default::default(), true);
        process.host.spawn("client", Some(CancelToken::default()), move || {
            let mut all = [String::from("CREATE DATABASE d0")].into_iter().chain(statements);
            let run = |text: String| asked.query(VIEWS, &text, &CancelToken::default()).map(drop);
            *answered.lock() = all.try_for_each(run);
        });
        self.scheduler.run_clients();
        self.look_for_finding()?;
        let answer = answer.lock().clone();
        answer.map_err(|error| format!("what is to be computed is refused: {error}"))?;
        // A query covers windows from its first run on.
        self.wait_until(COMPUTED_TIME, LOOK_TIME, |cluster| {
            let waits = cluster.computing == Some(Computing::Query) && !cluster.has_run();
            Ok(waits.then(|| "the query does not run".to_owned()))
        })
    }

    fn has_run(&self) -> bool {
        let mut processes = self.members.values().filter_map(|member| member.process.as_ref());
        processes.any(|process| process.last_runs().get(QUERY).is_some_and(Option::is_some))
    }

    /// All windows end, and soon each node has what the statements answer.
    pub(super) fn settle_computing(&mut self) -> Result<(), String> {
        self.scheduler.pass_clock(ENDED_TIME);
        self.wait_until(COMPUTED_TIME, LOOK_TIME, |cluster| {
            let wrong = cluster.wrong_windows();
            // A query that has failed runs again when it is due again.
            cluster.scheduler.pass_clock(HOUR);
            wrong
        })
    }

    fn wrong_windows(&mut self) -> Result<Option<String>, String> {
        let end = self.scheduler.clock() - HOUR;
        for (id, member) in &self.members {
            let Some(process) = &member.process else { continue };
            process.host.enter();
            if let Err(text) = self.computed(process, end) {
                return Ok(Some(format!("node {id}: {text}")));
            }
        }
        Ok(None)
    }

    fn computed(&self, process: &Process, end: i64) -> Result<(), String> {
        let catalog = process.catalog();
        if self.computing == Some(Computing::Query) {
            let [_, direct, target] = query_statements(QUERIES, QUERY, end);
            check_view(process, &[direct, target]).map_err(|text| format!("{QUERY}: {text}"))?;
        }
        let views = catalog.database(VIEWS).map(|database| &database.materialized_views);
        views.into_iter().flatten().try_for_each(|view| check_view(process, &view_statements(&view.name)))
    }
}
