//! Writes a file with its mutants in it.

use std::{fmt::Write, ops::Range};

use crate::{
    mutant::{Mutant, State},
    sites::{Effect, Form, Shape, Site},
};

/// A file with its mutants in it.
pub struct Rewritten {
    pub text: String,
    /// Where in the text each site and each mutant's own code stands.
    pub places: Vec<Place>,
}

/// Some bytes of the text, and what they come from.
pub struct Place {
    pub bytes: Range<usize>,
    pub site: usize,
    /// None: the site as a whole.
    pub mutant: Option<usize>,
}

pub fn rewrite(source: &str, sites: &[Site], mutants: &[Mutant]) -> Rewritten {
    let written = Rewritten { text: String::new(), places: Vec::new() };
    let mut writer = Writer { source, sites, mutants, written };
    writer.range(0..source.len(), 0);
    writer.written
}

/// A file with this one change.
pub fn rewrite_alone(source: &str, mutant: &Mutant) -> String {
    let (before, after) = (&source[..mutant.span.start], &source[mutant.span.end..]);
    format!("{before}{}{after}", mutant.replacement)
}

struct Writer<'a> {
    source: &'a str,
    sites: &'a [Site],
    mutants: &'a [Mutant],
    written: Rewritten,
}

impl Writer<'_> {
    /// Writes these bytes of the source; sites in them are looked for from the index `first` on.
    fn range(&mut self, bytes: Range<usize>, first: usize) {
        let mut at = bytes.start;
        let mut index = first;
        while let Some(site) = self.sites.get(index)
            && site.bytes.start <= bytes.end
        {
            if site.bytes.start >= at && site.bytes.end <= bytes.end {
                self.push(at..site.bytes.start);
                self.site(index);
                at = site.bytes.end;
                let within = |inner: &&Site| inner.bytes.start < at;
                index += 1 + self.sites[index + 1..].iter().take_while(within).count();
            } else {
                index += 1;
            }
        }
        self.push(at..bytes.end);
    }

    fn push(&mut self, bytes: Range<usize>) {
        self.written.text.push_str(&self.source[bytes]);
    }

    fn text(&mut self, text: &str) {
        self.written.text.push_str(text);
    }

    fn site(&mut self, index: usize) {
        let site = &self.sites[index];
        let start = self.written.text.len();
        let is_switched = |at: &usize| self.mutants[*at].state == State::Switched;
        let on: Vec<_> = site.mutants.iter().copied().filter(is_switched).collect();
        if on.is_empty() {
            self.range(site.bytes.clone(), index + 1);
            return;
        }
        match &site.shape {
            Shape::Const { .. } => {}
            Shape::Body => {
                for mutant in on {
                    self.branch("if", index, mutant, |mutant, _| {
                        format!("return {};", mutant.replacement)
                    });
                }
            }
            Shape::Arm => self.text(&format!(" if {}", self.none_is_on(&on))),
            Shape::GuardedArm => {
                self.text(&format!("{} && (", self.none_is_on(&on)));
                self.range(site.bytes.clone(), index + 1);
                self.text(")");
            }
            Shape::Guard => {
                self.text("crate::mutation::choose(");
                self.range(site.bytes.clone(), index + 1);
                self.text(", [");
                for mutant in on {
                    let Mutant { number, replacement, .. } = &self.mutants[mutant];
                    self.text(&format!("({number}, {replacement}), "));
                }
                self.text("])");
            }
            Shape::Binary { left, right, effect, .. }
                if *effect == Effect::Acts || site.form == Form::Branches =>
            {
                let (left, right) = (left.0..left.1, right.0..right.1);
                self.branches(index, &on, |mutant, source| {
                    let (left, right) = (&source[left.clone()], &source[right.clone()]);
                    format!("({left}) {} ({right})", mutant.replacement)
                });
            }
            Shape::Binary { .. } => self.values(index, &on),
            Shape::Unary { operand } => {
                let operand = operand.0..operand.1;
                self.branches(index, &on, |_, source| source[operand.clone()].to_owned());
            }
            Shape::Struct => {
                let bytes = site.bytes.clone();
                self.branches(index, &on, |mutant, source| {
                    let (from, to) = (mutant.span.start, mutant.span.end);
                    let (before, after) = (&source[bytes.start..from], &source[to..bytes.end]);
                    format!("{before}{after}")
                });
            }
        }
        let bytes = start..self.written.text.len();
        self.written.places.push(Place { bytes, site: index, mutant: None });
    }

    fn none_is_on(&self, mutants: &[usize]) -> String {
        let mut text = String::from("true");
        for mutant in mutants {
            let number = self.mutants[*mutant].number;
            write!(text, " && !crate::mutation::on({number})").expect("a string takes it");
        }
        text
    }

    /// `if … else if … else`, with the original last; sites within it are written there.
    fn branches(&mut self, index: usize, on: &[usize], code: impl Fn(&Mutant, &str) -> String) {
        self.text("(");
        for (mutant, word) in
            on.iter().zip(std::iter::once("if").chain(std::iter::repeat("else if")))
        {
            self.branch(word, index, *mutant, &code);
        }
        self.text("else { ");
        self.range(self.sites[index].bytes.clone(), index + 1);
        self.text(" })");
    }

    fn branch(
        &mut self,
        word: &str,
        site: usize,
        mutant: usize,
        code: impl Fn(&Mutant, &str) -> String,
    ) {
        let number = self.mutants[mutant].number;
        self.text(&format!(" {word} crate::mutation::on({number}) {{ "));
        let start = self.written.text.len();
        let code = code(&self.mutants[mutant], self.source);
        self.text(&code);
        let bytes = start..self.written.text.len();
        self.written.places.push(Place { bytes, site, mutant: Some(mutant) });
        self.text(" } ");
    }

    /// Both operands are worked out once, and all values from them.
    fn values(&mut self, index: usize, on: &[usize]) {
        let Shape::Binary { left, operator, right, effect } = self.sites[index].shape else {
            unreachable!("only an operator has operands");
        };
        let (borrow, look) = if effect == Effect::Compares { ("&", "*") } else { ("", "") };
        self.text(&format!("(match ({borrow}("));
        self.range(left.0..left.1, index + 1);
        self.text(&format!("), {borrow}("));
        self.range(right.0..right.1, index + 1);
        let operator = &self.source[operator.0..operator.1];
        self.text(&format!(
            ")) {{ (left__, right__) => \
             crate::mutation::choose({look}left__ {operator} {look}right__, ["
        ));
        for mutant in on {
            let Mutant { number, replacement, .. } = &self.mutants[*mutant];
            self.text(&format!("({number}, {look}left__ {replacement} {look}right__), "));
        }
        self.text("]) })");
    }
}
