# Makes what the lines of a page use and what is not ours. The working folder is the page's own.
case $1 in
    README.md) mkdir a && echo text >a/file ;;
    docs/command.md)
        mkdir -p a b app
        echo text >a/file
        printf 'all install:\n\t@echo $@\n' >Makefile
        printf '#!/bin/sh\ntest "$1" = picture.png\n' >convert
        chmod +x convert
        ;;
    bindings/zig/README.md)
        cat >build.zig.zon <<'END'
.{
    .name = .app,
    .version = "0.1.0",
    .fingerprint = 0xc96e70cf1058a3bb,
    .minimum_zig_version = "0.17.1",
    .dependencies = .{},
    .paths = .{""},
}
END
        echo 'pub fn build(_: *@import("std").Build) void {}' >build.zig
        ;;
    bindings/go/README.md) printf 'module app\n\ngo 1.19\n' >go.mod ;;
esac
