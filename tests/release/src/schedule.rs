//! The schedule: which layers there are, in how many shards, and the command of each.
//!
//! Always true: a shard is named by its layer and its number, and its command follows from the file alone.

use crate::failure::{Failure, Result, broken};

/// One proof layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) title: String,
    /// Directories that it is built from, beside the library.
    pub(crate) built_from: Vec<String>,
    /// Names the code of the library and of these directories, once it is known.
    pub(crate) code: String,
    /// Builds what the shards run; carried out once, before the first of them.
    pub(crate) prepare: Option<String>,
    /// The shards of one value of `each`.
    pub(crate) shards: u64,
    /// Units (seeds, rounds) of one shard.
    pub(crate) count: u64,
    /// Values that the shards are repeated for; one empty one when the layer has none.
    pub(crate) each: Vec<String>,
    pub(crate) template: String,
    /// The counts that the table shows, in this order; all when empty.
    pub(crate) show: Vec<String>,
}

/// One piece of a layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shard {
    pub(crate) layer: String,
    pub(crate) code: String,
    /// From 1, over all values of `each`.
    pub(crate) number: u64,
    pub(crate) command: String,
}

impl Layer {
    pub(crate) fn planned(&self) -> u64 {
        self.shards * self.each.len() as u64
    }

    pub(crate) fn shard(&self, number: u64) -> Option<Shard> {
        let index = number.checked_sub(1)?;
        let value = self.each.get(usize::try_from(index / self.shards).ok()?)?;
        let i = index % self.shards;
        let command = self
            .template
            .replace("{i}", &(i + 1).to_string())
            .replace("{n}", &self.shards.to_string())
            .replace("{first}", &(i * self.count).to_string())
            .replace("{count}", &self.count.to_string())
            .replace("{each}", value);
        Some(Shard { layer: self.name.clone(), code: self.code.clone(), number, command })
    }

    pub(crate) fn all_shards(&self) -> impl Iterator<Item = Shard> {
        (1..=self.planned()).filter_map(|number| self.shard(number))
    }
}

/// Reads the schedule; a line that it does not know is an error, not a layer that is silently left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Layer>> {
    let mut layers: Vec<Layer> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: &str| broken(format!("line {} of the schedule: {what}", index + 1));
        if let Some(behind) = line.strip_prefix('[') {
            let (name, title) = behind.split_once(']').ok_or_else(|| at("no ]"))?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return Err(at("a name has letters, digits and -"));
            }
            if layers.iter().any(|layer| layer.name == name) {
                return Err(at("there are two layers of this name"));
            }
            layers.push(Layer {
                name: name.to_owned(),
                title: title.trim().to_owned(),
                built_from: Vec::new(),
                code: String::new(),
                prepare: None,
                shards: 1,
                count: 1,
                each: vec![String::new()],
                template: String::new(),
                show: Vec::new(),
            });
            continue;
        }
        let layer = layers.last_mut().ok_or_else(|| at("stands before the first [layer]"))?;
        let (word, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        let number = |text: &str| match text.trim().parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(at("not a number above 0")),
        };
        match word {
            "from" => layer.built_from = value.split_whitespace().map(str::to_owned).collect(),
            "prepare" => layer.prepare = Some(value.to_owned()),
            "shards" => match value.split_once('x') {
                Some((shards, count)) => {
                    (layer.shards, layer.count) = (number(shards)?, number(count)?);
                }
                None => layer.shards = number(value)?,
            },
            "each" => layer.each = value.split_whitespace().map(str::to_owned).collect(),
            "show" => layer.show = value.split_whitespace().map(str::to_owned).collect(),
            "run" => layer.template = value.to_owned(),
            _ => return Err(at("a line begins with from, prepare, shards, each, show or run")),
        }
    }
    for layer in &layers {
        let says = |what: &str| broken(format!("layer {}: {what}", layer.name));
        if layer.template.is_empty() || layer.each.is_empty() {
            return Err(says("nothing to run"));
        }
        let differs = ["{i}", "{first}"].iter().any(|part| layer.template.contains(part));
        if layer.shards > 1 && !differs {
            return Err(says("its shards would all do the same"));
        }
        if layer.each.len() > 1 && !layer.template.contains("{each}") {
            return Err(says("it has values and no {each}"));
        }
    }
    Ok(layers)
}

/// The layers asked for; all when none is.
pub(crate) fn only(layers: Vec<Layer>, names: &[String]) -> Result<Vec<Layer>> {
    if let Some(unknown) =
        names.iter().find(|name| !layers.iter().any(|layer| layer.name == **name))
    {
        return Err(Failure::Usage(format!("there is no layer {unknown}")));
    }
    let wanted = |layer: &Layer| names.is_empty() || names.contains(&layer.name);
    Ok(layers.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cut_the_seeds_without_gap_or_overlap() {
        let text =
            "# words\n[L2] histories\nshards 3 x 100\nrun go --first {first} --count {count}\n";
        let layers = parse(text).unwrap();
        let commands: Vec<_> = layers[0].all_shards().map(|shard| shard.command).collect();
        assert_eq!(
            commands,
            [
                "go --first 0 --count 100",
                "go --first 100 --count 100",
                "go --first 200 --count 100"
            ]
        );
        assert_eq!(layers[0].shard(0), None);
        assert_eq!(layers[0].shard(4), None);
    }

    #[test]
    fn each_value_has_all_the_shards() {
        let layers = parse("[L6] fuzz\neach a b\nshards 2\nrun fuzz {each} {i}/{n}").unwrap();
        let shards: Vec<_> = layers[0].all_shards().collect();
        let commands: Vec<_> = shards.iter().map(|shard| shard.command.as_str()).collect();
        assert_eq!(commands, ["fuzz a 1/2", "fuzz a 2/2", "fuzz b 1/2", "fuzz b 2/2"]);
        assert_eq!(shards[3].number, 4);
    }

    #[test]
    fn what_it_does_not_understand_is_an_error() {
        for text in [
            "run x",
            "[L1 x\nrun x",
            "[L1] x",
            "[L1] x\nrum x\nrun x",
            "[L1] x\nshards 0\nrun {i}",
            "[L1] x\nshards 2\nrun the same",
            "[L1] x\neach a b\nrun the same",
            "[L1] x\nrun x\n[L1] y\nrun y",
            "[../x] x\nrun x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_committed_schedule_is_one() {
        let layers = parse(include_str!("../schedule.txt")).unwrap();
        assert!(layers.len() > 3);
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for dir in layers.iter().flat_map(|layer| &layer.built_from) {
            assert!(dir.ends_with('/') && root.join(dir).is_dir(), "{dir}");
        }
        assert!(only(layers.clone(), &["nothing".into()]).is_err());
        assert_eq!(only(layers.clone(), &[]).unwrap(), layers);
    }
}
