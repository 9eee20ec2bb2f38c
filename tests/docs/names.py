"""Checks what the pages name: files and headings that they link to, targets of make, files of the project, and the table of contents.

scripts/test-docs runs it, and it needs no tool but Python.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = "src|cli|tests|docs|scripts|packaging|bindings|examples-c|examples-cpp|examples-build|include|fuzz|benches|debian"
MADE = {"fuzz/artifacts"}  # by a run, and git has it not


def without_code(text):
    """The text with no fenced block: what is in one is no link."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def anchors(page):
    """The headings as GitHub and mdBook name them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", without_code(page.read_text()), re.M):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w -]", "", words).replace(" ", "-"))
    return found


def main():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.split()
    pages = [ROOT / name for name in listed if (ROOT / name).is_file()]
    targets = set(re.findall(r"^([a-z][a-z-]*)(?: [a-z-]+)*:", (ROOT / "Makefile").read_text() + (ROOT / "install.mk").read_text(), re.M))
    wrong = []
    for page in pages:
        text, name = without_code(page.read_text()), page.relative_to(ROOT)
        spans = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", text)
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            to = page.parent / path if path else page
            if not to.exists():
                wrong.append(f"{name} links to {link}, which is not there")
            elif anchor and anchor not in anchors(to):
                wrong.append(f"{name} links to {link}, and there is no such heading")
        for span in (" ".join(span.split()) for span in spans):
            if re.fullmatch(r"make( [a-z][\w-]*| [A-Z_]+=.*)+", span):
                wrong += [f"{name} names `{span}`" for word in span.split()[1:] if re.fullmatch(r"[a-z-]+", word) and word not in targets]
            path = re.fullmatch(rf"((?:{FOLDERS})/[\w./-]*)(?: .*|::.*)?", span)
            if path and path[1] not in MADE and not (ROOT / path[1]).exists():
                wrong.append(f"{name} names `{path[1]}`, which is not there")
    # Each page of docs/ is in the table of contents.
    summary = (ROOT / "docs/SUMMARY.md").read_text()
    for page in sorted(ROOT.glob("docs/*.md")):
        if page.name != "SUMMARY.md" and f"({page.name})" not in summary:
            wrong.append(f"docs/SUMMARY.md does not list {page.name}")
    if wrong:
        sys.exit("\n".join(["FAILED: the pages name what is not there:", *wrong]))
    print(f"{len(pages)} pages name nothing that is not there")


if __name__ == "__main__":
    main()
