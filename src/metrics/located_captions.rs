//! Captions of given places: which caption is compared with which references
//! (`spec/metrics.md` §5).
//!
//! Boxes are `[x, y, width, height]` in pixels of the image.

use super::merging::{self, Overlap};

/// Which annotations are references of the same caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Merging {
    /// Every place has its own caption as the only reference, as in the paper.
    #[default]
    None,
    /// Places that are the same, by this overlap, share the captions of all of them. A place in no
    /// cluster is left out; see [`Overlap::SizesAsCorners`].
    Clusters(Overlap),
}

/// A place with what is said and what should be.
#[derive(Debug, Clone, PartialEq)]
pub struct LocatedCaption {
    /// Its number among the places of all images.
    pub id: usize,
    /// The place; in a cluster, the mean.
    pub bounds: [f32; 4],
    /// The model's.
    pub caption: String,
    /// At least one.
    pub references: Vec<String>,
}

/// A place of an image with its two captions.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptionedPlace {
    /// Where.
    pub bounds: [f32; 4],
    /// What the model says about it.
    pub caption: String,
    /// The annotation.
    pub reference: String,
}

/// Captions with their references, image by image.
pub fn pair(images: &[Vec<CaptionedPlace>], merging: Merging) -> Vec<LocatedCaption> {
    let mut pairs = Vec::new();
    let mut first_id = 0;
    for places in images {
        match merging {
            Merging::None => {
                pairs.extend(places.iter().enumerate().map(|(index, place)| LocatedCaption {
                    id: first_id + index,
                    bounds: place.bounds,
                    caption: place.caption.clone(),
                    references: vec![place.reference.clone()],
                }));
            }
            Merging::Clusters(overlap) => add_clusters(&mut pairs, places, first_id, overlap),
        }
        first_id += places.len();
    }
    pairs
}

fn add_clusters(
    pairs: &mut Vec<LocatedCaption>,
    places: &[CaptionedPlace],
    first_id: usize,
    overlap: Overlap,
) {
    let boxes: Vec<_> = places.iter().map(|place| place.bounds).collect();
    for cluster in merging::clusters(&boxes, overlap) {
        let bounds = merging::mean_box(&boxes, &cluster);
        let references: Vec<_> =
            cluster.iter().map(|&member| places[member].reference.clone()).collect();
        pairs.extend(cluster.iter().map(|&member| LocatedCaption {
            id: first_id + member,
            bounds,
            caption: places[member].caption.clone(),
            references: references.clone(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_has_the_captions_of_all_its_annotations() {
        let place = |x, reference: &str| CaptionedPlace {
            bounds: [x, 0.0, 10.0, 10.0],
            caption: format!("said {reference}"),
            reference: reference.to_string(),
        };
        let images = [vec![place(90.0, "dog")], vec![place(0.0, "cat"), place(2.0, "bird")]];
        let single = pair(&images, Merging::None);
        assert_eq!(single.iter().map(|one| one.id).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(single.iter().all(|one| one.references.len() == 1));

        // 8 of 12 shared is too little, 9 of 11 is not.
        let images = [images[0].clone(), vec![place(0.0, "cat"), place(1.0, "bird")]];
        let merged = pair(&images, Merging::Clusters(Overlap::Iou));
        assert_eq!(merged[2].id, 2);
        assert_eq!(merged[2].bounds, [0.5, 0.0, 10.0, 10.0]);
        assert_eq!(merged[2].caption, "said bird");
        assert_eq!(merged[2].references, ["cat", "bird"]);
        // Taken for corners, the box at 90 ends before it begins.
        let quirk = pair(&images, Merging::Clusters(Overlap::SizesAsCorners));
        assert_eq!(quirk.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2]);
    }
}
