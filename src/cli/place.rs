//! The places that a command is about, in pixels of the image: boxes, points, or traces.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::geometry::{BoundingBox, Point};
use crate::tasks::Place;

/// Where.
#[derive(Debug, Args)]
pub(super) struct PlaceArguments {
    #[command(flatten)]
    kind: Kind,
    /// A point that is not on what is meant, in pixels; may be given several times
    #[arg(
        long = "not",
        value_name = "X,Y",
        value_parser = parse_point,
        requires = "points",
        conflicts_with_all = ["regions", "traces"],
        allow_hyphen_values = true
    )]
    others: Vec<Point>,
}

/// Some of one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Kind {
    /// A region: left, top, right and bottom edge in pixels of the image; may be given several times
    #[arg(
        long = "box",
        value_name = "X0,Y0,X1,Y1",
        value_parser = parse_box,
        allow_hyphen_values = true
    )]
    regions: Vec<BoundingBox>,
    /// A point on what is meant, in pixels of the image; all that are given are on the same
    #[arg(
        long = "point",
        value_name = "X,Y",
        value_parser = parse_point,
        allow_hyphen_values = true
    )]
    points: Vec<Point>,
    /// A line drawn over what is meant: a JSON file with its points in order, [[x, y], …] or
    /// [{"x": …, "y": …}, …], in pixels of the image; may be given several times
    #[arg(long = "trace", value_name = "FILE.json")]
    traces: Vec<PathBuf>,
}

/// Places that are asked about in every image, in its pixels.
#[derive(Debug)]
pub(super) struct PlacesInPixels(Vec<Place>);

impl PlaceArguments {
    /// The places, with traces read.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where a trace cannot be read.
    pub(super) fn read(&self) -> Result<PlacesInPixels> {
        let Kind { regions, points, traces } = &self.kind;
        let mut places: Vec<Place> = regions.iter().copied().map(Place::Box).collect();
        if !points.is_empty() {
            places.push(Place::Points { positive: points.clone(), negative: self.others.clone() });
        }
        for trace in traces {
            places.push(Place::Trace(read_trace(trace)?));
        }
        Ok(PlacesInPixels(places))
    }
}

impl PlacesInPixels {
    /// One of them: all are of the same kind.
    pub(super) fn example(&self) -> Option<&Place> {
        self.0.first()
    }

    /// The places, normalised to an image of `width × height` pixels.
    ///
    /// # Errors
    /// [`Error::Usage`] where one is outside the image.
    pub(super) fn on(&self, size: (u32, u32)) -> Result<Vec<Place>> {
        self.0.iter().map(|place| shares(place, size)).collect()
    }
}

fn shares(place: &Place, size @ (width, height): (u32, u32)) -> Result<Place> {
    let share = |points: &[Point]| -> Result<Vec<Point>> {
        points.iter().try_for_each(|point| check_inside(point, size))?;
        let share = |point: &Point| Point { x: point.x / width as f32, y: point.y / height as f32 };
        Ok(points.iter().map(share).collect())
    };
    Ok(match place {
        Place::Box(region) => return boxed(*region, size),
        Place::Trace(line) => Place::Trace(share(line)?),
        Place::Points { positive, negative } => {
            Place::Points { positive: share(positive)?, negative: share(negative)? }
        }
    })
}

fn boxed(region: BoundingBox, (width, height): (u32, u32)) -> Result<Place> {
    let share = region.scale(1.0 / width as f32, 1.0 / height as f32);
    if share.intersection(BoundingBox::UNIT) == 0.0 {
        let [x0, y0, x1, y1] = region.to_array();
        return Err(outside(format!("the box {x0},{y0},{x1},{y1}"), (width, height)));
    }
    if share.clip(1.0, 1.0) != share {
        eprintln!("note: the box reaches beyond the image of {width} × {height} pixels");
    }
    Ok(Place::Box(share))
}

fn check_inside(point: &Point, (width, height): (u32, u32)) -> Result<()> {
    let image = BoundingBox::new(0.0, 0.0, width as f32, height as f32);
    match image.contains(*point) {
        true => Ok(()),
        false => Err(outside(format!("the point {},{}", point.x, point.y), (width, height))),
    }
}

fn outside(what: String, (width, height): (u32, u32)) -> Error {
    Error::Usage {
        problem: format!("{what} is outside the image of {width} × {height} pixels"),
        help: format!("Give places from 0,0 to {width},{height}."),
    }
}

/// A point of a trace as files have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum TracePoint {
    Pair([f32; 2]),
    Named(Point),
}

/// The points of a trace, in order.
fn read_trace(path: &Path) -> Result<Vec<Point>> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let help = "Give a JSON list of points in order, [[x, y], …] or [{\"x\": …, \"y\": …}, …].";
    let points: Vec<TracePoint> = serde_json::from_str(&text)
        .map_err(|error| Error::format(path, format!("is no trace: {error}"), help))?;
    if points.is_empty() {
        return Err(Error::format(path, "has no point", help));
    }
    let point = |point| match point {
        TracePoint::Pair([x, y]) => Point { x, y },
        TracePoint::Named(point) => point,
    };
    Ok(points.into_iter().map(point).collect())
}

fn parse_box(text: &str) -> Result<BoundingBox, String> {
    match numbers(text).as_deref() {
        Some(&[x0, y0, x1, y1]) => {
            let region = BoundingBox::new(x0, y0, x1, y1);
            let problem = "the right edge must be right of the left one, the bottom below the top";
            region.is_valid().then_some(region).ok_or_else(|| problem.to_string())
        }
        _ => Err("four numbers with commas between them, such as 10,20,60,80".to_string()),
    }
}

fn parse_point(text: &str) -> Result<Point, String> {
    match numbers(text).as_deref() {
        Some(&[x, y]) if x.is_finite() && y.is_finite() => Ok(Point { x, y }),
        _ => Err("two numbers with a comma between them, such as 10,20".to_string()),
    }
}

fn numbers(text: &str) -> Option<Vec<f32>> {
    text.split(',').map(|part| part.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_four_numbers_in_order() {
        assert_eq!(parse_box("1, 2,3,4.5"), Ok(BoundingBox::new(1.0, 2.0, 3.0, 4.5)));
        for wrong in ["", "1,2,3", "1,2,3,x", "3,2,1,4", "1,2,1,4", "nan,0,1,1"] {
            assert!(parse_box(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_point_is_two_numbers() {
        assert_eq!(parse_point("1.5, 2"), Ok(Point { x: 1.5, y: 2.0 }));
        for wrong in ["", "1", "1,2,3", "1,x", "nan,0", "inf,1"] {
            assert!(parse_point(wrong).is_err(), "{wrong}");
        }
    }
}
