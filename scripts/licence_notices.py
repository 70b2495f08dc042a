#!/usr/bin/env python3
"""Licence notices of every crate that a binary of this project has linked in.

  licence_notices.py --target TARGET [--package NAME] [--features LIST] > NOTICES

Cargo names the crates: those that a package (the binary's, or the web module's) needs at run time on this target and with these features, without
build scripts and procedural macros. The texts are the licence files of the crates' own packages, those of bundled C sources
included. Equal texts are printed once. A package without such a file is listed with what its manifest says.
"""
import argparse
import json
import pathlib
import re
import subprocess

LICENCE = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)([-_.].*)?", re.I)
# A licence, not the code that handles one.
CODE = {".rs", ".py", ".c", ".h", ".toml", ".json", ".sh"}
RULE = "=" * 100


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True).stdout


def linked(package, target, features):
    """(name, version) of the crates of others."""
    tree = cargo(
        "tree", "--locked", "--package", package, "--target", target, "--features", features,
        "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe", "--format", "{p}",
    )
    pairs = (line.split()[:2] for line in tree.splitlines())
    return sorted({(name, version.removeprefix("v")) for name, version in pairs
                   if not name.startswith("shufflenet")})


def texts(package):
    """The licence files of a package, by their paths in it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = {path for path in folder.rglob("*")
             if path.is_file() and LICENCE.fullmatch(path.name) and path.suffix not in CODE}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    return {str(path.relative_to(folder)): path.read_text(errors="replace").strip()
            for path in sorted(files)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--package", default="shufflenet-cli")
    parser.add_argument("--features", default="")
    options = parser.parse_args()
    crates = linked(options.package, options.target, options.features)
    metadata = json.loads(cargo(
        "metadata", "--locked", "--format-version", "1", "--filter-platform", options.target,
        "--manifest-path", f"crates/{options.package}/Cargo.toml", "--features", options.features,
    ))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}

    numbers, bare = {}, 0
    print(f"`{options.package}` for {options.target} has {len(crates)} crates of others linked in. Behind each: its licence as its\n"
          "manifest states it, and the numbers of its licence texts, which follow this list.\n")
    for crate in crates:
        package = packages[crate]
        found = [f"[{numbers.setdefault(text, len(numbers) + 1)}]" for text in texts(package).values()]
        where = " ".join(dict.fromkeys(found))
        if not found:
            bare += 1
            authors = ", ".join(package["authors"]) or "no authors named"
            where = f"(its package has no licence text; {authors}; {package['repository'] or 'no repository named'})"
        print(f"{crate[0]} {crate[1]}: {package['license']} {where}")
    for text, number in numbers.items():
        print(f"\n{RULE}\n[{number}]\n\n{text}")
    print(f"\n{RULE}\n{len(crates)} crates, {len(numbers)} texts, {bare} packages without a text.")


if __name__ == "__main__":
    main()
