//! `plan`: what a pass would do, without doing it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::document_file::OutFile;
use super::exit::{Exit, Failure};
use super::export;
use super::global::{FromGitArgs, apply_command};
use super::output::{self, Format};
use super::paint::{Paint, Stream};
use super::run::Printer;
use super::saved;
use crate::plan::Plan;
use crate::plan::text::{APPLY, Style};
use crate::reconcile::offline;
use crate::reconcile::remote::RemoteOptions;
use crate::saved::SavedPlanFile;
use crate::worker::Workers;

/// Options of `plan`.
#[derive(Args)]
pub struct PlanArgs {
    /// The desired directory; default as for `run`
    dir: Option<PathBuf>,
    #[command(flatten)]
    from_git: FromGitArgs,
    /// The trust policy; default is `trust.toml` in the home
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Fetch nothing from other machines: what was fetched before must do
    #[arg(long)]
    offline: bool,
    /// Save the plan to this file; `apply FILE` carries out exactly that plan, or refuses
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Plan against the state that `export` wrote to this file, and not against this home's
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    against: Option<PathBuf>,
    /// End with 0 whatever the plan holds
    #[arg(long)]
    exit_zero: bool,
}

/// Makes a plan and prints it. Writes only below `objects/`, `mirrors/` and `scratch/`, and the file that is asked for.
pub(crate) fn plan(global: &Global, args: PlanArgs) -> Result<ExitCode, Failure> {
    let home = global.home()?;
    let command = match &args.out {
        Some(out) => apply_command(global, Some(out), args.trust.as_deref()),
        // Paths of this machine say nothing where it will be carried out.
        None if args.against.is_some() => APPLY.to_owned(),
        None => apply_command(global, args.dir.as_deref(), args.trust.as_deref()) + &args.from_git.words(),
    };
    let out = args.out.as_deref().map(OutFile::new::<SavedPlanFile>).transpose()?;
    let against = args.against.as_deref().map(export::at).transpose()?;
    let desired = global.desired_directory(args.dir)?;
    let trust = global.trust_location(args.trust)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sockets = crate::runtime::socket_candidates(&home).map_err(anyhow::Error::from)?;
    let running = match &against {
        Some(_) => None,
        None => runtime.block_on(crate::control::client::status(&sockets)).ok(),
    };
    let remote = RemoteOptions { home: home.clone(), settings: global.config()?.sources, offline: args.offline };
    let printer = Printer::new(global);
    let look = offline::Look {
        desired: &desired,
        from_git: args.from_git.source(&global.config()?)?,
        trust: &trust,
        running: running.as_ref(),
        rules: &global.config()?.secrets,
        workers: Workers::of_this_program().map_err(anyhow::Error::from)?,
        remote,
        against: against.as_ref(),
        memory: global.config()?.memory,
        tell: &|notice| printer.tell(notice),
    };
    let made = offline::plan(look).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let paint = Paint::new(global, Stream::Stderr);
    for problem in &made.problems {
        eprintln!("{} {}", paint.yellow("warning:"), problem.message);
        problem.hint.iter().flat_map(|hint| hint.lines()).for_each(|line| eprintln!("  {line}"));
    }
    output::print(global.output, &made.plan.document(), || match global.output {
        Format::Markdown => made.plan.markdown(&command),
        _ => colored(&made.plan, &command, Paint::new(global, Stream::Stdout)),
    })?;
    if let Some(out) = out {
        saved::write(&made, &out)?;
        if !global.quiet {
            eprintln!("saved; to carry out this plan and no other: {command}");
        }
    }
    if args.exit_zero {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(made.plan.exit_code()))
}

/// The plan's text in colour; `command` carries it out.
pub(crate) fn colored(plan: &Plan, command: &str, paint: Paint) -> String {
    let mut text = String::new();
    for line in plan.lines_for(command) {
        for span in &line.spans {
            text.push_str(&match span.style {
                Style::Plain => span.text.clone(),
                Style::Add => paint.green(&span.text),
                Style::Change => paint.yellow(&span.text),
                Style::Remove | Style::Bad => paint.red(&span.text),
                Style::Dim => paint.dim(&span.text),
                Style::Strong => paint.bold(&span.text),
            });
        }
        text.push('\n');
    }
    text
}
