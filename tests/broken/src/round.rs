//! Asks about one broken build after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use crate::catalogue::Layer;
use crate::layers::{Asking, Errors, Verdict};
use crate::results::{Found, Results};
use crate::switch::{self, Change, Switched};
use crate::tree;

/// Something broken, and who is asked about it.
pub(crate) struct Subject<'a> {
    pub(crate) name: String,
    pub(crate) number: u32,
    /// By file.
    pub(crate) changes: Vec<(String, Change)>,
    /// Layers and the tests of each that are named, from cheap to dear; no tests: all.
    pub(crate) steps: Vec<(&'a Layer, Vec<String>)>,
}

impl Subject<'_> {
    /// A number that changes with the tree and with what is changed in it.
    pub(crate) fn key(&self, tree: u64) -> u64 {
        let changes: Vec<_> =
            self.changes.iter().map(|(file, it)| (file, it.range.start, &it.text)).collect();
        number_of(&(tree, changes))
    }
}

pub(crate) fn number_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A tree with everything in it that compiles, and why the rest is not.
pub(crate) struct Prepared {
    pub(crate) left_out: BTreeMap<u32, String>,
}

/// Builds the tree at `asking.root` with all subjects in it; what does not compile is left out. `kind`
/// says whose build it is, `broken` or `mutants`.
pub(crate) fn prepare(
    root: &Path,
    subjects: &[Subject<'_>],
    mut left_out: BTreeMap<u32, String>,
    asking: &mut Asking,
    layer: &Layer,
    kind: &str,
) -> Result<Prepared, String> {
    loop {
        let mut changes: BTreeMap<&str, Vec<Change>> = BTreeMap::new();
        let inside = subjects.iter().filter(|it| !left_out.contains_key(&it.number));
        for (file, change) in inside.flat_map(|subject| &subject.changes) {
            changes.entry(file).or_default().push(change.clone());
        }
        let (mut texts, mut lines) = (BTreeMap::new(), BTreeMap::new());
        let mut refused = BTreeSet::new();
        for (file, changes) in changes {
            let text = std::fs::read_to_string(root.join(file)).map_err(|it| it.to_string())?;
            let switched = switch::switched(&text, &changes)?;
            let Switched { text, lines: of_file, refused: of_file_refused } = switched;
            refused.extend(of_file_refused);
            texts.insert(file.to_owned(), text);
            lines.insert(file.to_owned(), of_file);
        }
        if !refused.is_empty() {
            // Some of their edits may be in other files: once more, without them.
            left_out.extend(refused.into_iter().map(|(number, why)| (number, why.to_owned())));
            continue;
        }
        let lib = std::fs::read_to_string(root.join("src/lib.rs")).map_err(|it| it.to_string())?;
        // Behind the documentation of the crate: attributes come before the first item.
        let at = lib.find("\nmod ").or(lib.find("\npub mod ")).ok_or("lib.rs has no module")? + 1;
        let (head, rest) = lib.split_at(at);
        texts.insert("src/lib.rs".into(), format!("{head}mod broken;\n{rest}"));
        let head = texts.get("src/lib.rs").map(|text| format!("{}{text}", switch::ALLOW));
        texts.extend(head.map(|text| ("src/lib.rs".to_owned(), text)));
        texts.insert("src/broken.rs".into(), switch::MODULE.into());
        // Another version: for cargo two copies of one package are the same thing wherever they are, and
        // a broken artifact must never be taken for a sound one, nor one list's for another's.
        let manifest =
            std::fs::read_to_string(root.join("Cargo.toml")).map_err(|it| it.to_string())?;
        let version = manifest.lines().find(|line| line.starts_with("version = "));
        let version = version.ok_or("Cargo.toml has no version")?;
        let other = version.trim_end_matches('"').to_owned() + "-" + kind + "\"";
        texts.insert("Cargo.toml".into(), manifest.replacen(version, &other, 1));
        tree::copy(root, &asking.root, &texts).map_err(|error| error.to_string())?;
        match asking.program(layer).map_err(|error| error.to_string())? {
            Ok(_) => return Ok(Prepared { left_out }),
            Err(errors) => {
                let found = blame(&errors, &lines);
                if found.is_empty() {
                    return Err(format!("the sound tree does not build:\n{}", errors.output));
                }
                let numbers: Vec<_> = found.iter().map(u32::to_string).collect();
                let (count, numbers) = (numbers.len(), numbers.join(", "));
                eprintln!("{count} do not compile and are left out: {numbers} of the list");
                left_out.extend(found.into_iter().map(|it| (it, "does not compile".to_owned())));
            }
        }
    }
}

type Lines = BTreeMap<String, Vec<(std::ops::Range<usize>, u32)>>;

/// Whose lines the errors are in.
fn blame(errors: &Errors, lines: &Lines) -> BTreeSet<u32> {
    let of = |(file, line): &(String, usize)| {
        let copies = lines.get(file)?;
        copies.iter().find(|(lines, _)| lines.contains(line)).map(|(_, number)| *number)
    };
    errors.places.iter().filter_map(of).collect()
}

/// One run over some subjects.
pub(crate) struct Round<'a> {
    /// Of the sound tree.
    pub(crate) tree: u64,
    pub(crate) asking: Asking,
    pub(crate) results: Results,
    pub(crate) left_out: BTreeMap<u32, String>,
    /// Also what has a result already.
    pub(crate) again: bool,
    /// What went red, by layer: has to be green on the sound tree.
    red: BTreeMap<String, (&'a Layer, BTreeSet<String>)>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(
        tree: u64,
        asking: Asking,
        results: Results,
        left_out: BTreeMap<u32, String>,
        again: bool,
    ) -> Round<'a> {
        Round { tree, asking, results, left_out, again, red: BTreeMap::new() }
    }

    /// What is known, or is found, about a subject.
    pub(crate) fn ask(&mut self, subject: &Subject<'a>) -> io::Result<Found> {
        let key = subject.key(self.tree);
        let known = self.results.get(&subject.name, key).filter(|_| !self.again);
        let found = match known {
            Some(found) => found.clone(),
            None => {
                let found = self.find(subject, key)?;
                self.results.add(found.clone())?;
                found
            }
        };
        let red = subject.steps.iter().find(|(layer, _)| Some(&layer.name) == found.layer.as_ref());
        if let Some((layer, tests)) = red {
            let (_, asked) =
                self.red.entry(layer.name.clone()).or_insert((*layer, BTreeSet::new()));
            asked.extend(tests.iter().cloned());
            // A test by its name; a seed or a hang is of all that was asked.
            if !found.by.contains(' ') {
                asked.insert(found.by.clone());
            } else if tests.is_empty() {
                asked.extend(layer.all.iter().filter(|it| it.ends_with("::")).cloned());
            }
        }
        Ok(found)
    }

    /// Keeps what does not build: the next run need not find it out again.
    pub(crate) fn keep_left_out(&mut self, subjects: &[Subject<'_>]) -> io::Result<()> {
        for subject in subjects {
            let Some(why) = self.left_out.get(&subject.number) else { continue };
            let found = Found {
                build: subject.name.clone(),
                tree: subject.key(self.tree),
                layer: None,
                by: why.clone(),
                more: 0,
                cpu_s: 0.0,
                error: true,
            };
            self.results.add(found)?;
        }
        Ok(())
    }

    fn find(&mut self, subject: &Subject<'a>, tree: u64) -> io::Result<Found> {
        let mut found = Found {
            build: subject.name.clone(),
            tree,
            layer: None,
            by: "no layer noticed".into(),
            more: 0,
            cpu_s: 0.0,
            error: false,
        };
        if let Some(why) = self.left_out.get(&subject.number) {
            (found.by, found.error) = (why.clone(), true);
            return Ok(found);
        }
        for (layer, tests) in &subject.steps {
            let answer = match self.asking.ask(layer, tests, subject.number)? {
                Ok(answer) => answer,
                Err(errors) => {
                    (found.by, found.error) = (errors.output, true);
                    break;
                }
            };
            found.cpu_s += answer.cpu_s;
            match answer.verdict {
                Verdict::Green => {}
                Verdict::Skipped(why) => println!("{}: {}: {why}", subject.name, layer.name),
                Verdict::Red { by, more } => {
                    (found.layer, found.by, found.more) = (Some(layer.name.clone()), by, more);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Whatever went red has to be green when nothing is broken. Answers how many layers are not.
    pub(crate) fn ask_the_sound_tree(&mut self) -> io::Result<u64> {
        let mut unsound = 0;
        for (name, (layer, tests)) in std::mem::take(&mut self.red) {
            let tests: Vec<String> = tests.into_iter().collect();
            let verdict = match self.asking.ask(layer, &tests, 0)? {
                Ok(answer) => answer.verdict,
                Err(errors) => Verdict::Skipped(errors.output),
            };
            println!("nothing broken, {name}, {} filters: {verdict:?}", tests.len());
            unsound += u64::from(verdict != Verdict::Green);
        }
        Ok(unsound)
    }
}
