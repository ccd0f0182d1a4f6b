//! Where in a file each mutant's change lies: the expression, guard, or function body around it.

use std::{cmp::Reverse, collections::HashMap, ops::Range};

use syn::{
    BinOp, Block, Expr, Signature, UnOp,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{
    Result,
    mutant::{Genre, Mutant, State},
};

type Bytes = Range<usize>;

/// A place of the source that is written anew.
#[derive(Debug, Clone)]
pub struct Site {
    pub bytes: Bytes,
    pub shape: Shape,
    /// Indexes into the list of all mutants.
    pub mutants: Vec<usize>,
    pub form: Form,
}

/// What stands there. The order is that of nesting where two shapes hold the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// The word `const` of a function, which goes: it could not ask which mutant is on.
    Const {
        function: String,
    },
    /// Where a function's body begins.
    Body,
    /// Where an arm's guard would stand, behind the pattern.
    Arm,
    /// A guard of an arm that can be deleted.
    GuardedArm,
    Guard,
    /// The bytes of the operator and its operands.
    Binary {
        left: (usize, usize),
        operator: (usize, usize),
        right: (usize, usize),
        effect: Effect,
    },
    Unary {
        operand: (usize, usize),
    },
    Struct,
}

/// What a binary operator does besides giving a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It compares what it borrows.
    Compares,
    /// It combines two numbers bit by bit.
    Bits,
    /// It may overflow, assign, or leave its right operand alone.
    Acts,
}

/// How a site is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All values are worked out, one is chosen.
    Values,
    /// One branch a mutant.
    Branches,
}

/// The sites of a file, outer ones before those within them. Mutants that cannot be switched on are marked.
pub fn find(text: &str, in_file: &[usize], mutants: &mut [Mutant]) -> Result<Vec<Site>> {
    let mut finder = Finder::default();
    finder.visit_file(&syn::parse_file(text)?);
    let mut sites = Vec::new();
    for (bytes, function, body) in finder.const_functions {
        let inner = |index: &&usize| body.contains(&mutants[**index].span.start);
        let mutants = in_file.iter().filter(inner).copied().collect();
        sites.push(Site { bytes, shape: Shape::Const { function }, mutants, form: Form::Values });
    }
    for &index in in_file {
        let mutant = &mut mutants[index];
        if finder.planted.iter().any(|planted| planted.hold(mutant)) {
            mutant.state = State::Planted;
            continue;
        }
        let key = (mutant.genre, mutant.span.start);
        let Some(found) = finder.found.get(&key) else {
            return Err(format!("nothing found at {}:{}", mutant.key(), mutant.line).into());
        };
        match found {
            Found::Site(bytes, shape) => {
                let cannot_return =
                    mutant.genre == Genre::FnValue && mutant.return_type.contains("impl ");
                if cannot_return {
                    mutant.state = State::Alone;
                    continue;
                }
                let same = |site: &&mut Site| site.bytes == *bytes && site.shape == *shape;
                if let Some(site) = sites.iter_mut().find(same) {
                    site.mutants.push(index);
                } else {
                    let (bytes, shape) = (bytes.clone(), shape.clone());
                    let mutants = vec![index];
                    sites.push(Site { bytes, shape, mutants, form: Form::Values });
                }
            }
            Found::Frozen => mutant.state = State::Alone,
            Found::LetChain => mutant.state = State::Unviable,
        }
    }
    sites.sort_by_key(|site| (site.bytes.start, Reverse(site.bytes.end), site.shape.clone()));
    Ok(sites)
}

#[derive(Debug)]
enum Found {
    Site(Bytes, Shape),
    /// Worked out by the compiler.
    Frozen,
    /// A chain that holds a `let` knows `&&` alone.
    LetChain,
}

/// Code that runs only where a bug is planted, which it is not here.
#[derive(Debug)]
enum Planted {
    Code(Bytes),
    /// A guard, and the arm that it is of: neither holds, or is missed.
    Guard { guard: usize, arm: usize },
}

impl Planted {
    fn hold(&self, mutant: &Mutant) -> bool {
        let at = mutant.span.start;
        match (self, mutant.genre) {
            (Self::Code(bytes), _) => bytes.contains(&at),
            (Self::Guard { guard, .. }, Genre::MatchArmGuard) => {
                at == *guard && mutant.replacement == "false"
            }
            (Self::Guard { arm, .. }, Genre::MatchArm) => at == *arm,
            (Self::Guard { .. }, _) => false,
        }
    }
}

#[derive(Default)]
struct Finder {
    found: HashMap<(Genre, usize), Found>,
    /// Code of planted bugs.
    planted: Vec<Planted>,
    /// How many constants we are within.
    frozen: usize,
    /// The bytes of `const`, the function's name, and its bytes.
    const_functions: Vec<(Bytes, String, Bytes)>,
}

impl Finder {
    fn add(&mut self, genre: Genre, at: usize, bytes: Bytes, shape: Shape) {
        let found = if self.frozen > 0 { Found::Frozen } else { Found::Site(bytes, shape) };
        self.found.insert((genre, at), found);
    }

    fn within_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.frozen += 1;
        visit(self);
        self.frozen -= 1;
    }

    fn function(&mut self, signature: &Signature, block: &Block, visit: impl FnOnce(&mut Self)) {
        if let Some(word) = &signature.constness {
            let function = (bytes(word), signature.ident.to_string(), bytes(block));
            self.const_functions.push(function);
        }
        if let Some(first) = block.stmts.first() {
            let start = block.brace_token.span.open().byte_range().end;
            self.add(Genre::FnValue, bytes(first).start, start..start, Shape::Body);
        }
        visit(self);
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, |this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block, |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        match &item.default {
            Some(block) => {
                self.function(&item.sig, block, |this| visit::visit_trait_item_fn(this, item));
            }
            None => visit::visit_trait_item_fn(self, item),
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within_constant(|this| visit::visit_item_const(this, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.within_constant(|this| visit::visit_item_static(this, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within_constant(|this| visit::visit_impl_item_const(this, item));
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.within_constant(|this| visit::visit_expr_const(this, block));
    }

    fn visit_type(&mut self, kind: &'ast syn::Type) {
        self.within_constant(|this| visit::visit_type(this, kind));
    }

    fn visit_pat(&mut self, pattern: &'ast syn::Pat) {
        self.within_constant(|this| visit::visit_pat(this, pattern));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.within_constant(|this| this.visit_expr(&repeat.len));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let at = bytes(&binary.op).start;
        if matches!(binary.op, BinOp::And(_)) {
            // What stands beside a planted bug decides only whether the bug strikes.
            for (side, other) in [(&binary.left, &binary.right), (&binary.right, &binary.left)] {
                if is_planted(other) {
                    self.planted.push(Planted::Code(bytes(&**side)));
                }
            }
        }
        if matches!(binary.op, BinOp::And(_)) && (has_let(&binary.left) || has_let(&binary.right)) {
            self.found.insert((Genre::BinaryOperator, at), Found::LetChain);
        } else {
            let (left, right) = (bytes(&binary.left), bytes(&binary.right));
            let shape = Shape::Binary {
                left: (left.start, left.end),
                right: (right.start, right.end),
                operator: (at, bytes(&binary.op).end),
                effect: effect(&binary.op),
            };
            self.add(Genre::BinaryOperator, at, bytes(binary), shape);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_if(&mut self, branches: &'ast syn::ExprIf) {
        if is_planted(&branches.cond) {
            self.planted.push(Planted::Code(bytes(&branches.then_branch)));
        }
        if let (Expr::Unary(unary), Some((_, otherwise))) = (&*branches.cond, &branches.else_branch)
            && matches!(unary.op, UnOp::Not(_))
            && is_planted(&unary.expr)
        {
            self.planted.push(Planted::Code(bytes(&**otherwise)));
        }
        visit::visit_expr_if(self, branches);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "then" && is_planted(&call.receiver) {
            self.planted.push(Planted::Code(bytes(&call.args)));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let operand = bytes(&unary.expr);
            let shape = Shape::Unary { operand: (operand.start, operand.end) };
            self.add(Genre::UnaryOperator, bytes(&unary.op).start, bytes(unary), shape);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let behind = bytes(&arm.pat).end;
        let (bytes_of, shape) = match &arm.guard {
            Some((_, guard)) => (bytes(guard), Shape::GuardedArm),
            None => (behind..behind, Shape::Arm),
        };
        self.add(Genre::MatchArm, bytes(arm).start, bytes_of, shape);
        if let Some((_, guard)) = &arm.guard {
            let at = bytes(guard);
            if is_planted(guard) {
                self.planted.push(Planted::Code(bytes(&arm.body)));
                self.planted.push(Planted::Guard { guard: at.start, arm: bytes(arm).start });
            }
            if has_let(guard) {
                self.found.insert((Genre::MatchArmGuard, at.start), Found::Frozen);
            } else {
                self.add(Genre::MatchArmGuard, at.start, at, Shape::Guard);
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, made: &'ast syn::ExprStruct) {
        for field in &made.fields {
            self.add(Genre::StructField, bytes(field).start, bytes(made), Shape::Struct);
        }
        visit::visit_expr_struct(self, made);
    }
}

fn bytes(of: &impl Spanned) -> Bytes {
    of.span().byte_range()
}

/// Whether this holds only where a bug is planted.
fn is_planted(expression: &Expr) -> bool {
    match expression {
        Expr::Macro(call) => {
            let of = &call.mac.path;
            of.is_ident("twin") || of.is_ident("race")
        }
        Expr::Paren(inner) => is_planted(&inner.expr),
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            is_planted(&binary.left) || is_planted(&binary.right)
        }
        Expr::Let(held) => is_planted(&held.expr),
        Expr::MethodCall(call) if call.method == "filter" => call.args.iter().any(is_planted),
        Expr::Closure(closure) => is_planted(&closure.body),
        _ => false,
    }
}

/// Whether a chain of `&&` holds a `let`.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            has_let(&binary.left) || has_let(&binary.right)
        }
        _ => false,
    }
}

fn effect(operator: &BinOp) -> Effect {
    match operator {
        BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => {
            Effect::Compares
        }
        BinOp::BitAnd(_) | BinOp::BitOr(_) | BinOp::BitXor(_) => Effect::Bits,
        _ => Effect::Acts,
    }
}
