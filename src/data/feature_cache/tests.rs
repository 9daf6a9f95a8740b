use super::*;

const SHAPE: FeatureShape = FeatureShape { fused: [2, 1, 3], sam: Some([1, 2, 2]) };

/// Values of an image that tell it apart.
fn values(image: usize) -> Vec<f32> {
    (0..10).map(|at| image as f32 + at as f32 / 16.0).collect()
}

/// Files whose contents are their numbers.
fn images(folder: &Path, count: usize) -> Vec<ImageUse> {
    let write = |image: usize| {
        let path = folder.join(format!("{image}.png"));
        fs::write(&path, image.to_string()).unwrap();
        ImageUse { file: path.into(), orientation: ImageOrientation::Exif }
    };
    (0..count).map(write).collect()
}

fn fill(cache: &mut FeatureCache, missing: &[(ImageUse, Content)]) {
    let mut segment = cache.begin_segment(SHAPE).unwrap();
    for (image, content) in missing {
        let number = fs::read_to_string(&image.file.path).unwrap().parse::<usize>().unwrap();
        segment.push(*content, (number as u32, 7), &values(number)).unwrap();
    }
    cache.commit(segment).unwrap();
}

/// The only segment of a cache.
fn segment_of(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut segments = entries.filter(|path| path.extension().is_some_and(|e| e == SEGMENT));
    let segment = segments.next().unwrap();
    assert!(segments.next().is_none());
    segment
}

#[test]
fn what_was_put_in_is_found_again_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), 3);
    let place = folder.path().join("cache");
    let mut cache = FeatureCache::open(&place).unwrap();
    let missing = cache.missing(&images).unwrap();
    assert_eq!(missing.len(), 3);
    fill(&mut cache, &missing);

    let mut again = FeatureCache::open(&place).unwrap();
    assert!(again.missing(&images).unwrap().is_empty());
    for (number, image) in images.iter().enumerate() {
        let found = again.get(&image.file, DecodeConfig::default()).unwrap();
        assert_eq!(found.values().collect::<Vec<_>>(), values(number));
        assert_eq!((found.size(), *found.shape()), ((number as u32, 7), SHAPE));
    }
    assert!(again.get(&Path::new("other.png").into(), DecodeConfig::default()).is_err());
}

#[test]
fn a_file_with_other_bytes_or_another_way_up_is_another_image() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), 2);
    let mut cache = FeatureCache::open(&folder.path().join("cache")).unwrap();
    let missing = cache.missing(&images).unwrap();
    fill(&mut cache, &missing);
    // The content counts, not the name: 1 has the bytes of 0 now, and 0 new ones of the same length.
    fs::write(&images[1].file.path, "0").unwrap();
    fs::write(&images[0].file.path, "5").unwrap();
    let missing = cache.missing(&images).unwrap();
    assert_eq!(missing.iter().map(|(image, _)| image).collect::<Vec<_>>(), [&images[0]]);
    let found = cache.get(&images[1].file, DecodeConfig::default()).unwrap();
    assert_eq!(found.values().collect::<Vec<_>>(), values(0));
    let stored = ImageUse { orientation: ImageOrientation::Stored, ..images[1].clone() };
    assert_eq!(cache.missing(&[stored]).unwrap().len(), 1);
}

#[test]
fn a_write_that_is_cut_off_leaves_nothing_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), 3);
    let place = folder.path().join("cache");
    let mut cache = FeatureCache::open(&place).unwrap();
    let missing = cache.missing(&images).unwrap();
    // Begun and never finished, as by a process that is killed.
    let mut segment = cache.begin_segment(SHAPE).unwrap();
    segment.push(missing[0].1, (1, 1), &values(0)).unwrap();
    std::mem::forget(segment);
    assert_eq!(FeatureCache::open(&place).unwrap().missing(&images).unwrap().len(), 3);

    fill(&mut cache, &missing);
    let path = segment_of(&place);
    let whole = fs::read(&path).unwrap();
    // Cut anywhere, by a disk that lied.
    for length in 0..whole.len() {
        fs::remove_file(&path).unwrap();
        fs::write(&path, &whole[..length]).unwrap();
        let mut cache = FeatureCache::open(&place).unwrap();
        assert_eq!(cache.missing(&images).unwrap().len(), 3, "{length} of {}", whole.len());
    }
}

#[test]
fn damaged_features_are_an_error_and_a_damaged_index_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), 2);
    let place = folder.path().join("cache");
    let mut cache = FeatureCache::open(&place).unwrap();
    let missing = cache.missing(&images).unwrap();
    fill(&mut cache, &missing);
    let path = segment_of(&place);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let mut cache = FeatureCache::open(&place).unwrap();
        let is_missing = !cache.missing(&images).unwrap().is_empty();
        let is_refused =
            images.iter().any(|image| cache.get(&image.file, DecodeConfig::default()).is_err());
        assert!(is_missing || is_refused, "byte {at} of {}", whole.len());
    }
}

#[test]
fn several_writers_do_not_harm_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), 20);
    let place = folder.path().join("cache");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut cache = FeatureCache::open(&place).unwrap();
                let missing = cache.missing(&images).unwrap();
                for missing in missing.chunks(3) {
                    fill(&mut cache, missing);
                }
            });
        }
    });
    let mut cache = FeatureCache::open(&place).unwrap();
    assert!(cache.missing(&images).unwrap().is_empty());
    for (number, image) in images.iter().enumerate() {
        let found = cache.get(&image.file, DecodeConfig::default()).unwrap();
        assert_eq!(found.values().collect::<Vec<_>>(), values(number));
    }
}

#[test]
fn the_lock_is_held_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let lock = CacheLock::wait(folder.path(), || unreachable!("nobody else has it")).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            CacheLock::wait(folder.path(), || sender.send(()).unwrap()).unwrap();
        });
        receiver.recv().unwrap();
        assert!(!waiter.is_finished());
        drop(lock);
    });
}
