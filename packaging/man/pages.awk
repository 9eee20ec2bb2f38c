# From include/lockfolder.h: a man page for each function, and the lists of functions, constants and fields of lf_bid that
# lockfolder.3 includes. An item is a comment `/** ... */` and the declaration after it.

# Text as roff has it: `name` is bold.
function roff(text) {
    gsub(/\\/, "\\e", text)
    while (match(text, /`[^`]*`/))
        text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" substr(text, RSTART + RLENGTH)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/) text = "\\&" text
    return text
}

function first_sentence(text) {
    gsub(/`/, "", text)
    sub(/[.:?] .*/, "", text)
    sub(/[.]$/, "", text)
    gsub(/-/, "\\-", text)
    return text
}

function function_page(name, declaration,    page, i, section) {
    page = out "/" name ".3"
    printf ".TH %s 3 \"\" \"lockfolder %s\" \"lockfolder\"\n", name, version >page
    printf ".SH NAME\n%s \\- %s\n", name, first_sentence(paragraph[1]) >page
    printf ".SH SYNOPSIS\n.nf\n\\fB#include <lockfolder.h>\\fR\n.PP\n\\fB%s\\fR\n.fi\n", declaration >page
    printf ".SH DESCRIPTION\n" >page
    for (i = 1; i <= paragraphs; i++) {
        if (paragraph[i] ~ /^Returns / && !section++) print ".SH RETURN VALUE" >page
        else if (i > 1) print ".PP" >page
        print roff(paragraph[i]) >page
    }
    print ".SH SEE ALSO\n.BR lockfolder (3)" >page
    close(page)
    printf ".TP\n.BR %s (3)\n%s.\n", name, first_sentence(paragraph[1]) >(out "/functions")
}

function list_item(file, term,    i) {
    printf ".TP\n.B %s\n", term >(out "/" file)
    for (i = 1; i <= paragraphs; i++) print roff(paragraph[i]) >(out "/" file)
}

/^ *\/\*\*$/ { in_comment = 1; paragraphs = 0; split("", paragraph); new = 1; next }
in_comment && /^ *\*\/$/ { in_comment = 0; documented = 1; declaration = ""; next }
in_comment {
    sub(/^ *\* ?/, "")
    if ($0 == "") { new = 1; next }
    if (new) { paragraphs++; new = 0 }
    paragraph[paragraphs] = paragraph[paragraphs] (paragraph[paragraphs] == "" ? "" : " ") $0
    next
}
/^} lf_bid;/ { in_bid = 0 }
!documented { next }

/^#define LF_[A-Z_]*\(/ { sub(/^#define /, ""); sub(/\).*/, ")"); list_item("constants", $0); documented = 0; next }
/^#define LF_/ { list_item("constants", $2 " (" $3 ")"); documented = 0; next }
/^typedef struct lf_bid \{/ { in_bid = 1; documented = 0; next }
/^typedef / { documented = 0; next }
in_bid { sub(/^ */, ""); sub(/;$/, ""); list_item("bid", $0); documented = 0; next }

# For the compiler alone.
/^LF_MUST_USE$/ { next }

# A function, until its semicolon; its lines are joined, and spread again where they would be too long.
{
    sub(/^ +/, " ")
    declaration = declaration $0
}
/;$/ {
    name = declaration
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    gsub(/struct /, "", declaration)
    if (length(declaration) > 72) sub(/, /, ",\n    ", declaration)
    function_page(name, declaration)
    documented = 0
}
