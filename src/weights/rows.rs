//! Parameters here that are several tensors in a file: one for each row of their first axis.

use std::collections::BTreeMap;

use burn::store::{bridge, burn_pack};
use burn::tensor::{DType, Shape, TensorData};

use super::name_map::Target;

/// The rows of one parameter that were found so far.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<usize, burn_pack::Tensor>,
}

impl Rows {
    /// Adds `tensor` as row `row` of a parameter of shape `expected`; says why it does not fit.
    pub(super) fn add(
        &mut self,
        row: usize,
        tensor: &burn_pack::Tensor,
        target: &Target,
        expected: &[usize],
    ) -> Result<(), String> {
        let Some((&count, shape)) = expected.split_first() else {
            return Err("the parameter has no rows".into());
        };
        if row >= count {
            return Err(format!("there is no row {row}"));
        }
        if !tensor.dtype.is_float() {
            return Err(format!("{:?} is not a type of real numbers", tensor.dtype));
        }
        let found = target.shape(&tensor.shape)?;
        if found != shape {
            return Err(format!("row {row} has the shape {found:?}"));
        }
        match self.rows.insert(row, target.tensor(tensor, found, None)) {
            Some(_) => Err(format!("the file has row {row} twice")),
            None => Ok(()),
        }
    }

    /// The parameter `path` of shape `expected`; `None` where a row is missing.
    pub(super) fn join(self, path: &str, expected: &[usize]) -> Option<burn_pack::Tensor> {
        if expected.first() != Some(&self.rows.len()) {
            return None;
        }
        let shape = Shape::from(expected.to_vec());
        let whole = shape.clone();
        let read = move || {
            let mut values = Vec::with_capacity(whole.num_elements());
            for row in self.rows.values() {
                let row = bridge::to_data(row)?.try_into_vec::<f32>();
                values.extend(
                    row.map_err(|error| burn_pack::Error::ValidationError(format!("{error:?}")))?,
                );
            }
            Ok(TensorData::new(values, whole.clone()))
        };
        Some(bridge::deferred(path.to_string(), DType::F32, shape, None, read))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::weights::name_map::{Change, Dialect, Kind, NameMap};

    const MAP: NameMap = NameMap {
        dialect: Dialect::Flax,
        entries: &[&[("heads.{i}/bias", "heads.bias", Kind::Row(&[Change::Unsqueeze(0)]))]],
    };

    fn row(rows: &mut Rows, index: usize, values: Vec<f32>) -> Result<(), String> {
        let name = format!("heads.{index}/bias");
        let target = MAP.compile("", "").targets(&name).remove(0);
        let shape = [values.len()];
        let tensor = bridge::from_data(TensorData::new(values, shape), name, None);
        rows.add(target.row.unwrap(), &tensor, &target, &[2, 1, 3])
    }

    #[test]
    fn rows_become_one_parameter_in_the_order_of_their_numbers() {
        let mut rows = Rows::default();
        row(&mut rows, 1, vec![4.0, 5.0, 6.0]).unwrap();
        row(&mut rows, 0, vec![1.0, 2.0, 3.0]).unwrap();
        let whole = rows.join("heads.bias", &[2, 1, 3]).unwrap();
        let values = bridge::to_data(&whole).unwrap();
        assert_eq!(values.shape().to_vec(), [2, 1, 3]);
        assert_eq!(values.try_to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_a_missing_row_makes_no_parameter() {
        let mut rows = Rows::default();
        assert!(row(&mut rows, 0, vec![1.0, 2.0]).unwrap_err().contains("shape"));
        assert!(row(&mut rows, 2, vec![1.0, 2.0, 3.0]).unwrap_err().contains("no row 2"));
        row(&mut rows, 0, vec![1.0, 2.0, 3.0]).unwrap();
        assert!(row(&mut rows, 0, vec![1.0, 2.0, 3.0]).unwrap_err().contains("twice"));
        assert!(rows.join("heads.bias", &[2, 1, 3]).is_none());
    }
}
