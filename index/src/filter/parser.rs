//! From words to a tree: recursive descent, one function a rule of the grammar.

use std::sync::Arc;

use super::expression::{Comparison, Condition, Constant, Expression, Kind, Literal, Span, Test};
use super::lexer::{Lexer, Token};
use super::{
    FilterError, FilterProblem as Problem, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_TESTS,
    MAX_FILTER_VALUES,
};

const FIELD: &str = "a field, not or (";
const VALUE: &str = "a value: a number, a text in quotes, true or false";
const TEXT: &str = "a text in quotes";
const OPERATOR: &str =
    "an operator: =, !=, <, <=, >, >=, in, not in, between, starts with or is null";

/// Reads a whole text.
pub(crate) fn parse(text: &Arc<str>) -> Result<Expression, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError::new(text, MAX_FILTER_BYTES..text.len(), Problem::TooLong));
    }
    let mut lexer = Lexer::new(text);
    let (token, at) = lexer.next()?;
    let mut parser = Parser { text, lexer, token, at, depth: 0, tests: 0 };
    let root = parser.any()?;
    match parser.token {
        Token::End => Ok(root),
        // A field alone could still become a test.
        _ if is_bare(&root) => Err(parser.unexpected(&format!("{OPERATOR}; or and, or, the end"))),
        _ => Err(parser.unexpected("and, or, or the end")),
    }
}

/// One word ahead of what is read.
struct Parser<'a> {
    text: &'a Arc<str>,
    lexer: Lexer<'a>,
    token: Token,
    at: Span,
    /// Open parentheses and `not`s.
    depth: usize,
    tests: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expression, FilterError> {
        let mut any = self.all()?;
        while self.take_word("or")? {
            any = any.or(self.all()?);
        }
        Ok(any)
    }

    fn all(&mut self) -> Result<Expression, FilterError> {
        let mut all = self.one()?;
        while self.take_word("and")? {
            all = all.and(self.one()?);
        }
        Ok(all)
    }

    fn one(&mut self) -> Result<Expression, FilterError> {
        let start = self.at;
        if self.take_word("not")? || self.take_symbol("!")? {
            self.nest(start)?;
            let inner = self.one()?;
            self.depth -= 1;
            return Ok(inner.negated());
        }
        if self.take_symbol("(")? {
            self.nest(start)?;
            let inner = self.any()?;
            self.depth -= 1;
            if !self.take_symbol(")")? {
                let expected = "and, or, or ) that closes the one before";
                return Err(match is_bare(&inner) {
                    true => self.unexpected(&format!("{OPERATOR}; or {expected}")),
                    false => self.unexpected(expected),
                });
            }
            return Ok(inner);
        }
        self.test()
    }

    fn nest(&mut self, at: Span) -> Result<(), FilterError> {
        self.depth += 1;
        match self.depth {
            0..=MAX_FILTER_DEPTH => Ok(()),
            _ => Err(self.error(at, Problem::TooDeep)),
        }
    }

    fn test(&mut self) -> Result<Expression, FilterError> {
        let name_at = self.at;
        let name = match self.token.clone() {
            Token::Name(name) => name,
            Token::Word(word) if super::lexer::is_plain_name(&word) => word,
            _ => return Err(self.unexpected(FIELD)),
        };
        self.tests += 1;
        if self.tests > MAX_FILTER_TESTS {
            return Err(self.error(name_at, Problem::TooManyTests));
        }
        self.advance()?;
        let operator_at = self.at;
        let condition = match self.condition()? {
            Some(condition) => condition,
            // Alone it is a test of what is true or false.
            None => Condition::Compare(
                Comparison::Equal,
                Constant { literal: Literal(Kind::Bool(true)), at: name_at },
            ),
        };
        Ok(Expression::Test(Test { name, name_at, condition, at: operator_at }))
    }

    /// What stands behind a field, if anything does that is an operator.
    fn condition(&mut self) -> Result<Option<Condition>, FilterError> {
        for comparison in Comparison::ALL {
            if self.take_symbol(comparison.symbol())? {
                return Ok(Some(Condition::Compare(comparison, self.constant()?)));
            }
        }
        if self.take_symbol("!=")? {
            return Ok(Some(Condition::Unequal(self.constant()?)));
        }
        if self.take_word("not")? {
            return match self.take_word("in")? {
                true => Ok(Some(Condition::In { constants: self.list()?, negated: true })),
                false => {
                    Err(self.unexpected("in: a not before other tests stands before the field"))
                }
            };
        }
        if self.take_word("in")? {
            return Ok(Some(Condition::In { constants: self.list()?, negated: false }));
        }
        if self.take_word("between")? {
            let low = self.constant()?;
            if !self.take_word("and")? {
                return Err(self.unexpected("and, and the upper bound"));
            }
            return Ok(Some(Condition::Between(low, self.constant()?)));
        }
        if self.take_word("starts")? {
            if !self.take_word("with")? {
                return Err(self.unexpected("with, and a text in quotes"));
            }
            return Ok(Some(Condition::StartsWith(self.text()?)));
        }
        if self.take_word("is")? {
            let negated = self.take_word("not")?;
            return match self.take_word("null")? {
                true => Ok(Some(Condition::IsNull { negated })),
                false => Err(self.unexpected(if negated { "null" } else { "null or not null" })),
            };
        }
        Ok(None)
    }

    fn list(&mut self) -> Result<Vec<Constant>, FilterError> {
        let mut constants = Vec::new();
        if !self.take_symbol("(")? {
            return Err(self.unexpected("a list of values in parentheses"));
        }
        if self.take_symbol(")")? {
            return Ok(constants);
        }
        loop {
            if constants.len() == MAX_FILTER_VALUES {
                return Err(self.error(self.at, Problem::TooManyValues));
            }
            constants.push(self.constant()?);
            if self.take_symbol(")")? {
                return Ok(constants);
            }
            if !self.take_symbol(",")? {
                return Err(self.unexpected(", and another value, or ) that ends the list"));
            }
        }
    }

    fn constant(&mut self) -> Result<Constant, FilterError> {
        let at = self.at;
        let kind = match &self.token {
            Token::Value(kind) => kind.clone(),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Kind::Bool(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Kind::Bool(false),
            _ => return Err(self.unexpected(VALUE)),
        };
        self.advance()?;
        Ok(Constant { literal: Literal(kind), at })
    }

    fn text(&mut self) -> Result<String, FilterError> {
        let Token::Value(Kind::Text(text)) = &self.token else {
            return Err(self.unexpected(TEXT));
        };
        let text = text.clone();
        self.advance()?;
        Ok(text)
    }

    /// Goes on where this word is next.
    fn take_word(&mut self, word: &str) -> Result<bool, FilterError> {
        let is_next = matches!(&self.token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    /// Goes on where this symbol is next.
    fn take_symbol(&mut self, symbol: &str) -> Result<bool, FilterError> {
        let is_next = self.token == Token::Symbol && self.found() == symbol;
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn found(&self) -> &str {
        &self.text[self.at.start..self.at.end]
    }

    fn advance(&mut self) -> Result<(), FilterError> {
        (self.token, self.at) = self.lexer.next()?;
        Ok(())
    }

    fn unexpected(&self, expected: &str) -> FilterError {
        self.error(self.at, Problem::Unexpected { expected: expected.into() })
    }

    fn error(&self, at: Span, problem: Problem) -> FilterError {
        FilterError::new(self.text, at.start..at.end, problem)
    }
}

/// Whether the last thing read was a field without an operator.
fn is_bare(expression: &Expression) -> bool {
    match expression {
        Expression::Test(test) => match &test.condition {
            Condition::Compare(_, constant) => constant.at.start == test.name_at.start,
            _ => false,
        },
        Expression::Not(inner) => is_bare(inner),
        Expression::All(children) | Expression::Any(children) => {
            children.last().is_some_and(is_bare)
        }
        Expression::TooDeep => false,
    }
}
