//! Looking at nodes: what each answers must follow from what it has taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyperbytedb_domain::Tags;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::NodeId;

use super::{Cluster, NS_PER_MS};
use crate::cluster::agreement::Agreed;
use crate::cluster::content::{Seen, left_by};
use crate::cluster::history::Hints;
use crate::cluster::model::expected;
use crate::cluster::promises::Promises;
use crate::model::{Place, Points};
use crate::observe::{Observation, difference, observe};
use crate::process::Process;
use crate::scheduler::Faults;

/// How often a node is looked at that goes on changing.
const LOOKS_MAX: u32 = 10;

pub type Contents = BTreeMap<Place, Points>;

/// What a node answers.
pub struct Looked {
    pub catalog: Arc<Catalog>,
    pub observation: Observation,
}

impl Looked {
    /// The points that there are.
    pub fn contents(&self) -> Contents {
        let tables = self.observation.tables.iter().filter(|(_, table)| !table.points.is_empty());
        tables.map(|(place, table)| (place.clone(), table.points.clone())).collect()
    }
}

impl Cluster {
    /// Looks at all nodes that run.
    pub(super) fn check_all(&mut self) -> Result<Vec<(NodeId, Looked)>, String> {
        let ids: Vec<NodeId> = self.members.keys().copied().collect();
        self.network.freeze();
        self.look_for_finding()?;
        let looked = ids.into_iter().map(|id| Ok(self.check(id)?.map(|looked| (id, looked))));
        let looked = looked.filter_map(Result::transpose).collect();
        self.network.thaw();
        looked
    }

    /// What a node answers must be what follows from what it has taken.
    fn check(&mut self, id: NodeId) -> Result<Option<Looked>, String> {
        let Some(process) = self.process(id) else { return Ok(None) };
        let at = |text: String| format!("node {id}: {text}");
        let looked = self.look(id, &process).map_err(at)?;
        let is_damaged = self.damaged.as_ref().is_some_and(|damaged| damaged.node == id);
        if !is_damaged {
            self.follows(id, &looked).map_err(at)?;
        }
        Ok(Some(looked))
    }

    /// Looks again where a node has taken something meanwhile, as one that compares itself does.
    fn look(&mut self, id: NodeId, process: &Process) -> Result<Looked, String> {
        let taken = self.members.get(&id).map(|member| member.taken.clone()).unwrap_or_default();
        for _ in 0..LOOKS_MAX {
            process.host.enter();
            self.scheduler.begin(self.random.number(), Faults::default(), false);
            let before = taken.lock().log.len();
            let observation = observe(process, &mut self.random, true);
            self.look_for_finding()?;
            if taken.lock().log.len() == before {
                return Ok(Looked { catalog: process.catalog(), observation: observation? });
            }
        }
        Err("it takes something all the time".to_owned())
    }

    pub(super) fn seen<'a>(&self, id: NodeId, looked: &'a Looked, agreed: &'a [Agreed]) -> Seen<'a> {
        let now = self.scheduler.clock() + self.skew(id) * NS_PER_MS;
        Seen { agreed, catalog: &looked.catalog, now }
    }

    fn follows(&self, id: NodeId, looked: &Looked) -> Result<(), String> {
        let Some(member) = self.members.get(&id) else { return Ok(()) };
        if member.is_torn {
            return Ok(());
        }
        let taken = member.taken.lock();
        let agreed = self.agreement.up_to(taken.agreed_index);
        let seen = self.seen(id, looked, &agreed);
        compare(&left_by(&taken.log, &seen), &looked.observation)?;
        let writes = self.writes.lock();
        // What waits for another node too long is forgotten, and what was taken by comparing wins against nothing.
        let is_strict = self.comparing.is_none() || !(taken.has_compared || self.hints != Hints::default());
        if is_strict {
            return compare(&expected(&writes, &taken, &seen), &looked.observation);
        }
        let promises = Promises { writes: &writes, seen, kept: &BTreeSet::new() };
        promises.hold(&looked.contents(), |stamp| taken.has(stamp))
    }

    /// A series whose part was lost before its points were deleted stays until the node has compared itself.
    pub(super) fn no_torn_series(&self, looked: &[(NodeId, Looked)]) -> Result<(), String> {
        let is_torn = |id: &NodeId| self.members.get(id).is_some_and(|member| member.is_torn);
        let mut torn = looked.iter().filter(|(id, _)| self.computing.is_none() && is_torn(id));
        torn.try_for_each(|(id, looked)| {
            no_stray_series(&looked.observation).map_err(|text| format!("node {id}: {text}"))
        })
    }

    /// All nodes answer the same, and what they did when they were looked at last.
    pub(super) fn check_equal(&mut self) -> Result<(), String> {
        let looked = self.check_all()?;
        for (id, looked) in &looked {
            // Points that have expired have their series until their shard group is dropped.
            if self.computing.is_none() {
                no_stray_series(&looked.observation).map_err(|text| format!("node {id}: {text}"))?;
            }
        }
        // Of a disk that is lost for ever some nodes have what others have not, unless they compare themselves.
        if self.lost.is_empty() || self.comparing.is_some() {
            are_equal(&looked)?;
        }
        let Some((id, first)) = looked.first().filter(|_| self.comparing.is_some()) else { return Ok(()) };
        let contents = first.contents();
        let settled = self.settled.get_or_insert_with(|| contents.clone());
        if *settled == contents {
            return Ok(());
        }
        compare(settled, &first.observation).map_err(|text| format!("node {id} has changed at rest: {text}"))
    }
}

pub fn are_equal(looked: &[(NodeId, Looked)]) -> Result<(), String> {
    let Some(((first, before), others)) = looked.split_first() else { return Ok(()) };
    let compared = others
        .iter()
        .map(|(id, looked)| equal(before, looked).map_err(|text| format!("nodes {first} and {id}: {text}")));
    compared.collect()
}

fn compare(expected: &Contents, observation: &Observation) -> Result<(), String> {
    let nothing = Points::new();
    let places: BTreeSet<&Place> = expected.keys().chain(observation.tables.keys()).collect();
    for place in places {
        let observed = observation.tables.get(place);
        let (wanted, found) =
            (expected.get(place).unwrap_or(&nothing), observed.map_or(&nothing, |observed| &observed.points));
        if wanted != found {
            return Err(format!("{place:?}: {}", difference(wanted, found)));
        }
        let Some(observed) = observed else { continue };
        for (tags, _) in found.keys() {
            if !observed.series.contains(tags) {
                return Err(format!("{place:?}: series {tags:?} is not shown"));
            }
        }
    }
    Ok(())
}

/// No series without points is shown, also of writes that were refused or not answered.
fn no_stray_series(observation: &Observation) -> Result<(), String> {
    for (place, table) in &observation.tables {
        let with_points: BTreeSet<&Tags> = table.points.keys().map(|(tags, _)| tags).collect();
        if let Some(stray) = table.series.iter().find(|tags| !with_points.contains(tags)) {
            return Err(format!("{place:?}: series {stray:?} is shown, but has no point"));
        }
    }
    Ok(())
}

/// All nodes answer the same.
fn equal(one: &Looked, other: &Looked) -> Result<(), String> {
    if one.catalog != other.catalog {
        return Err(format!("catalogues are {:?} and {:?}", one.catalog, other.catalog));
    }
    for (place, table) in &one.observation.tables {
        let same = other.observation.tables.get(place).map(|same| &same.points);
        if same.is_none_or(|points| table.points != *points) {
            let nothing = Points::new();
            return Err(format!("{place:?}: {}", difference(&table.points, same.unwrap_or(&nothing))));
        }
    }
    Ok(())
}
