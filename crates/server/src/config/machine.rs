//! What the machine, or the container, gives the server: defaults that would be too large for it are cut down.

use std::fs;
use std::path::Path;

use super::Config;

const MEMORY_INFO: &str = "/proc/meminfo";
const OWN_CGROUPS: &str = "/proc/self/cgroup";
const CGROUPS: &str = "/sys/fs/cgroup";

/// The defaults of a server that may use so much memory and so many cores.
pub fn defaults(memory_bytes: Option<u64>, cores: usize) -> Config {
    let mut config = Config::default();
    config.query.max_heavy = config.query.max_heavy.max(cores);
    let Some(memory) = memory_bytes else { return config };
    let part = |share: u64, default: u64| default.min(memory / 16 * share);
    let part_of_words =
        |share, default: usize| usize::try_from(part(share, default as u64)).unwrap_or(default);
    config.flush.head_bytes = part_of_words(4, config.flush.head_bytes);
    config.flush.memory_limit_bytes = part_of_words(2, config.flush.memory_limit_bytes);
    config.http.max_inflight_body_bytes = part_of_words(1, config.http.max_inflight_body_bytes);
    config.chdb.max_server_memory_bytes = part(6, config.chdb.max_server_memory_bytes);
    config.chdb.max_merge_memory_bytes = part(2, config.chdb.max_merge_memory_bytes);
    config.query.max_memory_bytes = part(4, config.query.max_memory_bytes);
    config.query.max_sort_bytes = part(1, config.query.max_sort_bytes);
    // About 100 bytes each.
    let points = usize::try_from(memory / 16 / 100).unwrap_or(usize::MAX);
    config.query.max_buffered_points = config.query.max_buffered_points.min(points);
    config
}

/// Bytes that this process may use: those of the machine, or fewer where a cgroup (v1 or v2) says so.
pub fn memory_bytes() -> Option<u64> {
    let of_machine = fs::read_to_string(MEMORY_INFO).ok().and_then(|text| total(&text));
    let cgroups = fs::read_to_string(OWN_CGROUPS).unwrap_or_default();
    cgroups.lines().filter_map(limit_of).chain(of_machine).min()
}

fn total(memory_info: &str) -> Option<u64> {
    let line = memory_info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of the cgroup in a line `number:controllers:path`, and of those around it.
fn limit_of(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => (CGROUPS.to_owned(), "memory.max"),
        v1 if v1.split(',').any(|name| name == "memory") => {
            (format!("{CGROUPS}/memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let own = Path::new(path.trim_start_matches('/'));
    // In a container the path may be that of the host, which is not there: its own group is the root then.
    let limit = |group: &Path| -> Option<u64> {
        fs::read_to_string(Path::new(&root).join(group).join(file)).ok()?.trim().parse().ok()
    };
    own.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fit_a_small_machine_and_are_whole_on_a_large_one() {
        assert_eq!(defaults(Some(64 << 30), 2), Config::default());
        let small = defaults(Some(2 << 30), 1);
        let memory = [
            small.flush.head_bytes as u64,
            small.flush.memory_limit_bytes as u64,
            small.http.max_inflight_body_bytes as u64,
            small.chdb.max_server_memory_bytes,
            small.query.max_buffered_points as u64 * 100,
        ];
        assert!(memory.iter().sum::<u64>() <= (2 << 30) / 8 * 7, "{memory:?}");
        assert!(small.query.max_memory_bytes <= small.chdb.max_server_memory_bytes);
        // A body of the greatest size still fits.
        assert!(small.http.max_inflight_body_bytes > small.http.max_inflated_body_bytes);
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 64 << 20));
        assert_eq!(total("MemTotal:  2048 kB\nMemFree: 1 kB"), Some(2 << 20));
        assert_eq!(limit_of("3:cpuset:/"), None);
    }
}
