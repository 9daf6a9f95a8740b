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
