//! Points and boxes as tensors (`spec/model.md` §12): grids of points, points in a box, the box around
//! points, and units.

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// `points_per_side²` points of the unit square, x fastest: from edge to edge, or with `offset` in the
/// middles of as many cells. Below 1, the corners top-left and bottom-right.
pub fn solid_grid(points_per_side: i64, offset: bool) -> Vec<[f32; 2]> {
    if points_per_side < 1 {
        return vec![[0.0, 0.0], [1.0, 1.0]];
    }
    let side = ticks(points_per_side as usize, offset);
    block(&side, 0..side.len(), 0..side.len())
}

/// Points of the solid grid that are less than `thickness` from its border, as four blocks: along the
/// top, the right, the bottom and the left, each without the corner where the next begins. Up to two
/// points per side, the solid grid.
pub fn border_grid(points_per_side: i64, thickness: usize, offset: bool) -> Vec<[f32; 2]> {
    if points_per_side <= 2 {
        return solid_grid(points_per_side, offset);
    }
    let side = ticks(points_per_side as usize, offset);
    let count = side.len();
    let near = thickness.min(count);
    let far = count - near;
    let blocks = [
        block(&side, 0..near, 0..far),
        block(&side, 0..far, far..count),
        block(&side, far..count, near..count),
        block(&side, near..count, 0..near),
    ];
    blocks.concat()
}

/// Positions along one side.
fn ticks(count: usize, offset: bool) -> Vec<f32> {
    let margin = if offset { 0.5 / count as f32 } else { 0.0 };
    let step = if count > 1 { (1.0 - 2.0 * margin) / (count - 1) as f32 } else { 0.0 };
    (0..count).map(|i| margin + i as f32 * step).collect()
}

fn block(
    ticks: &[f32],
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) -> Vec<[f32; 2]> {
    rows.flat_map(|row| columns.clone().map(move |column| [ticks[column], ticks[row]])).collect()
}

/// A grid as a tensor, `[K, 2]`.
pub fn grid_tensor(grid: &[[f32; 2]], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(grid.concat(), [grid.len(), 2]), device)
}

/// The points of a solid grid in each box.
///
/// # Shapes
/// - `boxes`: `[B, N, 4]`, xyxy
/// - result: `[B, N, K, 2]`
pub fn box_points(boxes: Tensor<3>, points_per_side: i64, offset: bool) -> Tensor<4> {
    let grid = grid_tensor(&solid_grid(points_per_side, offset), &boxes.device());
    let corner = boxes.clone().narrow(2, 0, 2);
    let size = boxes.narrow(2, 2, 2) - corner.clone();
    corner.unsqueeze_dim(2) + grid.unsqueeze::<4>() * size.unsqueeze_dim(2)
}

/// The box around the points that are `valid`; around none, an inverted box: 1 above the largest of
/// the coordinates to 1 below the smallest. Points of an offset grid of more than one point per side
/// lie within the box they stand for; it is then larger by half a step of the grid on each side.
///
/// # Shapes
/// - `points`: `[B, N, K, 2]`
/// - `valid`: `[B, N, K]`; `None` where all are
/// - result: `[B, N, 4]`, xyxy
pub fn box_around(
    points: Tensor<4>,
    valid: Option<Tensor<3, Bool>>,
    points_per_side: i64,
) -> Tensor<3> {
    let [batch, rows, count, _] = points.dims();
    let (mut low, mut high) = (points.clone(), points.clone());
    if let Some(valid) = valid {
        let shape = [batch, rows, count, 2];
        let invalid = valid.bool_not().unsqueeze_dim::<4>(3).expand(shape);
        low = low.mask_where(invalid.clone(), points.clone().max_dim(2).expand(shape) + 1.0);
        high = high.mask_where(invalid, points.min_dim(2).expand(shape) - 1.0);
    }
    let corner = |x: Tensor<4>| x.reshape([batch, rows, 2]);
    let (low, high) = (corner(low.min_dim(2)), corner(high.max_dim(2)));
    if points_per_side <= 1 {
        return Tensor::cat(vec![low, high], 2);
    }
    let margin = (high.clone() - low.clone()) / (2 * (points_per_side - 1)) as f64;
    Tensor::cat(vec![low - margin.clone(), high + margin], 2)
}

/// Pixels to shares of the image. `places` are points `(x, y)` or boxes.
///
/// # Shapes
/// - `places`: `[B, …, 2]` or `[B, …, 4]`
/// - `sizes`: `[B, 2]`, `(width, height)`
pub fn to_relative<const D: usize>(places: Tensor<D>, sizes: Tensor<2>) -> Tensor<D> {
    let sizes = aligned(&places, sizes);
    places / sizes
}

/// The inverse of [`to_relative`].
pub fn to_absolute<const D: usize>(places: Tensor<D>, sizes: Tensor<2>) -> Tensor<D> {
    let sizes = aligned(&places, sizes);
    places * sizes
}

/// `[B, 2]` → `[B, 1, …, 2 or 4]`
fn aligned<const D: usize>(places: &Tensor<D>, sizes: Tensor<2>) -> Tensor<D> {
    let dims = places.dims();
    let mut shape = [1; D];
    shape[0] = dims[0];
    shape[D - 1] = dims[D - 1];
    sizes.repeat_dim(1, dims[D - 1] / 2).reshape(shape)
}

/// Width and height of the images on a canvas, `[B, 2]`; `padding_mask`: `[B, H, W]`, 1 on the image.
pub fn image_sizes(padding_mask: Tensor<3>) -> Tensor<2> {
    let [batch, _, _] = padding_mask.dims();
    let longest = |axis: usize| padding_mask.clone().sum_dim(axis).max_dim(3 - axis);
    Tensor::cat(vec![longest(2), longest(1)], 2).reshape([batch, 2])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_grid_goes_from_edge_to_edge_or_through_the_middles_of_its_cells() {
        assert_eq!(solid_grid(-1, true), [[0.0, 0.0], [1.0, 1.0]]);
        assert_eq!(solid_grid(1, false), [[0.0, 0.0]]);
        assert_eq!(solid_grid(1, true), [[0.5, 0.5]]);
        assert_eq!(solid_grid(2, false), [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
        assert_eq!(solid_grid(2, true)[3], [0.75, 0.75]);
    }

    #[test]
    fn a_border_goes_round_block_by_block() {
        let border = border_grid(3, 1, false);
        let expected = [
            [0.0, 0.0],
            [0.5, 0.0],
            [1.0, 0.0],
            [1.0, 0.5],
            [0.5, 1.0],
            [1.0, 1.0],
            [0.0, 0.5],
            [0.0, 1.0],
        ];
        assert_eq!(border, expected);
        assert_eq!(border_grid(2, 1, true), solid_grid(2, true));
        assert_eq!(border_grid(5, 2, false).len(), 24);
    }

    #[test]
    fn points_of_a_box_and_the_box_around_them_belong_together() {
        let device = Device::flex();
        let boxes = Tensor::<3>::from_data([[[2.0, 3.0, 10.0, 7.0]]], &device);
        let corners = box_points(boxes.clone(), 2, false);
        assert_eq!(values(corners.clone()), [2.0, 3.0, 10.0, 3.0, 2.0, 7.0, 10.0, 7.0]);
        assert_eq!(values(box_around(corners, None, 0)), values(boxes.clone()));
        let middles = box_points(boxes.clone(), 2, true);
        assert_eq!(values(box_around(middles, None, 2)), values(boxes));
    }

    #[test]
    fn invalid_points_do_not_count_and_no_point_makes_an_inverted_box() {
        let device = Device::flex();
        let points =
            Tensor::<4>::from_data([[[[1.0, 2.0], [5.0, 8.0]], [[1.0, 2.0], [5.0, 8.0]]]], &device);
        let valid = Tensor::<3, Bool>::from_data([[[true, false], [false, false]]], &device);
        let boxes = values(box_around(points, Some(valid), 0));
        assert_eq!(boxes, [1.0, 2.0, 1.0, 2.0, 6.0, 9.0, 0.0, 1.0]);
    }

    #[test]
    fn sizes_are_those_of_the_image_within_its_padding() {
        let device = Device::flex();
        let mask = Tensor::<3>::from_data([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]], &device);
        let sizes = image_sizes(mask);
        assert_eq!(values(sizes.clone()), [2.0, 1.0]);
        let boxes = Tensor::<3>::from_data([[[1.0, 0.0, 2.0, 1.0]]], &device);
        let relative = to_relative(boxes.clone(), sizes.clone());
        assert_eq!(values(relative.clone()), [0.5, 0.0, 1.0, 1.0]);
        assert_eq!(values(to_absolute(relative, sizes)), values(boxes));
    }
}
