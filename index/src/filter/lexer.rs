//! The words of a filter's text, one after the other.
//!
//! What is a word is decided here and what it may be is not: a symbol that means nothing is a word
//! too, so that whoever expected another can say what.

use std::sync::Arc;

use super::FilterError;
use super::FilterProblem as Problem;
use super::expression::{Kind, Span};

/// Words that fields are called by in backticks alone.
const KEYWORDS: [&str; 11] =
    ["and", "or", "not", "in", "between", "starts", "with", "is", "null", "true", "false"];

/// A word of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A keyword or a field, as it was written.
    Word(String),
    /// A field in backticks.
    Name(String),
    /// A number, or a text in quotes.
    Value(Kind),
    /// `(`, `!=` and the like, and whatever else is no part of the language.
    Symbol,
    End,
}

/// Reads a text from its start to its end.
pub(crate) struct Lexer<'a> {
    text: &'a Arc<str>,
    at: usize,
}

/// Whether a field is called by this name without backticks.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let is_keyword = KEYWORDS.iter().any(|word| word.eq_ignore_ascii_case(name));
    name.starts_with(begins_name) && name.chars().all(continues_name) && !is_keyword
}

fn begins_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a Arc<str>) -> Self {
        Self { text, at: 0 }
    }

    /// The next word, and where it stands.
    pub(crate) fn next(&mut self) -> Result<(Token, Span), FilterError> {
        self.take_while(char::is_whitespace);
        let start = self.at;
        let token = match self.peek() {
            None => Token::End,
            Some('"' | '\'') => Token::Value(Kind::Text(self.quoted()?)),
            Some('`') => Token::Name(self.quoted()?),
            Some('-' | '0'..='9') => Token::Value(self.number()?),
            Some(c) if begins_name(c) => Token::Word(self.take_while(continues_name).into()),
            Some(_) => {
                self.symbol();
                Token::Symbol
            }
        };
        Ok((token, Span { start, end: self.at }))
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take_while(&mut self, belongs: impl FnMut(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let taken = &rest[..rest.len() - rest.trim_start_matches(belongs).len()];
        self.at += taken.len();
        taken
    }

    fn error(&self, start: usize, problem: Problem) -> FilterError {
        FilterError::new(self.text, start..self.at, problem)
    }

    fn symbol(&mut self) {
        // What looks like one operator is one word: "==" is not two times "=".
        if self.take_while(|c| "=<>&|~^%*/+".contains(c)).is_empty() {
            let is_unequal = self.text[self.at..].starts_with("!=");
            let one = self.peek().map_or(0, char::len_utf8);
            self.at += if is_unequal { 2 } else { one };
        }
    }

    fn number(&mut self) -> Result<Kind, FilterError> {
        let start = self.at;
        let mut before = '-';
        let word = self.take_while(|c| {
            let is_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E' | '-');
            let belongs = c.is_alphanumeric() || matches!(c, '.' | '_') || is_sign;
            before = if c == '-' { ' ' } else { c };
            belongs
        });
        if !is_number(word) {
            return Err(self.error(start, Problem::NoNumber));
        }
        let too_large = || self.error(start, Problem::TooLarge);
        if word.contains(['.', 'e', 'E']) {
            let number = word.parse().ok().filter(|number: &f64| number.is_finite());
            return number.map(Kind::Decimal).ok_or_else(too_large);
        }
        let fits = |number: &i128| (i64::MIN.into()..=u64::MAX.into()).contains(number);
        word.parse().ok().filter(fits).map(Kind::Whole).ok_or_else(too_large)
    }

    /// What stands in quotes, without its escapes.
    fn quoted(&mut self) -> Result<String, FilterError> {
        let start = self.at;
        let quote = self.text[start..].chars().next().unwrap_or_default();
        self.at += quote.len_utf8();
        let mut content = String::new();
        loop {
            content.push_str(self.take_while(|c| c != quote && c != '\\'));
            match self.peek() {
                Some('\\') => content.push(self.escaped()?),
                Some(_) => {
                    self.at += quote.len_utf8();
                    return Ok(content);
                }
                None => return Err(self.error(start, Problem::Unclosed { quote })),
            }
        }
    }

    /// The character that a backslash and what follows it stand for.
    fn escaped(&mut self) -> Result<char, FilterError> {
        let start = self.at;
        self.at += 1;
        let letter = self.peek();
        self.at += letter.map_or(0, char::len_utf8);
        let character = match letter {
            Some(c @ ('\\' | '"' | '\'' | '`')) => Some(c),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => self.code_point(),
            _ => None,
        };
        character.ok_or_else(|| self.error(start, Problem::Escape))
    }

    /// What is in the braces after `\u`: a number that is a character's.
    fn code_point(&mut self) -> Option<char> {
        let rest = self.text[self.at..].strip_prefix('{')?;
        let (digits, _) = rest.split_once('}')?;
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal)?;
        self.at += digits.len() + 2;
        char::from_u32(number)
    }
}

/// Whether the word is a number of the grammar.
fn is_number(word: &str) -> bool {
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = match word.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (word, None),
    };
    let exponent = exponent.map(|word| word.strip_prefix(['+', '-']).unwrap_or(word));
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole) && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}
