//! What is wrong with a record that was read while searching: in words.
//!
//! Its page matched its checksum, so that no disk has done this: somebody has written it.

use super::Paged;
use crate::SearchError;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Damage(pub(crate) String);

impl SearchError {
    /// With the file that it was found in.
    pub(crate) fn of(damage: &Damage, paged: &Paged) -> Self {
        Self::Component { path: paged.path.to_path_buf(), reason: damage.0.clone() }
    }
}
