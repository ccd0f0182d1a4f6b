//! The framing of each codec, what its reader takes besides, and what it refuses.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use ::zstd::zstd_safe;

use super::*;

const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// `raw` compressed, without the room for a header.
fn compressed(compression: impl Into<Compression>, raw: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; BATCH_HEADER];
    batch.extend_from_slice(raw);
    Encoder::new().compress(compression.into(), batch).unwrap().split_off(BATCH_HEADER)
}

fn decompressed(codec: Codec, body: &[u8]) -> Result<Vec<u8>, BatchError> {
    Decoder::new().decompress(codec, body).map(<[u8]>::to_vec)
}

fn what(codec: Codec, body: &[u8]) -> &'static str {
    decompressed(codec, body).unwrap_err().what()
}

/// Bytes that no codec shrinks, the same for each seed.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

/// Bytes that shrink to about a half.
fn text(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| b'a' + random.u8(..8)).take(bytes).collect()
}

#[test]
fn each_size_comes_back_from_each_codec_and_level() {
    let all = ["gzip", "gzip:1", "gzip:9", "snappy", "lz4", "lz4:9", "zstd", "zstd:-5", "zstd:19"];
    let sizes = [1, 10, 1000, (32 << 10) - 1, 32 << 10, (32 << 10) + 1, 64 << 10, 300_000];
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for (index, size) in sizes.into_iter().enumerate() {
        for raw in [noise(size, index as u64), text(size, index as u64), vec![7; size]] {
            for compression in all.map(|name| name.parse::<Compression>().unwrap()) {
                let mut batch = vec![0; BATCH_HEADER];
                batch.extend_from_slice(&raw);
                let bytes = encoder.compress(compression, batch).unwrap();
                let back = decoder.decompress(compression.codec, &bytes[BATCH_HEADER..]).unwrap();
                assert!(back == raw, "{compression} of {size} bytes");
            }
        }
    }
}

#[test]
fn levels_reach_their_codec() {
    let raw = text(100_000, 1);
    let bytes = |name: &str| compressed(name.parse::<Compression>().unwrap(), &raw).len();
    assert!(bytes("gzip:9") < bytes("gzip:1"));
    assert!(bytes("zstd:19") < bytes("zstd:-50"));
    assert_eq!(bytes("gzip"), bytes("gzip:6"));
    assert_eq!(bytes("zstd"), bytes("zstd:3"));
}

#[test]
fn levels_that_a_codec_lacks_are_refused() {
    for (codec, level) in [(Codec::Lz4, 4), (Codec::Gzip, 10), (Codec::Snappy, 1)] {
        let compression = Compression { codec, level: Some(level) };
        let error = Encoder::new().compress(compression, vec![0; 100]).unwrap_err();
        assert!(matches!(error, RecordError::Compression(_)), "{error}");
    }
}

#[test]
fn a_cut_off_array_is_an_error_at_each_length() {
    for codec in CODECS {
        let body = compressed(codec, &text(500, 2));
        for length in 1..body.len() {
            let result = decompressed(codec, &body[..length]);
            // A xerial stream may end behind any of its blocks, and its header has none: the
            // record count then tells that records are missing.
            let is_stream_end = codec == Codec::Snappy && length == 16;
            assert_eq!(result.is_ok(), is_stream_end, "{codec} cut at {length}: {result:?}");
        }
    }
}

#[test]
fn output_is_accepted_up_to_the_limit_and_not_beyond() {
    for codec in CODECS {
        for raw in [text(100_000, 3), noise(100_000, 3), vec![0; 100_000]] {
            let body = compressed(codec, &raw);
            let mut exact = Decoder::with_limit(raw.len());
            assert!(exact.decompress(codec, &body).is_ok_and(|back| back == raw), "{codec}");
            let limit = raw.len() - 1;
            let mut short = Decoder::with_limit(limit);
            let error = short.decompress(codec, &body).unwrap_err();
            assert_eq!(error, BatchError::TooLarge { codec, compressed: body.len(), limit });
            assert!(short.output.held_bytes() <= limit + 1, "memory stays within the limit");
        }
    }
}

#[test]
fn bombs_are_refused_before_they_burst() {
    for codec in CODECS {
        let bomb = compressed(codec, &vec![0; 40 << 20]);
        let mut decoder = Decoder::with_limit(1 << 20);
        let error = decoder.decompress(codec, &bomb).unwrap_err();
        assert!(matches!(error, BatchError::TooLarge { limit, .. } if limit == 1 << 20), "{error}");
        assert!(decoder.output.held_bytes() <= (1 << 20) + 1, "{codec}");
    }
}

#[test]
fn a_large_buffer_is_given_back_and_a_usual_one_is_kept() {
    let usual = compressed(Codec::Zstd, &vec![0; 1 << 20]);
    let large = compressed(Codec::Zstd, &vec![0; 20 << 20]);
    let small = compressed(Codec::Zstd, &[1, 2, 3]);
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decompress(Codec::Zstd, &large).unwrap().len(), 20 << 20);
    assert!(decoder.buffer_bytes() >= 20 << 20);
    assert_eq!(decoder.buffer_bytes(), decoder.output.held_bytes());
    assert_eq!(decoder.decompress(Codec::Zstd, &small).unwrap(), [1, 2, 3]);
    assert!(decoder.output.held_bytes() < 1 << 20);
    assert_eq!(decoder.decompress(Codec::Zstd, &usual).unwrap().len(), 1 << 20);
    assert_eq!(decoder.decompress(Codec::Zstd, &small).unwrap(), [1, 2, 3]);
    assert!(decoder.output.held_bytes() >= 1 << 20);
}

#[test]
fn an_error_leaves_no_trace_in_the_contexts() {
    let raw = text(50_000, 4);
    let mut decoder = Decoder::new();
    for codec in CODECS {
        let body = compressed(codec, &raw);
        assert!(decoder.decompress(codec, &body[..body.len() / 2]).is_err());
        assert!(decoder.decompress(codec, &body).is_ok_and(|back| back == raw), "{codec}");
    }
}

#[test]
fn steady_state_keeps_the_buffers() {
    let raw = text(50_000, 5);
    let mut decoder = Decoder::new();
    for codec in CODECS {
        let body = compressed(codec, &raw);
        let first = decoder.decompress(codec, &body).unwrap().as_ptr();
        let second = decoder.decompress(codec, &body).unwrap().as_ptr();
        assert_eq!(first, second, "{codec}");
    }
}

// gzip

#[test]
fn gzip_is_one_member_with_javas_header() {
    let body = compressed(Codec::Gzip, b"abc");
    assert_eq!(body[..10], [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF]);
    assert_eq!(body[body.len() - 8..], [0xC2, 0x41, 0x24, 0x35, 3, 0, 0, 0], "crc and length");
}

#[test]
fn gzip_reads_optional_header_fields_and_several_members() {
    let mut member = vec![0x1F, 0x8B, 8, 0x1E, 1, 2, 3, 4, 0, 3];
    member.extend([2, 0, b'x', b'y']);
    member.extend(b"name\0comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&member);
    member.extend(&(crc.sum() as u16).to_le_bytes());
    let plain = compressed(Codec::Gzip, b"abc");
    member.extend(&plain[10..]);
    let both = [&member[..], &compressed(Codec::Gzip, b"def")].concat();
    assert_eq!(decompressed(Codec::Gzip, &both).unwrap(), b"abcdef");

    let mut wrong = member.clone();
    wrong[4] = 9;
    assert_eq!(what(Codec::Gzip, &wrong), "gzip header crc");
    for (at, part) in [(12, "gzip extra field"), (17, "gzip name"), (25, "gzip name")] {
        assert_eq!(what(Codec::Gzip, &member[..at]), part);
    }
}

#[test]
fn gzip_refuses_what_does_not_fit() {
    let good = compressed(Codec::Gzip, &text(300, 6));
    let end = good.len();
    for (at, part) in [
        (0, "gzip header"),
        (2, "gzip header"),
        (10, "deflate data"),
        (end - 8, "gzip crc"),
        (end - 1, "gzip length"),
    ] {
        let mut body = good.clone();
        body[at] ^= 0x06;
        assert_eq!(what(Codec::Gzip, &body), part, "byte {at}");
    }
    let mut reserved = good.clone();
    reserved[3] = 0x80;
    assert_eq!(what(Codec::Gzip, &reserved), "gzip flags");
    assert_eq!(what(Codec::Gzip, &[&good[..], &[0]].concat()), "gzip header", "bytes behind");
}

// snappy

#[test]
fn snappy_is_a_xerial_stream_of_32_kib_blocks() {
    let raw = text((32 << 10) + 10, 7);
    let body = compressed(Codec::Snappy, &raw);
    assert_eq!(body[..16], [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let mut lengths = Vec::new();
    let mut rest = &body[16..];
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (block, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        lengths.push(snap::raw::decompress_len(block).unwrap());
        rest = behind;
    }
    assert_eq!(lengths, [32 << 10, 10]);
}

#[test]
fn what_is_wrong_in_compressed_bytes_is_named_with_its_place() {
    // The stream's header, the length of a block, and less than that.
    let whole = compressed(Codec::Snappy, &[7; 100]);
    let error = decompressed(Codec::Snappy, &whole[..16 + 4 + 3]).unwrap_err();
    assert_eq!(error.position(), BATCH_HEADER + 16 + 4, "{error}");
    let error = decompressed(Codec::Snappy, &whole[..16 + 2]).unwrap_err();
    assert_eq!(error.position(), BATCH_HEADER + 16, "{error}");
}

#[test]
fn snappy_reads_a_bare_block_and_concatenated_streams() {
    let bare = snap::raw::Encoder::new().compress_vec(b"abcabcabcabc").unwrap();
    assert_eq!(decompressed(Codec::Snappy, &bare).unwrap(), b"abcabcabcabc");
    let streams = [compressed(Codec::Snappy, b"abc"), compressed(Codec::Snappy, b"def")].concat();
    assert_eq!(decompressed(Codec::Snappy, &streams).unwrap(), b"abcdef");
}

#[test]
fn snappy_refuses_what_does_not_fit() {
    let good = compressed(Codec::Snappy, &text(300, 8));
    let with = |at: usize, bytes: &[u8]| {
        let mut body = good.clone();
        body[at..at + bytes.len()].copy_from_slice(bytes);
        body
    };
    assert_eq!(what(Codec::Snappy, &with(8, &[0, 0, 0, 0])), "snappy version");
    assert_eq!(what(Codec::Snappy, &with(16, &[0, 0, 0, 0])), "snappy block length");
    assert_eq!(what(Codec::Snappy, &with(16, &[0xFF; 4])), "snappy block length");
    assert_eq!(what(Codec::Snappy, &with(16, &[0x7F, 0, 0, 0])), "snappy block");
    let lie = [0xFF, 0xFF, 0xFF, 0x7F];
    assert_eq!(what(Codec::Snappy, &with(20, &lie)), "length in a snappy block");
    assert_eq!(what(Codec::Snappy, &[]), "snappy block");
}

// lz4

fn lz4(info: FrameInfo, raw: &[u8]) -> Vec<u8> {
    let mut frame = FrameEncoder::with_frame_info(info, Vec::new());
    frame.write_all(raw).unwrap();
    frame.finish().unwrap()
}

#[test]
fn lz4_is_a_frame_with_kafkas_descriptor() {
    let body = compressed(Codec::Lz4, b"a");
    #[rustfmt::skip]
    let expected = [
        0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82, // magic, FLG, BD, HC
        1, 0, 0, 0x80, b'a',                      // one block, stored
        0, 0, 0, 0,                               // end mark
    ];
    assert_eq!(body, expected);
}

#[test]
fn lz4_blocks_are_64_kib_and_stored_where_they_do_not_shrink() {
    let raw = [noise(64 << 10, 9), vec![0; 64 << 10], noise(5, 10)].concat();
    let body = compressed(Codec::Lz4, &raw);
    let mut words = Vec::new();
    let mut rest = &body[7..];
    while let Some((word, behind)) = rest.split_first_chunk() {
        let word = u32::from_le_bytes(*word);
        words.push(word);
        rest = &behind[(word & 0x7FFF_FFFF) as usize..];
    }
    assert_eq!(words[0], 0x8001_0000, "noise is stored");
    assert!(words[1] < 1000, "zeros shrink");
    assert_eq!(words[2..], [0x8000_0005, 0]);
}

#[test]
fn lz4_reads_checksums_content_size_and_other_block_sizes() {
    let raw = text(300_000, 11);
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        let info = FrameInfo::new()
            .block_size(size)
            .block_mode(BlockMode::Independent)
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(raw.len() as u64));
        let good = lz4(info, &raw);
        assert!(decompressed(Codec::Lz4, &good).is_ok_and(|back| back == raw));

        let mut wrong = good.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(what(Codec::Lz4, &wrong), "lz4 content checksum");
        let mut wrong = good;
        wrong[15 + 4 + 9] ^= 1;
        assert_eq!(what(Codec::Lz4, &wrong), "lz4 block checksum");
    }
}

#[test]
fn lz4_refuses_linked_blocks() {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Linked);
    let error = decompressed(Codec::Lz4, &lz4(info, &text(1000, 12))).unwrap_err();
    assert_eq!(error.expected(), "independent blocks");
}

#[test]
fn lz4_refuses_what_does_not_fit() {
    let good = compressed(Codec::Lz4, &text(1000, 13));
    let with = |at: usize, byte: u8| {
        let mut body = good.clone();
        body[at] = byte;
        body
    };
    assert_eq!(what(Codec::Lz4, &with(0, 5)), "lz4 magic");
    for (flags, why) in [(0x61, "version 1"), (0x62, "version 1"), (0xA0, "version 1")] {
        let error = decompressed(Codec::Lz4, &with(4, flags)).unwrap_err();
        assert!(error.expected().starts_with(why), "{error}");
    }
    assert_eq!(what(Codec::Lz4, &with(5, 0x30)), "lz4 block size");
    assert_eq!(what(Codec::Lz4, &with(5, 0x80)), "lz4 block size");
    assert_eq!(what(Codec::Lz4, &with(5, 0x41)), "lz4 block size");
    assert_eq!(what(Codec::Lz4, &with(5, 0x50)), "lz4 descriptor checksum");
    assert_eq!(what(Codec::Lz4, &with(6, 0x83)), "lz4 descriptor checksum");
    assert_eq!(what(Codec::Lz4, &with(9, 0x02)), "lz4 block length");
    assert_eq!(what(Codec::Lz4, &[&good[..], &[0]].concat()), "end of the lz4 frame");
}

// zstd

#[test]
fn zstd_reads_frames_without_a_content_size_and_several_of_them() {
    let raw = text(300_000, 14);
    let mut stream = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    stream.write_all(&raw).unwrap();
    let unsized_frame = stream.finish().unwrap();
    assert_eq!(
        zstd_safe::get_frame_content_size(&unsized_frame).ok(),
        Some(None),
        "as Kafka writes them"
    );
    assert!(decompressed(Codec::Zstd, &unsized_frame).is_ok_and(|back| back == raw));
    let sized_frame = compressed(Codec::Zstd, b"tail");
    let frames = [&unsized_frame[..], &sized_frame, &unsized_frame].concat();
    let expected = [&raw[..], b"tail", &raw].concat();
    assert!(decompressed(Codec::Zstd, &frames).is_ok_and(|back| back == expected));
}

#[test]
fn zstd_takes_no_memory_for_a_size_that_lies() {
    let mut body = compressed(Codec::Zstd, &vec![0; 3 << 20]);
    assert_eq!(body[4] >> 6, 2, "a content size of 4 bytes follows");
    body[6..10].copy_from_slice(&(500_u32 << 20).to_le_bytes());
    let mut decoder = Decoder::new();
    assert!(decoder.decompress(Codec::Zstd, &body).is_err());
    assert!(decoder.output.held_bytes() <= RATIO_FREE_BYTES + 1);
}

#[test]
fn zstd_refuses_bytes_that_are_no_frame() {
    let good = compressed(Codec::Zstd, b"abc");
    assert!(decompressed(Codec::Zstd, &[&good[..], b"x"].concat()).is_err());
    assert!(decompressed(Codec::Zstd, b"no frame").is_err());
}

#[test]
fn lz4_blocks_that_hold_more_than_the_frame_says_are_malformed() {
    let frame = compressed(Codec::Lz4, &[7; 100]);
    let block = lz4_flex::block::compress(&vec![0; 100_000]);
    let length = (block.len() as u32).to_le_bytes();
    let body = [&frame[..7], &length, &block, &[0; 4]].concat();
    assert_eq!(what(Codec::Lz4, &body), "lz4 block");
}

/// Frames that a decoder passes over (RFC 8878, 3.1.2).
#[test]
fn zstd_passes_over_skippable_frames() {
    let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &[3, 0, 0, 0], b"abc"].concat();
    let frame = compressed(Codec::Zstd, b"data");
    for body in [[&skippable[..], &frame].concat(), [&frame[..], &skippable].concat()] {
        assert!(decompressed(Codec::Zstd, &body).is_ok_and(|back| back == b"data"));
    }
}

#[test]
fn zstd_empties_its_own_buffers_before_it_asks_for_more() {
    let mut stream = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    stream.write_all(&vec![0; 12 << 20]).unwrap();
    let frame = stream.finish().unwrap();
    assert!(decompressed(Codec::Zstd, &frame).is_ok_and(|back| back == vec![0; 12 << 20]));
}

/// A frame may ask for a window of up to 128 MiB: the memory is not kept for all batches to come.
#[test]
fn a_large_context_of_zstd_is_let_go() {
    let mut decoder = Decoder::new();
    for (window_log, is_kept) in [(20, true), (25, false), (20, true)] {
        let mut stream = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        stream.window_log(window_log).unwrap();
        stream.write_all(&text(300_000, 3)).unwrap();
        let frame = stream.finish().unwrap();
        assert!(decoder.decompress(Codec::Zstd, &frame).is_ok());
        assert_eq!(decoder.zstd.context.is_some(), is_kept, "window of 2^{window_log} bytes");
    }
}

#[test]
fn an_encoder_follows_each_change_of_level() {
    let raw = text(100_000, 21);
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut encoder = Encoder::new();
        for level in [1, 9, 1, 9, 9] {
            let compression = Compression { codec, level: Some(level) };
            let batch = [&[0; BATCH_HEADER], &raw[..]].concat();
            let found = encoder.compress(compression, batch).unwrap().split_off(BATCH_HEADER);
            assert_eq!(found, compressed(compression, &raw), "{codec} at {level}");
        }
    }
}

/// Where there is no number to tell, it is -1.
#[test]
fn what_is_no_stream_at_all_is_found_to_be_minus_one() {
    let gzip = compressed(Codec::Gzip, &[7; 50]);
    let endless_name = [&gzip[..3], &[0x08], &gzip[4..10], b"name"].concat();
    let no_deflate = [&gzip[..10], &[0xFF; 20][..]].concat();
    let snappy = compressed(Codec::Snappy, &[7; 50]);
    let no_length = [&snappy[..16], &[0, 0, 0, 6], &[0xFF; 6][..]].concat();
    for (codec, body) in [
        (Codec::Gzip, &endless_name[..]),
        (Codec::Gzip, &no_deflate),
        (Codec::Snappy, &no_length),
        (Codec::Zstd, b"no frame"),
    ] {
        let error = decompressed(codec, body).unwrap_err();
        assert_eq!(error.found(), format!("-1 ({codec})"), "{error}");
    }
}

#[test]
fn debug_output_names_the_contexts_that_hold_no_readable_state() {
    let mut encoder = Encoder::new();
    for codec in CODECS {
        encoder.compress(codec.into(), vec![7; BATCH_HEADER + 10]).unwrap();
    }
    let (encoder, decoder) = (format!("{encoder:?}"), format!("{:?}", Decoder::new()));
    assert!(encoder.matches("Compressor").count() >= 4, "{encoder}");
    assert!(decoder.contains("zstd: Decompressor"), "{decoder}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_come_back(raw in prop::collection::vec(any::<u8>(), 1..5000)) {
        for codec in CODECS {
            let back = decompressed(codec, &compressed(codec, &raw));
            prop_assert_eq!(back.as_ref(), Ok(&raw));
        }
    }

    #[test]
    fn damage_never_panics(
        seed: u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for codec in CODECS {
            let mut body = compressed(codec, &text(2000, seed));
            for (at, byte) in &changes {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            let mut decoder = Decoder::with_limit(1 << 20);
            let _: Result<_, _> = decoder.decompress(codec, &body);
        }
    }

    #[test]
    fn noise_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in CODECS {
            let framed: &[&[u8]] = match codec {
                Codec::Gzip => &[&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF], &body],
                Codec::Snappy => &[b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01", &body],
                Codec::Lz4 => &[&[0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82], &body],
                _ => &[&[0x28, 0xB5, 0x2F, 0xFD], &body],
            };
            let mut decoder = Decoder::with_limit(1 << 20);
            let _: Result<_, _> = decoder.decompress(codec, &framed.concat());
            let _: Result<_, _> = decoder.decompress(codec, &body);
        }
    }
}
