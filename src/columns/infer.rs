//! What each field is, by all that rows have under its key.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use ringpool_index::{Field, FieldType, MAX_FIELDS, parse_timestamp};

use super::token::{Cell, Token, too_large};
use super::{ColumnFileError, ColumnSpec, ID, IdKey, Result};

/// Texts are keywords where no more different ones are there,
pub const FEW_WORDS: usize = 256;
/// or where each is there in so many rows on average,
pub const ROWS_A_WORD: usize = 20;
/// and none is longer than this.
pub const MAX_FEW_WORD_BYTES: usize = 256;

/// What was seen of a file's rows.
pub(super) struct Seen {
    path: PathBuf,
    points: usize,
    rows: u64,
    /// In the order in which they came.
    keys: Vec<Key>,
    numbers: HashMap<String, usize>,
    pub(super) ids: IdKey,
    /// The last row that had an id.
    last_id: Option<u64>,
}

/// What was seen of one key.
struct Key {
    name: String,
    /// Rows with a value.
    values: u64,
    last_row: Option<u64>,
    /// The first value that is not null, and the first of another kind.
    first: Option<(u64, &'static str)>,
    other: Option<(u64, &'static str)>,
    decimals: bool,
    /// The first whole number that 64 bits do not hold.
    large: Option<(u64, String)>,
    timestamps: bool,
    /// The different texts; none where there are too many, or too long ones.
    words: Option<HashSet<Box<str>>>,
}

impl Seen {
    /// Nothing yet, of a file for so many vectors.
    pub(super) fn new(path: &Path, points: usize) -> Self {
        Self {
            path: path.into(),
            points,
            rows: 0,
            keys: Vec::new(),
            numbers: HashMap::new(),
            ids: IdKey::Absent,
            last_id: None,
        }
    }

    /// Looks at a row.
    pub(super) fn take(&mut self, row: u64, cells: &mut Vec<Cell<'_>>) -> Result<()> {
        let max_words = FEW_WORDS.max(self.points / ROWS_A_WORD);
        self.rows = row + 1;
        if self.rows > self.points as u64 {
            return Err(self.other_rows(format!("more than {}", self.points)));
        }
        for (name, token) in cells.drain(..) {
            if name == ID {
                self.take_id(row, &token)?;
                continue;
            }
            let key = self.key(row, &name)?;
            if key.last_row.replace(row) == Some(row) {
                let (path, name) = (self.path.clone(), name.into_owned());
                return Err(ColumnFileError::Duplicate { path, row, name });
            }
            if let Token::Nested(found) = token {
                let (path, name) = (self.path.clone(), name.into_owned());
                return Err(ColumnFileError::Nested { path, row, name, found });
            }
            key.take(row, &token, max_words);
        }
        if self.ids != IdKey::Absent && self.last_id != Some(row) {
            self.ids = IdKey::Others;
        }
        Ok(())
    }

    /// The fields that the file has, where it has a row for each vector.
    pub(super) fn fields(self, specs: &[ColumnSpec]) -> Result<Vec<Field>> {
        if self.rows != self.points as u64 {
            return Err(self.other_rows(self.rows.to_string()));
        }
        for spec in specs {
            if !self.numbers.contains_key(&spec.name) {
                return Err(self.no_such_field(&spec.name));
            }
        }
        let field = |key: &Key| {
            let nullable = key.values < self.rows;
            // Of several the last, as everywhere on a command line.
            let spec = specs.iter().rev().find(|spec| spec.name == key.name);
            match spec {
                Some(spec) => Ok(spec.field(nullable)),
                None => {
                    let field = Field::new(&*key.name, key.field_type(&self.path)?);
                    Ok(Field { nullable, ..field })
                }
            }
        };
        self.keys.iter().map(field).collect()
    }

    fn key(&mut self, row: u64, name: &str) -> Result<&mut Key> {
        let number = match self.numbers.get(name) {
            Some(&number) => number,
            None if self.keys.len() == MAX_FIELDS => {
                return Err(ColumnFileError::TooManyFields { path: self.path.clone(), row });
            }
            None => {
                self.keys.push(Key::new(name));
                self.numbers.insert(name.into(), self.keys.len() - 1);
                self.keys.len() - 1
            }
        };
        Ok(&mut self.keys[number])
    }

    fn take_id(&mut self, row: u64, token: &Token<'_>) -> Result<()> {
        if self.last_id.replace(row) == Some(row) {
            let (path, name) = (self.path.clone(), ID.into());
            return Err(ColumnFileError::Duplicate { path, row, name });
        }
        let is_row = matches!(*token, Token::Integer(id) if id == row as i64);
        // A row before that had none is another, too.
        let so_far = self.ids == IdKey::Rows || (self.ids == IdKey::Absent && row == 0);
        self.ids = if is_row && so_far { IdKey::Rows } else { IdKey::Others };
        Ok(())
    }

    fn other_rows(&self, rows: String) -> ColumnFileError {
        let (path, points) = (self.path.clone(), self.points);
        ColumnFileError::Rows { path, rows, points }
    }

    fn no_such_field(&self, name: &str) -> ColumnFileError {
        let likeness = |key: &&Key| strsim::damerau_levenshtein(name, &key.name);
        let nearest = self.keys.iter().min_by_key(likeness);
        let nearest = nearest.map_or(String::new(), |key| format!("; is it {:?}?", key.name));
        ColumnFileError::NoSuchField { path: self.path.clone(), name: name.into(), nearest }
    }
}

impl Key {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            values: 0,
            last_row: None,
            first: None,
            other: None,
            decimals: false,
            large: None,
            timestamps: true,
            words: Some(HashSet::new()),
        }
    }

    fn take(&mut self, row: u64, token: &Token<'_>, max_words: usize) {
        if *token == Token::Null {
            return;
        }
        self.values += 1;
        let kind = match token {
            Token::Integer(_) | Token::Large(_) | Token::Decimal(_) => "a number",
            other => other.kind(),
        };
        match self.first {
            None => self.first = Some((row, kind)),
            Some((_, first)) if first != kind => self.other = self.other.or(Some((row, kind))),
            Some(_) => {}
        }
        match token {
            Token::Decimal(_) => self.decimals = true,
            Token::Large(value) if self.large.is_none() => {
                self.large = Some((row, value.clone().into_owned()));
            }
            Token::Text(text) => {
                self.timestamps &= parse_timestamp(text).is_some();
                if text.len() > MAX_FEW_WORD_BYTES {
                    self.words = None;
                }
                self.take_word(text, max_words);
            }
            _ => {}
        }
    }

    fn take_word(&mut self, text: &str, max_words: usize) {
        if let Some(words) = &mut self.words {
            if !words.contains(text) {
                words.insert(text.into());
            }
            if words.len() > max_words {
                self.words = None;
            }
        }
    }

    fn field_type(&self, path: &Path) -> Result<FieldType> {
        let name = || self.name.clone();
        let Some((first_row, first)) = self.first else {
            return Err(ColumnFileError::NoValues { path: path.into(), name: name() });
        };
        if let Some((row, found)) = self.other {
            let (path, name) = (path.into(), name());
            return Err(ColumnFileError::Mixed { path, name, first_row, first, row, found });
        }
        Ok(match first {
            "a number" if self.decimals => FieldType::F64,
            "a number" => match &self.large {
                Some((row, value)) => return Err(too_large(path, *row, &self.name, value)),
                None => FieldType::I64,
            },
            "true or false" => FieldType::Bool,
            "a timestamp" => FieldType::Timestamp,
            _ if self.timestamps => FieldType::Timestamp,
            _ if self.words.is_some() => FieldType::Keyword,
            _ => FieldType::Text,
        })
    }
}
