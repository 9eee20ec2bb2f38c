/* Mounts a filesystem whose server never answers: no process reads the requests of this FUSE mount. mounter PATH [USER]
   With USER, it is a mount that fusermount(1) lets this user make: no other user may look into it, not even root. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct stat at;
    if (argc < 2 || stat(argv[1], &at) != 0) {
        perror("stat");
        return 1;
    }
    int fuse = open("/dev/fuse", O_RDWR);
    if (fuse < 0) {
        perror("/dev/fuse");
        return 77;
    }
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=%o,user_id=%s,group_id=0%s", fuse,
             (unsigned)(at.st_mode & S_IFMT), argc > 2 ? argv[2] : "0", argc > 2 ? "" : ",allow_other");
    if (mount("nobody", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) != 0) {
        perror("mount");
        return 1;
    }
    /* The mount works as long as this descriptor is open. */
    puts("mounted");
    fflush(stdout);
    for (;;) {
        pause();
    }
}
