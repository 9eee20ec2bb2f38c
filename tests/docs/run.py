"""Runs each command line and each snippet of the pages, as a user copies them. scripts/test-docs starts it.

The blocks of a page run in their order, in a folder of the page's own. A block that is not run here has an entry in the file
`elsewhere`, which names the test that runs it, or the reason why none does. So a new block is run, or the test fails.
"""

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/docs"
SHELL = ("sh", "console")
NOT_CODE = ("text", "json")
PATIENCE = 600  # seconds; against hanging, not a measure


def fail(text):
    sys.exit(f"FAILED: {text}")


def pages():
    found = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("bindings/*/README.md"))]
    return [str(page.relative_to(ROOT)) for page in found]


def blocks(page):
    """Each block: its first line's number, its language, its lines."""
    language, lines = None, []
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        if language is None and line.startswith("```"):
            language, lines = line[3:].strip(), []
        elif line == "```":
            yield number - len(lines), language, lines
            language = None
        elif language is not None:
            lines.append(line)


def key(line):
    """A line as the entries name it: blanks may be more in a page."""
    return " ".join(line.split())


def commands(language, lines):
    if language == "console":
        return [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def read_elsewhere():
    """The entries of the file, each with the test that it names. That test must be there."""
    entries, by = {}, None
    for line in (HERE / "elsewhere").read_text().splitlines():
        if line.startswith("## "):
            by = line[3:]
            words = by.split()
            if words[0] != "none:":
                test = ROOT / words[0]
                part = words[1] if len(words) > 1 else None
                if not test.is_file() or (part and not re.search(rf"^(part_)?{part}\(\) *{{", test.read_text(), re.M)):
                    fail(f"tests/docs/elsewhere names `{by}`, and there is no such test")
        elif line and not line.startswith("#"):
            page, text = line.split(": ", 1)
            entries[page, key(text)] = by
    return entries


def run(command, folder, what):
    """Runs it to its end. All that it printed is shown when it fails."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=PATIENCE, text=True, errors="replace",
    )  # fmt: skip
    if done.returncode != 0:
        print(done.stdout)
        fail(f"{what}: exit status {done.returncode}")


def framed(frame, text, folder, **more):
    source = (HERE / "frames" / frame).read_text()
    for word, value in {**more, "SNIPPET": text}.items():
        source = source.replace(word, value)
    file = folder / frame
    file.write_text(source)
    return file


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


WARN = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def run_c(text, folder, what):
    flags = output_of("pkg-config", "--cflags", "--libs", "lockfolder")
    if "int main(" not in text:
        return run(["gcc", "-std=c11", *WARN, "-fsyntax-only", framed("c.c", text, folder), *flags], folder, what)
    (folder / "app.c").write_text(text)
    run(["gcc", "-std=c11", *WARN, "app.c", "-o", "app", *flags], folder, what)
    run(["./app"], folder, what)


def run_cpp(text, folder, what):
    flags = output_of("pkg-config", "--cflags", "--libs", "lockfolder")
    run(["g++", "-std=c++17", *WARN, framed("cpp.cpp", text, folder), "-o", "cpp", *flags], folder, what)
    run(["./cpp"], folder, what)


def run_rust(text, folder, what):
    built = ROOT / "target/debug"
    run(["rustc", "--edition=2021", "-Dwarnings", framed("rust.rs", text, folder), "-o", "rust", "-L", f"dependency={built}/deps",
         "--extern", f"lockfolder={built}/liblockfolder.rlib"], folder, what)  # fmt: skip
    run(["./rust"], folder, what)


def run_go(text, folder, what):
    # Go refuses a variable that nobody uses. A snippet that only declares one is none the worse.
    names = {name for line in re.findall(r"^(\w+(?:, \w+)*) :=", text, re.M) for name in line.split(", ")}
    if not text.splitlines()[-1].startswith("return"):
        text += "".join(f"\n_ = {name}" for name in sorted(names))
    module = folder / "go"
    module.mkdir(exist_ok=True)
    (module / "go.mod").write_text(
        f"module app\n\ngo 1.19\n\nrequire lockfolder v0.1.0\n\nreplace lockfolder v0.1.0 => {ROOT}/bindings/go\n"
    )
    framed("go.go", text, module)
    run(["go", "run", ".", folder / "go-lock"], module, what)


def run_js(text, folder, what):
    # A package finds itself by its name.
    package = pathlib.Path(sys.argv[2], "node")
    file = package / "snippet.mjs"
    file.write_text(text)
    run(["node", "--import", HERE / "frames/js.mjs", file], folder, what)


def run_zig(text, folder, what):
    if "b.dependency" in text:
        # The project, whose build.zig.zon the line before this block has made.
        framed("build.zig", text, folder)
        framed("zig.zig", "_ = given;", folder, GIVEN="given").rename(folder / "main.zig")
        return run(["zig", "build", "run"], folder, what)
    prefix = sys.argv[3]
    (folder / "c.h").write_text("#include <lockfolder.h>\n")
    (folder / "c.zig").write_text(
        subprocess.run(["zig", "translate-c", "-lc", f"-I{prefix}/include", "c.h"], cwd=folder, check=True, stdout=subprocess.PIPE,
                       text=True).stdout)  # fmt: skip
    given = "_" if "const folder" in text else "folder"
    program = framed("zig.zig", text, folder, GIVEN=given)
    run(["zig", "build-exe", "-femit-bin=zig-program", "--dep", "lockfolder", f"-Mroot={program}", "--dep", "c",
         f"-Mlockfolder={ROOT}/bindings/zig/src/lockfolder.zig", "-Mc=c.zig", "-lc", f"-L{prefix}/lib", "-llockfolder"], folder, what)  # fmt: skip
    run(["./zig-program"], folder, what)


def run_python(text, folder, what):
    (folder / "snippet.py").write_text(text + "\n")
    run([sys.executable, HERE / "frames/python.py", "snippet.py"], folder, what)


def run_make(text, folder, what):
    (folder / "a.mk").write_text(text + "\n")
    run(["make", "-j3", "-f", "a.mk"], folder, what)


RUNNERS = {name[4:]: function for name, function in globals().items() if name.startswith("run_")}


def main():
    work = pathlib.Path(sys.argv[1])
    elsewhere = read_elsewhere()
    unused = set(elsewhere)
    ran = skipped = 0
    wanted = sys.argv[4:] or pages()
    for page in pages():
        folder = work / page.replace("/", "-")
        folder.mkdir()
        # What the lines use that is not ours.
        run(["sh", "-eu", HERE / "before.sh", page], folder, "tests/docs/before.sh")
        for number, language, lines in blocks(page):
            what = f"{page}:{number} ({language})"
            if language in NOT_CODE:
                continue
            if language not in SHELL and language not in RUNNERS:
                fail(f"{what}: tests/docs/run.py does not know this language")
            texts = commands(language, lines) if language in SHELL else [lines[0]]
            listed = {text for text in texts if (page, key(text)) in elsewhere}
            unused -= {(page, key(text)) for text in listed}
            skipped += len(listed)
            kept = [text for text in texts if text not in listed] if language in SHELL else ([] if listed else lines)
            if not kept or page not in wanted:
                continue
            print(f"-- {what}", flush=True)
            ran += len(kept) if language in SHELL else 1
            text = "\n".join(kept).replace("/tmp/lock", f"{folder}/lock").replace("/var/lib/app", f"{folder}/app")
            text = text.replace("/path/to/clone", str(work / "clone"))
            if language in SHELL:
                run(["sh", "-euc", text], folder, what)
            else:
                RUNNERS[language](text, folder, what)
    if unused:
        fail("tests/docs/elsewhere names what is in no page: " + "; ".join(f"{page}: {text}" for page, text in sorted(unused)))
    log = work / "docs-guide.md/log"
    if "docs/guide.md" in wanted and len(re.findall("^[abc]$", log.read_text(), re.M)) != 3:
        fail("the Makefile of docs/guide.md")
    print(f"{ran} command lines and snippets ran; {skipped} are run elsewhere, or tests/docs/elsewhere says why not")


if __name__ == "__main__":
    main()
