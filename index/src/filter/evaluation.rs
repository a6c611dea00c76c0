//! A plan asked of a segment: each part becomes a selection, and the selections are joined.
//!
//! Conjunctions stop as soon as nothing is left, disjunctions as soon as nothing is missing: what is
//! dear stands behind and is often never read.

use std::ops::Bound;

use super::Filter;
use super::binding::{Asked, IdTest, Plan, bind};
use crate::columns::Test;
use crate::{Field, Patience, SearchError, Selection};

/// What has points with fields, and says which of them pass a test.
pub(crate) trait Matching {
    /// How many points.
    fn points(&self) -> usize;
    fn fields(&self) -> &[Field];
    /// Those with an id that passes.
    fn with_ids(&self, test: &IdTest) -> Selection;
    /// Those with a value that passes, in the field of this number.
    fn with_values(
        &self,
        field: usize,
        test: &Test<'_>,
        patience: &Patience<'_>,
    ) -> Result<Selection, SearchError>;
}

/// The points of `of` that pass.
pub(crate) fn evaluate(
    filter: &Filter,
    of: &impl Matching,
    patience: &Patience<'_>,
) -> Result<Selection, SearchError> {
    let plan = bind(filter, of.fields()).map_err(|error| SearchError::Filter(error.into()))?;
    Evaluation { of, patience }.select(&plan)
}

struct Evaluation<'a, M> {
    of: &'a M,
    patience: &'a Patience<'a>,
}

impl<M: Matching> Evaluation<'_, M> {
    fn select(&self, plan: &Plan) -> Result<Selection, SearchError> {
        self.patience.check()?;
        let points = self.of.points();
        match plan {
            Plan::Constant(true) => Ok(Selection::all(points)),
            Plan::Constant(false) => Ok(Selection::none(points)),
            Plan::Ids(test) => Ok(self.of.with_ids(test)),
            Plan::Column(field, asked) => self.column(*field, asked),
            Plan::Not(inner) => {
                let mut selection = self.select(inner)?;
                selection.invert();
                Ok(selection)
            }
            Plan::All(parts) => {
                let mut left = Selection::all(points);
                for part in parts {
                    if left.is_empty() {
                        break;
                    }
                    left.intersect(&self.select(part)?);
                }
                Ok(left)
            }
            Plan::Any(parts) => {
                let mut found = Selection::none(points);
                for part in parts {
                    if found.len() == points {
                        break;
                    }
                    found.unite(&self.select(part)?);
                }
                Ok(found)
            }
        }
    }

    fn column(&self, field: usize, asked: &Asked) -> Result<Selection, SearchError> {
        let test = match asked {
            Asked::OneOf(values) => Test::Equals(values),
            Asked::Within(low, high) => Test::Within(Bound::as_ref(low), Bound::as_ref(high)),
            Asked::StartsWith(prefix) => Test::StartsWith(prefix),
            Asked::IsNull => Test::IsNull,
        };
        self.of.with_values(field, &test, self.patience)
    }
}
