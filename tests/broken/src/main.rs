//! Tests of the tests: the ledger with one thing broken, and the layers of the proof asked about it, from
//! cheap to dear, until one goes red. A layer that has never failed proves nothing.
//!
//! All broken builds are one build of a copy of the tree (see [`switch`]); what went red is asked about
//! the sound tree as well, for a test that is red on sound code proves nothing either. README.md says
//! how to run it.

mod catalogue;
mod layers;
mod mutants;
mod results;
mod round;
mod switch;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use catalogue::{Build, Catalogue};
use layers::Asking;
use results::{Found, Results};
use round::{Round, Subject, number_of};

const USAGE: &str = "broken-builds [--check] [--list] [--table] [--only NAME] [--sample K] [--seed S] \
                     [--shard I/N] [--results FILE] [--target DIR] [--again] [--first] \
                     [--root DIR] [--mutants LIST] [--stages K] [--missed]";

#[derive(Default)]
struct Options {
    /// Only hold the catalogue against the sources.
    check: bool,
    list: bool,
    /// Only print the table of what is known.
    table: bool,
    only: Vec<String>,
    /// So many of them, chosen by the seed; the canary always.
    sample: Option<usize>,
    seed: u64,
    /// The i-th of n parts, from 1.
    shard: Option<(usize, usize)>,
    results: Option<PathBuf>,
    target: Option<PathBuf>,
    /// Also what has a result already.
    again: bool,
    /// Only the layer that should notice, and no other if it does not.
    first: bool,
    /// Another tree than the one this was built in: one that stays as it is while somebody goes on.
    root: Option<PathBuf>,
    /// Mutants instead of the catalogue.
    mutants: Option<PathBuf>,
    /// Only so many stages: the cheap ones for all mutants, then all of them with `missed`.
    stages: Option<usize>,
    /// Only the mutants that were missed the last time, whatever has changed since; nothing else is built.
    missed: bool,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { seed: 1, ..Options::default() };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value\n{USAGE}"));
        let number = |text: String| text.parse().map_err(|error| format!("{text}: {error}"));
        match name.as_str() {
            "--check" => options.check = true,
            "--list" => options.list = true,
            "--table" => options.table = true,
            "--again" => options.again = true,
            "--first" => options.first = true,
            "--root" => options.root = Some(value()?.into()),
            "--stages" => options.stages = Some(number(value()?)?),
            "--missed" => options.missed = true,
            "--only" => options.only.push(value()?),
            "--sample" => options.sample = Some(number(value()?)?),
            "--seed" => options.seed = number(value()?)? as u64,
            "--results" => options.results = Some(value()?.into()),
            "--target" => options.target = Some(value()?.into()),
            "--mutants" => options.mutants = Some(value()?.into()),
            "--shard" => {
                let text = value()?;
                let (part, parts) = text.split_once('/').ok_or("a shard is I/N")?;
                let (part, parts) = (number(part.into())?, number(parts.into())?);
                if !(1..=parts).contains(&part) {
                    return Err(format!("{text} is no shard: from 1/N to N/N"));
                }
                options.shard = Some((part, parts));
            }
            _ => return Err(format!("no such option: {name}\n{USAGE}")),
        }
    }
    Ok(options)
}

/// Answers whether everything that was asked about was noticed.
fn run(options: &Options) -> Result<bool, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = options.root.clone().unwrap_or(here);
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    let catalogue = Catalogue::read(&root.join("tests/broken/catalogue.toml"))?;
    let target = options.target.clone().unwrap_or_else(|| root.join("target"));
    let name = if options.mutants.is_some() { "mutants" } else { "broken" };
    let work = target.join(name);
    std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let path = options.results.clone().unwrap_or_else(|| work.join("results.jsonl"));
    let results = Results::read(&path).map_err(|error| error.to_string())?;
    // Shards may run side by side.
    let log = options.shard.map_or("log".into(), |(part, parts)| format!("log-{part}-{parts}"));
    let asking = Asking::new(&work.join("tree"), &target, &work.join(log));
    if let Some(list) = &options.mutants {
        return run_mutants(options, &root, &catalogue, list, asking, results);
    }
    if options.table {
        print!("{}", table(&catalogue, &results));
        return Ok(true);
    }
    let complaints = catalogue.check(&root);
    if !complaints.is_empty() {
        return Err(complaints.join("\n"));
    }
    let chosen = choose(&catalogue, options);
    if options.list {
        chosen
            .iter()
            .for_each(|build| println!("{} ({}): {}", build.name, build.rules, build.what));
        return Ok(true);
    }
    if options.check {
        println!("{} builds: every edit applies", catalogue.builds.len());
        return Ok(true);
    }
    run_builds(options, &root, &catalogue, &chosen, asking, results)
}

/// The builds that are asked for.
fn choose<'a>(catalogue: &'a Catalogue, options: &Options) -> Vec<&'a Build> {
    let mut chosen: Vec<&Build> = catalogue.builds.iter().collect();
    if !options.only.is_empty() {
        chosen.retain(|build| options.only.contains(&build.name));
        return chosen;
    }
    if let Some((part, parts)) = options.shard {
        let mut index = 0..;
        chosen.retain(|_| index.next().is_some_and(|index| index % parts == part - 1));
    }
    if let Some(count) = options.sample {
        let (canary, mut others): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|build| build.canary);
        // A layer that only some builds name is too dear for a sample.
        others.retain(|build| {
            catalogue.layer(&build.layer).is_some_and(|layer| !layer.only_when_named)
        });
        others.sort_by_cached_key(|build| number_of(&(options.seed, &build.name)));
        others.truncate(count);
        chosen = canary;
        chosen.extend(others);
    }
    chosen
}

/// Its number in the one build of all.
fn subject<'a>(
    catalogue: &'a Catalogue,
    root: &Path,
    index: usize,
    build: &Build,
) -> Result<Subject<'a>, String> {
    let number = u32::try_from(index + 1).map_err(|error| error.to_string())?;
    let mut steps: Vec<_> = catalogue
        .layer(&build.layer)
        .map(|layer| (layer, build.tests.clone()))
        .into_iter()
        .collect();
    for layer in &catalogue.layers {
        let asked_already = layer.name == build.layer && build.tests.is_empty();
        if !layer.only_when_named && !asked_already {
            steps.push((layer, Vec::new()));
        }
    }
    let changes = build.changes(root, number)?;
    Ok(Subject { name: build.name.clone(), number, changes, steps })
}

fn run_builds(
    options: &Options,
    root: &Path,
    catalogue: &Catalogue,
    chosen: &[&Build],
    mut asking: Asking,
    results: Results,
) -> Result<bool, String> {
    let subjects = catalogue.builds.iter().enumerate();
    let mut subjects: Vec<_> = subjects
        .map(|(index, build)| subject(catalogue, root, index, build))
        .collect::<Result<_, _>>()?;
    let layer = catalogue.layers.first().ok_or("no layers")?;
    if options.first {
        subjects.iter_mut().for_each(|subject| subject.steps.truncate(1));
    }
    let prepared = round::prepare(root, &subjects, BTreeMap::new(), &mut asking, layer, "broken")?;
    let number = tree::number(root).map_err(|error| error.to_string())?;
    let mut round = Round::new(number, asking, results, prepared.left_out, options.again);
    let (mut caught, mut survived, mut errors) = (0, 0, 0);
    let mut blind = false;
    for (subject, build) in subjects.iter().zip(&catalogue.builds) {
        if !chosen.iter().any(|chosen| chosen.name == build.name) {
            continue;
        }
        let found = round.ask(subject).map_err(|error| error.to_string())?;
        let Found { by, more, cpu_s, .. } = &found;
        let verdict = match (&found.layer, found.error) {
            (Some(layer), _) => {
                caught += 1;
                format!("caught by {layer}: {by} and {more} more")
            }
            (None, true) => {
                errors += 1;
                format!("ERROR of the catalogue: {by}")
            }
            (None, false) => {
                survived += 1;
                format!("SURVIVED: {by}")
            }
        };
        blind |= build.canary && found.layer.is_none();
        println!("{}: {verdict} ({cpu_s:.1} s of CPU)", build.name);
        if found.layer.is_none() {
            let run = "cargo run --release --manifest-path tests/broken/Cargo.toml --";
            println!("again: {run} --again --only {}", build.name);
        }
    }
    let unsound = round.ask_the_sound_tree().map_err(|error| error.to_string())?;
    if blind {
        println!("THE CANARY PASSED: what is asked here can't fail");
    }
    println!("{:.1} s of CPU to build", round.asking.build_cpu_s);
    println!(
        "RESULT {{\"layer\":\"L15\",\"builds\":{},\"caught\":{caught},\"survived\":{survived},\
         \"errors\":{errors},\"red_on_sound\":{unsound}}}",
        caught + survived + errors
    );
    Ok(survived + errors + unsound == 0 && caught > 0)
}

fn run_mutants(
    options: &Options,
    root: &Path,
    catalogue: &Catalogue,
    list: &Path,
    mut asking: Asking,
    results: Results,
) -> Result<bool, String> {
    let tree = tree::number(root).map_err(|error| error.to_string())?;
    let mutants = mutants::read(list)?;
    let mut subjects = Vec::new();
    let asked = mutants.iter().filter(|mutant| {
        let missed = |found: &Found| found.layer.is_none() && !found.error;
        !options.missed || results.last(&mutant.name).is_some_and(missed)
    });
    for (number, mutant) in (1..).zip(asked) {
        let changes = vec![(mutant.file.clone(), mutant.change(root, number)?)];
        let stages = catalogue.stages.iter().take(options.stages.unwrap_or(usize::MAX));
        let steps = stages.map(|stage| (stage, Vec::new())).collect();
        subjects.push(Subject { name: mutant.name.clone(), number, changes, steps });
    }
    // What did not compile the last time does not now.
    let known = subjects.iter().filter_map(|subject| {
        let found = results.last(&subject.name)?;
        let same = found.error && found.tree == subject.key(tree);
        same.then(|| (subject.number, found.by.clone()))
    });
    let known: BTreeMap<_, _> = known.collect();
    let layer = catalogue.stages.first().ok_or("no stages")?;
    let prepared = round::prepare(root, &subjects, known, &mut asking, layer, "mutants")?;
    println!("{:.1} s of CPU to build", asking.build_cpu_s);
    let mut round = Round::new(tree, asking, results, prepared.left_out, options.again);
    round.keep_left_out(&subjects).map_err(|error| error.to_string())?;
    // A random order that is always the same: the first so many are a sample.
    subjects.sort_by_cached_key(|subject| number_of(&(options.seed, &subject.name)));
    let (part, parts) = options.shard.unwrap_or((1, 1));
    let chosen = subjects.iter().skip(part - 1).step_by(parts);
    let (mut killed, mut missed, mut timeouts, mut unviable) = (0, 0, 0, 0);
    let mut not_switched = 0;
    for subject in chosen.take(options.sample.unwrap_or(usize::MAX)) {
        if !options.only.is_empty() && !options.only.contains(&subject.name) {
            continue;
        }
        let found = round.ask(subject).map_err(|error| error.to_string())?;
        let Found { by, cpu_s, .. } = &found;
        let verdict = match &found.layer {
            Some(_) if found.is_hang() => {
                timeouts += 1;
                format!("timeout: {by}")
            }
            Some(layer) => {
                killed += 1;
                format!("killed by {layer}: {by}")
            }
            None if found.by == "does not compile" => {
                unviable += 1;
                "unviable".to_owned()
            }
            None if found.error => {
                not_switched += 1;
                format!("not run: {by}")
            }
            None => {
                missed += 1;
                "MISSED".to_owned()
            }
        };
        println!("{}: {verdict} ({cpu_s:.1} s of CPU)", subject.name);
    }
    println!(
        "RESULT {{\"layer\":\"L14\",\"mutants\":{},\"killed\":{killed},\"missed\":{missed},\
         \"timeout\":{timeouts},\"unviable\":{unviable},\"not_switched\":{not_switched}}}",
        killed + missed + timeouts + unviable + not_switched
    );
    // Nine in ten of those that can be built.
    Ok((killed + timeouts) * 10 >= (killed + timeouts + missed) * 9)
}

/// The table of `tests/README.md`.
fn table(catalogue: &Catalogue, results: &Results) -> String {
    let mut table =
        String::from("| rule | broken on purpose | noticed by | CPU |\n|---|---|---|---|\n");
    for build in &catalogue.builds {
        let (noticed, cost) = match results.last(&build.name) {
            None => ("not run yet".to_owned(), String::new()),
            Some(found) => {
                let by = if found.by.contains(' ') {
                    found.by.clone()
                } else {
                    format!("`{}`", found.by)
                };
                let noticed = match (&found.layer, found.more) {
                    (None, _) => by,
                    (Some(layer), 0) => format!("{layer}: {by}"),
                    (Some(layer), more) => format!("{layer}: {by} and {more} more"),
                };
                (noticed, format!("{:.1} s", found.cpu_s))
            }
        };
        table.push_str(&format!("| {} | {} | {noticed} | {cost} |\n", build.rules, build.what));
    }
    table
}
