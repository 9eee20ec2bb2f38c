# From include/lockfolder.h: a man page for each function, and what lockfolder.3 includes: the rules of the comment at the
# top, and the lists of functions, constants and fields of lf_bid. An item is a comment `/** ... */` and the declaration
# after it. The first sentence of a function's comment is its summary.

BEGIN {
    # Which functions there are, and their order.
    while ((getline line <header) > 0)
        if (line ~ /^[a-z].*[ *]lf_[a-z_]*\(/) {
            sub(/\(.*/, "", line)
            sub(/.*[ *]/, "", line)
            order[++functions] = line
        }
    close(header)
    # Pages that belong together, whether or not their texts name each other.
    related["lf_open lf_close"]
    related["lf_lock lf_lock_wait lf_unlock lf_cancel lf_holds"]
    related["lf_in_use lf_bids lf_reap_stale"]
    related["lf_bids lf_bid_list_len lf_bid_list_get lf_bid_list_free"]
    related["lf_error_message lf_error_code lf_status_name"]
    related["lf_holds lf_fence"]
    related["lf_set_malformed_grace lf_bids"]
}

# Text as roff has it: `name` is bold, and so is each name of ours.
function roff(text,    done) {
    gsub(/\\/, "\\e", text)
    gsub(/`/, "", text)
    gsub(/-/, "\\-", text)
    while (match(text, /(lf|LF)_[A-Za-z_]*/)) {
        done = done substr(text, 1, RSTART - 1) "\\fB\\%" substr(text, RSTART, RLENGTH) "\\fR"
        text = substr(text, RSTART + RLENGTH)
    }
    text = done text
    if (text ~ /^[.']/) text = "\\&" text
    return text
}

# A sentence without its full stop. Summaries stand alone, so it must be short and have no markup.
function summary(name, text) {
    sub(/[.]( .*)?$/, "", text)
    gsub(/`/, "", text)
    if (text ~ /[*?;]/ || length(text) > 90) {
        print "the first sentence of " name " is no summary: " text >"/dev/stderr"
        exit 1
    }
    gsub(/-/, "\\-", text)
    return text
}

# The functions that a text names, and those that belong to this one, in the order of the header.
function see_also(name, text,    i, group, list) {
    for (group in related)
        if (index(" " group " ", " " name " ")) text = text " " group
    gsub(/[^a-z_]+/, " ", text)
    for (i = 1; i <= functions; i++)
        if (order[i] != name && index(" " text " ", " " order[i] " ")) list = list ".BR " order[i] " (3),\n"
    return list ".BR lockfolder (3)"
}

function function_page(name, declaration,    page, i, text, says) {
    page = out "/" name ".3"
    text = summary(name, paragraph[1])
    printf ".TH %s 3 \"\" \"lockfolder %s\" \"lockfolder\"\n", name, version >page
    printf ".SH NAME\n%s \\- %s\n", name, tolower(substr(text, 1, 1)) substr(text, 2) >page
    printf ".SH SYNOPSIS\n.nf\n\\fB#include <lockfolder.h>\\fR\n.PP\n\\fB%s\\fR\n.fi\n", declaration >page
    printf ".SH DESCRIPTION\n" >page
    for (i = 1; i <= paragraphs; i++) {
        if (paragraph[i] ~ /^Returns /) return_values(page, paragraph[i])
        else print (i > 1 ? ".PP\n" : "") roff(paragraph[i]) >page
        says = says " " paragraph[i]
    }
    example(page, here "/" name ".example.c")
    print ".SH SEE ALSO\n" see_also(name, says) >page
    close(page)
    printf ".TP\n.BR %s (3)\n%s.\n", name, text >(out "/functions")
}

# "Returns `LF_OK`; `LF_BUSY`: the reason; ..." as a list. A status without a reason of its own has that of its constant.
function return_values(page, text,    items, count, i, reason) {
    sub(/^Returns /, "", text)
    sub(/[.]$/, "", text)
    gsub(/; `LF_/, "\n`LF_", text)
    count = split(text, items, "\n")
    print ".SH RETURN VALUE" >page
    for (i = 1; i <= count; i++) {
        reason = items[i]
        if (sub(/^[^:]*: /, "", reason)) sub(/: .*/, "", items[i])
        else reason = meaning[substr(items[i], 2, length(items[i]) - 2)]
        reason = toupper(substr(reason, 1, 1)) substr(reason, 2)
        if (reason !~ /[.]$/) reason = reason "."
        printf ".TP\n%s\n%s\n", roff(items[i]), roff(reason) >page
    }
}

# What a file has after its first empty line: before that is what a compiler needs.
function example(page, file,    line, begun) {
    while ((getline line <file) > 0) {
        if (line == "" && !begun++) { print ".SH EXAMPLE\n.nf" >page; continue }
        gsub(/\\/, "\\e", line)
        gsub(/-/, "\\-", line)
        if (begun) print line >page
    }
    if (begun) print ".fi" >page
    close(file)
}

function rule() {
    if (term != "") printf ".TP\n.B %s\n%s\n", term, roff(body) >(out "/rules")
    term = ""
}

function list_item(file, term,    i) {
    printf ".TP\n.B %s\n", term >(out "/" file)
    for (i = 1; i <= paragraphs; i++) print roff(paragraph[i]) >(out "/" file)
}

# The rules for all functions, in the comment at the top.
/^ \* - [A-Z][a-z]*\. / { rule(); term = $3; sub(/\.$/, "", term); sub(/^ \* - [A-Z][a-z]*\. /, ""); body = $0; next }
term != "" && /^ \*   / { sub(/^ \*   /, ""); body = body " " $0; next }
term != "" { rule() }

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
/^#define LF_/ { meaning[$2] = paragraph[1]; list_item("constants", $2 " (" $3 ")"); documented = 0; next }
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
