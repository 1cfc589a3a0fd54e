//! Many broken builds in one: each edit becomes a copy of the function that it is in, and a variable of
//! the environment says which copy runs.
//!
//! Why: building the ledger and its tests costs a hundred times what most tests need to notice. With all
//! edits in one build, asking about one more costs only the tests.
//!
//! ```text
//! fn f(..) -> T { body }    becomes    fn f(..) -> T {
//!                                          if crate::broken::on(7) { body with edit 7 }
//!                                          else { body }
//!                                      }
//! ```
//!
//! Always true: with no number set, every function has its own body. Can't be switched: what is outside
//! of a function, and functions that are `const` or answer `impl Trait`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::Visit;

/// The variable that says which number runs.
pub(crate) const VARIABLE: &str = "ORDER_LEDGER_BROKEN";

/// The module that is added to the library.
pub(crate) const MODULE: &str = r#"//! Which broken copy of a function runs: see tests/broken.
use std::sync::atomic::{AtomicU32, Ordering};

static NOW: AtomicU32 = AtomicU32::new(u32::MAX);

#[inline(never)]
pub(crate) fn on(number: u32) -> bool {
    let now = NOW.load(Ordering::Relaxed);
    if now != u32::MAX {
        return now == number;
    }
    let set = std::env::var("ORDER_LEDGER_BROKEN").ok().and_then(|text| text.parse().ok());
    NOW.store(set.unwrap_or(0), Ordering::Relaxed);
    set == Some(number)
}
"#;

/// Put in front of the library: copies have dead code, and a broken constant is no error of this build.
pub(crate) const ALLOW: &str = "#![allow(warnings, arithmetic_overflow, unconditional_panic, \
    overflowing_literals, unreachable_pub, missing_docs, invalid_reference_casting)]\n";

/// A text in place of a range of a file.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) number: u32,
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

/// A file with its copies.
pub(crate) struct Switched {
    pub(crate) text: String,
    /// The lines of each copy, from 1, and whose they are: to say which edit does not compile.
    pub(crate) lines: Vec<(Range<usize>, u32)>,
    /// The numbers that have no copy, and why.
    pub(crate) refused: Vec<(u32, &'static str)>,
}

struct Function {
    /// The block, with its braces.
    block: Range<usize>,
    fixed: Option<&'static str>,
}

#[derive(Default)]
struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let answer = match &signature.output {
            syn::ReturnType::Default => String::new(),
            syn::ReturnType::Type(_, answer) => {
                quote::ToTokens::to_token_stream(answer).to_string()
            }
        };
        let fixed = match signature.constness {
            Some(_) => Some("the function is const"),
            None if answer.split_whitespace().any(|word| word == "impl") => {
                Some("the function answers `impl Trait`")
            }
            None => None,
        };
        self.0.push(Function { block: block.span().byte_range(), fixed });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

/// The file with a copy of its function for every number.
pub(crate) fn switched(text: &str, changes: &[Change]) -> Result<Switched, String> {
    let file = syn::parse_file(text).map_err(|error| error.to_string())?;
    let mut functions = Functions::default();
    functions.visit_file(&file);
    let mut refused = Vec::new();
    // By function, by number: what is changed.
    let mut copies: BTreeMap<usize, BTreeMap<u32, Vec<&Change>>> = BTreeMap::new();
    for change in changes {
        let inside = functions.0.iter().enumerate().filter(|(_, function)| {
            let block = &function.block;
            block.start < change.range.start && change.range.end < block.end
        });
        match inside.min_by_key(|(_, function)| function.block.len()) {
            None => refused.push((change.number, "the edit is not inside of a function")),
            Some((_, Function { fixed: Some(why), .. })) => refused.push((change.number, *why)),
            Some((index, _)) => {
                copies.entry(index).or_default().entry(change.number).or_default().push(change);
            }
        }
    }
    // A number with one edit that can't be switched has no copy at all.
    copies.values_mut().for_each(|numbers| {
        numbers.retain(|number, _| !refused.iter().any(|(other, _)| other == number));
    });
    let mut places: Vec<_> =
        copies.iter().map(|(index, numbers)| (&functions.0[*index].block, numbers)).collect();
    places.sort_by_key(|(block, _)| block.start);
    let (mut out, mut lines, mut done) = (String::new(), Vec::new(), 0);
    for (block, numbers) in places {
        if block.start < done {
            let inner = numbers.keys().map(|number| (*number, "the function is inside of another"));
            refused.extend(inner);
            continue;
        }
        out.push_str(&text[done..block.start]);
        out.push_str("{ ");
        for (number, changes) in numbers {
            let first = out.matches('\n').count() + 1;
            write!(out, "if crate::broken::on({number}) ").map_err(|error| error.to_string())?;
            out.push_str(&edited(text, block, changes));
            out.push_str("\nelse ");
            lines.push((first..out.matches('\n').count() + 1, *number));
        }
        out.push_str(&text[block.clone()]);
        out.push_str(" }");
        done = block.end;
    }
    out.push_str(&text[done..]);
    Ok(Switched { text: out, lines, refused })
}

/// The block with these changes.
fn edited(text: &str, block: &Range<usize>, changes: &[&Change]) -> String {
    let mut changes = changes.to_vec();
    changes.sort_by_key(|change| change.range.start);
    let (mut out, mut done) = (String::new(), block.start);
    for change in changes {
        out.push_str(&text[done..change.range.start]);
        out.push_str(&change.text);
        done = change.range.end;
    }
    out.push_str(&text[done..block.end]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "fn a(x: u8) -> u8 {\n    x + 1\n}\nconst fn b() -> u8 { 1 + 1 }\n\
                        fn c() -> impl Copy { 2 + 2 }\nstruct D;\n";

    fn change(number: u32, find: &str, text: &str) -> Change {
        let start = TEXT.find(find).unwrap();
        Change { number, range: start..start + find.len(), text: text.into() }
    }

    #[test]
    fn each_number_gets_a_copy_of_its_function() {
        let changes = [change(1, "+ 1\n", "- 1\n"), change(2, "x +", "2 *")];
        let switched = switched(TEXT, &changes).unwrap();
        assert!(switched.refused.is_empty());
        let expected = "fn a(x: u8) -> u8 { if crate::broken::on(1) {\n    x - 1\n}\nelse if \
                        crate::broken::on(2) {\n    2 * 1\n}\nelse {\n    x + 1\n} }\n";
        assert_eq!(switched.text.get(..expected.len()), Some(expected));
        assert_eq!(switched.lines, [(1..4, 1), (4..7, 2)]);
    }

    #[test]
    fn what_can_not_be_switched_is_said() {
        let changes = [change(1, "1 + 1", "2"), change(2, "2 + 2", "4"), change(3, "D", "E")];
        let switched = switched(TEXT, &changes).unwrap();
        assert_eq!(switched.text, TEXT);
        assert_eq!(switched.refused.len(), 3);
    }
}
