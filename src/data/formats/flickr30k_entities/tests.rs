use std::path::PathBuf;

use super::super::testing::assert_skipped;
use super::super::{Format, read as read_format};
use super::*;

/// A set with one image of 100 × 50 pixels.
struct Set(tempfile::TempDir);

impl Set {
    fn new(sentences: &str, annotations: &str) -> Self {
        let set = Self(tempfile::tempdir().unwrap());
        for folder in ["Sentences", "Annotations", "images"] {
            fs::create_dir(set.path(folder)).unwrap();
        }
        fs::write(set.path("Sentences/7.txt"), sentences).unwrap();
        fs::write(set.path("Annotations/7.xml"), annotations).unwrap();
        fs::write(set.path("images/7.jpg"), "").unwrap();
        set
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, task: Task, split: Option<&str>) -> Result<Loaded> {
        let images = self.path("images");
        let request = Request { split, ..Request::new(self.0.path(), &images) };
        read_format(Format::Flickr30kEntities, task, &request)
    }
}

const SENTENCES: &str = "[/EN#1/people Two men] near [/EN#2/scene a park] .\n\
                         [/EN#1/people They] talk .\n";

fn object(name: &str, rest: &str) -> String {
    format!("<object><name>{name}</name>{rest}</object>")
}

fn bndbox([x0, y0, x1, y1]: [i32; 4]) -> String {
    format!("<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>")
}

fn annotations(objects: &[String]) -> String {
    format!(
        "<annotation><filename>7.jpg</filename><size><width>100</width><height>50</height>\
         <depth>3</depth></size>{}</annotation>",
        objects.concat()
    )
}

fn two_men() -> String {
    annotations(&[
        object("1", &bndbox([11, 11, 20, 40])),
        object("1", &bndbox([51, 6, 60, 30])),
        object("2", "<scene>1</scene><nobndbox>1</nobndbox>"),
    ])
}

#[test]
fn sentences_lose_their_marks_and_keep_where_phrases_are() {
    let Sentence { text, phrases } = sentence("[/EN#1/people/animals A man] runs .").unwrap();
    assert_eq!(text, "A man runs .");
    assert_eq!(phrases, [Phrase { span: 0..5, entity: "1".into() }]);
    for broken in ["[/EN#1/people A man", "[/EN#1/people]", "[/EN#x/people A man]"] {
        assert_eq!(sentence(broken).unwrap_err().reason, Reason::BrokenRecord);
    }
}

#[test]
fn narratives_have_a_place_per_drawn_phrase() {
    let loaded = Set::new(SENTENCES, &two_men()).load(Task::Narrate, None).unwrap();
    assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
    let rows = &loaded.samples[0].rows;
    assert_eq!(rows[0].text, "Two men near a park .");
    let bounds = BoundingBox::new(0.1, 0.1, 0.6, 0.8);
    assert_eq!(rows[0].locations, [LocatedSpan::new(Some(0..7), bounds)]);
    assert_eq!(rows[1].locations, [LocatedSpan::new(Some(0..4), bounds)]);
    assert_eq!(loaded.num_records, 2);
}

#[test]
fn phrases_are_located_by_the_box_around_theirs_and_described_one_by_one() {
    let set = Set::new(SENTENCES, &two_men());
    let texts = |loaded: &Loaded| -> Vec<_> {
        let rows = loaded.samples[0].rows.iter();
        rows.map(|row| (row.text.clone(), row.region.unwrap())).collect()
    };
    let loaded = set.load(Task::Locate, None).unwrap();
    let around = BoundingBox::new(0.1, 0.1, 0.6, 0.8);
    assert_eq!(texts(&loaded), [("Two men".into(), around), ("They".into(), around)]);
    assert_skipped(&loaded.skipped, &[(Reason::UndrawnPhrase, 1)]);
    let loaded = set.load(Task::Describe, None).unwrap();
    let first = BoundingBox::new(0.1, 0.2, 0.2, 0.8);
    assert_eq!((texts(&loaded).len(), texts(&loaded)[0].clone()), (4, ("Two men".into(), first)));
}

#[test]
fn a_split_is_the_list_of_its_name() {
    let set = Set::new(SENTENCES, &two_men());
    assert!(matches!(set.load(Task::Narrate, Some("val")), Err(Error::Io { .. })));
    fs::write(set.path("val.txt"), "7\r\n").unwrap();
    assert_eq!(set.load(Task::Narrate, Some("val")).unwrap().samples.len(), 1);
    fs::write(set.path("val.txt"), "../7\n").unwrap();
    let error = set.load(Task::Narrate, Some("val")).unwrap_err();
    assert!(error.to_string().contains("leads out of the image folder"), "{error}");
}

#[test]
fn windows_files_are_read() {
    let sentences = format!("\u{feff}{}", SENTENCES.replace('\n', "\r\n"));
    let xml = format!("\u{feff}{}", two_men());
    let loaded = Set::new(&sentences, &xml).load(Task::Narrate, None).unwrap();
    assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
    assert_eq!(loaded.samples[0].rows[0].text, "Two men near a park .");
}

#[test]
fn each_damage_is_skipped_for_its_reason_and_no_file_is_a_panic() {
    let twice = object("1", &bndbox([11, 11, 20, 40]));
    let cases = [
        (two_men().replace("<width>100", "<width>x"), Reason::BrokenFile),
        (two_men().replace("<width>100", "<width>0"), Reason::NoPixels),
        (two_men().replace("<width>100", "<width>100000"), Reason::AbsurdSize),
        (two_men()[..two_men().len() / 2].to_string(), Reason::BrokenFile),
        ("<a>".repeat(20_000), Reason::BrokenFile),
        ("<a b='/>'>".repeat(20_000), Reason::BrokenFile),
        ("<a><!--</a>-->".repeat(20_000), Reason::BrokenFile),
        (annotations(&[object("1", &bndbox([20, 1, 10, 5]))]), Reason::EmptyBox),
        (annotations(&[object("1", &bndbox([200, 1, 210, 5]))]), Reason::BoxOutside),
        (annotations(&[object("1", "<bndbox><xmin>1</xmin></bndbox>")]), Reason::BrokenBox),
        (annotations(&[twice.clone(), twice]), Reason::Duplicate),
    ];
    for (xml, reason) in cases {
        let set = Set::new(SENTENCES, &xml);
        let images = set.path("images");
        let request = Request::new(set.0.path(), &images);
        let task = Task::Narrate;
        let loaded = super::super::read_leniently(Format::Flickr30kEntities, task, &request);
        assert_skipped(&loaded.unwrap().skipped, &[(reason, 1)]);
    }
    let sentences = "[/EN#1/people A man\n\n…\nHe runs .\n";
    let loaded = Set::new(sentences, &two_men()).load(Task::Narrate, None).unwrap();
    assert_skipped(&loaded.skipped, &[(Reason::BrokenRecord, 1), (Reason::NoWords, 1)]);
    assert_eq!((loaded.samples[0].rows.len(), loaded.num_records), (1, 3));
}
