//! What only one node of a cluster does: views, continuous queries and retention, in threads that look whether theirs holds the
//! lease, as those of a server do.

use std::sync::Arc;
use std::time::Duration;

use crate::process::Process;

/// Between two looks.
const FOLLOW_TIME: Duration = Duration::from_millis(250);
const COMPUTE_TIME: Duration = Duration::from_millis(50);
const RUN_TIME: Duration = Duration::from_secs(1);

pub fn start(process: &Arc<Process>) {
    every(process, "follow", FOLLOW_TIME, |process| drop(process.follow()));
    every(process, "windows", COMPUTE_TIME, |process| {
        if process.lease.is_held() {
            process.compute();
        }
    });
    every(process, "queries", RUN_TIME, |process| {
        if process.lease.is_held() {
            for job in process.due_queries() {
                let running = process.clone();
                process.host.spawn("query", None, move || {
                    running.run_query(&job);
                });
            }
        }
    });
    let retaining = process.clone();
    process.host.spawn("retention", None, move || retaining.retain());
}

fn every(
    process: &Arc<Process>,
    name: &'static str,
    time: Duration,
    run: impl Fn(&Arc<Process>) + Send + 'static,
) {
    let working = process.clone();
    process.host.spawn(name, None, move || {
        loop {
            working.host.scheduler.sleep(time);
            run(&working);
        }
    });
}
