//! The part of Protocol Buffers' wire format that is needed to write messages
//! (<https://protobuf.dev/programming-guides/encoding>). A field is a key, `number << 3 | wire type`, and a
//! value: a varint, four bytes, or a length and that number of bytes.

/// A message: its fields in the order in which they were added.
#[derive(Clone, Default)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const BYTES: u64 = 2;
const FOUR_BYTES: u64 = 5;

impl Message {
    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3 | VARINT);
        // Negative numbers are encoded as two's complement, ten bytes long.
        self.varint(value.cast_unsigned());
        self
    }

    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | FOUR_BYTES);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(super) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn message(self, field: u64, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }

    /// A repeated field.
    pub(super) fn messages(self, field: u64, messages: &[Message]) -> Self {
        messages
            .iter()
            .fold(self, |whole, message| whole.message(field, message))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Seven bits per byte, lowest bits first; the eighth bit says that more bytes follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the format's documentation.
    #[test]
    fn fields_are_encoded_as_documented() {
        let of = |message: Message| message.into_bytes();
        assert_eq!(of(Message::default().int(1, 150)), [0x08, 0x96, 0x01]);
        let text = of(Message::default().text(2, "testing"));
        assert_eq!(text, b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        let nested = of(Message::default().message(3, &inner));
        assert_eq!(nested, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let negative = of(Message::default().int(1, -1));
        assert_eq!(negative.len(), 11);
        let float = of(Message::default().float(2, 1.0));
        assert_eq!(float, [0x15, 0x00, 0x00, 0x80, 0x3f]);
    }
}
