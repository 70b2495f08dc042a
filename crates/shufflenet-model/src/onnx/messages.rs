//! The ONNX messages that our network needs, with the field numbers of
//! [`onnx.proto`](https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

use super::protobuf::Message;

/// ONNX 1.7 of 2020. Nothing here needs a newer version, and old runtimes can read this one.
const IR_VERSION: i64 = 7;
const OPERATORS_VERSION: i64 = 13;
/// Values of `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// The value of a node's attribute.
pub(super) enum Attribute<'a> {
    Float(f64),
    Int(usize),
    Ints(&'a [usize]),
}

/// A `ModelProto` around `graph`, with `properties` as its metadata.
pub(super) fn model(graph: &Message, properties: &[(&str, String)]) -> Message {
    let operators = Message::default().text(1, "").int(2, OPERATORS_VERSION);
    let model = Message::default()
        .int(1, IR_VERSION)
        .text(2, env!("CARGO_PKG_NAME"))
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(7, graph)
        .message(8, &operators);
    properties.iter().fold(model, |model, (key, value)| {
        model.message(14, &Message::default().text(1, key).text(2, value))
    })
}

/// A `GraphProto` with one input and one output.
pub(super) fn graph(
    name: &str,
    nodes: &[Message],
    tensors: &[Message],
    [input, output]: [Message; 2],
) -> Message {
    Message::default()
        .messages(1, nodes)
        .text(2, name)
        .messages(5, tensors)
        .message(11, &input)
        .message(12, &output)
}

/// A `NodeProto`.
pub(super) fn node(
    operator: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: &[(&str, Attribute)],
) -> Message {
    let text = |field| move |node: Message, value: &&str| node.text(field, value);
    let node = inputs.iter().fold(Message::default(), text(1));
    let node = outputs.iter().fold(node, text(2));
    let node = node.text(3, name).text(4, operator);
    attributes.iter().fold(node, |node, (name, value)| {
        node.message(5, &attribute(name, value))
    })
}

fn attribute(name: &str, value: &Attribute) -> Message {
    let named = Message::default().text(1, name);
    // Field 20 is the type: it says which of the value fields is set.
    match value {
        Attribute::Float(value) => named.float(2, *value as f32).int(20, 1),
        Attribute::Int(value) => named.int(3, *value as i64).int(20, 2),
        Attribute::Ints(values) => {
            let all = values.iter();
            all.fold(named, |named, value| named.int(8, *value as i64))
                .int(20, 7)
        }
    }
}

/// A `TensorProto` of float32.
pub(super) fn floats(name: &str, shape: &[usize], values: &[f32]) -> Message {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    tensor(name, shape, FLOAT, &bytes)
}

/// A one-dimensional `TensorProto` of int64.
pub(super) fn integers(name: &str, values: &[usize]) -> Message {
    let values = values.iter().map(|&x| x as i64);
    let bytes: Vec<u8> = values.flat_map(i64::to_le_bytes).collect();
    tensor(name, &[bytes.len() / 8], INT64, &bytes)
}

fn tensor(name: &str, shape: &[usize], kind: i64, bytes: &[u8]) -> Message {
    let sizes = shape.iter();
    sizes
        .fold(Message::default(), |tensor, &size| {
            tensor.int(1, size as i64)
        })
        .int(2, kind)
        .text(8, name)
        .bytes(9, bytes)
}

/// A dimension of the graph's input or output.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Of(usize),
    /// Any size: the runtime takes it from the input.
    Any(&'static str),
}

/// A `ValueInfoProto` of float32.
pub(super) fn value(name: &str, sizes: &[Size]) -> Message {
    let shape = sizes.iter().fold(Message::default(), |shape, size| {
        let size = match *size {
            Size::Of(size) => Message::default().int(1, size as i64),
            Size::Any(name) => Message::default().text(2, name),
        };
        shape.message(1, &size)
    });
    let tensor = Message::default().int(1, FLOAT).message(2, &shape);
    Message::default()
        .text(1, name)
        .message(2, &Message::default().message(1, &tensor))
}
