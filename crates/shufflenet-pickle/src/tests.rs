//! Tests on pickles as Python's `pickle.dumps` writes them, unless a test says otherwise.

use proptest::prelude::*;

use super::*;

/// The value at `id`, as Python would print it.
fn shown(pickle: &Pickle, id: Id) -> String {
    let list = |ids: &[Id]| {
        let all: Vec<String> = ids.iter().map(|&id| shown(pickle, id)).collect();
        all.join(", ")
    };
    match pickle.get(id) {
        Value::None => "None".into(),
        Value::Bool(value) => format!("{value}"),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(text) => format!("'{text}'"),
        Value::Bytes(bytes) => format!("b\"{}\"", String::from_utf8_lossy(bytes)),
        Value::List(items) => format!("[{}]", list(items)),
        Value::Tuple(items) => format!("({})", list(items)),
        Value::Set(items) => format!("{{{}}}", list(items)),
        Value::Dict(entries) => {
            let pair = |&(key, value): &(Id, Id)| {
                format!("{}: {}", shown(pickle, key), shown(pickle, value))
            };
            let all: Vec<String> = entries.iter().map(pair).collect();
            format!("{{{}}}", all.join(", "))
        }
        Value::Class(name) => name.clone(),
        Value::Object(object) => {
            let callable = shown(pickle, object.callable);
            let mut text = format!("{callable}({})", list(&object.arguments));
            if let Some(state) = object.state {
                text += &format!(" state {}", shown(pickle, state));
            }
            if !object.entries.is_empty() {
                text += &format!(" entries {}", object.entries.len());
            }
            if !object.items.is_empty() {
                text += &format!(" items {}", object.items.len());
            }
            text
        }
        Value::Persistent(id) => format!("persistent {}", shown(pickle, *id)),
        Value::Other => "other".into(),
    }
}

fn value(bytes: &[u8]) -> String {
    let pickle = Pickle::read(bytes).unwrap();
    assert_eq!(pickle.length(), bytes.len());
    shown(&pickle, pickle.root())
}

/// `{'a': [1, -2, 70000, 2**40, 2**70], (0, 1): (1.5, None, True), 'é\n': b'\x00\xff', 'set': {3}}` in every
/// protocol. Python 3 writes sets of protocols 0 to 3 and bytes of protocols 0 to 2 as calls.
#[test]
fn every_protocol_gives_the_same_values() {
    let common = "{'a': [1, -2, 70000, 1099511627776, other], (0, 1): (1.5, None, true), 'é\n': ";
    let calls = "_codecs.encode('\0ÿ', 'latin1'), 'set': __builtin__.set([3])}";
    let values = "b\"\0\u{fffd}\", 'set': {3}}";
    for (bytes, rest) in [
        (PROTOCOL_0, calls),
        (PROTOCOL_2, calls),
        (PROTOCOL_4, values),
        (PROTOCOL_5, values),
    ] {
        assert_eq!(value(bytes), format!("{common}{rest}"));
        let pickle = Pickle::read(bytes).unwrap();
        let bytes = pickle.entry(pickle.root(), "é\n").unwrap();
        assert_eq!(*pickle.bytes(bytes).unwrap(), [0, 255]);
    }
}

const PROTOCOL_0: &[u8] = include_bytes!("../tests/fixtures/protocol-0.pkl");
const PROTOCOL_2: &[u8] = include_bytes!("../tests/fixtures/protocol-2.pkl");
const PROTOCOL_4: &[u8] = include_bytes!("../tests/fixtures/protocol-4.pkl");
const PROTOCOL_5: &[u8] = include_bytes!("../tests/fixtures/protocol-5.pkl");

/// An `OrderedDict`, a `Namespace` and a member of an enum, in protocol 2. Also, an `OrderedDict` as Python 2 wrote it.
#[test]
fn objects_of_any_type_are_values() {
    let pickle = Pickle::read(include_bytes!("../tests/fixtures/objects.pkl")).unwrap();
    let entry = |key| shown(&pickle, pickle.entry(pickle.root(), key).unwrap());
    assert_eq!(entry("ordered"), "collections.OrderedDict() entries 2");
    let namespace = "argparse.Namespace() state {'lr': 0.1}";
    assert_eq!(entry("namespace"), namespace);
    assert_eq!(entry("enum"), "http.HTTPStatus(404)");
    let ordered = pickle.entry(pickle.root(), "ordered").unwrap();
    let two = pickle.entry(ordered, "two").unwrap();
    assert_eq!(pickle.int(two), Some(2));

    let of_python_2 = b"ccollections\nOrderedDict\n((lp1\n(lp2\nS'two'\naI2\naatR.";
    let pickle = Pickle::read(of_python_2).unwrap();
    let two = pickle.entry(pickle.root(), "two").unwrap();
    assert_eq!(pickle.int(two), Some(2));
}

#[test]
fn arrays_of_both_forms_are_read() {
    for bytes in [
        &include_bytes!("../tests/fixtures/array-2.pkl")[..],
        include_bytes!("../tests/fixtures/array-4.pkl"),
        include_bytes!("../tests/fixtures/array-5.pkl"),
    ] {
        let pickle = Pickle::read(bytes).unwrap();
        let array = |key| {
            let id = pickle.entry(pickle.root(), key).unwrap();
            pickle.array(id).unwrap()
        };
        let pixels = array("pixels");
        assert_eq!((&pixels.shape[..], &pixels.kind[..]), (&[2, 3][..], "u1"));
        assert_eq!(*pixels.bytes, [0, 1, 2, 253, 254, 255]);
        let floats = array("floats");
        assert_eq!((&floats.kind[..], floats.big_endian), ("f4", false));
        assert_eq!(*floats.bytes, 1.5f32.to_le_bytes());
        assert!(array("big").big_endian);
        let columns = array("columns");
        assert!(columns.by_columns);
        assert_eq!(*columns.bytes, [1, 3, 2, 4]);
        let objects = pickle.entry(pickle.root(), "objects").unwrap();
        assert_eq!(pickle.array(objects), None);
    }
}

#[test]
fn a_value_that_repeats_or_contains_itself_is_stored_once() {
    // A list of ten lists of ten lists..., each memoised and repeated: 10^30 if it were copied.
    let mut bomb = b"\x80\x02]q\x00".to_vec();
    for depth in 0u8..30 {
        bomb.extend([b']', b'q', depth + 1, b'(']);
        (0..10).for_each(|_| bomb.extend([b'h', depth]));
        bomb.push(b'e');
    }
    bomb.push(b'.');
    let pickle = Pickle::read(&bomb).unwrap();
    assert_eq!(pickle.values.len(), 31);
    assert_eq!(pickle.items(pickle.root()).unwrap().len(), 10);

    let circle = Pickle::read(b"\x80\x02]q\x00h\x00a.").unwrap();
    assert_eq!(circle.items(circle.root()).unwrap(), [circle.root()]);

    let deep = [&[b']'; 100_000][..], &[b'a'; 99_999], b"."].concat();
    assert_eq!(Pickle::read(&deep).unwrap().values.len(), 100_000);
}

#[test]
fn bytes_that_are_not_a_pickle_are_refused_with_the_place() {
    let refusal = |bytes: &[u8]| Pickle::read(bytes).unwrap_err().to_string();
    assert_eq!(
        refusal(b""),
        "the pickle ends at byte 0, before its last instruction"
    );
    // A string that claims 4 GB, and one that claims 2^64 bytes.
    assert!(refusal(b"\x80\x02X\xff\xff\xff\xff.").contains("ends at byte 8"));
    assert!(refusal(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.").contains("ends at byte 10"));
    assert_eq!(
        refusal(b"\x80\x02z"),
        "byte 2 of the pickle is 0x7a, which is not an instruction"
    );
    assert!(refusal(b"R.").contains("0x52 at byte 0 of the pickle finds too few values"));
    assert!(refusal(b"t.").contains("finds no mark"));
    assert!(refusal(b"h\x07.").contains("repeats a value that was not stored"));
    assert!(refusal(b"K\x01K\x02a.").contains("finds no container"));
    // A pickle can repeat a long text, and each class would copy it.
    let long = [
        b"\x80\x04X\xe9\x03\0\0",
        &[b'a'; 1_001][..],
        b"X\x01\0\0\0b\x93.",
    ]
    .concat();
    assert!(refusal(&long).contains("finds a name that is too long"));
    // An instruction after a mark cannot take a value before the mark.
    assert!(refusal(b"K\x01(0a.").contains("too few values"));
    assert_eq!(
        refusal(&vec![b'N'; MOST_VALUES + 1]),
        "the pickle has more than 4000000 values"
    );
}

#[test]
fn integers_of_any_length_keep_their_sign() {
    for (bytes, expected) in [
        (&b"\x8a\x00."[..], "0"),
        (b"\x8a\x01\xff.", "-1"),
        (b"\x8a\x02\x00\x80.", "-32768"),
        (
            b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.",
            "9223372036854775807",
        ),
        (b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00.", "other"),
        (b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff.", "-1"),
        (b"L-12L\n.", "-12"),
        (b"L99999999999999999999L\n.", "other"),
        (b"I01\n.", "true"),
    ] {
        assert_eq!(value(bytes), expected);
    }
}

/// Valid instructions in any order, so that random pickles are not refused at the first byte.
fn instructions() -> impl Strategy<Value = Vec<u8>> {
    let known = b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu]})GBC\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\
                  \x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\n\x00\x01\x02";
    prop::collection::vec(prop::sample::select(known.to_vec()), 0..200)
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Pickle::read(&bytes);
    }

    #[test]
    fn any_instructions_never_panic(bytes in instructions()) {
        if let Ok(pickle) = Pickle::read(&bytes) {
            prop_assert!(pickle.values.len() <= 2 * bytes.len());
            for place in 0..pickle.values.len() {
                let id = Id(place as u32);
                let _ = (pickle.text(id), pickle.bytes(id), pickle.entries(id), pickle.array(id));
            }
        }
    }

    #[test]
    fn damaged_pickles_never_panic(place in 0usize..PROTOCOL_2.len(), byte in any::<u8>()) {
        let mut bytes = PROTOCOL_2.to_vec();
        bytes[place] = byte;
        let _ = Pickle::read(&bytes);
    }
}
