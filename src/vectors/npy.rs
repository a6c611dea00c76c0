//! NumPy's `.npy`: a magic string, a header that is a Python literal, then the array.
//!
//! The header is parsed here and not by a crate: three keys of three known kinds are all that can
//! stand in it, while the crates parse any Python literal, recursively, and take memory for the
//! length that the file claims. Versions 1.0, 2.0 and 3.0 differ in the width of the length and
//! in the encoding, of which these three keys need ASCII only.

use ringpool_index::{Element, MAX_DIM};

use super::contents::{Contents, LittleEndian};
use super::rows::Rows;
use super::{Result, VectorFileError};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read. NumPy's own are below 200 bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// The element types that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NpyElement {
    F32,
    F16,
    Bf16,
    U8,
    I8,
}

/// What a header says, once it is known to be possible.
pub(super) struct Header {
    pub(super) element: NpyElement,
    pub(super) rows: u64,
    pub(super) dim: usize,
}

/// NumPy's name of an element type.
pub(super) fn descr(element: Element) -> &'static str {
    match element {
        Element::F32 => "<f4",
        Element::F16 => "<f2",
        // As ml_dtypes' bfloat16 is saved.
        Element::Bf16 => "<V2",
        Element::U8 => "|u1",
        Element::I8 => "|i1",
    }
}

/// The header of `rows` rows of `dim` elements as numpy.save writes it: the array begins at a
/// multiple of 64 bytes.
pub(super) fn header(descr: &str, rows: u64, dim: usize) -> Vec<u8> {
    const ALIGNMENT: usize = 64;
    let literal =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let before = MAGIC.len() + 4;
    let length = (before + literal.len() + 1).next_multiple_of(ALIGNMENT) - before;
    let mut bytes = [MAGIC, &[1, 0][..]].concat();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{literal:<width$}\n", width = length - 1).into_bytes());
    bytes
}

/// Reads the header of vectors; the contents then stand at the array's first byte.
pub(super) fn read_header(contents: &mut Contents) -> Result<Header> {
    read_literal(contents)?.check(contents)
}

fn read_literal(contents: &mut Contents) -> Result<Literal> {
    let mut start = [0; 8];
    let had = contents.fill(&mut start)?;
    if had == 0 {
        let path = contents.path().to_owned();
        return Err(VectorFileError::Empty { path });
    }
    if had >= MAGIC.len() && !start.starts_with(MAGIC) {
        return Err(refused(contents, "is no .npy file: it does not start with \\x93NUMPY"));
    }
    if had < start.len() {
        return Err(contents.truncated("the header".into(), 0, start.len() as u64));
    }
    let mut length = [0; 4];
    let width = match (start[6], start[7]) {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        (major, minor) => {
            let reason =
                format!(".npy version {major}.{minor} is unknown; save it as 1.0, 2.0 or 3.0");
            return Err(refused(contents, reason));
        }
    };
    if contents.fill(&mut length[..width])? < width {
        let expected = (start.len() + width) as u64;
        return Err(contents.truncated("the header".into(), 0, expected));
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        let reason =
            format!("claims a header of {length} bytes, where {MAX_HEADER_BYTES} are possible");
        return Err(refused(contents, reason));
    }
    let mut text = Vec::new();
    contents.append(length.into(), &mut text, || "the header".into())?;
    Literal::parse(&text).ok_or_else(|| {
        let reason = "has a header that cannot be read: 'descr', 'fortran_order' and 'shape' of one \
                      plain array are expected; save it with numpy.save";
        refused(contents, reason)
    })
}

/// Whole numbers, as they are in the file or wider.
pub(super) enum Integers {
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
}

/// Reads an array of whole numbers of 32 or 64 bits: its lengths, as many as are expected, and what
/// is in it.
pub(super) fn read_integers<const DIMENSIONS: usize>(
    contents: &mut Contents,
) -> Result<([u64; DIMENSIONS], Integers)> {
    let literal = read_literal(contents)?;
    let Ok(shape) = <[u64; DIMENSIONS]>::try_from(literal.shape.as_slice()) else {
        let found = &literal.shape;
        let reason = format!("has the shape {found:?}, where {DIMENSIONS} lengths are expected");
        return Err(refused(contents, reason));
    };
    if shape.contains(&0) {
        return Err(VectorFileError::Empty { path: contents.path().to_owned() });
    }
    if literal.fortran_order && DIMENSIONS > 1 {
        let reason = "is in Fortran order; convert it with numpy.ascontiguousarray";
        return Err(refused(contents, reason));
    }
    let integers = match literal.descr.as_str() {
        "<i8" => Integers::Signed(read_array(contents, &shape)?),
        "<u8" => Integers::Unsigned(read_array(contents, &shape)?),
        "<i4" => {
            let narrow: Vec<i32> = read_array(contents, &shape)?;
            Integers::Signed(narrow.into_iter().map(i64::from).collect())
        }
        "<u4" => {
            let narrow: Vec<u32> = read_array(contents, &shape)?;
            Integers::Unsigned(narrow.into_iter().map(u64::from).collect())
        }
        other => {
            let reason = format!(
                "holds elements of type {other:?}, where <u8, <i8, <u4 and <i4 are possible; convert \
                 it with .astype('<u8')"
            );
            return Err(refused(contents, reason));
        }
    };
    Ok((shape, integers))
}

/// Reads the array that `header` describes, which must be all that is left.
pub(super) fn read_values<T: LittleEndian>(
    contents: &mut Contents,
    header: &Header,
) -> Result<Rows<T>> {
    let values = read_array(contents, &[header.rows, header.dim as u64])?;
    Ok(Rows { dim: header.dim, values })
}

/// Reads an array of these lengths, which must be all that is left.
fn read_array<T: LittleEndian>(contents: &mut Contents, shape: &[u64]) -> Result<Vec<T>> {
    let count = shape.iter().try_fold(1_u64, |count, &length| count.checked_mul(length));
    let bytes = count.and_then(|count| count.checked_mul(size_of::<T>() as u64));
    let (Some(count), Some(bytes)) = (count, bytes) else {
        let reason = format!("claims the shape {shape:?}, more than any file holds");
        return Err(refused(contents, reason));
    };
    let (start, mut values) = (contents.offset(), Vec::new());
    if let Some(left) = contents.left() {
        if left < bytes {
            return Err(VectorFileError::Truncated {
                path: contents.path().to_owned(),
                part: "the array".into(),
                offset: start,
                expected_bytes: bytes,
                found_bytes: left,
            });
        }
        contents.reserve(&mut values, count)?;
    }
    contents.append(count, &mut values, || "the array".into())?;
    let offset = contents.offset();
    if contents.fill(&mut [0])? > 0 {
        let path = contents.path().to_owned();
        return Err(VectorFileError::TrailingBytes { path, offset });
    }
    Ok(values)
}

fn refused(contents: &Contents, reason: impl Into<String>) -> VectorFileError {
    VectorFileError::Npy { path: contents.path().to_owned(), reason: reason.into() }
}

/// The header's dictionary, word by word.
struct Literal {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Literal {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, the keys in any order
    /// and each once. `None` for anything else.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut rest = Text(std::str::from_utf8(text).ok()?);
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        rest.take("{")?;
        while rest.take("}").is_none() {
            let key = rest.string()?;
            rest.take(":")?;
            let again = match key {
                "descr" => descr.replace(rest.string()?.to_owned()).is_some(),
                "fortran_order" => fortran_order.replace(rest.boolean()?).is_some(),
                "shape" => shape.replace(rest.tuple()?).is_some(),
                _ => return None,
            };
            if again || (rest.take(",").is_none() && !rest.0.trim_start().starts_with('}')) {
                return None;
            }
        }
        rest.0.trim().is_empty().then_some(Self {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }

    /// Whether the array is one of vectors.
    fn check(&self, contents: &Contents) -> Result<Header> {
        let element = match self.descr.as_str() {
            "<f4" => NpyElement::F32,
            "<f2" => NpyElement::F16,
            // NumPy has no bfloat16: arrays of ml_dtypes' are saved as two bytes that mean nothing.
            "<V2" | "|V2" => NpyElement::Bf16,
            "|u1" | "<u1" => NpyElement::U8,
            "|i1" | "<i1" => NpyElement::I8,
            big if big.starts_with('>') => {
                let reason =
                    format!("holds big-endian elements ({big}); convert it with .astype('<f4')");
                return Err(refused(contents, reason));
            }
            other => {
                let reason = format!(
                    "holds elements of type {other:?}, where <f4, <f2, |V2 (bfloat16), |u1 and |i1 \
                     are possible; convert it with .astype('<f4')"
                );
                return Err(refused(contents, reason));
            }
        };
        let &[rows, dim] = self.shape.as_slice() else {
            let reason =
                format!("has the shape {:?}, where (rows, dimensions) is expected", self.shape);
            return Err(refused(contents, reason));
        };
        if self.fortran_order {
            let reason = "is in Fortran order; convert it with numpy.ascontiguousarray";
            return Err(refused(contents, reason));
        }
        let path = contents.path().to_owned();
        match usize::try_from(dim) {
            Ok(dim) if rows > 0 && (1..=MAX_DIM).contains(&dim) => {
                Ok(Header { element, rows, dim })
            }
            _ if rows == 0 => Err(VectorFileError::Empty { path }),
            _ => Err(VectorFileError::Dimension { path, row: 0, offset: 0, found: dim.into() }),
        }
    }
}

/// What is left of a literal. Each method eats what it returns, and spaces before it.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn take(&mut self, word: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(word)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = if self.take("'").is_some() { '\'' } else { self.take("\"").map(|()| '"')? };
        let (string, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        (!string.contains('\\')).then_some(string)
    }

    fn boolean(&mut self) -> Option<bool> {
        let yes = self.take("True").is_some();
        (yes || self.take("False").is_some()).then_some(yes)
    }

    fn number(&mut self) -> Option<u64> {
        let text = self.0.trim_start();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        self.0 = &text[end..];
        text[..end].parse().ok()
    }

    /// A tuple of numbers: `()`, `(3,)`, `(3, 4)` or `(3, 4, )`.
    fn tuple(&mut self) -> Option<Vec<u64>> {
        let mut numbers = Vec::new();
        self.take("(")?;
        while self.take(")").is_none() {
            numbers.push(self.number()?);
            if self.take(",").is_none() {
                self.take(")")?;
                break;
            }
        }
        Some(numbers)
    }
}
