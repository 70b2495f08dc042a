//! The values of keys that are enumerations, read from the enumerations' declarations.

use std::collections::BTreeMap;

use syn::{Attribute, Item, ItemEnum, LitStr};

use crate::crates;

/// The values of each enumeration, by the name of its type.
pub type Choices = BTreeMap<String, Vec<String>>;

/// All enumerations without fields that serde renames, in any source file of the workspace.
pub fn choices() -> Choices {
    let pattern = crates().join("*/src/**/*.rs");
    let files = glob::glob(pattern.to_str().unwrap()).unwrap();
    let items = files.flat_map(|file| {
        let source = std::fs::read_to_string(file.unwrap()).unwrap();
        syn::parse_file(&source).unwrap().items
    });
    let mut choices = Choices::new();
    for item in items {
        if let Item::Enum(item) = item
            && let Some(values) = values(&item)
        {
            let name = item.ident.to_string();
            assert!(choices.insert(name, values).is_none(), "two {}", item.ident);
        }
    }
    choices
}

/// The names of the variants in a configuration file: the `rename` of a variant, else by `rename_all` (`lowercase` or
/// `snake_case`).
fn values(item: &ItemEnum) -> Option<Vec<String>> {
    let separator = match serde_value(&item.attrs, "rename_all")?.as_str() {
        "lowercase" => "",
        "snake_case" => "_",
        other => panic!("{}: rename_all = {other} is not supported here", item.ident),
    };
    let name = |variant: &syn::Variant| {
        if let Some(name) = serde_value(&variant.attrs, "rename") {
            return name;
        }
        let mut name = String::new();
        for (at, letter) in variant.ident.to_string().char_indices() {
            if at > 0 && letter.is_uppercase() {
                name += separator;
            }
            name.extend(letter.to_lowercase());
        }
        name
    };
    Some(item.variants.iter().map(name).collect())
}

/// The value of the serde attribute `name`.
fn serde_value(attributes: &[Attribute], name: &str) -> Option<String> {
    let mut value = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
        let _ = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident(name) {
                value = Some(meta.value()?.parse::<LitStr>()?.value());
            }
            Ok(())
        });
    }
    value
}
