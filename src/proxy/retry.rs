//! What a reply, or the loss of a connection, means for a request: every rule of the contract's
//! §3 in two total functions. Nothing else decides.

use crate::cluster::{ClusterError, RedirectTarget, Slot};
use crate::command::Spec;

/// What to do with a request whose node has answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It ran, or the error is the command's own: the reply is the client's.
    Deliver,
    /// Not run: send it to that node. `learn` when the slot belongs there for good.
    Resend {
        /// Where to.
        to: RedirectTarget<'a>,
        /// With ASKING before it.
        asking: bool,
        /// Store the slot's owner, and have the topology read again.
        learn: bool,
    },
    /// Not run, and may run soon: again after a short, growing wait.
    Later {
        /// Have the topology read again.
        refresh: bool,
    },
    /// A script's redirect that may be the node's: only the node can tell. If it is, not run;
    /// else the reply is the client's.
    Confirm,
}

/// What is known of the request that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The slot of its keys; none for a command without keys.
    pub slot: Option<Slot>,
    /// Redirects it has followed in a row.
    pub hops: u8,
    /// The most it may follow.
    pub hops_max: u8,
    /// Whether it may change data.
    pub write: bool,
    /// Whether the text of its errors is chosen by a script's author.
    pub script: bool,
}

/// Judges an error line (without `-` and line end) that a node has answered with.
pub(super) fn judge<'a>(line: &'a [u8], asked: &Asked) -> Verdict<'a> {
    let Some(error) = ClusterError::parse(line) else {
        return Verdict::Deliver;
    };
    match error {
        // A redirect of another slot is not about this command: a script's text, or nonsense.
        ClusterError::Moved { slot, .. } | ClusterError::Ask { slot, .. }
            if asked.slot != Some(slot) =>
        {
            Verdict::Deliver
        }
        ClusterError::Moved { .. } | ClusterError::Ask { .. } if asked.script => Verdict::Confirm,
        // Two nodes that point at each other, as in the middle of every reshard: only time helps.
        ClusterError::Moved { .. } | ClusterError::Ask { .. } if asked.hops >= asked.hops_max => {
            Verdict::Later { refresh: true }
        }
        ClusterError::Moved { to, .. } => Verdict::Resend { to, asking: false, learn: true },
        // This key has left already; the slot has not: learn nothing.
        ClusterError::Ask { to, .. } => Verdict::Resend { to, asking: true, learn: false },
        ClusterError::CrossSlot => Verdict::Deliver,
        // From here on the code alone is not enough where a script chose the text.
        _ if asked.script && !is_the_nodes_own(line) => Verdict::Deliver,
        ClusterError::TryAgain => Verdict::Later { refresh: false },
        ClusterError::ReadOnly if !asked.write => Verdict::Deliver,
        ClusterError::ClusterDown
        | ClusterError::Loading
        | ClusterError::MasterDown
        | ClusterError::ReadOnly => Verdict::Later { refresh: true },
    }
}

/// The lines that nodes write themselves, word for word (measured on Redis 7.0.15 and Valkey
/// 9.1.2). A script can return any text, but an error that it passes on from `redis.call` has more
/// behind it.
fn is_the_nodes_own(line: &[u8]) -> bool {
    const LINES: [&str; 9] = [
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN Hash slot not served",
        "CLUSTERDOWN The cluster is down",
        "CLUSTERDOWN The cluster is down and only accepts read commands",
        "LOADING Redis is loading the dataset in memory",
        "LOADING Valkey is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "MASTERDOWN Link with PRIMARY is down and replica-serve-stale-data is set to 'no'.",
        "READONLY You can't write against a read only replica.",
    ];
    LINES.iter().any(|own| own.as_bytes() == line)
}

/// How far a request had come when its connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its last byte was never handed over: no node can have run it.
    Unsent,
    /// The node may have it whole.
    Sent,
}

/// What ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It broke, was refused, or could not be understood any further.
    Broken,
    /// The node was silent for `backend_timeout`.
    Silent,
}

/// What the loss of a connection means for one request that waited on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterLoss {
    /// Not run: again after a short, growing wait.
    Later,
    /// It may have run, which is harmless: send it again.
    Resend,
    /// It may have run, and running it twice is not harmless: the client must decide.
    InDoubt,
    /// A read that was lost to silence twice.
    GiveUp,
}

/// Judges the loss of the connection on which a request waited. `silences` is how often the
/// request was lost to a silent node before.
pub(super) fn after_loss(progress: Progress, loss: Loss, spec: &Spec, silences: u8) -> AfterLoss {
    match (progress, loss) {
        (Progress::Unsent, _) => AfterLoss::Later,
        (Progress::Sent, _) if !spec.is_repeatable() => AfterLoss::InDoubt,
        (Progress::Sent, Loss::Silent) if silences > 0 => AfterLoss::GiveUp,
        (Progress::Sent, Loss::Silent | Loss::Broken) => AfterLoss::Resend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    const SLOT: u16 = 449;

    fn asked(write: bool, script: bool) -> Asked {
        Asked {
            slot: Some(Slot::new(SLOT).expect("in range")),
            hops: 0,
            hops_max: 5,
            write,
            script,
        }
    }

    #[test]
    fn the_table_of_replies() {
        let to = RedirectTarget { host: "10.0.0.1", port: 7001 };
        let moved = Verdict::Resend { to, asking: false, learn: true };
        let ask = Verdict::Resend { to, asking: true, learn: false };
        let later = Verdict::Later { refresh: true };
        let again = Verdict::Later { refresh: false };
        use Verdict::{Confirm, Deliver};
        // line; verdict on a write, on a read, on a script
        let table: &[(&str, Verdict<'_>, Verdict<'_>, Verdict<'_>)] = &[
            ("ERR no", Deliver, Deliver, Deliver),
            ("MOVED 449 10.0.0.1:7001", moved, moved, Confirm),
            ("MOVED 450 10.0.0.1:7001", Deliver, Deliver, Deliver),
            ("ASK 449 10.0.0.1:7001", ask, ask, Confirm),
            ("ASK 450 10.0.0.1:7001", Deliver, Deliver, Deliver),
            ("TRYAGAIN Multiple keys request during rehashing of slot", again, again, again),
            ("TRYAGAIN said a script", again, again, Deliver),
            ("CLUSTERDOWN Hash slot not served", later, later, later),
            ("CLUSTERDOWN said a script", later, later, Deliver),
            ("LOADING Redis is loading the dataset in memory", later, later, later),
            ("LOADING said a script", later, later, Deliver),
            ("MASTERDOWN said a script", later, later, Deliver),
            ("READONLY You can't write against a read only replica.", later, Deliver, later),
            ("READONLY said a script", later, Deliver, Deliver),
            ("CROSSSLOT Keys in request don't hash to the same slot", Deliver, Deliver, Deliver),
            ("INDOUBT x", Deliver, Deliver, Deliver),
        ];
        for (line, on_write, on_read, on_script) in table {
            assert_eq!(judge(line.as_bytes(), &asked(true, false)), *on_write, "write: {line}");
            assert_eq!(judge(line.as_bytes(), &asked(false, false)), *on_read, "read: {line}");
            assert_eq!(judge(line.as_bytes(), &asked(true, true)), *on_script, "script: {line}");
        }
    }

    #[test]
    fn after_too_many_redirects_a_request_waits() {
        let far = Asked { hops: 5, ..asked(true, false) };
        for line in ["MOVED 449 10.0.0.1:7001", "ASK 449 10.0.0.1:7001"] {
            assert_eq!(judge(line.as_bytes(), &far), Verdict::Later { refresh: true });
        }
    }

    #[test]
    fn a_redirect_means_nothing_to_a_command_without_keys() {
        let keyless = Asked { slot: None, ..asked(true, false) };
        assert_eq!(judge(b"MOVED 449 10.0.0.1:7001", &keyless), Verdict::Deliver);
    }

    #[test]
    fn the_table_of_losses() {
        use AfterLoss::{GiveUp, InDoubt, Later, Resend};
        use Loss::{Broken, Silent};
        use Progress::{Sent, Unsent};
        let table = [
            ("set", Unsent, Broken, 0, Later),
            ("set", Unsent, Silent, 1, Later),
            ("set", Sent, Broken, 0, InDoubt),
            ("set", Sent, Silent, 0, InDoubt),
            ("get", Unsent, Broken, 0, Later),
            ("get", Sent, Broken, 0, Resend),
            ("get", Sent, Broken, 1, Resend),
            ("get", Sent, Silent, 0, Resend),
            ("get", Sent, Silent, 1, GiveUp),
            ("eval", Sent, Broken, 0, InDoubt),
            ("publish", Sent, Broken, 0, InDoubt),
        ];
        for (name, progress, loss, silences, expected) in table {
            let spec = lookup(name.as_bytes()).expect("in the table");
            assert_eq!(
                after_loss(progress, loss, spec, silences),
                expected,
                "{name} {progress:?} {loss:?} {silences}"
            );
        }
    }
}
