//! `import influxdb`: databases, policies, points, continuous queries and users, from InfluxDB's own files.
//!
//! Shards are read at once by some threads, series by series; the requests they fill go out over the connections of the
//! [`Pool`]. What is in memory are the blocks of one series a reader, and the requests on their way.

mod plan;
mod rows;
mod schema;
mod source;
mod tally;
mod types;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;

use crate::client::{Connection, Server, Target};
use crate::error::Error;
use crate::progress::Progress;
use crate::read::Range;
use crate::write::{Batch, Lanes, Pool, Report, WriteOptions};
use plan::{Done, Plan, ShardPlan};
use rows::Rows;
use source::Source;
use tally::Tally;
use types::Types;

#[derive(Debug, Args)]
pub struct ImportInfluxdb {
    #[command(flatten)]
    connection: Connection,
    /// Only this database, without users.
    #[arg(long)]
    database: Option<String>,
    /// Only this retention policy of the database, without continuous queries.
    #[arg(long, requires = "database")]
    retention_policy: Option<String>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    write: WriteOptions,
    /// Shards that are read at one time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    readers: u16,
    /// File that remembers which shards are through, until all are; the next run leaves them out.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Folder of InfluxDB's WAL; `wal` in PATH if not given.
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// Folder in which the shards of a backup are unpacked, one a reader; the system's if not given.
    #[arg(long)]
    temp_dir: Option<PathBuf>,
    /// Of a field with different types in different shards: values that the field's one type here does not take are stored
    /// in a field of their own, as `v_string` beside `v`, and not left out.
    #[arg(long)]
    split_types: bool,
    /// The folder that has `meta` and `data`, or a portable backup. The InfluxDB of a data folder must be stopped.
    path: PathBuf,
}

impl ImportInfluxdb {
    pub fn run(&self) -> Result<bool, Error> {
        let source = Source::open(&self.path, self.wal_dir.as_deref())?;
        let server = Server::new(&self.connection)?;
        let plan =
            Plan::of(&source, self.database.as_deref(), self.retention_policy.as_deref(), self.range.get()?)?;
        let schema = schema::Schema::check(&server, &plan)?;
        let done = Arc::new(Done::open(self.state.clone(), &self.path)?);
        let report = Arc::new(Report::default());

        schema.create(&server)?;
        let types = Types::find(&source, &plan, &server, self.temp_dir.as_deref(), self.split_types)?;
        let tally = Arc::new(Tally::default());
        let pool = {
            let (done, of_run, tally) = (done.clone(), report.clone(), tally.clone());
            let through = move |shard| done.batch_through(shard, of_run.refused() + tally.left_out());
            Pool::start(&server, &self.write, Lanes::Any, &report, through)
        };
        let next = AtomicUsize::new(0);
        let import = Importing {
            command: self,
            source,
            types,
            tally: tally.clone(),
            done: done.clone(),
            pool,
            report,
            next,
        };
        let imported = import.run(&plan);
        tally.lines().iter().for_each(|line| eprintln!("{line}"));
        let report = imported?;
        schema.finish(&server, &report)?;
        if done.lost_before() > 0 {
            eprintln!(
                "note: in earlier runs {} lines or values were refused or left out",
                done.lost_before()
            );
        }
        Ok(report.refused() + tally.left_out() + done.lost_before() == 0)
    }
}

struct Importing<'a> {
    command: &'a ImportInfluxdb,
    source: Source,
    types: Types,
    tally: Arc<Tally>,
    done: Arc<Done>,
    pool: Pool,
    report: Arc<Report>,
    /// The shard that is read next.
    next: AtomicUsize,
}

impl Importing<'_> {
    fn run(self, plan: &Plan) -> Result<Arc<Report>, Error> {
        let shards: Vec<&ShardPlan> =
            plan.shards.iter().filter(|shard| !self.done.contains(shard.id)).collect();
        let progress = Progress::start(Some(shards.len() as u64), &self.report);
        let progress = parking_lot::Mutex::new(progress);
        std::thread::scope(|scope| {
            for _ in 0..self.command.readers {
                scope.spawn(|| {
                    if let Err(error) = self.read_shards(&shards, &progress) {
                        self.report.fail(error);
                    }
                });
            }
        });
        let sent = self.pool.finish();
        progress.into_inner().finish();
        sent.and_then(|()| self.done.finish())?;
        Ok(self.report)
    }

    fn read_shards(
        &self,
        shards: &[&ShardPlan],
        progress: &parking_lot::Mutex<Progress>,
    ) -> Result<(), Error> {
        while let Some(shard) = shards.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            // No further shard once some part has failed.
            if self.report.has_failed() {
                return Ok(());
            }
            self.read_shard(shard, progress)?;
        }
        Ok(())
    }

    fn read_shard(&self, plan: &ShardPlan, progress: &parking_lot::Mutex<Progress>) -> Result<(), Error> {
        let shard = self.source.shard(plan, self.command.temp_dir.as_deref())?;
        if shard.files.unfinished_bytes() > 0 {
            eprintln!(
                "shard {}: the last {} bytes of its WAL are an unfinished record and left out, as InfluxDB does",
                plan.id,
                shard.files.unfinished_bytes()
            );
        }
        let target = Arc::new(Target {
            database: plan.database.clone(),
            policy: plan.policy.clone(),
            precision: String::new(),
        });
        let new_batch = || Batch::new(&target, plan.id);
        let mut batch = new_batch();
        let mut rows = Rows::default();
        let mut series = shard.files.series(plan.range.clone())?;
        while let Some(series) = series.advance()? {
            rows.begin(series, plan, &self.types);
            while rows.read(&mut batch, &self.command.write, plan, &self.tally)? {
                if batch.is_full(&self.command.write) {
                    self.done.batch_sent(plan.id);
                    self.pool.submit(0, std::mem::replace(&mut batch, new_batch()))?;
                    progress.lock().update(self.next.load(Ordering::Relaxed).saturating_sub(1) as u64);
                }
            }
        }
        if batch.lines() > 0 {
            self.done.batch_sent(plan.id);
            self.pool.submit(0, batch)?;
        }
        self.report.skip_values(rows.skipped());
        self.done.shard_read(plan.id, self.report.refused() + self.tally.left_out());
        Ok(())
    }
}
