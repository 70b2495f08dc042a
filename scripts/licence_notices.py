#!/usr/bin/env python3
"""Prints the licence notices of every crate that is linked into a binary of this project.

  licence_notices.py --target TARGET [--package NAME] [--features LIST] > NOTICES

Cargo lists the crates: those that a package (the binary's, or the web module's) needs at run time on this target with these features,
without build scripts and procedural macros. The texts are the licence files in the crates' packages, including those of bundled C
sources. Equal texts are printed once. A package without a licence file is listed with the licence in its manifest.
"""
import argparse
import json
import pathlib
import re
import subprocess

LICENCE = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)([-_.].*)?", re.I)
# Names of licence files, not of code that handles licences.
CODE = {".rs", ".py", ".c", ".h", ".toml", ".json", ".sh"}
RULE = "=" * 100


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True).stdout


def linked(package, target, features):
    """(name, version) of the crates that are not part of this project."""
    tree = cargo(
        "tree", "--locked", "--package", package, "--target", target, "--features", features,
        "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe", "--format", "{p}",
    )
    pairs = (line.split()[:2] for line in tree.splitlines())
    return sorted({(name, version.removeprefix("v")) for name, version in pairs
                   if not name.startswith("shufflenet")})


def texts(package):
    """The licence files of a package, by path."""
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
