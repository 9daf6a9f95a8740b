use image::{GrayImage, ImageBuffer, Luma, Rgb, Rgba};

use std::path::Path;

use super::*;

const CMYK: &[u8] = include_bytes!("../../../tests/fixtures/images/cmyk.jpg");
const YCCK: &[u8] = include_bytes!("../../../tests/fixtures/images/ycck.jpg");
const PALETTE: &[u8] = include_bytes!("../../../tests/fixtures/images/palette.png");
const BITS: &[u8] = include_bytes!("../../../tests/fixtures/images/bits.png");

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Writes `bytes` to a file called `name` and decodes that.
fn open_with(name: &str, bytes: &[u8], config: &DecodeConfig) -> Result<RgbImage> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    open_rgb(&path, config)
}

fn open(name: &str, bytes: &[u8]) -> Result<RgbImage> {
    open_with(name, bytes, &DecodeConfig::default())
}

/// The message of the error, which must name the file and say what to do.
fn problem(result: Result<RgbImage>, name: &str) -> String {
    let error = result.unwrap_err();
    let Error::Format { path, problem, help, .. } = &error else { unreachable!("{error:?}") };
    assert!(path.ends_with(name) && !help.is_empty(), "{error:?}");
    problem.clone()
}

/// Whether every pixel is within `tolerance` of `rgb` in each channel.
fn assert_is(image: &RgbImage, rgb: [u8; 3], tolerance: u8) {
    for pixel in image.pixels() {
        let is_near = pixel.0.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= tolerance);
        assert!(is_near, "{:?} is not {rgb:?}", pixel.0);
    }
}

#[test]
fn gray_becomes_rgb_and_sixteen_bits_become_eight() {
    let values = [0u16, 257, 32_768, 65_535];
    let gray = ImageBuffer::from_fn(2, 2, |x, y| Luma([values[(y * 2 + x) as usize]]));
    let image = open("a.png", &encode(&DynamicImage::ImageLuma16(gray), ImageFormat::Png)).unwrap();
    assert_eq!(image.into_raw(), [0, 1, 128, 255].map(|v| [v; 3]).concat());

    let color = ImageBuffer::from_pixel(2, 2, Rgb([65_535u16, 32_768, 257]));
    let image = open("a.png", &encode(&DynamicImage::ImageRgb16(color), ImageFormat::Png)).unwrap();
    assert_is(&image, [255, 128, 1], 0);

    let gray = GrayImage::from_pixel(16, 16, Luma([77]));
    let image = open("a.jpg", &encode(&gray.into(), ImageFormat::Jpeg)).unwrap();
    assert_is(&image, [77; 3], 1);
}

/// Ink by the formula of Adobe's files: 255 is no ink, so that each channel is its ink times black.
#[test]
fn jpegs_of_ink_are_mixed_to_rgb() {
    // Cyan 51, magenta 102, yellow 204, black 51 of 255: (255 − ink) · (255 − 51) / 255.
    let expected = [163, 122, 41];
    assert_is(&open("cmyk.jpg", CMYK).unwrap(), expected, 3);
    // The same numbers read as luminance, two colour differences and black; by hand, in the script.
    assert_is(&open("ycck.jpg", YCCK).unwrap(), [127, 4, 5], 4);
}

#[test]
fn palettes_are_looked_up_and_few_bits_are_widened() {
    let image = open("palette.png", PALETTE).unwrap();
    let found: Vec<_> = image.pixels().map(|pixel| pixel.0).collect();
    // The third colour is transparent.
    assert_eq!(found, [[200, 100, 50], [10, 20, 30], [0, 0, 0], [200, 100, 50]]);
    let image = open("bits.png", BITS).unwrap();
    let found: Vec<_> = image.pixels().map(|pixel| pixel.0).collect();
    assert_eq!(found, [[0; 3], [255; 3], [255; 3], [0; 3]]);
}

#[test]
fn what_is_transparent_is_black() {
    let colors = [[200, 100, 50, 255], [200, 100, 50, 51], [200, 100, 50, 0]];
    let image = image::RgbaImage::from_fn(3, 1, |x, _| Rgba(colors[x as usize]));
    let image = open("a.png", &encode(&image.into(), ImageFormat::Png)).unwrap();
    assert_eq!(image.into_raw(), [200, 100, 50, 40, 20, 10, 0, 0, 0]);
}

/// An EXIF block that says only how the image is turned.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(tiff.len() + 2).unwrap();
    [&[0xFF, 0xE1], &length.to_be_bytes()[..], &tiff].concat()
}

/// Where a mark in the top-left corner of what is stored is seen, as `(right, bottom)`, and whether the
/// image stands.
fn seen(orientation: u8) -> ((bool, bool), bool) {
    let stored = RgbImage::from_fn(48, 32, |x, y| Rgb([if x < 16 && y < 16 { 255 } else { 0 }; 3]));
    let jpeg = encode(&stored.into(), ImageFormat::Jpeg);
    let turned = [&jpeg[..2], &exif(orientation), &jpeg[2..]].concat();
    let image = open("a.jpg", &turned).unwrap();
    let is_marked = |right: bool, bottom: bool| {
        let (x, y) = (
            if right { image.width() - 5 } else { 4 },
            if bottom { image.height() - 5 } else { 4 },
        );
        image.get_pixel(x, y).0[0] > 128
    };
    let corners = [(false, false), (true, false), (false, true), (true, true)];
    let marked: Vec<_> = corners.into_iter().filter(|(x, y)| is_marked(*x, *y)).collect();
    assert_eq!(marked.len(), 1);
    (marked[0], image.height() > image.width())
}

#[test]
fn a_jpeg_is_turned_as_its_exif_says() {
    // The eight orientations of EXIF: row 0 and column 0 of what is stored are at the …
    let expected = [
        ((false, false), false), // top, left
        ((true, false), false),  // top, right
        ((true, true), false),   // bottom, right
        ((false, true), false),  // bottom, left
        ((false, false), true),  // left, top
        ((true, false), true),   // right, top
        ((true, true), true),    // right, bottom
        ((false, true), true),   // left, bottom
    ];
    for (orientation, expected) in (1..=8).zip(expected) {
        assert_eq!(seen(orientation), expected, "orientation {orientation}");
    }
}

#[test]
fn an_image_may_be_taken_as_it_is_stored() {
    let jpeg = encode(&RgbImage::new(32, 16).into(), ImageFormat::Jpeg);
    let turned = [&jpeg[..2], &exif(6), &jpeg[2..]].concat();
    let size = |orientation| {
        let config = DecodeConfig { orientation, ..DecodeConfig::default() };
        open_with("a.jpg", &turned, &config).unwrap().dimensions()
    };
    assert_eq!(size(ImageOrientation::Exif), (16, 32));
    assert_eq!(size(ImageOrientation::Stored), (32, 16));
}

#[test]
fn content_counts_and_not_the_name() {
    let png = encode(&RgbImage::from_pixel(4, 4, Rgb([9; 3])).into(), ImageFormat::Png);
    assert_is(&open("a.jpg", &png).unwrap(), [9; 3], 0);
    let found = problem(open("a.png", b"this is a text"), "a.png");
    assert!(found.contains("no PNG or JPEG"), "{found}");
}

#[test]
fn empty_and_missing_files_are_named() {
    let found = problem(open("a.png", b""), "a.png");
    assert_eq!(found, "the image file is empty (0 bytes)");
    let error = open_image(Path::new("nowhere/a.png")).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("a.png")), "{error:?}");
}

#[test]
fn damaged_images_are_refused() {
    let noise = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, (x ^ y) as u8, x as u8]));
    let noise = DynamicImage::from(noise);
    let png = encode(&noise, ImageFormat::Png);
    let jpeg = encode(&noise, ImageFormat::Jpeg);
    for tenths in 1..10 {
        let found = problem(open("a.png", &png[..png.len() * tenths / 10]), "a.png");
        assert!(found.contains("damaged"), "{found}");
        let found = problem(open("a.jpg", &jpeg[..jpeg.len() * tenths / 10]), "a.jpg");
        assert!(found.contains("cut short"), "{found}");
    }
    assert!(open("a.jpg", &jpeg).is_ok());
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    })
}

/// A PNG whose header says that it has `width × height` gray pixels; its data are those of one.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut png = encode(&GrayImage::new(1, 1).into(), ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}

#[test]
fn absurd_sizes_are_refused_before_they_are_decoded() {
    let found = problem(open("a.png", &claiming(1 << 24, 1)), "a.png");
    assert!(found.contains("larger than 16384 pixels a side"), "{found}");
    let found = problem(open("a.png", &claiming(16_000, 16_000)), "a.png");
    assert!(found.starts_with("the image has 16000 × 16000 pixels, more than the 89478485"));
    let mut jpeg = encode(&GrayImage::new(8, 8).into(), ImageFormat::Jpeg);
    // Height and width stand after the marker of the frame, its length and the number of bits.
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x3E, 0x80, 0x3E, 0x80]);
    let found = problem(open("a.jpg", &jpeg), "a.jpg");
    assert!(found.starts_with("the image has 16000 × 16000 pixels"), "{found}");
}

#[test]
fn a_bomb_is_refused_by_the_limit_of_its_source() {
    // Four million black pixels in 25 kilobytes.
    let bomb = encode(&GrayImage::new(2048, 2048).into(), ImageFormat::Png);
    assert!(bomb.len() < 32_000, "{}", bomb.len());
    let small = DecodeConfig { max_pixels: 1 << 20, ..DecodeConfig::default() };
    let found = problem(open_with("a.png", &bomb, &small), "a.png");
    assert!(found.contains("2048 × 2048 pixels, more than the 1048576"), "{found}");
    assert!(open("a.png", &bomb).is_ok());
}
