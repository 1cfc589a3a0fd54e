//! `completions` and `man`: made from the definitions of the commands, so that they can't disagree.

use clap::CommandFactory;

use crate::args::{Args, Completions, Man};
use crate::errors::{Exit, Failure};
use crate::output::Out;

pub(crate) fn completions(args: &Completions, out: &mut Out) -> Result<Exit, Failure> {
    // Into memory first: the generator panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "order-ledger", &mut script);
    out.bytes(&script)?;
    Ok(Exit::Done)
}

pub(crate) fn man(args: &Man, out: &mut Out) -> Result<Exit, Failure> {
    let mut command = Args::command();
    command.build();
    let page = match &args.command {
        None => command,
        Some(name) => match command.find_subcommand(name) {
            Some(found) => found.clone(),
            None => {
                let (what, advice) = (format!("no command {name:?}"), "see --help".to_owned());
                return Err(Failure::Usage { what, advice });
            }
        },
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    out.bytes(&text)?;
    Ok(Exit::Done)
}
