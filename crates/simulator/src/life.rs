//! Histories of data that ages: time passes, policies change, shard groups expire, continuous queries run.

use std::fmt;

use hyperbytedb_memory_ports::Random;

use crate::history::{FIRST_TIME, Generator, HOUR, History, Operation, Passing, Round, Style};
use crate::queries::DEFINITIONS;

const MINUTE: i64 = HOUR / 60;
const DAY: i64 = 24 * HOUR;

/// What has to do with the age of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeOperation {
    /// Time passes while others are at work. A round has it, none is an operation of its own.
    Pass {
        ns: i64,
    },
    /// ALTER RETENTION POLICY.
    Retain {
        database: &'static str,
        policy: &'static str,
        rule: Rule,
    },
    /// The retention job's look.
    Expire,
    /// By the position in [`DEFINITIONS`].
    CreateQuery {
        number: usize,
    },
    DropQuery {
        number: usize,
    },
    /// What is due of the continuous queries runs.
    RunQueries,
}

/// In hours; 0 stands for no end and no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub duration: i64,
    /// `None`: as it is, which may be longer than the duration, and then it is refused.
    pub shard: Option<i64>,
    pub past_limit: Option<i64>,
    pub future_limit: Option<i64>,
}

impl LifeOperation {
    /// Whether it may change points of the model or the catalogue.
    pub fn changes(&self) -> bool {
        matches!(self, Self::Pass { .. } | Self::Retain { .. } | Self::Expire)
    }

    pub fn database(&self) -> &'static str {
        if let Self::Retain { database, .. } = self { database } else { "" }
    }
}

/// The history of a seed.
pub fn generate(seed: u64) -> History {
    let mut random = Random::new(seed ^ 0x11FE);
    let style = Style::of_life(&mut random);
    let (length, power_failures) = (8 + random.below(40), random.chance(4, 5));
    let now = FIRST_TIME + DAY;
    let mut generator = Generator::living(random, style, now);
    let create = Operation::CreateDatabase { database: "d0" };
    let mut rounds = vec![generator.round(vec![create], false)];
    rounds.extend((0..length).map(|_| {
        let operations = generator.operations();
        generator.living_round(operations)
    }));
    History { seed, power_failures, now, rounds }
}

impl Generator {
    fn living_round(&mut self, operations: Vec<Operation>) -> Round {
        let mut round = self.round(operations, true);
        if self.random.chance(1, 2) {
            round.passing = Some(self.passing(&round.operations));
        }
        round
    }

    fn passing(&mut self, operations: &[Operation]) -> Passing {
        let now = self.now.unwrap_or_default();
        let to_the_hour = HOUR - now.rem_euclid(HOUR);
        let steps = [1, 10 * MINUTE, 30 * MINUTE, HOUR, HOUR, 2 * HOUR, 5 * HOUR, DAY, HOUR - 1, to_the_hour];
        let ns = if self.random.chance(1, 3) { to_the_hour } else { *self.random.pick(&steps) };
        self.now = Some(now + ns);
        // What a statement decides by the time and by the policy it need not decide at one moment.
        let decides = |operation: &Operation| {
            matches!(
                operation,
                Operation::Life(LifeOperation::Retain { .. } | LifeOperation::Expire) | Operation::Restart
            )
        };
        let calls = if operations.iter().any(decides) { 0 } else { *self.random.pick(&[0, 0, 1, 4, 16, 64]) };
        Passing { calls, ns }
    }

    pub(crate) fn life_operation(&mut self) -> Operation {
        let number = self.random.below(DEFINITIONS.len());
        let operation = match self.random.below(100) {
            0..=17 => LifeOperation::Retain {
                database: self.database(),
                policy: self.random.pick::<&str>(&["autogen", "autogen", "r1"]),
                rule: self.rule(),
            },
            18..=34 => LifeOperation::Expire,
            35..=49 => LifeOperation::CreateQuery { number },
            50..=52 => LifeOperation::DropQuery { number },
            53..=77 => LifeOperation::RunQueries,
            78..=88 => return Operation::Follow,
            _ => return Operation::Compute,
        };
        Operation::Life(operation)
    }

    fn rule(&mut self) -> Rule {
        let random = &mut self.random;
        let duration = *random.pick(&[0, 1, 1, 2, 5, 24, 72]);
        let shards: &[i64] = if duration == 0 || duration >= 24 { &[1, 24] } else { &[1] };
        let mut limit = || random.chance(1, 4).then(|| *random.pick(&[0, 0, 1, 2]));
        let (past_limit, future_limit) = (limit(), limit());
        let shard = random.chance(5, 6).then(|| *random.pick(shards));
        Rule { duration, shard, past_limit, future_limit }
    }

    /// Around now, often just where something expires, or a window ends.
    pub(crate) fn time_about(&mut self, now: i64) -> i64 {
        let ages: &[i64] = if self.random.chance(2, 3) {
            &[0, 10 * MINUTE, 30 * MINUTE, 50 * MINUTE, HOUR, 90 * MINUTE, 2 * HOUR]
        } else {
            &[-2 * HOUR, -HOUR, -10 * MINUTE, 3 * HOUR, 5 * HOUR, 6 * HOUR, DAY, 3 * DAY]
        };
        let age = self.random.pick(ages) + self.random.pick(&[0, 0, 0, 0, -1, 1]);
        now - age
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.duration {
            0 => write!(f, "DURATION INF")?,
            hours => write!(f, "DURATION {hours}h")?,
        }
        for (name, hours) in [
            ("SHARD DURATION", self.shard),
            ("FUTURE LIMIT", self.future_limit),
            ("PAST LIMIT", self.past_limit),
        ] {
            if let Some(hours) = hours {
                write!(f, " {name} {hours}h")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for LifeOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retain { database, policy, rule } => {
                write!(f, "ALTER RETENTION POLICY {policy} ON {database} {rule}")
            }
            Self::CreateQuery { number } => write!(f, "{}", DEFINITIONS[*number]),
            Self::DropQuery { number } => {
                let name = DEFINITIONS[*number].name;
                write!(f, "DROP CONTINUOUS QUERY {name} ON {}", crate::queries::QUERIES)
            }
            other => write!(f, "{other:?}"),
        }
    }
}
