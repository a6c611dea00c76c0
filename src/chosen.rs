//! Filters and fields of several segments at once, by the ids that hits tell.

use std::collections::HashMap;

use ringpool_index::{Field, Filter, Patience, Selection, Value, values_of_within};

use crate::{Error, Snapshot};

/// A point among several segments: which one, counted from 0, and its place there.
pub type PlaceOf = (u32, u32);

impl Snapshot {
    /// For each segment the points that a filter lets pass, without those that are deleted. Its `id`
    /// is what hits tell.
    ///
    /// ```
    /// use ringpool::{
    ///     Attached, BuildOptions, Columns, Field, FieldType, Filter, Indexes, NoProgress, OpenOptions,
    ///     Patience, SearchParams, Value, Vectors,
    /// };
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let temporary = tempfile::tempdir()?;
    /// # let dir = temporary.path().join("segment");
    /// // A thousand points on a line, each with a price that is ten times its place.
    /// let points = Vectors::from_f32(1, (0..1000).map(|i| i as f32).collect())?;
    /// let mut columns = Columns::new(vec![Field::new("price", FieldType::I64)])?;
    /// for i in 0..1000 {
    ///     columns.push_row(&[Value::I64(10 * i)])?;
    /// }
    /// let attached = Attached { columns: Some(&columns), ..Attached::default() };
    /// ringpool::build_with(&points, &attached, &dir, &BuildOptions::default(), &NoProgress)?;
    ///
    /// let indexes = Indexes::open(&[&dir], &OpenOptions::default())?.snapshot();
    /// let filter: Filter = "price >= 5000 and id != 503".parse()?;
    /// let chosen = indexes.select(&filter, &Patience::default())?;
    /// assert_eq!(chosen[0].len(), 499);
    ///
    /// let params = SearchParams { k: 4, ..SearchParams::default() };
    /// let hits = indexes.search_among(&[480.0], &params, Some(&chosen))?;
    /// let ids: Vec<u64> = hits.iter().map(|hit| hit.id).collect();
    /// assert_eq!(ids, [500, 501, 502, 504]);
    ///
    /// // The values of all hits are read in one batch.
    /// let places = indexes.places(&ids);
    /// let places: Vec<_> = ids.iter().map(|id| places[id]).collect();
    /// let prices = indexes.values(&places, &["price"])?;
    /// assert_eq!(prices[3], [Value::I64(5040)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As those of [`Segment::select`](ringpool_index::Segment::select).
    pub fn select(
        &self,
        filter: &Filter,
        patience: &Patience<'_>,
    ) -> Result<Vec<Selection>, Error> {
        let each = self.segments().iter().zip(self.firsts());
        let selected =
            each.map(|(segment, &first_id)| segment.select_from(filter, first_id, patience));
        Ok(selected.collect::<Result<_, _>>()?)
    }

    /// The fields of all segments: of those with one name that of the first that has it.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = Vec::new();
        for field in self.segments().iter().flat_map(|segment| segment.fields()) {
            if !fields.iter().any(|known| known.name == field.name) {
                fields.push(field.clone());
            }
        }
        fields
    }

    /// Where the points with these ids are, without those that are deleted. Of several with one id
    /// it is that of the first segment.
    pub fn places(&self, ids: &[u64]) -> HashMap<u64, PlaceOf> {
        let mut places = HashMap::with_capacity(ids.len());
        for ((number, segment), &first_id) in (0..).zip(self.segments()).zip(self.firsts()) {
            let own: Vec<u64> = ids.iter().filter_map(|id| id.checked_sub(first_id)).collect();
            let mut at = segment.places_of(&own);
            if let Some(deleted) = segment.deleted() {
                at.subtract(&deleted);
            }
            for place in at.iter() {
                if let Some(id) = segment.id_of(place) {
                    places.entry(first_id + id).or_insert((number, place));
                }
            }
        }
        places
    }

    /// For each of these points its values in these fields, and null where its segment has no such
    /// field. All pages are asked for in one batch.
    ///
    /// # Errors
    /// When a page could not be had, or a column is not open.
    ///
    /// # Panics
    /// When there is no such segment.
    pub fn values(&self, points: &[PlaceOf], fields: &[&str]) -> Result<Vec<Vec<Value>>, Error> {
        self.values_within(points, fields, &Patience::default())
    }

    /// [`values`](Self::values) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `values`; of a deadline that has passed, or of the caller who has cancelled.
    ///
    /// # Panics
    /// As `values`.
    pub fn values_within(
        &self,
        points: &[PlaceOf],
        fields: &[&str],
        patience: &Patience<'_>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let of = |&(segment, place): &PlaceOf| (&*self.segments()[segment as usize], place);
        let points: Vec<_> = points.iter().map(of).collect();
        Ok(values_of_within(&points, fields, patience)?)
    }
}
