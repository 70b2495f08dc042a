//! Tests of the event file for TensorBoard: complete records, right checksums, and the numbers in them.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use shufflenet_train::evaluation::tally::Metrics;
use shufflenet_train::metrics::line::Line;
use shufflenet_train::metrics::log::{MetricsLog, TABLE};
use shufflenet_train::metrics::tensorboard::NAME;

fn line(step: usize, loss: f64) -> Line<'static> {
    Line {
        event: "epoch",
        epoch: 1,
        step,
        split: "train",
        weights: Some("ema"),
        metrics: Metrics {
            loss,
            top1: 0.5,
            top5: 0.9,
            count: 10,
        },
        lr: 0.1,
        img_per_s: Some(100.0),
        time: 1.5,
    }
}

/// The masked CRC-32C of TFRecord, computed bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The payloads of a TFRecord file.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(number(&bytes[8..12]), checksum(&bytes[..8]));
        let payload = bytes[12..12 + length].to_vec();
        assert_eq!(number(&bytes[12 + length..16 + length]), checksum(&payload));
        records.push(payload);
        bytes = &bytes[16 + length..];
    }
    records
}

/// The float that follows `tag` in a payload.
fn float_after(payload: &[u8], tag: &str) -> f32 {
    let place = payload
        .windows(tag.len())
        .position(|part| part == tag.as_bytes())
        .unwrap();
    let value = &payload[place + tag.len()..][..5];
    assert_eq!(value[0], 2 << 3 | 5);
    f32::from_le_bytes(value[1..].try_into().unwrap())
}

#[test]
fn records_are_complete_and_a_resumed_run_rewrites_the_kept_ones() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics.jsonl");
    let (mut log, _) = MetricsLog::open(&metrics, 0).unwrap();
    log.append(&line(1, 2.5)).unwrap();
    let kept = log.sync().unwrap();
    log.append(&line(300, 1.25)).unwrap();
    drop(log);

    let read = || records(&std::fs::read(folder.path().join(NAME)).unwrap());
    let all = read();
    assert_eq!(all.len(), 3);
    assert!(all[0].ends_with(b"brain.Event:2"));
    // Field 1 is the time. Field 2 is the step: 300 as two groups of seven bits.
    assert_eq!(
        all[2][..9],
        [&[1 << 3 | 1][..], &1.5f64.to_le_bytes()].concat()
    );
    assert_eq!(all[2][9..12], [2 << 3, 0xac, 0x02]);
    assert_eq!(float_after(&all[2], "train_ema/loss"), 1.25);
    assert_eq!(float_after(&all[2], "train_ema/learning_rate"), 0.1);

    let (mut log, _) = MetricsLog::open(&metrics, kept).unwrap();
    log.append(&line(2, 2.25)).unwrap();
    let resumed = read();
    assert_eq!(resumed.len(), 3);
    assert_eq!(resumed[1], all[1]);
    assert_eq!(float_after(&resumed[2], "train_ema/loss"), 2.25);
    let table = std::fs::read_to_string(folder.path().join(TABLE)).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2], "epoch,1,2,train,ema,2.25,0.5,0.9,10,0.1,100,1.5");
}
