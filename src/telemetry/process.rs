//! What every process shows of itself: its version, and what it takes of the machine.

use super::families::{self, Family};
use super::metrics::{Sink, Source};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts and logs every panic from here on, beside what was done with it before.
pub fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Relaxed);
        tracing::error!(%panic, "a mistake of ours");
        before(panic);
    }));
}

/// This process, as `/proc` tells it.
pub(super) struct Process {
    start_unix_seconds: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { start_unix_seconds: crate::clock::Now::read().unix_ms as f64 / 1000.0 }
    }
}

impl Source for Process {
    fn families(&self) -> &'static [&'static Family] {
        &[
            &families::BUILD_INFO,
            &families::START_TIME,
            &families::PANICS,
            &families::PROCESS_CPU,
            &families::PROCESS_RESIDENT,
            &families::PROCESS_VIRTUAL,
            &families::PROCESS_OPEN_FDS,
            &families::PROCESS_MAX_FDS,
            &families::PROCESS_THREADS,
        ]
    }

    fn collect(&self, sink: &mut Sink) {
        sink.value(&families::BUILD_INFO, &[crate::VERSION, crate::COMMIT], 1.0);
        sink.value(&families::START_TIME, &[], self.start_unix_seconds);
        sink.count(&families::PANICS, &[], PANICS.load(Relaxed));
        if let Some(usage) = Usage::read() {
            sink.value(&families::PROCESS_CPU, &[], usage.cpu_seconds);
            sink.count(&families::PROCESS_RESIDENT, &[], usage.resident_bytes);
            sink.count(&families::PROCESS_VIRTUAL, &[], usage.virtual_bytes);
            sink.count(&families::PROCESS_THREADS, &[], usage.threads);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            sink.count(&families::PROCESS_OPEN_FDS, &[], files.count() as u64);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        if let Some(files) = limit.current {
            sink.count(&families::PROCESS_MAX_FDS, &[], files);
        }
    }
}

/// Some fields of `/proc/self/stat` (proc(5)).
#[derive(Debug, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Usage {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let ticks = rustix::param::clock_ticks_per_second();
        Self::parse(&stat, ticks, rustix::param::page_size() as u64)
    }

    /// The command's name is in parentheses and may hold any character, so fields are counted
    /// from the last `)`: the first after it is number 3 in proc(5).
    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks_per_second as f64,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 999 4096000 25 \
                    18446744073709551615";
        let usage = Usage::parse(stat, 100, 4096);
        let expected = Usage {
            cpu_seconds: 2.0,
            threads: 3,
            virtual_bytes: 4_096_000,
            resident_bytes: 102_400,
        };
        assert_eq!(usage, Some(expected));
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let usage = Usage::read().expect("/proc is mounted where this runs");
        assert!(usage.resident_bytes > 100_000 && usage.threads > 0, "{usage:?}");
    }
}
