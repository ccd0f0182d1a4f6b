//! One JSON object for each data record. Bytes are written straight into the line: a large folder
//! has millions of them. The form is that of serde_json without spaces.

use std::io::{self, Write};

use trunkline::{
    record::{Batch, BatchError, Decoder, Record},
    types::TopicPartition,
};

/// Prints the records of one partition after another.
#[derive(Debug, Default)]
pub(super) struct JsonLines {
    /// The start of each line, up to the offset.
    prefix: Vec<u8>,
    line: Vec<u8>,
}

impl JsonLines {
    /// What follows is of `partition`; `None` where nobody knows.
    pub(super) fn begin(&mut self, partition: Option<&TopicPartition>) {
        self.prefix.clear();
        // A topic's name needs no escapes, and writing to a vector cannot fail.
        let _ = match partition {
            Some(TopicPartition { topic, partition }) => {
                write!(self.prefix, r#"{{"topic":"{topic}","partition":{partition},"offset":"#)
            }
            None => write!(self.prefix, r#"{{"topic":null,"partition":null,"offset":"#),
        };
    }

    /// Prints the data records of a batch, up to the first that cannot be read.
    pub(super) fn batch(
        &mut self,
        out: &mut impl Write,
        batch: &Batch<'_>,
        decoder: &mut Decoder,
    ) -> io::Result<Result<(), BatchError>> {
        if batch.header().attributes.is_control() {
            return Ok(Ok(()));
        }
        let records = match batch.records(decoder) {
            Ok(records) => records,
            Err(error) => return Ok(Err(error)),
        };
        for record in records {
            match record {
                Ok(record) => {
                    self.render(&record);
                    out.write_all(&self.line)?;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    fn render(&mut self, record: &Record<'_>) {
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(&self.prefix);
        let _ = write!(line, r#"{},"timestamp":{},"key":"#, record.offset, record.timestamp);
        push_hex(line, record.key);
        line.extend_from_slice(br#","value":"#);
        push_hex(line, record.value);
        line.extend_from_slice(br#","headers":["#);
        for (number, header) in record.headers().enumerate() {
            line.extend_from_slice(if number == 0 { b"[" } else { b",[" });
            push_string(line, &String::from_utf8_lossy(header.name));
            line.push(b',');
            push_hex(line, header.value);
            line.push(b']');
        }
        line.extend_from_slice(b"]}\n");
    }
}

fn push_hex(line: &mut Vec<u8>, bytes: Option<&[u8]>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let Some(bytes) = bytes else {
        line.extend_from_slice(b"null");
        return;
    };
    line.reserve(2 * bytes.len() + 2);
    line.push(b'"');
    line.extend(
        bytes
            .iter()
            .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
    line.push(b'"');
}

fn push_string(line: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail, nor can a string be no JSON.
    let _ = serde_json::to_writer(line, text);
}

#[cfg(test)]
mod tests {
    use trunkline::record::{BatchBuilder, BatchSettings, Encoder, Header, NewRecord};

    use super::*;

    #[test]
    fn null_and_empty_are_told_apart_and_names_are_escaped() {
        let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
        let header = |name, value| Header { name, value };
        let headers = [header("q\"\\\n\u{1}é", Some(&b"\xff\x00"[..])), header("", None)];
        let record = NewRecord { timestamp: 5, key: None, value: Some(b""), headers: &headers };
        builder.push(&record).unwrap();
        let batch = builder.seal(&mut Encoder::new()).unwrap();
        let mut lines = JsonLines::default();
        let mut out = Vec::new();
        lines.begin(None);
        lines.batch(&mut out, &batch.batch(), &mut Decoder::new()).unwrap().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"topic\":null,\"partition\":null,\"offset\":0,\"timestamp\":5,\"key\":null,\
             \"value\":\"\",\"headers\":[[\"q\\\"\\\\\\n\\u0001é\",\"ff00\"],[\"\",null]]}\n"
        );
    }
}
