//! The node's log, line by line as redis-server writes it: tools wait for some of these lines.
//!
//! ```text
//! 15001:M 23 Nov 2026 01:09:52.242 * Ready to accept connections
//! ```

use super::NodeError;
use std::fs::OpenOptions;
use std::sync::OnceLock;
use std::time::SystemTime;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

type LevelHandle = reload::Handle<LevelFilter, tracing_subscriber::Registry>;

/// Where the level can be changed while the node runs.
static LEVEL: OnceLock<LevelHandle> = OnceLock::new();

/// Starts the log: to standard output, or to the end of a file.
pub(super) fn start(file: Option<&str>, level: Option<&str>) -> Result<(), NodeError> {
    let (filter, handle) = reload::Layer::new(level_filter(level.unwrap_or("notice")));
    let lines = tracing_subscriber::fmt::layer().event_format(Lines).with_ansi(false);
    // A log that nobody reads any more is no reason to end, nor to say so where nobody reads.
    let lines = lines.log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match file.filter(|path| !path.is_empty()) {
        None => registry.with(lines.with_writer(std::io::stdout)).try_init(),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(NodeError::io(format!("Can't open the log file {path}")))?;
            registry.with(lines.with_writer(std::sync::Mutex::new(file))).try_init()
        }
    };
    started.map_err(|error| NodeError::io("starting the log")(std::io::Error::other(error)))?;
    // Cannot be set already: then the log would have been started before.
    LEVEL.get_or_init(|| handle);
    Ok(())
}

/// Changes the level: one of redis.conf's `loglevel`s.
pub(super) fn set_level(level: &str) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.modify(|filter| *filter = level_filter(level))
    {
        tracing::warn!(%error, "the log level cannot be changed");
    }
}

fn level_filter(level: &str) -> LevelFilter {
    match level {
        "debug" => LevelFilter::TRACE,
        "verbose" => LevelFilter::DEBUG,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}

/// The form of a line.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mark = match *event.metadata().level() {
            Level::TRACE => '.',
            Level::DEBUG => '-',
            Level::INFO => '*',
            Level::WARN | Level::ERROR => '#',
        };
        let pid = std::process::id();
        write!(line, "{pid}:M {} {mark} ", Time(unix_millis()))?;
        ctx.field_format().format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

#[allow(clippy::disallowed_methods, reason = "a shell reads the clock")]
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Milliseconds since 1970, shown as day, month, year and time of day in UTC.
struct Time(u64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years that begin in March: then the day that is sometimes missing is their last.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let january = u64::from(month >= 10);
        let name = MONTHS[((month + 2) % 12) as usize];
        let year = era * 400 + year + january;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{day:02} {name} {year} {hour:02}:{minute:02}:{second:02}.{millis:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times are those that `date -u -d @seconds` shows.
    #[test]
    fn times_are_shown_as_in_redis_logs() {
        for (millis, text) in [
            (0, "01 Jan 1970 00:00:00.000"),
            (951_782_400_000, "29 Feb 2000 00:00:00.000"),
            (1_795_396_192_242, "23 Nov 2026 01:09:52.242"),
            (4_107_542_399_999, "28 Feb 2100 23:59:59.999"),
        ] {
            assert_eq!(Time(millis).to_string(), text);
        }
    }
}
