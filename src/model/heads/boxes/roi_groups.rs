//! Regions of one map in groups that lie close together, so that [`super::roi_align`] multiplies only the
//! cells that a group needs and has the maps of one group at a time under work.

use super::roi_align::{Grid, Region, sample_place};

/// What one more group costs beside its matrix products, in multiply-adds: the calls themselves. Of 1, 4,
/// 10 and 30 millions, 1 and 4 were the fastest on a processor (`cargo bench --bench boxes`); the fewer
/// groups suit a GPU, too.
const COST_OF_A_GROUP: usize = 4_000_000;
/// What a matrix product spends on laying out each number of the map, in multiply-adds.
const COST_OF_A_CELL: usize = 16;

/// A rectangle of cells, `[rows, columns]`; ends are excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: [usize; 2],
    pub(super) end: [usize; 2],
}

impl Window {
    /// Height and width, in cells.
    pub(super) fn size(self) -> [usize; 2] {
        [0, 1].map(|axis| self.end[axis] - self.start[axis])
    }

    /// The smallest window around both.
    fn join(self, other: Self) -> Self {
        Self {
            start: [0, 1].map(|axis| self.start[axis].min(other.start[axis])),
            end: [0, 1].map(|axis| self.end[axis].max(other.end[axis])),
        }
    }
}

/// A region and the cells its sample points fall between.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) image: usize,
    /// Among the regions of the image.
    pub(super) row: usize,
    window: Window,
}

/// Regions that are pooled together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
    pub(super) window: Window,
}

/// Sizes that every group of a map shares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    /// Cells of the map on each axis.
    pub(super) map: [usize; 2],
    pub(super) channels: usize,
    pub(super) grid: Grid,
}

/// The regions of map `index` in groups; none where there are none.
pub(super) fn groups(regions: &[Vec<Region>], index: usize, sizes: Sizes) -> Vec<Group> {
    let of_image = |(image, regions): (usize, &Vec<Region>)| {
        let shown = regions.iter().enumerate().filter(|(_, region)| region.map == index);
        let member =
            |(row, region): (usize, &Region)| Member { image, row, window: touched(region, sizes) };
        shown.map(member).collect::<Vec<_>>()
    };
    let mut open = vec![regions.iter().enumerate().flat_map(of_image).collect::<Vec<_>>()];
    let mut groups = Vec::new();
    while let Some(mut members) = open.pop() {
        let Some(window) = members.iter().map(|member| member.window).reduce(Window::join) else {
            continue;
        };
        match best_split(&mut members, window, sizes) {
            None => groups.push(Group { members, window }),
            Some(split) => {
                sort(&mut members, split.key);
                open.push(members.split_off(split.at));
                open.push(members);
            }
        }
    }
    groups
}

/// The cells between which a region's sample points fall, at least one.
fn touched(region: &Region, sizes: Sizes) -> Window {
    let one = region.bounding_box;
    let axis = |extent: [f32; 2], length: usize| {
        let Grid { side, samples } = sizes.grid;
        let first = sample_place(extent, 0, 0, sizes.grid);
        let last = sample_place(extent, side - 1, samples - 1, sizes.grid);
        // What is not a number becomes 0, and has no weight anyway.
        let start = (first.min(last).max(0.0) as usize).min(length - 1);
        let end = ((first.max(last) + 2.0).max(0.0) as usize).min(length);
        (start, end.max(start + 1))
    };
    let (top, bottom) = axis([one.y0, one.y1], sizes.map[0]);
    let (left, right) = axis([one.x0, one.x1], sizes.map[1]);
    Window { start: [top, left], end: [bottom, right] }
}

/// Members in order of the edge `key`, the first `at` apart from the others.
struct Split {
    key: usize,
    at: usize,
}

/// Top, left, bottom or right edge.
const KEYS: usize = 4;

fn sort(members: &mut [Member], key: usize) {
    members.sort_by_key(|member| match key {
        0 | 1 => member.window.start[key],
        _ => member.window.end[key - 2],
    });
}

/// The split that saves most, if any saves at all.
fn best_split(members: &mut [Member], window: Window, sizes: Sizes) -> Option<Split> {
    let mut counts = vec![0; sizes.batch];
    members.iter().for_each(|member| counts[member.image] += 1);
    let most = counts.into_iter().max().unwrap_or(0);
    let mut least = cost(window, most, sizes);
    let mut best = None;
    for key in 0..KEYS {
        sort(members, key);
        let before = costs(members.iter(), sizes);
        let behind = costs(members.iter().rev(), sizes);
        for at in 1..members.len() {
            let both = before[at - 1] + behind[members.len() - at - 1];
            if both < least {
                (least, best) = (both, Some(Split { key, at }));
            }
        }
    }
    best
}

/// What groups of the first member, the first two, … cost.
fn costs<'a>(members: impl Iterator<Item = &'a Member>, sizes: Sizes) -> Vec<usize> {
    let mut counts = vec![0; sizes.batch];
    let (mut most, mut window) = (0, None::<Window>);
    let of_next = |member: &Member| {
        counts[member.image] += 1;
        most = most.max(counts[member.image]);
        let joined = window.map_or(member.window, |window| window.join(member.window));
        window = Some(joined);
        cost(joined, most, sizes)
    };
    members.map(of_next).collect()
}

/// Multiply-adds per channel of a group that has up to `most` members in an image: the product for rows,
/// that for columns, and what comes with them.
fn cost(window: Window, most: usize, sizes: Sizes) -> usize {
    let [height, width] = window.size();
    let side = sizes.grid.side;
    let rows = height * width * (side * most + COST_OF_A_CELL);
    let columns = width * side * side * most;
    sizes.batch * (rows + columns) + COST_OF_A_GROUP / sizes.channels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::BoundingBox;

    fn region(x: f32, y: f32, side: f32) -> Region {
        Region { map: 0, bounding_box: BoundingBox::from_xywh(x, y, side, side) }
    }

    fn sizes(channels: usize) -> Sizes {
        Sizes { batch: 2, map: [60, 90], channels, grid: Grid { side: 7, samples: 2 } }
    }

    #[test]
    fn a_window_holds_the_cells_around_every_sample_point_and_at_least_one() {
        let window = |region| touched(&region, sizes(1));
        // Sample points from 10 + 0.25 − 0.5 to 17 − 0.25 − 0.5: cells 9 to 17.
        let expected = Window { start: [19, 9], end: [28, 18] };
        assert_eq!(window(region(10.0, 20.0, 7.0)), expected);
        let beyond = Window { start: [59, 0], end: [60, 1] };
        assert_eq!(window(region(-80.0, 500.0, 7.0)), beyond);
        let corner = Window { start: [0, 0], end: [1, 1] };
        assert_eq!(window(region(f32::NAN, f32::NAN, 7.0)), corner);
    }

    #[test]
    fn what_lies_far_apart_is_pooled_apart_where_that_saves_work() {
        let left = [0.0, 1.0, 2.0].map(|x| region(x, 0.0, 10.0));
        let right = [79.0, 78.0].map(|x| region(x, 45.0, 10.0));
        let first: Vec<_> = left.into_iter().chain(right).collect();
        let regions = [first, vec![region(80.0, 45.0, 9.0)]];
        let images_and_rows = |group: &Group| {
            let mut members: Vec<_> =
                group.members.iter().map(|one| (one.image, one.row)).collect();
            members.sort_unstable();
            members
        };
        let mut found: Vec<_> =
            groups(&regions, 0, sizes(4096)).iter().map(images_and_rows).collect();
        found.sort();
        assert_eq!(found, [vec![(0, 0), (0, 1), (0, 2)], vec![(0, 3), (0, 4), (1, 0)]]);
        // With one channel there is less to save than a group costs.
        assert_eq!(groups(&regions, 0, sizes(1)).len(), 1);
        assert!(groups(&regions, 1, sizes(1)).is_empty());
    }
}
