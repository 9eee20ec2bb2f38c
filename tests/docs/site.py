"""Checks that each link within the site leads to a file of it: tests/docs/site.py FOLDER. scripts/site runs it."""

import pathlib
import re
import sys
import urllib.parse

site = pathlib.Path(sys.argv[1])
wrong, links = set(), 0
for page in site.rglob("*.html"):
    if page.name in ("print.html", "toc.html", "404.html"):  # the first repeats all pages, where their relative links don't hold
        continue
    for link in re.findall(r'(?:href|src)="([^"#]+)', page.read_text()):
        if not re.match(r"[a-z]+:|//", link):
            links += 1
            if not (page.parent / urllib.parse.unquote(link)).exists():
                wrong.add(f"{page.relative_to(site)} links to {link}")
if wrong or not links:
    sys.exit("\n".join(["FAILED: links that lead nowhere:", *sorted(wrong)]))
print(f"{links} links lead to a file")
