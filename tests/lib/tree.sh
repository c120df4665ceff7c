# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Copies of the working tree to build and test in, to be sourced.

# Brings the copy in DIR up to the working tree (what git has and what it would take), from within its root. Only what
# differs is written, so that only that is built anew; what was built or installed in the copy stays.
copy_tree()
{
    local copy=$1 file files
    files=$(mktemp) || return 1
    git ls-files -z --cached --others --exclude-standard | sort -zu >"$files"
    while IFS= read -r -d '' file; do
        [ -f "$file" ] || continue
        cmp -s "$file" "$copy/$file" && continue
        mkdir -p "$copy/$(dirname "$file")"
        cp "$file" "$copy/$file" || return 1
    done <"$files"
    (cd "$copy" && find . \( -path ./build -o -path ./tests/node_modules -o -path ./tests/.venv \) -prune -o \
        -type f -printf '%P\0') | sort -z | comm -z -13 "$files" - | (cd "$copy" && xargs -0 -r rm -f)
    rm -f "$files"
}
