//! What the process uses, as the kernel tells it: asked for by INFO alone.

use crate::proxy::core::Figures;
use std::time::Duration;

/// Reads memory and processor time; zeros where there is no `/proc`.
pub(super) fn read() -> Figures {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    figures(&status, &stat, ticks)
}

fn figures(status: &str, stat: &str, ticks: u64) -> Figures {
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    // The name, in parentheses, may hold anything; the fields begin after it, at number 3.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let time = |number: usize| {
        let used = fields.split(' ').nth(number - 3).and_then(|text| text.parse::<u64>().ok());
        Duration::from_millis(used.unwrap_or(0) * 1000 / ticks)
    };
    Figures {
        resident: bytes("VmRSS:").unwrap_or(0),
        peak: bytes("VmHWM:").unwrap_or(0),
        cpu_user: time(14),
        cpu_system: time(15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_found_by_name_and_place() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let stat = "7 (a) b) S 1 1 1 0 -1 4194304 10 0 0 0 150 50 0 0 20 0 1";
        let read = figures(status, stat, 100);
        assert_eq!((read.resident, read.peak), (1 << 20, 2 << 20));
        assert_eq!((read.cpu_user.as_millis(), read.cpu_system.as_millis()), (1500, 500));
        assert_eq!(figures("", "", 100).resident, 0);
    }
}
