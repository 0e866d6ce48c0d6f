//! The tool's shell: connections, prompts, and what is printed. It decides nothing about slots.

mod backup;
mod create;
mod everywhere;
mod failure;
mod fix;
mod import;
mod inspect;
mod join;
mod journal;
mod members;
mod moves;
mod nodes;
mod progress;
mod prompt;
mod report;
mod reshard;
mod tool;

pub use create::{CreateOptions, create};
pub use failure::Failure;
pub use nodes::{Cluster, Node, connect};
pub use report::{Recorded, Report, Silent, Terminal};

use super::options::{Invocation, Subcommand, usage};
use std::ffi::OsString;
use std::process::ExitCode;
use tool::Tool;

/// Runs the tool; `args` are the words after the program's name (or after `keyway cluster`).
/// Exit status 0 if all is well, 1 if anything is not, `check`'s findings included.
pub fn main(args: Vec<OsString>) -> ExitCode {
    if run(&args) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(args: &[OsString]) -> bool {
    let mut terminal = Terminal::new();
    let invocation = match Invocation::parse(args) {
        Ok(invocation) => invocation,
        Err(error) => {
            terminal.line(&error.to_string());
            return false;
        }
    };
    if invocation.command == Subcommand::Help {
        terminal.part(&usage());
        // To ask for help is no mistake; to ask for nothing is.
        return !args.is_empty();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.line(&format!("[ERR] {error}"));
            return false;
        }
    };
    let mut tool = match Tool::new(invocation) {
        Ok(tool) => tool,
        Err(failure) => {
            terminal.line(&failure.text);
            return false;
        }
    };
    let result = runtime.block_on(dispatch(&mut tool));
    tool.finish(result)
}

async fn dispatch(tool: &mut Tool) -> Result<(), Failure> {
    match tool.invocation.command {
        Subcommand::Create => create::run(tool).await,
        Subcommand::Check => inspect::check(tool).await,
        Subcommand::Info => inspect::info(tool).await,
        Subcommand::Fix => fix::fix(tool).await,
        Subcommand::Reshard => reshard::reshard(tool).await,
        Subcommand::Rebalance => reshard::rebalance(tool).await,
        Subcommand::AddNode => members::add_node(tool).await,
        Subcommand::DelNode => members::del_node(tool).await,
        Subcommand::SetTimeout => everywhere::set_timeout(tool).await,
        Subcommand::Call => everywhere::call(tool).await,
        Subcommand::Import => import::import(tool).await,
        Subcommand::Backup => backup::backup(tool).await,
        // Answered before there is a runtime.
        Subcommand::Help => Ok(()),
    }
}
